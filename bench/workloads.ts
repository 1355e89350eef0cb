// SPDX-License-Identifier: Apache-2.0
// workloads.ts - what is asked of every contender, over HTTP; see ws_workloads.ts, tcp_workloads.ts,
// rpc_workloads.ts and starvation.ts for the others.
import { RPC_WORKLOADS } from "./rpc_workloads.ts";
import { STARVATION_WORKLOADS } from "./starvation.ts";
import { TCP_WORKLOADS } from "./tcp_workloads.ts";
import { WS_WORKLOADS } from "./ws_workloads.ts";

/** One kind of load. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly protocol: "http" | "ws" | "tcp";
  readonly path: string;
  readonly connections: number;
  readonly inFlight: number;
  /** What the server runs instead of the routes of all other workloads. */
  readonly app?: "hono" | "static";
  /** What the bodies of packets are; without it, nothing is asked of the action router. */
  readonly codec?: "json" | "protobuf";
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
const POST_BYTES = 4096;
const LARGE_BYTES = 1024 * 1024;

const HTTP_WORKLOADS: readonly Workload[] = [
  plaintext("http-1", CONNECTIONS, 1),
  plaintext("http-1-512", MANY_CONNECTIONS, 1),
  plaintext("http-16", CONNECTIONS, 16),
  plaintext("http-latency", 1, 1),
  fromTable("static-1", 1),
  fromTable("static-16", 16),
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
];

/** Everything that is measured, in this order. */
export const WORKLOADS: readonly Workload[] = [
  ...HTTP_WORKLOADS,
  ...WS_WORKLOADS,
  ...TCP_WORKLOADS,
  ...RPC_WORKLOADS,
  ...STARVATION_WORKLOADS,
];

/** What is left of it in a quick run. */
export const QUICK_WORKLOADS: readonly string[] = [
  "http-1",
  "http-16",
  "json",
  "post",
  "download",
  "upload",
  "hono",
  "ws-1",
  "ws-16",
  "ws-16b-128",
  "ws-16k-1",
  "ws-1m-1",
  "ws-json-1",
  "broadcast-1000",
  "tcp-64b-1",
  "tcp-64b-16",
  "tcp-16k-1",
  "rpc-tcp-json-16",
  "rpc-ws-protobuf-16",
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

// The same answer from a table of routes, where a server has one; the others have their handler give it.
function fromTable(name: string, inFlight: number): Workload {
  return {
    ...plaintext(name, CONNECTIONS, inFlight),
    title: `HTTP, a static route, ${inFlight} in flight`,
    app: "static",
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
