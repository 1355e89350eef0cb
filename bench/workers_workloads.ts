// SPDX-License-Identifier: Apache-2.0
// workers_workloads.ts - what is asked of servers on many threads, and of the same on one: what further workers cost in
// CPU for each answer. All of them share the one core of the server.
import type { Workload } from "./workloads.ts";
import { PUBLISH } from "./ws_workloads.ts";

// What servers with many workers are asked for too.
const NAMES = ["http-1", "http-16", "ws-1", "ws-16", "tcp-64b-16"];

// For each worker, as each compiles its code by itself.
const WARMUP_SECONDS = 1;

/** Those of all workloads that are asked of servers with many workers too, and what is published by one of them. */
export function onWorkers(workloads: readonly Workload[]): Workload[] {
  const answered = workloads.filter(({ name }) => NAMES.includes(name));
  return [
    ...answered.map((workload): Workload => ({
      ...workload,
      name: `workers-${workload.name}`,
      title: `${workload.title}, connections of each worker: ` +
        workload.connections,
      workers: "each",
      warmup: WARMUP_SECONDS,
    })),
    {
      ...PUBLISH,
      name: `workers-publish-${PUBLISH.connections}`,
      workers: "share",
      warmup: WARMUP_SECONDS,
    },
  ];
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
