// SPDX-License-Identifier: Apache-2.0
// placement.ts - plan(): which worker runs on which CPU, as a pure function of the machine; used by applications.

import { type Topology, topology, type TopologyCpu } from "./topology.ts";

/**
 * Where workers go.
 *
 * - `"spread"`: as far apart as there is room, so that each has most of caches and memory bandwidth to itself.
 * - `"pack"`: as near to each other as there is room, so that what they share stays in the same caches.
 * - `{ node }`: on the CPUs of one NUMA node, spread there.
 * - `{ cpus }`: on these CPUs, in this order.
 */
export type PlacementPolicy =
  | "spread"
  | "pack"
  | { node: number }
  | { cpus: readonly number[] };

/** The place of one worker. */
export interface Placement {
  /** The CPU it runs on. */
  cpu: number;
  /** The NUMA node of that CPU. */
  node: number;
  /** The node its memory comes from: the same, or the nearest one when that has no memory to be had. */
  memoryNode: number;
}

// More threads than any machine has CPUs help nobody.
const WORKERS_MAX = 4096;

/**
 * Gives each worker a place. All CPUs are ones that this process may use, none is taken twice while one is free, and
 * physical cores are taken before their SMT siblings: by `"spread"` on the whole machine, by `"pack"` node by node.
 *
 * `"auto"` takes a worker for each core that may be used, or for each CPU of a list, and no more than control groups
 * leave time for: of 2.5 CPUs two, as the rest is wanted by the threads of V8.
 *
 * @example
 * ```ts
 * import { plan, topology } from "@millrace/millrace";
 *
 * for (const { cpu, node } of plan("auto", "spread", topology())) {
 *   console.log(`a worker on CPU ${cpu} of node ${node}`);
 * }
 * ```
 *
 * @param workers How many, or `"auto"`.
 * @param policy Where they go; `"spread"` unless given.
 * @param machine The machine; this one unless given.
 * @returns A place for each worker.
 * @throws {TypeError} When the policy is none.
 * @throws {RangeError} When the number is none, or a CPU or a node does not exist or may not be used.
 */
export function plan(
  workers: number | "auto",
  policy: PlacementPolicy = "spread",
  machine: Topology = topology(),
): Placement[] {
  const order = orderOf(policy, machine);
  const count = workers === "auto"
    ? autoCount(policy, order, machine)
    : workers;
  if (!Number.isInteger(count) || count < 1 || count > WORKERS_MAX) {
    throw new RangeError(
      `Cannot place workers: their number must be an integer from 1 to ${WORKERS_MAX} or "auto", is ${
        String(workers)
      }`,
    );
  }
  return Array.from({ length: count }, (_, index) => {
    const { id, node } = order[index % order.length]!;
    return { cpu: id, node, memoryNode: memoryNodeOf(node, machine) };
  });
}

// CPUs in the order in which workers take them.
function orderOf(policy: PlacementPolicy, machine: Topology): TopologyCpu[] {
  const allowed = machine.cpus.filter((cpu) => cpu.allowed);
  if (policy === "spread") return spread(required(allowed), machine);
  if (policy === "pack") return pack(required(allowed), machine);
  if (typeof policy === "object" && policy !== null) {
    if ("node" in policy) return spread(onNode(policy.node, machine), machine);
    if ("cpus" in policy) return listed(policy.cpus, machine);
  }
  throw new TypeError(
    `Cannot place workers: the policy must be "spread", "pack", { node } or { cpus }, is ${
      JSON.stringify(policy)
    }`,
  );
}

function required(cpus: TopologyCpu[]): TopologyCpu[] {
  if (cpus.length > 0) return cpus;
  throw new RangeError(
    "Cannot place workers: there is no CPU that this process may use",
  );
}

function onNode(id: number, machine: Topology): TopologyCpu[] {
  const cpus = machine.cpus.filter((cpu) => cpu.allowed && cpu.node === id);
  if (cpus.length > 0) return cpus;
  const nodes = new Set(
    machine.cpus.filter((cpu) => cpu.allowed).map((cpu) => cpu.node),
  );
  throw new RangeError(
    `Cannot place workers on node ${id}: it has no CPU that this process may use; nodes that have: ${
      list(nodes)
    }`,
  );
}

