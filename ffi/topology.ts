// SPDX-License-Identifier: Apache-2.0
// topology.ts - what processors the machine has; pairs with c/topology.c.

import { unwrap } from "./errno.ts";
import { library } from "./library.ts";
import { readText } from "./text.ts";

/** The machine, as far as it matters to workers. */
export interface Topology {
  /** Where the figures come from: hwloc when it is installed, else the files of /sys. */
  source: "hwloc" | "/sys";
  /** Processor packages. */
  packages: number;
  /** NUMA nodes. */
  nodes: number;
  /** Physical cores. */
  cores: number;
  /** Hardware threads. */
  threads: number;
  /** Hardware threads that this process may run on. */
  allowed: number;
}

/** Reads the machine's topology; takes some milliseconds. */
export function readTopology(): Topology {
  const out = new Uint8Array(1024);
  unwrap(library().mr_topology(out, out.length), "read the machine's topology");
  return JSON.parse(readText(out));
}
