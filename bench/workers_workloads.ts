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
  ["tcp-64b-1", "workers-tcp-1"],
  ["tcp-64b-16", "workers-tcp-16"],
  ["broadcast-1000", "workers-publish-1000"],
]);

// The code of each worker is compiled by itself: with four, on a quarter of the core.
const WARMUP_SECONDS = 3;

/** Those of some workloads that servers with many workers are asked for too, as they are asked. */
export function onWorkers(workloads: readonly Workload[]): Workload[] {
  return workloads.flatMap((workload) => {
    const name = NAMES.get(workload.name);
    return name === undefined ? [] : [{
      ...workload,
      name,
      workers: true,
      ...each(workload),
      warmup: WARMUP_SECONDS,
    }];
  });
}

// With fewer connections than a server without workers, a worker would do less in a turn, and what a turn costs would
// be divided by less. What is published goes to so many subscribers, whoever has them.
function each({ title, path, connections }: Workload): Partial<Workload> {
  if (path === "/subscribe") return {};
  return {
    title: `${title}, connections of each worker: ${connections}`,
    connectionsEach: true,
  };
}