function listed(ids: readonly number[], machine: Topology): TopologyCpu[] {
  if (!Array.isArray(ids) || ids.length === 0) {
    throw new TypeError("Cannot place workers: the list of CPUs is empty");
  }
  // One that is named twice is taken again only after all the others.
  return [...new Set(ids)].map((id) => {
    const found = machine.cpus.find((cpu) => cpu.id === id);
    if (found?.allowed) return found;
    const why = found === undefined
      ? "is not online"
      : "may not be used by this process";
    const allowed = machine.cpus.filter((cpu) => cpu.allowed).map((cpu) =>
      cpu.id
    );
    throw new RangeError(
      `Cannot place workers: CPU ${id} ${why}; what may be used is ${
        list(allowed)
      }`,
    );
  });
}

function list(numbers: Iterable<number>): string {
  return [...numbers].join(", ") || "none";
}

function autoCount(
  policy: PlacementPolicy,
  order: TopologyCpu[],
  { quota }: Topology,
): number {
  const isList = typeof policy === "object" && "cpus" in policy;
  const places = isList
    ? order.length
    : new Set(order.map((cpu) => cpu.core)).size;
  return Math.max(1, Math.min(places, Math.floor(quota ?? Infinity)));
}

// The first CPU of each core, then the second of each that has two, and so on. Nodes take turns, and those of
// different packages before those of the same; within a node so do the groups that share the last cache.
function spread(cpus: TopologyCpu[], machine: Topology): TopologyCpu[] {
  return tiers(cpus).flatMap((tier) => {
    const packages = groups(tier, (cpu) => cpu.package);
    const nodes = interleaved(
      packages.map((group) => groups(group, (cpu) => cpu.node)),
    );
    return interleaved(
      nodes.map((node) => interleaved(groups(node, lastCache(machine)))),
    );
  });
}

// A node with many cores first, so that few nodes are needed; within a node cores before siblings, and those that
// share the last cache together.
function pack(cpus: TopologyCpu[], machine: Topology): TopologyCpu[] {
  return groups(cpus, (cpu) => cpu.node)
    .map((node) => tiers(node))
    .sort((a, b) => b[0]!.length - a[0]!.length)
    .flat().flatMap((tier) => groups(tier, lastCache(machine)).flat());
}

function tiers(cpus: TopologyCpu[]): TopologyCpu[][] {
  const seen = new Map<number, number>();
  const found: TopologyCpu[][] = [];
  for (const cpu of cpus) {
    const rank = seen.get(cpu.core) ?? 0;
    seen.set(cpu.core, rank + 1);
    (found[rank] ??= []).push(cpu);
  }
  return found;
}

// A name for what shares the largest cache with the CPU.
function lastCache({ caches }: Topology): (cpu: TopologyCpu) => number {
  const names = new Map<number, number>();
  for (const { cpus } of caches) { // the larger levels come later
    for (const cpu of cpus) names.set(cpu, cpus[0]!);
  }
  return ({ id, core }) => names.get(id) ?? core;
}

// In the order of their first members.
function groups<T>(items: readonly T[], keyOf: (item: T) => number): T[][] {
  return [...Map.groupBy(items, keyOf).values()];
}

// The first of each, then the second of each, and so on.
function interleaved<T>(lists: readonly T[][]): T[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  const rounds = Array.from(
    { length: longest },
    (_, at) => lists.flatMap((items) => items.slice(at, at + 1)),
  );
  return rounds.flat();
}

function memoryNodeOf(id: number, { nodes }: Topology): number {
  const own = nodes.find((node) => node.id === id);
  const usable = nodes.flatMap(({ id, allowed, memory }, at) =>
    allowed && memory > 0 ? [{ id, distance: own?.distances[at] ?? 0 }] : []
  );
  if (usable.some((node) => node.id === id)) return id;
  const [nearest] = usable.sort((a, b) => a.distance - b.distance);
  return nearest?.id ?? id;
}
