// SPDX-License-Identifier: Apache-2.0
// workers_workloads.ts - what is asked of servers on many threads, and of the same on one: what further workers cost in
// CPU for each answer. All of them share the one core of the server.
import type { Workload } from "./workloads.ts";

// What they are called, by the workloads that they are otherwise.
const NAMES: ReadonlyMap<string, string> = new Map([
  ["http-1", "workers-http-1"],
  ["http-16", "workers-http-16"],
  ["ws-1", "workers-ws-1"],
  ["ws-16", "workers-ws-16"],
  ["tcp-64b-16", "workers-tcp-16"],
  ["broadcast-1000", "workers-publish-1000"],
]);

// For each worker, as each compiles its code by itself.
const WARMUP_SECONDS = 1;

/** Those of some workloads that servers with many workers are asked for too. */
export function onWorkers(workloads: readonly Workload[]): Workload[] {
  return workloads.flatMap((workload) => {
    const name = NAMES.get(workload.name);
    if (name === undefined) return [];
    const asked = { ...workload, name, warmup: WARMUP_SECONDS };
    // What is published goes to so many subscribers, whoever has them.
    if (workload.path === "/subscribe") return { ...asked, workers: "share" };
    const title = `${workload.title}, on each worker's ` +
      `${workload.connections} connections`;
    return { ...asked, title, workers: "each" };
  });
}

/**
 * A workload as a server with so many workers is asked for it. With fewer connections than a server without workers has,
 * a worker would do less in a turn, and what a turn costs would be divided by less.
 */
export function forWorkers(workload: Workload, workers = 1): Workload {
  if (workload.workers === undefined) return workload;
  const { connections, warmup = 0 } = workload;
  return {
    ...workload,
    connections: connections * (workload.workers === "each" ? workers : 1),
    warmup: warmup * workers,
  };
}
