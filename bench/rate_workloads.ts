// SPDX-License-Identifier: Apache-2.0
// rate_workloads.ts - latency below saturation: requests come on a schedule that is the same for every server, and
// that the slowest of them keeps up with.
import type { Workload } from "./workloads.ts";

const FEW = 64;
const MANY = 512;
const PAYLOAD = 64;
// More than any server has on its way at these rates; of HTTP, whose clients do not pipeline, one request.
const UNANSWERED = 64;

type Asked = Pick<Workload, "protocol" | "path" | "inFlight" | "extra">;

const ASKED: Readonly<Record<"http" | "ws" | "tcp", Asked>> = {
  http: {
    protocol: "http",
    path: "/plaintext",
    inFlight: 1,
    extra: ["--expect", "Hello, World!"],
  },
  ws: {
    protocol: "ws",
    path: "/ws",
    inFlight: UNANSWERED,
    extra: ["--binary", "--payload", String(PAYLOAD)],
  },
  tcp: {
    protocol: "tcp",
    path: "/",
    inFlight: UNANSWERED,
    extra: ["--payload", String(PAYLOAD)],
  },
};

const TITLES = {
  http: "HTTP plaintext",
  ws: `WebSocket echo, ${PAYLOAD} B binary`,
  tcp: `TCP echo, ${PAYLOAD} B`,
} as const;

// What a compiler does meanwhile is in the latencies of a server that has just started, and in no other's.
const WARMUP_SECONDS = 2;

/** Workloads whose requests come at a fixed rate. */
export const RATE_WORKLOADS: readonly Workload[] = [
  { ...atRate("http", 10, FEW), minor: true },
  atRate("http", 40, FEW),
  atRate("ws", 40, FEW),
  { ...atRate("ws", 40, MANY), minor: true },
  atRate("tcp", 40, FEW),
];

function atRate(
  kind: keyof typeof ASKED,
  thousands: number,
  connections: number,
): Workload {
  const many = connections === FEW ? "" : `-${connections}`;
  return {
    ...ASKED[kind],
    name: `${kind}-rate-${thousands}k${many}`,
    title: `${TITLES[kind]}, ${thousands},000 a second` +
      (connections === FEW ? "" : `, connections: ${connections}`),
    connections,
    rate: thousands * 1000,
    warmup: WARMUP_SECONDS,
  };
}
