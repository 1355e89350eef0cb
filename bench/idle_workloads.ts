// SPDX-License-Identifier: Apache-2.0
// idle_workloads.ts - memory: what many WebSockets cost a server that do nothing, or next to nothing. Each contender is
// measured once under each, since memory does not vary from round to round as speed does.
import { type Contender, takes } from "./contenders.ts";
import { type IdleRound, measureIdle } from "./idle.ts";
import { align, type Column } from "./report.ts";
import type { Workload } from "./workloads.ts";

/** Connections that are opened and held. */
export interface IdleWorkload extends Workload {
  /** Seconds for which they are held. */
  readonly hold: number;
  /** Seconds between two messages of each meanwhile; 0 for none. */
  readonly interval: number;
  /** What there has to be for it, on both sides and in the kernel. */
  readonly bytesEach: number;
  /** It is measured only when it is named, and under Millrace alone. */
  readonly onlyNamed: boolean;
}

const HOLD_SECONDS = 3;
const ACTIVE_SECONDS = 20;
const ACTIVE_INTERVAL = 10;
// The two sockets of a connection take 10 to 11 KB of the kernel, and servers up to 18 KB beside that.
const BYTES_EACH = 30_000;
const BYTES_EACH_OF_MILLRACE = 13_500;

/** What is opened and held, in this order. */
export const IDLE_WORKLOADS: readonly IdleWorkload[] = [
  idle("10k", 10_000),
  idle("25k", 25_000),
  {
    ...idle("25k-active", 25_000),
    title: `WebSockets: 25,000 that each send 64 B every ` +
      `${ACTIVE_INTERVAL} s, and are answered`,
    hold: ACTIVE_SECONDS,
    interval: ACTIVE_INTERVAL,
  },
  idle("100k", 100_000),
  {
    ...idle("1m", 1_000_000),
    bytesEach: BYTES_EACH_OF_MILLRACE,
    onlyNamed: true,
  },
];

/** Their names. */
export const IDLE_NAMES: readonly string[] = IDLE_WORKLOADS.map(({ name }) =>
  name
);

function idle(size: string, connections: number): IdleWorkload {
  return {
    name: `idle-${size}`,
    title: `WebSockets: ${connections.toLocaleString("en")} that are idle`,
    protocol: "ws",
    path: "/ws",
    connections,
    inFlight: 1,
    extra: [],
    hold: HOLD_SECONDS,
    interval: 0,
    bytesEach: BYTES_EACH,
    onlyNamed: false,
  };
}

/** Whether a contender is measured: those that serve WebSockets to applications. */
export function holds(contender: Contender, workload: IdleWorkload): boolean {
  if (contender.name === "millrace-spin") return false;
  if (contender.name.startsWith("floor")) return false;
  return takes(contender, workload) &&
    (!workload.onlyNamed || contender.name.startsWith("millrace"));
}

/** The results of one workload. */
export interface IdleTable {
  readonly workload: IdleWorkload;
  readonly rows: readonly IdleRound[];
  /** Who could not be measured, and why. */
  readonly absent: readonly string[];
}

/** Measures all of them. */
export async function runIdle(
  workloads: readonly IdleWorkload[],
  contenders: readonly Contender[],
  options: { load: string; serverCore: number; clientCore: number },
  report: (result: IdleRound) => void,
): Promise<IdleTable[]> {
  const tables: IdleTable[] = [];
  for (const workload of workloads) {
    const rows: IdleRound[] = [];
    const absent: string[] = [];
    for (const contender of contenders) {
      if (!holds(contender, workload)) continue;
      console.error(`${workload.name} ${contender.name}`);
      try {
        const row = await measureIdle(contender, workload, options);
        rows.push(row);
        report(row);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        absent.push(`${contender.name}: not measured: ${reason}`);
        Deno.exitCode = 1;
      }
    }
    tables.push({ workload, rows, absent });
  }
  return tables;
}

const COLUMNS: readonly Column<IdleRound>[] = [
  { head: "contender", cell: (row) => row.contender },
  { head: "connections", cell: (row) => row.connections.toLocaleString("en") },
  { head: "at rest MB", cell: (row) => megabytes(row.rest.resident_bytes) },
  { head: "open MB", cell: (row) => megabytes(row.held.resident_bytes) },
  { head: "B each", cell: (row) => each(row, row.held.resident_bytes) },
  { head: "asked B each", cell: (row) => each(row, row.asked.resident_bytes) },
  { head: "kernel B each", cell: kernelEach },
  { head: "s to open", cell: (row) => row.open_seconds.toFixed(1) },
  { head: "CPU-s", cell: (row) => row.open_cpu_seconds.toFixed(1) },
  { head: "CPU held %", cell: heldPercent },
  { head: "processes", cell: (row) => String(row.servers) },
];

/** Prints a table. */
export function printIdleTable({ workload, rows, absent }: IdleTable): void {
  console.log(`\n${workload.title} (${workload.name})`);
  if (rows.length > 0) {
    for (const line of align(COLUMNS, rows)) console.log(line);
  }
  for (const row of rows) {
    if (row.void !== undefined) console.log(`  ${row.contender}: ${row.void}`);
  }
  for (const line of absent) console.log(`  ${line}`);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

// Above rest.
function each(row: IdleRound, bytes: number): string {
  return ((bytes - row.rest.resident_bytes) / row.connections).toFixed(0);
}

// Of both ends, which are on this machine.
function kernelEach({ rest, held, connections }: IdleRound): string {
  const bytes = held.slab_bytes + held.socket_bytes - rest.slab_bytes -
    rest.socket_bytes;
  return (bytes / connections).toFixed(0);
}

function heldPercent(row: IdleRound): string {
  return (row.hold_cpu_seconds / row.hold_seconds * 100).toFixed(1);
}
