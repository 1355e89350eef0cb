// SPDX-License-Identifier: Apache-2.0
// topology.ts - topology(): the machine's CPUs, nodes and caches as objects; used by placement.ts, affinity.ts and
// doctor.ts.

import { readTopology, type TopologyRows } from "../ffi/mod.ts";

/** The machine as far as it matters to where workers run. All numbers of CPUs and nodes are the kernel's. */
export interface Topology {
  /** Where this comes from: hwloc when it is installed, else the files of `/sys`. */
  source: "hwloc" | "/sys";
  /** CPUs that are online, by number. */
  cpus: TopologyCpu[];
  /** NUMA nodes by number; at least one. */
  nodes: TopologyNode[];
  /** Caches of data, the smaller levels first. */
  caches: TopologyCache[];
  /**
   * CPUs whose time control groups leave to this process, as 1.5 for a container that was started with `--cpus 1.5`
   * (`cpu.max`, or `cpu.cfs_quota_us`); null for all.
   */
  quota: number | null;
}

/** A CPU: what the kernel schedules threads on, which is a hardware thread of a core. */
export interface TopologyCpu {
  /** Its number. */
  id: number;
  /** The package (socket) it is in. */
  package: number;
  /** Its core, named by the lowest of the core's CPUs. CPUs with the same core are SMT siblings. */
  core: number;
  /** The NUMA node it belongs to. */
  node: number;
  /** Whether this process may run on it, by its affinity mask and cpuset. */
  allowed: boolean;
}

/** A NUMA node: memory that is as near to each of its CPUs. */
export interface TopologyNode {
  /** Its number. */
  id: number;
  /** Bytes of memory; 0 for a node of CPUs alone. */
  memory: number;
  /** Whether this process may take memory from it, by its cpuset. */
  allowed: boolean;
  /** Its CPUs that are online; none for a node of memory alone. */
  cpus: number[];
  /** How far the nodes are, in their order: 10 is here, 20 twice as far. */
  distances: number[];
}

/** A cache of data. */
export interface TopologyCache {
  /** 1 for the one next to the core, and so on. */
  level: number;
  /** Its size. */
  bytes: number;
  /** The size of one of its lines. */
  lineBytes: number;
  /** The CPUs that share it. */
  cpus: number[];
}

/**
 * Reads what CPUs, NUMA nodes and caches there are, and which of them this process may use. Takes some milliseconds.
 *
 * With hwloc, its environment variables work as ever: `HWLOC_SYNTHETIC` and `HWLOC_XMLFILE` show another machine.
 *
 * @returns The machine.
 * @throws {Error} When there is no memory for it.
 */
export function topology(): Topology {
  return fromRows(readTopology());
}

function fromRows(
  { source, quota, cpus, nodes, caches }: TopologyRows,
): Topology {
  return {
    source,
    cpus: cpus.map(([id, inPackage, core, node, allowed]) => ({
      id,
      package: inPackage,
      core,
      node,
      allowed: allowed === 1,
    })),
    nodes: nodes.map(([id, memory, allowed, distances]) => ({
      id,
      memory,
      allowed: allowed === 1,
      cpus: cpus.filter((cpu) => cpu[3] === id).map((cpu) => cpu[0]),
      distances,
    })),
    caches: caches.map(([level, bytes, lineBytes, sharers]) => ({
      level,
      bytes,
      lineBytes,
      cpus: sharers,
    })),
    quota: quota === 0 ? null : quota / 1000,
  };
}
