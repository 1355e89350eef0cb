// SPDX-License-Identifier: Apache-2.0
// workloads.ts - what is asked of every contender, over HTTP; see ws_workloads.ts, tcp_workloads.ts,
// rpc_workloads.ts, rate_workloads.ts, churn_workloads.ts, starvation.ts and workers_workloads.ts for the others.
import { HTTP_CHURN, WS_CHURN } from "./churn_workloads.ts";
import { RATE_WORKLOADS } from "./rate_workloads.ts";
import { RPC_WORKLOADS } from "./rpc_workloads.ts";
import { STARVATION_WORKLOADS } from "./starvation.ts";
import { TCP_WORKLOADS } from "./tcp_workloads.ts";
import { onWorkers } from "./workers_workloads.ts";
import { WS_WORKLOADS } from "./ws_workloads.ts";

/** One kind of load. */
export interface Workload {
  readonly name: string;
  readonly title: string;
  readonly protocol: "http" | "ws" | "tcp";
  readonly path: string;
  readonly connections: number;
  /** Requests that are unanswered on each connection; with a rate, the most that may be. */
  readonly inFlight: number;
  /** Requests a second, sent on a schedule instead of when others are answered. */
  readonly rate?: number;
  /** Every request has a connection of its own, which the server closes. */
  readonly churn?: true;
  /** The system calls that the server makes are counted too, once. */
  readonly syscalls?: true;
  /** How evenly the connections are served is shown. */
  readonly evenness?: true;
  /** Says little that another workload does not: measured in the first round alone, unless it is asked for. */
  readonly minor?: true;
  /** Seconds before the window that it takes at least. */
  readonly warmup?: number;
  /**
   * Asked of servers on many threads, and of the same on one; without it, of servers on one thread alone. Each worker
   * has so many connections, or they share them.
   */
  readonly workers?: "each" | "share";
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
  { ...plaintext("http-1", CONNECTIONS, 1), syscalls: true },
  plaintext("http-1-512", MANY_CONNECTIONS, 1),
  { ...plaintext("http-16", CONNECTIONS, 16), syscalls: true },
  {
    ...plaintext("http-16-512", MANY_CONNECTIONS, 16),
    evenness: true,
    minor: true,
  },
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
  HTTP_CHURN,
  ...WS_WORKLOADS,
  WS_CHURN,
  ...TCP_WORKLOADS,
  ...RPC_WORKLOADS,
  ...RATE_WORKLOADS,
  ...STARVATION_WORKLOADS,
  ...onWorkers([...HTTP_WORKLOADS, ...WS_WORKLOADS, ...TCP_WORKLOADS]),
];

/** What is left of it in a quick run. */
export const QUICK_WORKLOADS: readonly string[] = [
  "http-1",
  "http-16",
  "json",
  "post",
  "ws-1",
  "ws-16",
  "ws-16b-128",
  "ws-16k-1",
  "tcp-64b-16",
  "http-rate-40k",
  "ws-rate-40k",
  "http-churn",
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
    ...(connections === CONNECTIONS ? {} : { minor: true }),
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
