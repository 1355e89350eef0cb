// SPDX-License-Identifier: Apache-2.0
// report.ts - prints the tables.
import type { Absent } from "./contenders.ts";
import {
  CLIENT_BUSY_MAX,
  DISTURBANCE_MAX,
  type Flaw,
  FLAWS,
  KEPT_RATE_MIN,
  SERVER_CPU_MIN,
} from "./flaws.ts";
import { STARVATION_P99_MS_MAX } from "./starvation.ts";
import {
  BASES,
  type Row,
  type Table,
  type TableKind,
  type Validity,
} from "./summary.ts";
import type { Outcome, Target } from "./targets.ts";

/** A column of a table. */
export interface Column<Of> {
  readonly head: string;
  readonly cell: (of: Of) => string;
}

const CONTENDER: Column<Row> = {
  head: "contender",
  cell: (row) => row.contender,
};
const PER_CPU: Column<Row> = {
  head: "req/CPU-s",
  cell: (row) => count(row.ratePerCpuSecond),
};
const LATENCIES: readonly Column<Row>[] = [
  { head: "p50 µs", cell: (row) => latency(row.p50Us) },
  { head: "p99 µs", cell: (row) => latency(row.p99Us) },
  { head: "p99.9 µs", cell: (row) => latency(row.p999Us) },
];
const LOADS: readonly Column<Row>[] = [
  { head: "server CPU ", cell: marked("serverIdle", (row) => row.serverCpu) },
  { head: "client busy ", cell: marked("clientFull", (row) => row.clientBusy) },
];
const P99_AGAINST: Column<Row> = {
  head: "p99 × deno",
  cell: (row) => ratio(row.p99AgainstDeno),
};
const ROUNDS: Column<Row> = {
  head: "rounds ",
  cell: (row) => String(row.rounds) + mark(row, "disturbed"),
};

const COLUMNS: Readonly<Record<TableKind, readonly Column<Row>[]>> = {
  throughput: [
    CONTENDER,
    { head: "req/s", cell: (row) => count(row.rate) },
    PER_CPU,
    ...LATENCIES,
    ...LOADS,
    { head: "MiB at rest", cell: (row) => mebibytes(row.restBytes) },
    { head: "MiB after", cell: (row) => mebibytes(row.residentBytes) },
    { head: "calls/req", cell: syscalls },
    { head: "least", cell: (row) => optionalCount(row.evenness?.least) },
    { head: "median", cell: (row) => optionalCount(row.evenness?.median) },
    { head: "most", cell: (row) => optionalCount(row.evenness?.most) },
    { head: "Jain", cell: (row) => row.evenness?.jain.toFixed(3) ?? "" },
    ...BASES.filter((base) => base !== "single").map((base): Column<Row> => ({
      head: `× ${base}`,
      cell: (row) => ratio(row.against[base]),
    })),
    P99_AGAINST,
    ROUNDS,
  ],
  latency: [
    CONTENDER,
    { head: "asked/s", cell: (row) => optionalCount(row.askedRate) },
    {
      head: "req/s ",
      cell: (row) => count(row.rate) + mark(row, "behind"),
    },
    ...LATENCIES,
    { head: "max µs", cell: (row) => latency(row.maxUs) },
    { head: "p50 × deno", cell: (row) => ratio(row.p50AgainstDeno) },
    P99_AGAINST,
    PER_CPU,
    ...LOADS,
    ROUNDS,
  ],
  starvation: [
    CONTENDER,
    { head: "p50 ms", cell: (row) => (row.probe?.p50Ms ?? NaN).toFixed(2) },
    {
      head: "worst p99 ms",
      cell: (row) => (row.probe?.p99Ms ?? NaN).toFixed(2),
    },
    { head: "answered", cell: answered },
    { head: "messages/s", cell: (row) => count(row.rate) },
    ...LOADS,
    { head: "verdict", cell: verdict },
    ROUNDS,
  ],
  workers: [
    CONTENDER,
    { head: "req/s", cell: (row) => count(row.rate) },
    PER_CPU,
    { head: "µs CPU", cell: (row) => (1e6 / row.ratePerCpuSecond).toFixed(3) },
    { head: "CPU × single", cell: cpuAgainstSingle },
    ...LATENCIES,
    ...LOADS,
    { head: "MiB at rest", cell: (row) => mebibytes(row.restBytes) },
    { head: "calls/req", cell: syscalls },
    ROUNDS,
  ],
};

const MARKS: Readonly<Record<Flaw, string>> = {
  behind: "§",
  serverIdle: "*",
  clientFull: "†",
  disturbed: "‡",
};

const NOTES: Readonly<Record<Flaw, string>> = {
  behind: `§ answered less than ${percent(KEPT_RATE_MIN)} of what was asked: ` +
    "the server did not keep up, its latencies only tell how long that went on",
  serverIdle:
    `* less than ${percent(SERVER_CPU_MIN)} of its core: the server ` +
    "was not the bottleneck; compare req/CPU-s only",
  clientFull: `† more than ${percent(CLIENT_BUSY_MAX)} busy: the client may ` +
    "have been the bottleneck; the server can do at least this",
  disturbed: `‡ others had more than ${percent(DISTURBANCE_MAX)} of a core ` +
    "in a round: latencies and rates are worth little, req/CPU-s more",
};

