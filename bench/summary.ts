// SPDX-License-Identifier: Apache-2.0
// summary.ts - from raw rounds to medians and ratios.
import type { Contender } from "./contenders.ts";
import { disturbance, type Flaw, FLAWS, flawsOf } from "./flaws.ts";
import type { Evenness, Round } from "./measure.ts";
import type { Syscalls } from "./syscalls.ts";
import type { Workload } from "./workloads.ts";

/**
 * With whom the others are compared; "floor" is the C floor of the same backend, "single" the same server with one
 * worker.
 */
export const BASES = [
  "deno",
  "bun",
  "node",
  "gnet",
  "hon",
  "floor",
  "single",
] as const;

/** One of them. */
export type Base = typeof BASES[number];

/** One row of a table; a figure is a median over the rounds that count. */
export interface Row {
  readonly contender: string;
  readonly version: string;
  readonly rate: number;
  readonly ratePerCpuSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  /** The longest of all rounds. */
  readonly maxUs: number;
  readonly serverCpu: number;
  readonly clientBusy: number;
  /** What others had of the machine, in cores, in the worst round. */
  readonly disturbance: number;
  readonly restBytes: number;
  readonly residentBytes: number;
  /** Requests per CPU-second as a multiple of another's. */
  readonly against: Readonly<Partial<Record<Base, number>>>;
  /** Latencies as multiples of those of Deno.serve. */
  readonly p50AgainstDeno?: number;
  readonly p99AgainstDeno?: number;
  readonly askedRate?: number;
  readonly evenness?: Evenness;
  readonly syscalls?: Syscalls;
  readonly probe?: ProbeRow;
  readonly rounds: number;
  /** How many of the rounds have a flaw; those without are left out. */
  readonly flaws: Readonly<Partial<Record<Flaw, number>>>;
  readonly voided: readonly string[];
}

/** What the probe found: the median of the rounds' medians, and the worst of their 99th percentiles. */
export interface ProbeRow {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly answered: number;
  readonly asked: number;
}

/** What a table is to show. */
export type TableKind = "throughput" | "latency" | "starvation" | "workers";

/** All rows of one workload. */
export interface Table {
  readonly workload: string;
  readonly title: string;
  readonly kind: TableKind;
  readonly rows: readonly Row[];
}

/** How many rounds there were, and what they are worth. */
export interface Validity {
  readonly rounds: number;
  readonly voided: number;
  readonly flaws: Readonly<Partial<Record<Flaw, number>>>;
}

/** What is to be known of a contender. */
export type Compared = Pick<Contender, "name" | "version" | "floor" | "single">;

/** Summarises the rounds of one workload. */
export function summarize(
  workload: Workload,
  contenders: readonly Compared[],
  rounds: readonly Round[],
): Table {
  const own = rounds.filter((round) => round.workload === workload.name);
  const rows = contenders
    .filter((contender) => own.some((round) => is(round, contender.name)))
    .map((contender) => summarizeContender(contender, workload, own));
  return {
    workload: workload.name,
    title: workload.title,
    kind: kindOf(workload),
    rows,
  };
}

function kindOf(workload: Workload): TableKind {
  if (workload.probe !== undefined) return "starvation";
  if (workload.workers !== undefined) return "workers";
  return workload.rate !== undefined || workload.connections === 1
    ? "latency"
    : "throughput";
}

function summarizeContender(
  contender: Compared,
  workload: Workload,
  rounds: readonly Round[],
): Row {
  const own = rounds.filter((round) => is(round, contender.name));
  const valid = own.filter((round) => round.void === undefined);
  const figure = (of: (round: Round) => number): number =>
    median(valid.map(of));
  const againstDeno = (of: (round: Round) => number): number | undefined =>
    ratioTo("deno", valid, rounds, of);
  return {
    contender: contender.name,
    version: contender.version,
    rate: figure((round) => round.rate),
    ratePerCpuSecond: figure(ratePerCpuSecond),
    p50Us: figure(p50),
    p99Us: figure(p99),
    p999Us: figure((round) => round.p999_us),
    maxUs: Math.max(...valid.map((round) => round.max_us)),
    serverCpu: figure((round) => round.server_cpu_seconds / round.seconds),
    clientBusy: figure((round) => round.client_busy),
    disturbance: Math.max(0, ...valid.map(disturbance)),
    restBytes: figure((round) => round.server_rest_bytes),
    residentBytes: figure((round) => round.server_resident_bytes),
    against: againstBases(contender, valid, rounds),
    ...optional("p50AgainstDeno", againstDeno(p50)),
    ...optional("p99AgainstDeno", againstDeno(p99)),
    ...optional("askedRate", workload.rate),
    ...optional(
      "evenness",
      workload.evenness ? summarizeEvenness(valid) : undefined,
    ),
    ...optional("syscalls", valid.find((round) => round.syscalls)?.syscalls),
    ...optional("probe", summarizeProbe(valid)),
    rounds: valid.length,
    flaws: countFlaws(valid),
    voided: own.flatMap((round) => round.void ?? []),
  };
}

