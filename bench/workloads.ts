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
  /** What the server runs instead of the routes of all other workloads. */
  readonly app?: "hono";
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
const MANY_CONNECTIONS = 512;
const PAYLOAD_BYTES = 64;
const POST_BYTES = 4096;
const LARGE_BYTES = 1024 * 1024;

/** The workloads that compare throughput and latency. */
export const WORKLOADS: readonly Workload[] = [
  plaintext("http-1", CONNECTIONS, 1),
  plaintext("http-1-512", MANY_CONNECTIONS, 1),
  plaintext("http-16", CONNECTIONS, 16),
  plaintext("http-latency", 1, 1),
  ...onFewAndMany("json", "JSON with three header fields", {
    path: "/json",
    extra: [
      "--expect",
      '{"message":"Hello, World!"}',
      "--expect-field",
      "cache-control: no-store",
      "--expect-field",
      "x-request-id: 4f9c1d2e",
      "--expect-field",
      "x-content-type-options: nosniff",
    ],
  }),
  ...onFewAndMany("post", `POST of ${POST_BYTES} B, echoed`, {
    path: "/echo",
    extra: ["--method", "POST", "--body", String(POST_BYTES)],
  }),
  ...onFewAndMany("download", "GET of 1 MiB", {
    path: "/download",
    extra: ["--expect-payload", String(LARGE_BYTES)],
  }),
  ...onFewAndMany("upload", "POST of 1 MiB, answered with its length", {
    path: "/upload",
    extra: [
      "--method",
      "POST",
      "--body",
      String(LARGE_BYTES),
      "--expect",
      String(LARGE_BYTES),
    ],
  }),
  ...onFewAndMany("hono", "a Hono app that says hello", {
    path: "/",
    app: "hono",
    extra: ["--expect", "Hello Hono!"],
  }),
  echo(1, "binary"),
  echo(16, "binary"),
  echo(16, "text"),
];

function plaintext(
  name: string,
  connections: number,
  inFlight: number,
): Workload {
  return {
    name,
    title: `HTTP plaintext, ${inFlight} in flight${on(connections)}`,
    protocol: "http",
    path: "/plaintext",
    connections,
    inFlight,
    extra: ["--expect", "Hello, World!"],
  };
}

// HTTP with one request in flight on each connection.
function onFewAndMany(
  name: string,
  what: string,
  asked: Pick<Workload, "path" | "app" | "extra">,
): Workload[] {
  return [CONNECTIONS, MANY_CONNECTIONS].map((connections) => ({
    name: connections === CONNECTIONS ? name : `${name}-${connections}`,
    title: `HTTP, ${what}${on(connections)}`,
    protocol: "http",
    connections,
    inFlight: 1,
    ...asked,
  }));
}

function on(connections: number): string {
  return connections === CONNECTIONS ? "" : `, connections: ${connections}`;
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
