// SPDX-License-Identifier: Apache-2.0
// report.ts - prints the tables.
import type { Absent } from "./contenders.ts";
import { STARVATION_P99_MS_MAX } from "./starvation.ts";
import {
  CLIENT_BUSY_MAX,
  OTHER_CPU_MAX,
  type Row,
  SERVER_CPU_MIN,
  type Table,
} from "./summary.ts";

interface Column {
  readonly head: string;
  readonly cell: (row: Row) => string;
}

const THROUGHPUT_COLUMNS: readonly Column[] = [
  { head: "contender", cell: (row) => row.contender },
  { head: "req/s", cell: (row) => count(row.rate) },
  { head: "req/CPU-s", cell: (row) => count(row.ratePerCpuSecond) },
  { head: "p50 µs", cell: (row) => count(row.p50Us) },
  { head: "p99 µs", cell: (row) => count(row.p99Us) },
  { head: "server CPU ", cell: serverCpu },
  { head: "client busy ", cell: clientBusy },
  { head: "MiB", cell: (row) => count(row.residentBytes / 2 ** 20) },
  { head: "× deno", cell: (row) => ratio(row.againstDeno) },
  { head: "× bun", cell: (row) => ratio(row.againstBun) },
  { head: "× node", cell: (row) => ratio(row.againstNode) },
  { head: "× floor", cell: (row) => ratio(row.againstFloor) },
  { head: "p99 × deno", cell: (row) => ratio(row.p99AgainstDeno) },
  { head: "rounds", cell: (row) => String(row.rounds) },
];

const STARVATION_COLUMNS: readonly Column[] = [
  { head: "contender", cell: (row) => row.contender },
  { head: "p50 ms", cell: (row) => (row.probe?.p50Ms ?? NaN).toFixed(2) },
  { head: "worst p99 ms", cell: (row) => (row.probe?.p99Ms ?? NaN).toFixed(2) },
  { head: "answered", cell: answered },
  { head: "messages/s", cell: (row) => count(row.rate) },
  { head: "server CPU ", cell: serverCpu },
  { head: "client busy ", cell: clientBusy },
  { head: "verdict", cell: verdict },
  { head: "rounds", cell: (row) => String(row.rounds) },
];

/** Prints a table and what has to be known to read it. */
export function printTable(table: Table): void {
  if (table.rows.length === 0) return;
  const probed = table.rows.some((row) => row.probe !== undefined);
  const columns = (probed ? STARVATION_COLUMNS : THROUGHPUT_COLUMNS)
    .filter(({ cell }) => table.rows.some((row) => cell(row) !== ""));
  console.log(`\n${table.workload}: ${table.title}`);
  for (const line of align(columns, table.rows)) console.log(line);
  printNotes(table.rows);
}

/** Prints who could not be measured. */
export function printAbsent(absent: readonly Absent[]): void {
  if (absent.length > 0) console.log("");
  for (const { name, reason } of absent) {
    console.log(`${name}: not measured: ${reason}`);
  }
}

function printNotes(rows: readonly Row[]): void {
  if (rows.some(isServerIdle)) {
    console.log(
      `  * less than ${percent(SERVER_CPU_MIN)} of its core: the server was ` +
        "not the bottleneck; compare req/CPU-s only",
    );
  }
  if (rows.some(isClientFull)) {
    console.log(
      `  † more than ${percent(CLIENT_BUSY_MAX)} busy: the client may have ` +
        "been the bottleneck; the server can do at least this",
    );
  }
  const otherCpu = Math.max(...rows.map((row) => row.otherCpu || 0));
  if (otherCpu > OTHER_CPU_MAX) {
    console.log(
      `  other processes used up to ${
        percent(otherCpu)
      } of a core meanwhile: ` +
        "the figures are disturbed",
    );
  }
  for (const row of rows) {
    for (const reason of row.voided) {
      console.log(`  ${row.contender}: a round is void: ${reason}`);
    }
  }
}

function align(columns: readonly Column[], rows: readonly Row[]): string[] {
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

function serverCpu(row: Row): string {
  return percent(row.serverCpu) + (isServerIdle(row) ? "*" : " ");
}

function clientBusy(row: Row): string {
  return percent(row.clientBusy) + (isClientFull(row) ? "†" : " ");
}

function isServerIdle(row: Row): boolean {
  return row.serverCpu < SERVER_CPU_MIN;
}

function isClientFull(row: Row): boolean {
  return row.clientBusy > CLIENT_BUSY_MAX;
}

function answered(row: Row): string {
  return `${row.probe?.answered ?? 0} of ${row.probe?.asked ?? 0}`;
}

function verdict(row: Row): string {
  const { answered, asked, p99Ms } = row.probe ??
    { answered: 0, asked: 1, p99Ms: 0 };
  if (answered < asked) return "starved";
  return p99Ms < STARVATION_P99_MS_MAX
    ? `under ${STARVATION_P99_MS_MAX} ms`
    : `over ${STARVATION_P99_MS_MAX} ms`;
}

function count(value: number): string {
  if (Number.isNaN(value)) return "-";
  return Math.round(value).toLocaleString("en");
}

function percent(share: number): string {
  return Number.isNaN(share) ? "-" : `${Math.round(share * 100)} %`;
}

function ratio(value: number | undefined): string {
  return value === undefined ? "" : value.toFixed(2);
}
