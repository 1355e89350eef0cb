// SPDX-License-Identifier: Apache-2.0
// summary.ts - from raw rounds to medians and ratios.
import type { Contender } from "./contenders.ts";
import type { Round } from "./measure.ts";
import type { Workload } from "./workloads.ts";

/** A server that used less of its core than this was not the bottleneck. */
export const SERVER_CPU_MIN = 0.9;

/** A client that had something to do for more than this share of the time may have been the bottleneck. */
export const CLIENT_BUSY_MAX = 0.98;

/** Other processes that used more of a core than this disturbed the run. */
export const OTHER_CPU_MAX = 0.05;

/** One row of a table; a figure is a median over the rounds that count. */
export interface Row {
  readonly contender: string;
  readonly version: string;
  readonly rate: number;
  readonly ratePerCpuSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly serverCpu: number;
  readonly clientBusy: number;
  readonly otherCpu: number;
  readonly residentBytes: number;
  /** Requests per CPU-second as a multiple of those of Deno.serve. */
  readonly againstDeno?: number;
  /** Requests per CPU-second as a multiple of those of Bun. */
  readonly againstBun?: number;
  /** Requests per CPU-second as a multiple of those of `ws` on Node. */
  readonly againstNode?: number;
  /** Requests per CPU-second as a multiple of those of the C floor on the same backend. */
  readonly againstFloor?: number;
  /** The 99th percentile as a multiple of that of Deno.serve. */
  readonly p99AgainstDeno?: number;
  readonly probe?: ProbeRow;
  readonly rounds: number;
  readonly voided: readonly string[];
}

/** What the probe found: the median of the rounds' medians, and the worst of their 99th percentiles. */
export interface ProbeRow {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly answered: number;
  readonly asked: number;
}

/** All rows of one workload. */
export interface Table {
  readonly workload: string;
  readonly title: string;
  readonly rows: readonly Row[];
}

/** Summarises the rounds of one workload. */
export function summarize(
  workload: Workload,
  contenders: readonly Contender[],
  rounds: readonly Round[],
): Table {
  const own = rounds.filter((round) => round.workload === workload.name);
  const rows = contenders
    .filter((contender) => own.some((round) => is(round, contender.name)))
    .map((contender) => summarizeContender(contender, own));
  return { workload: workload.name, title: workload.title, rows };
}

function summarizeContender(
  contender: Contender,
  rounds: readonly Round[],
): Row {
  const own = rounds.filter((round) => is(round, contender.name));
  const valid = own.filter((round) => round.void === undefined);
  const figure = (of: (round: Round) => number): number =>
    median(valid.map(of));
  return {
    contender: contender.name,
    version: contender.version,
    rate: figure((round) => round.rate),
    ratePerCpuSecond: figure(ratePerCpuSecond),
    p50Us: figure((round) => round.p50_us),
    p99Us: figure((round) => round.p99_us),
    serverCpu: figure((round) => round.server_cpu_seconds / round.seconds),
    clientBusy: figure((round) => round.client_busy),
    otherCpu: figure((round) => round.other_cpu_seconds / round.seconds),
    residentBytes: figure((round) => round.server_resident_bytes),
    ...optional("againstDeno", ratioTo("deno", valid, rounds)),
    ...optional("againstBun", ratioTo("bun", valid, rounds)),
    ...optional("againstNode", ratioTo("node", valid, rounds)),
    ...optional("againstFloor", ratioTo(contender.floor, valid, rounds)),
    ...optional("p99AgainstDeno", ratioTo("deno", valid, rounds, p99)),
    ...optional("probe", summarizeProbe(valid)),
    rounds: valid.length,
    voided: own.flatMap((round) => round.void ?? []),
  };
}

// The clock of a machine drifts within minutes: each round is compared with the same round of the other only.
function ratioTo(
  base: string | undefined,
  own: readonly Round[],
  rounds: readonly Round[],
  figure: (round: Round) => number = ratePerCpuSecond,
): number | undefined {
  const ratios = own.flatMap((round) => {
    const other = rounds.find((other) =>
      is(other, base) && other.round === round.round &&
      other.void === undefined
    );
    return other === undefined || other === round
      ? []
      : figure(round) / figure(other);
  });
  return ratios.length === 0 ? undefined : median(ratios);
}

function summarizeProbe(rounds: readonly Round[]): ProbeRow | undefined {
  const probes = rounds.flatMap((round) => round.probe ?? []);
  if (probes.length === 0) return undefined;
  return {
    p50Ms: median(probes.map((probe) => probe.p50_us)) / 1000,
    p99Ms: Math.max(...probes.map((probe) => probe.p99_us)) / 1000,
    answered: sum(probes.map((probe) => probe.count)),
    asked: sum(probes.map((probe) => probe.count + probe.unanswered)),
  };
}

function is(round: Round, name: string | undefined): boolean {
  return round.contender === name;
}

function ratePerCpuSecond(round: Round): number {
  return round.count / round.server_cpu_seconds;
}

function p99(round: Round): number {
  return round.p99_us;
}

function optional<K extends string, V>(
  key: K,
  value: V | undefined,
): { [key in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [key in K]: V };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Middle value, or the mean of the two in the middle; NaN when there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1
    ? upper
    : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}
