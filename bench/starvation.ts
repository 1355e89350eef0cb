// SPDX-License-Identifier: Apache-2.0
// starvation.ts - whether a loop at full load starves the application: two deep WebSocket pipelines keep the
// server busy while another connection asks, one at a time, for answers whose handler awaits something.
import type { Probe, Workload } from "./workloads.ts";

/** The bound on the 99th percentile of an awaiting handler under full load. */
export const STARVATION_P99_MS_MAX = 20;

const PROBES = 200;

/** Full load on two connections, with a probe beside it. */
export const STARVATION_WORKLOADS: readonly Workload[] = [
  starve("sleep", "a timer of 1 ms", {
    path: "/sleep",
    expect: "slept",
    count: PROBES,
    upstream: false,
  }),
  starve("fetch", "a fetch from another server", {
    path: "/fetch",
    expect: "fetched",
    count: PROBES,
    upstream: true,
  }),
];

function starve(name: string, what: string, probe: Probe): Workload {
  return {
    name: `starvation-${name}`,
    title: `A handler that awaits ${what} beside 2 saturating WebSockets`,
    protocol: "ws",
    path: "/ws",
    connections: 2,
    inFlight: 1024,
    extra: ["--binary", "--payload", "64"],
    probe,
  };
}
