// SPDX-License-Identifier: Apache-2.0
// starvation.ts - whether a loop at full load starves the application: deep WebSocket pipelines, two or many, keep
// the server busy while another connection asks, one at a time, for answers whose handler awaits something.
import type { Probe, Workload } from "./workloads.ts";

/** The bound on the 99th percentile of an awaiting handler under full load. */
export const STARVATION_P99_MS_MAX = 20;

const PROBES = 200;

const SLEEP: Probe = {
  path: "/sleep",
  expect: "slept",
  count: PROBES,
  upstream: false,
};

const FETCH: Probe = {
  path: "/fetch",
  expect: "fetched",
  count: PROBES,
  upstream: true,
};

/** Full load with a probe beside it. */
export const STARVATION_WORKLOADS: readonly Workload[] = [
  starve("sleep", "a timer of 1 ms", SLEEP, 2, 1024),
  starve("fetch", "a fetch from another server", FETCH, 2, 1024),
  starve("sleep-512", "a timer of 1 ms", SLEEP, 512, 16),
];

function starve(
  name: string,
  what: string,
  probe: Probe,
  connections: number,
  inFlight: number,
): Workload {
  return {
    name: `starvation-${name}`,
    title:
      `A handler that awaits ${what} beside ${connections} saturating WebSockets`,
    protocol: "ws",
    path: "/ws",
    connections,
    inFlight,
    extra: ["--binary", "--payload", "64"],
    probe,
  };
}
