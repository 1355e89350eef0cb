// SPDX-License-Identifier: Apache-2.0
// workers_placement.ts - on which processor each worker is to run; used by workers_server.ts.

/** How workers are spread over the machine. */
export type AffinityPolicy = "core" | "numa" | "none";

/** What decides it. */
export interface PlacementWish {
  workers: number;
  affinity: AffinityPolicy;
  /** The NUMA node to prefer; -1 for any. */
  numa: number;
}

/** The processor of each worker by its number; null where the system is to choose. */
export function placementOf(
  { workers }: PlacementWish,
): readonly (number | null)[] {
  return Array.from({ length: workers }, () => null);
}
