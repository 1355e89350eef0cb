// SPDX-License-Identifier: Apache-2.0
// holdings.ts - what the process of a server holds; called by the servers of soak_server.ts, attack_server.ts
// and workers_server.ts.

import type { HttpServer } from "../mod.ts";
import { sleep } from "./testing.ts";

/** What the process holds, after a garbage collection, for which it needs `--expose-gc`. */
export interface Holdings {
  /** Resident memory that is the process's own, arena included. */
  rss: number;
  /** JavaScript objects and ArrayBuffers; the arena, which is one, never grows. */
  heap: number;
  /** Open descriptors, by what they are of. */
  descriptors: Record<string, number>;
  /** Live connections, the one that asks included. */
  connections: number;
  blocksFree: number;
}

export async function holdingsOf(server: HttpServer): Promise<Holdings> {
  // A second one in a later turn of the event loop frees what finalizers and settled promises held until then.
  collectGarbage();
  await sleep(1);
  collectGarbage();
  const { heapUsed, external } = Deno.memoryUsage();
  const { connections, blocksFree } = server.statistics();
  return {
    rss: statusBytes("RssAnon"),
    heap: heapUsed + external,
    descriptors: descriptors(),
    connections,
    blocksFree,
  };
}

/** Whether all blocks are back. The question itself may hold one, or has just given it back. */
export function hasSameBlocks(
  after: Pick<Holdings, "blocksFree">,
  before: Pick<Holdings, "blocksFree">,
): boolean {
  return Math.abs(after.blocksFree - before.blocksFree) <= 1;
}

export function collectGarbage(): void {
  (globalThis as unknown as { gc(): void }).gc();
}

/** Value of a line of /proc/self/status, in bytes. */
export function statusBytes(name: string): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)![1]) *
    1024;
}

/** How many there are of each kind: "socket", "anon_inode", "pipe", or the path of a file. */
export function descriptors(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    let kind: string;
    try {
      kind = Deno.readLinkSync(`/proc/self/fd/${name}`).split(":")[0]!;
    } catch {
      continue; // that of the listing itself
    }
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}
