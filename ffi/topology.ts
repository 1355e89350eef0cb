// SPDX-License-Identifier: Apache-2.0
// topology.ts - what processors the machine has, and which the thread runs on; pairs with c/topology.c and affinity.c.

import { unwrap } from "./errno.ts";
import { library } from "./library.ts";

/** The machine as C writes it down. */
export interface TopologyRows {
  source: "hwloc" | "/sys";
  /** Thousandths of a CPU that control groups leave; 0 means all. */
  quota: number;
  /** Number, package, core, node, and whether it may be used. */
  cpus: [number, number, number, number, number][];
  /** Number, bytes, whether they may be used, and the distances to all nodes in this order. */
  nodes: [number, number, number, number[]][];
  /** Level, bytes, bytes of a line, CPUs. */
  caches: [number, number, number, number[]][];
}

// The largest machine that c/limits.h has room for takes about as much.
const CAPACITY = 1 << 20;

/** Reads the machine's topology; takes some milliseconds. */
export function readTopology(): TopologyRows {
  const out = new Uint8Array(CAPACITY);
  const length = unwrap(
    library().mr_topology(out, CAPACITY),
    "read the machine's topology",
  );
  return JSON.parse(new TextDecoder().decode(out.subarray(0, length)));
}

/** Has the calling thread run on these CPUs alone; returns 0 or an errno. */
export function pinThread(cpus: readonly number[]): number {
  const bytes = new Uint8Array(Math.floor(Math.max(...cpus) / 8) + 1);
  for (const cpu of cpus) bytes[cpu >> 3]! |= 1 << (cpu & 7);
  return -library().mr_pin(bytes, bytes.length);
}

/** Lets the calling thread run again where the process might when it was started; returns 0 or an errno. */
export function unpinThread(): number {
  return -library().mr_unpin();
}
