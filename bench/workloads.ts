// SPDX-License-Identifier: Apache-2.0
// workloads.ts - what is asked of every contender.

/** One kind of load. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly protocol: "http" | "ws";
  readonly path: string;
  readonly connections: number;
  readonly inFlight: number;
  /** Further arguments of the load client. */
  readonly extra: readonly string[];
  /** What is asked one at a time beside the load, and what must come back. */
  readonly probe?: Probe;
}

/** Requests whose handler awaits something. */
export interface Probe {
  readonly path: string;
  readonly expect: string;
  readonly count: number;
  /** The handler fetches from a server inside the load client. */
  readonly upstream: boolean;
}

const CONNECTIONS = 64;
const PAYLOAD_BYTES = 64;

/** The workloads that compare throughput and latency. */
export const WORKLOADS: readonly Workload[] = [
  plaintext(1),
  plaintext(16),
  echo(1, "binary"),
  echo(16, "binary"),
  echo(16, "text"),
];

function plaintext(inFlight: number): Workload {
  return {
    name: `http-${inFlight}`,
    title: `HTTP plaintext, ${inFlight} in flight`,
    protocol: "http",
    path: "/plaintext",
    connections: CONNECTIONS,
    inFlight,
    extra: ["--expect", "Hello, World!"],
  };
}

function echo(inFlight: number, kind: "binary" | "text"): Workload {
  return {
    name: kind === "text" ? `ws-text-${inFlight}` : `ws-${inFlight}`,
    title: `WebSocket echo, ${PAYLOAD_BYTES} B ${kind}, ${inFlight} in flight`,
    protocol: "ws",
    path: "/ws",
    connections: CONNECTIONS,
    inFlight,
    extra: [`--${kind}`, "--payload", String(PAYLOAD_BYTES)],
  };
}