/** Prints a table and what has to be known to read it. */
export function printTable(table: Table): void {
  if (table.rows.length === 0) return;
  const columns = COLUMNS[table.kind].filter(({ cell }) =>
    table.rows.some((row) => cell(row) !== "")
  );
  console.log(`\n${table.workload}: ${table.title}`);
  for (const line of align(columns, table.rows)) console.log(line);
  for (const note of notes(table.rows)) console.log(`  ${note}`);
}

/** Prints who could not be measured, and what could not be counted. */
export function printAbsent(absent: readonly Absent[]): void {
  if (absent.length > 0) console.log("");
  for (const { name, reason } of absent) {
    console.log(`${name}: not measured: ${reason}`);
  }
}

/** Prints what the rounds were worth, all together. */
export function printValidity({ rounds, voided, flaws }: Validity): void {
  const parts = [
    `${rounds} rounds`,
    `${voided} void`,
    `${flaws.clientFull ?? 0} with a full client`,
    `${flaws.serverIdle ?? 0} with a server that was not the bottleneck`,
    `${flaws.behind ?? 0} behind their schedule`,
    `${flaws.disturbed ?? 0} disturbed`,
  ];
  console.log(`\n${parts.join(", ")}`);
}

/** Prints each target with what was measured. */
export function printTargets(outcomes: readonly Outcome[]): void {
  if (outcomes.length === 0) return;
  const columns: readonly Column<Outcome>[] = [
    { head: "target", cell: ({ target }) => target.workload },
    { head: "contender", cell: ({ contender }) => contender },
    { head: "figure", cell: ({ target }) => figureText(target) },
    { head: "wanted", cell: ({ target }) => wantedText(target) },
    { head: "measured", cell: measuredText },
    { head: "", cell: metText },
  ];
  const met = outcomes.filter((outcome) => outcome.met).length;
  const known = outcomes.filter((outcome) => outcome.met !== undefined).length;
  console.log(`\nTargets: ${met} of ${known} met`);
  for (const line of align(columns, outcomes)) console.log(line);
}

function figureText({ figure, against }: Target): string {
  return against === undefined ? figure : `${figure} × ${against}`;
}

function wantedText({ atLeast, atMost }: Target): string {
  if (atLeast !== undefined && atMost !== undefined) {
    return `${atLeast} to ${atMost}`;
  }
  return atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`;
}

function measuredText({ measured }: Outcome): string {
  if (measured === undefined) return "-";
  const { median, least, most } = measured;
  const range = least === most
    ? ""
    : ` (${least.toFixed(2)} to ${most.toFixed(2)})`;
  return median.toFixed(2) + range;
}

function metText({ met }: Outcome): string {
  if (met === undefined) return "not measured";
  return met ? "met" : "MISSED";
}

function notes(rows: readonly Row[]): string[] {
  const flaws = FLAWS.filter((flaw) =>
    rows.some((row) => row.flaws[flaw] !== undefined)
  );
  const reasons = rows.flatMap(({ syscalls }) =>
    syscalls !== undefined && "reason" in syscalls ? [syscalls.reason] : []
  );
  return [
    ...flaws.map((flaw) => NOTES[flaw]),
    ...[...new Set(reasons)].map((reason) =>
      `system calls not counted: ${reason}`
    ),
    ...rows.flatMap((row) =>
      row.voided.map((why) => `${row.contender}: a round is void: ${why}`)
    ),
  ];
}

/** A table as lines: the heads and a line for each row, the first column to the left and all others to the right. */
export function align<Of>(
  columns: readonly Column<Of>[],
  rows: readonly Of[],
): string[] {
  const cells = [
    columns.map((column) => column.head),
    ...rows.map((row) => columns.map((column) => column.cell(row))),
  ];
  const widths = columns.map((_, i) =>
    Math.max(...cells.map((line) => (line[i] ?? "").length))
  );
  return cells.map((line) =>
    line.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)
    ).join("  ")
  );
}

function marked(
  flaw: Flaw,
  share: (row: Row) => number,
): (row: Row) => string {
  return (row) => percent(share(row)) + mark(row, flaw);
}

// A blank where there is no mark, so that the figures stay in line.
function mark(row: Row, flaw: Flaw): string {
  return row.flaws[flaw] === undefined ? " " : MARKS[flaw];
}

function syscalls({ syscalls }: Row): string {
  if (syscalls === undefined) return "";
  return "reason" in syscalls ? "-" : syscalls.per_request.toFixed(2);
}

// The processor's time for an answer; the other tables compare answers in a time.
function cpuAgainstSingle({ against }: Row): string {
  return against.single === undefined ? "" : ratio(1 / against.single);
}

function answered(row: Row): string {
  return `${row.probe?.answered ?? 0} of ${row.probe?.asked ?? 0}`;
}

function verdict({ probe }: Row): string {
  if (probe === undefined || probe.answered === 0) return "starved";
  return probe.p99Ms < STARVATION_P99_MS_MAX
    ? `under ${STARVATION_P99_MS_MAX} ms`
    : `over ${STARVATION_P99_MS_MAX} ms`;
}

function count(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return Math.round(value).toLocaleString("en");
}

function optionalCount(value: number | undefined): string {
  return value === undefined ? "" : count(value);
}

// Short ones with a digit more: one connection is answered within a few microseconds.
function latency(microseconds: number): string {
  return microseconds < 100 ? microseconds.toFixed(1) : count(microseconds);
}

function mebibytes(bytes: number): string {
  return count(bytes / 2 ** 20);
}

function percent(share: number): string {
  return Number.isNaN(share) ? "-" : `${Math.round(share * 100)} %`;
}

function ratio(value: number | undefined): string {
  return value === undefined ? "" : value.toFixed(2);
}