function againstBases(
  contender: Compared,
  valid: readonly Round[],
  rounds: readonly Round[],
): Partial<Record<Base, number>> {
  const ratios: Partial<Record<Base, number>> = {};
  for (const base of BASES) {
    const name = nameOf(base, contender);
    const ratio = ratioTo(name, valid, rounds, ratePerCpuSecond);
    if (ratio !== undefined) ratios[base] = ratio;
  }
  return ratios;
}

function nameOf(base: Base, { floor, single }: Compared): string | undefined {
  if (base === "floor") return floor;
  return base === "single" ? single : base;
}

function ratioTo(
  base: string | undefined,
  own: readonly Round[],
  rounds: readonly Round[],
  figure: (round: Round) => number,
): number | undefined {
  const ratios = ratiosTo(base, own, rounds, figure);
  return ratios.length === 0 ? undefined : median(ratios);
}

/**
 * A figure of each round as a multiple of another's. The clock of a machine drifts within minutes: each round is
 * compared with the same round of the other only.
 */
export function ratiosTo(
  base: string | undefined,
  own: readonly Round[],
  rounds: readonly Round[],
  figure: (round: Round) => number,
): number[] {
  return own.flatMap((round) => {
    const other = rounds.find((other) =>
      is(other, base) && other.workload === round.workload &&
      other.round === round.round && other.void === undefined
    );
    if (other === undefined || other === round) return [];
    const ratio = figure(round) / figure(other);
    return Number.isFinite(ratio) ? [ratio] : [];
  });
}

// The least even of the rounds.
function summarizeEvenness(rounds: readonly Round[]): Evenness | undefined {
  return rounds.flatMap((round) => round.evenness ?? [])
    .toSorted((a, b) => a.jain - b.jain)[0];
}

function summarizeProbe(rounds: readonly Round[]): ProbeRow | undefined {
  const probes = rounds.flatMap((round) => round.probe ?? []);
  if (probes.length === 0) return undefined;
  // The last one that was not answered is in the latencies: it has waited at least that long.
  const answered = probes.map((probe) =>
    probe.count - (probe.unanswered > 0 ? 1 : 0)
  );
  return {
    p50Ms: median(probes.map((probe) => probe.p50_us)) / 1000,
    p99Ms: Math.max(...probes.map((probe) => probe.p99_us)) / 1000,
    answered: sum(answered),
    asked: sum(answered) + sum(probes.map((probe) => probe.unanswered)),
  };
}

/** What all rounds together are worth. */
export function validityOf(rounds: readonly Round[]): Validity {
  const valid = rounds.filter((round) => round.void === undefined);
  return {
    rounds: rounds.length,
    voided: rounds.length - valid.length,
    flaws: countFlaws(valid),
  };
}

function countFlaws(rounds: readonly Round[]): Partial<Record<Flaw, number>> {
  const counts: Partial<Record<Flaw, number>> = {};
  for (const flaw of FLAWS) {
    const count = rounds.filter((it) => flawsOf(it).includes(flaw)).length;
    if (count > 0) counts[flaw] = count;
  }
  return counts;
}

function is(round: Round, name: string | undefined): boolean {
  return round.contender === name;
}

/** Answers per CPU-second of the server. */
export function ratePerCpuSecond(round: Round): number {
  return round.count / round.server_cpu_seconds;
}

/** The median latency. */
export function p50(round: Round): number {
  return round.p50_us;
}

/** The 99th percentile of the latencies. */
export function p99(round: Round): number {
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
