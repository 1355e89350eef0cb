// SPDX-License-Identifier: Apache-2.0
// workers_workloads.ts - what is asked of servers on many threads, and of the same on one: what further workers cost in
// CPU for each answer. All of them share the one core of the server.
import type { Workload } from "./workloads.ts";

// So many that each of four workers has full turns, as it has on a machine where it is alone on its core.
const CONNECTIONS = 512;
const SIZE = 64;
const SUBSCRIBERS = 1000;
const PUBLISHED = 4;
// The code of each worker is compiled by itself: with four, on a quarter of the core.
const WARMUP_SECONDS = 3;

type Asked = Pick<
  Workload,
  "title" | "protocol" | "path" | "inFlight" | "extra"
>;

/** Workloads of servers with many workers. */
export const WORKERS_WORKLOADS: readonly Workload[] = [
  http(1),
  http(16),
  websocket(1),
  websocket(16),
  tcp(1),
  tcp(16),
  onWorkers(`publish-${SUBSCRIBERS}`, SUBSCRIBERS, {
    title: `deliveries of ${SIZE} B of text to ${
      SUBSCRIBERS.toLocaleString("en")
    } subscribers`,
    protocol: "ws",
    path: "/subscribe",
    inFlight: PUBLISHED,
    extra: ["--publish", "/publish", "--text", "--payload", String(SIZE)],
  }),
];

function http(inFlight: number): Workload {
  return onWorkers(`http-${inFlight}`, CONNECTIONS, {
    title: `HTTP plaintext, ${inFlight} in flight`,
    protocol: "http",
    path: "/plaintext",
    inFlight,
    extra: ["--expect", "Hello, World!"],
  });
}

function websocket(inFlight: number): Workload {
  return onWorkers(`ws-${inFlight}`, CONNECTIONS, {
    title: `WebSocket echo, ${SIZE} B binary, ${inFlight} in flight`,
    protocol: "ws",
    path: "/ws",
    inFlight,
    extra: ["--binary", "--payload", String(SIZE)],
  });
}

function tcp(inFlight: number): Workload {
  return onWorkers(`tcp-${SIZE}b-${inFlight}`, CONNECTIONS, {
    title: `TCP echo, ${SIZE} B, ${inFlight} in flight`,
    protocol: "tcp",
    path: "/",
    inFlight,
    extra: ["--payload", String(SIZE)],
  });
}

function onWorkers(
  name: string,
  connections: number,
  asked: Asked,
): Workload {
  return {
    ...asked,
    name: `workers-${name}`,
    title: `Workers: ${asked.title}`,
    connections,
    workers: true,
    warmup: WARMUP_SECONDS,
  };
}
