// SPDX-License-Identifier: Apache-2.0
// idle.ts - one measurement of memory: fresh servers on one core, connections that the load client opens and holds.
import { type Contender, type Running, start } from "./contenders.ts";
import type { IdleWorkload } from "./idle_workloads.ts";
import { runClient } from "./measure.ts";

/** Memory of all server processes, and what the kernel has for the machine. */
export interface Memory {
  readonly resident_bytes: number;
  readonly proportional_bytes: number;
  readonly private_bytes: number;
  readonly slab_bytes: number;
  readonly socket_bytes: number;
}

/** What the load client prints. */
export interface IdleResult {
  readonly connections: number;
  /** Processes that share them, since one may have only so many descriptors. */
  readonly servers: number;
  readonly open_seconds: number;
  readonly open_cpu_seconds: number;
  readonly hold_seconds: number;
  readonly hold_cpu_seconds: number;
  readonly interval_seconds: number;
  /** Before any connection. */
  readonly rest: Memory;
  /** At the end of the time for which they were held. */
  readonly held: Memory;
  /** After each has sent a message. */
  readonly asked: Memory;
  readonly open: number;
  readonly answers: number;
  readonly pings: number;
  readonly errors: number;
  readonly error_kinds: Readonly<Record<string, number>>;
  readonly p50_us: number;
  readonly p99_us: number;
}

/** A raw result with what was measured; `void` says why it does not count. */
export interface IdleRound extends IdleResult {
  readonly workload: string;
  readonly contender: string;
  readonly version: string;
  readonly void?: string;
}

// For what a server has open beside its connections.
const DESCRIPTORS_KEPT = 100;
// One that has just started.
const SERVER_BYTES = 100e6;
// A rate that every contender exceeds by far.
const OPENINGS_A_SECOND_MIN = 2000;
const OVERRUN_SECONDS_MAX = 60;

/** Measures one contender under one workload. */
export async function measureIdle(
  contender: Contender,
  workload: IdleWorkload,
  options: { load: string; serverCore: number; clientCore: number },
): Promise<IdleRound> {
  const limit = descriptorLimit() - DESCRIPTORS_KEPT;
  const count = Math.ceil(workload.connections / limit);
  requireMemory(workload, count);
  const servers: Running[] = [];
  try {
    for (let i = 0; i < count; i++) {
      servers.push(await start(contender, workload, options.serverCore));
    }
    const result = await runLoad(workload, servers, options);
    return {
      workload: workload.name,
      contender: contender.name,
      version: contender.version,
      ...result,
      ...voidReason(result),
    };
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

async function runLoad(
  { protocol, path, connections, hold, interval }: IdleWorkload,
  servers: readonly Running[],
  options: { load: string; clientCore: number },
): Promise<IdleResult> {
  const each = Math.ceil(connections / servers.length);
  const seconds = connections / OPENINGS_A_SECOND_MIN + hold +
    OVERRUN_SECONDS_MAX;
  const args = [
    ...["idle", protocol, "127.0.0.1", path],
    ...["--connections", String(each), "--hold", String(hold)],
    ...["--interval", String(interval)],
    ...servers.flatMap(({ port, pid }) => ["--server", `${port}:${pid}`]),
  ];
  return await runClient(args, options, seconds) as IdleResult;
}

function voidReason({ errors, error_kinds, open, connections }: IdleResult): {
  void?: string;
} {
  if (errors > 0) return { void: `${errors} ${JSON.stringify(error_kinds)}` };
  return open < connections ? { void: `only ${open} were open` } : {};
}

function requireMemory(
  { name, connections, bytesEach }: IdleWorkload,
  servers: number,
): void {
  const needed = connections * bytesEach + servers * SERVER_BYTES;
  const [, kilobytes] = Deno.readTextFileSync("/proc/meminfo")
    .match(/MemAvailable:\s*(\d+)/) ?? [];
  const available = Number(kilobytes) * 1024;
  if (!(available < needed)) return;
  throw new Error(
    `${name} needs ${gigabytes(needed)} of memory, and ` +
      `${gigabytes(available)} are available`,
  );
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

// All servers raise their soft limit to the hard one by themselves.
function descriptorLimit(): number {
  const [, hard] = Deno.readTextFileSync("/proc/self/limits")
    .match(/Max open files\s+\S+\s+(\d+)/) ?? [];
  return Number(hard);
}
