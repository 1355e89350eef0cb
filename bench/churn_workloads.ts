// SPDX-License-Identifier: Apache-2.0
// churn_workloads.ts - connections that are opened for one request and closed behind it.
import type { Workload } from "./workloads.ts";

const SLOTS = 64;
const PAYLOAD = 64;
// In the warm-up and in the window. The server's end of each connection is remembered for a minute: ten contenders
// stay below what a kernel remembers at most (net.ipv4.tcp_max_tw_buckets, 131,072 on most machines).
const CONNECTIONS_MAX = 5000;

/** HTTP requests that have a connection of their own each. */
export const HTTP_CHURN: Workload = {
  name: "http-churn",
  title: `HTTP plaintext, a connection each, ${SLOTS} at a time`,
  protocol: "http",
  path: "/plaintext",
  extra: ["--expect", "Hello, World!", ...churn()],
  connections: SLOTS,
  inFlight: 1,
  churn: true,
};

/** WebSockets that are opened for one message. */
export const WS_CHURN: Workload = {
  name: "ws-churn",
  title: "WebSocket handshake, echo and close handshake, " +
    `a connection each, ${SLOTS} at a time`,
  protocol: "ws",
  path: "/ws",
  extra: ["--binary", "--payload", String(PAYLOAD), ...churn()],
  connections: SLOTS,
  inFlight: 1,
  churn: true,
};

function churn(): string[] {
  return ["--churn", "--answers", String(CONNECTIONS_MAX)];
}
