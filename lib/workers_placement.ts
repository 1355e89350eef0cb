// SPDX-License-Identifier: Apache-2.0
// workers_placement.ts - how many workers there are and to which processors each is bound; used by workers_options.ts.

import { type PlacementPolicy, plan } from "./placement.ts";
import { type Topology, topology } from "./topology.ts";

/** How workers are spread over the machine. */
export type AffinityPolicy = "core" | "numa" | "none";

/** What decides it. */
export interface PlacementWish {
  workers: number | "auto";
  affinity: AffinityPolicy | PlacementPolicy;
  /** The NUMA node to which workers are bound; -1 for any. */
  numa: number;
}

/** Where one worker runs. */
export interface WorkerPlacement {
  /** The processors that it is bound to: all of the same node. */
  cpus: readonly number[];
  /** The NUMA node of these. */
  node: number;
  /** The node its memory is to come from. */
  memoryNode: number;
}

/**
 * The placement of each worker by its number, null where the system is to choose; at most `most` of them. Throws a
 * RangeError for a processor or a node that there is not.
 */
export function placementsOf(
  { workers, affinity, numa }: PlacementWish,
  most: number,
  machine: Topology = topology(),
): (WorkerPlacement | null)[] {
  const places = plan(workers, policyOf(affinity, numa), machine)
    .slice(0, most);
  if (affinity === "none") return places.map(() => null);
  const taken = new Set(places.map(({ cpu }) => cpu));
  const alone = affinity !== "numa" && taken.size === places.length;
  const mayUse = machine.cpus.filter(({ id, allowed }) =>
    affinity === "numa" ? allowed : taken.has(id)
  );
  return places.map(({ cpu, node, memoryNode }) => {
    // Workers that must share processors are left to the system, but for their node: it moves them to one that is idle.
    const shared = mayUse.filter((one) => one.node === node);
    const cpus = alone ? [cpu] : shared.map(({ id }) => id);
    return { cpus, node, memoryNode };
  });
}

function policyOf(
  affinity: AffinityPolicy | PlacementPolicy,
  numa: number,
): PlacementPolicy {
  if (typeof affinity === "object" || affinity === "pack") return affinity;
  return numa === -1 ? "spread" : { node: numa };
}
