// SPDX-License-Identifier: Apache-2.0
// churn_workloads.ts - connections that are opened for one request and closed behind it.
import type { Workload } from "./workloads.ts";

const SLOTS = 64;
const PAYLOAD = 64;

/** Workloads whose every request has a connection of its own. */
export const CHURN_WORKLOADS: readonly Workload[] = [
  {
    name: "http-churn",
    title: `HTTP plaintext, a connection each, ${SLOTS} at a time`,
    protocol: "http",
    path: "/plaintext",
    connections: SLOTS,
    inFlight: 1,
    churn: true,
    extra: ["--churn", "--expect", "Hello, World!"],
  },
  {
    name: "ws-churn",
    title: "WebSocket handshake, echo and close handshake, " +
      `a connection each, ${SLOTS} at a time`,
    protocol: "ws",
    path: "/ws",
    connections: SLOTS,
    inFlight: 1,
    churn: true,
    extra: ["--churn", "--binary", "--payload", String(PAYLOAD)],
  },
];
