// SPDX-License-Identifier: Apache-2.0
// options.ts - everything that can be said to stress(), with defaults; checked here, once, into a plan; used by
// ../stress.ts.

import type { BackendName } from "../../ffi/mod.ts";
import { checkedBackend } from "../options.ts";
import {
  requireInteger,
  requireKnown,
  requireLocalAddress,
  requireSignal,
  requireTypes,
} from "../route_options.ts";
import { requestOf } from "./http_request.ts";
import { QUEUE_BYTES } from "./sources.ts";
import { headersOf, targetOf } from "./target.ts";

/** What is put under load: WebSockets, HTTP/1.1, plain TCP or Unix sockets, or an action of the router. */
export type StressKind = "ws" | "http" | "tcp" | "rpc";

/** What is told about while the load runs. */
export interface StressProgress {
  /** What is going on. */
  phase: "connecting" | "load" | "closing";
  /** Milliseconds since the load began; 0 before. */
  elapsed: number;
  /** Connections that are open. */
  open: number;
  /** Messages that were sent. */
  sent: number;
  /** Answers that have come. */
  answered: number;
  /** Errors of all kinds. */
  errors: number;
  /** Median latency so far in microseconds; with several workers, that of the slowest. */
  p50: number;
  /** What 99 of 100 answers took at most, in the same way. */
  p99: number;
}

/** What {@linkcode stress} is to do. */
export interface StressOptions {
  /** What is put under load. */
  kind: StressKind;
  /**
   * Where to: `ws://host:port/path`, `http://host:port/path`, `tcp://host:port`, `unix:path`; for `rpc` one of a
   * WebSocket or a socket.
   */
  url: string | URL;
  /**
   * Connections that are opened and held.
   *
   * @default {50}
   */
  connections?: number;
  /**
   * Milliseconds for which the load goes on once all connections stand. With `requests` as long as it takes, unless
   * it is given.
   *
   * @default {10000}
   */
  hold?: number;
  /** Ends the load after so many messages, or when `hold` is over if that is given and comes first. */
  requests?: number;
  /**
   * Messages a second of all connections together, sent by a schedule whatever the server does (an open loop); 0 only
   * holds the connections, and 10 million is the most. Without it each answer has the next message sent (a closed loop).
   */
  rate?: number;
  /** Milliseconds between two messages of one connection: another way to say `rate`. */
  interval?: number;
  /**
   * Messages of one connection that may wait for their answers.
   *
   * @default {1; with a rate 64, and 1 for HTTP}
   */
  pipeline?: number;
  /**
   * What is sent: so many bytes, or this text. For HTTP the body of the request.
   *
   * @default {64; for HTTP nothing}
   */
  payload?: number | string;
  /**
   * Whether WebSocket messages are text.
   *
   * @default {true where the payload is a text}
   */
  text?: boolean;
  /** Connections that are opened in a second. By default as many as the server accepts. */
  ramp?: number;
  /**
   * Compares each answer with what was sent, byte for byte; each message then differs from all others. Of HTTP, and
   * where `expect` is given, with that.
   *
   * @default {false}
   */
  verify?: boolean;
  /** What each answer has to be; implies `verify`. */
  expect?: string;
  /**
   * Method of HTTP requests.
   *
   * @default {"GET", with a payload "POST"}
   */
  method?: string;
  /** Header fields of HTTP requests and WebSocket handshakes. */
  headers?: HeadersInit;
  /**
   * How bodies of calls are encoded.
   *
   * @default {"json"}
   */
  codec?: "json" | "raw" | "msgpack";
  /**
   * The action that is called.
   *
   * @default {1}
   */
  action?: number;
  /** Body of calls in place of a payload: any value that the codec takes. */
  body?: unknown;
  /** Subprotocol that WebSocket handshakes offer. */
  subprotocol?: string;
  /**
   * Has WebSockets offer permessage-deflate.
   *
   * @default {false}
   */
  compression?: boolean;
  /**
   * Threads that share the connections.
   *
   * @default {1}
   */
  workers?: number;
  /**
   * Milliseconds for connecting, and for an answer; what takes longer is an error.
   *
   * @default {10000}
   */
  timeout?: number;
  /** Addresses to connect from, in turns. One has some 28,000 ports for each address of a server. */
  sources?: readonly string[];
  /**
   * The kernel interface of the client.
   *
   * @default {"auto"}
   */
  backend?: "auto" | BackendName;
  /** Ends the load early, in order, when it aborts. */
  signal?: AbortSignal;
  /** Told twice a second how it goes. */
  onProgress?: (progress: StressProgress) => void;
}

/** All that is to be done, checked; can be posted to a worker. */
export interface Plan {
  kind: StressKind;
  url: string;
  connections: number;
  /** Number of the first connection among those of all workers, and how many those are. */
  first: number;
  total: number;
  hold: number;
  /** Infinity where time alone ends the load. */
  requests: number;
  /** Milliseconds between two messages of one connection, Infinity for none at all; null in a closed loop. */
  period: number | null;
  pipeline: number;
  payload: number | string | null;
  text: boolean;
  /** Connections a second; Infinity for as many as the server accepts. */
  ramp: number;
  /** Connections that may be in the making at a time. */
  atOnce: number;
  verify: boolean;
  expect: string | null;
  method: string;
  headers: [string, string][];
  codec: "json" | "raw" | "msgpack";
  action: number;
  /** Undefined for the payload. */
  body: unknown;
  subprotocol: string | undefined;
  compression: boolean;
  timeout: number;
  sources: string[];
  backend: "auto" | BackendName;
}

const ACTION = "run the load";
const KINDS = ["ws", "http", "tcp", "rpc"];
const CODECS = ["json", "raw", "msgpack"];

const TYPES = {
  text: "boolean",
  verify: "boolean",
  expect: "string",
  method: "string",
  compression: "boolean",
  subprotocol: "string",
  onProgress: "function",
} as const;

const COMMON = [
  "kind",
  "url",
  "connections",
  "hold",
  "requests",
  "rate",
  "interval",
  "pipeline",
  "payload",
  "ramp",
  "verify",
  "expect",
  "workers",
  "timeout",
  "sources",
  "backend",
  "signal",
  "onProgress",
];

// What has no effect on a kind is refused there, since it would be taken for something that has.
const OWN: Record<StressKind, string[]> = {
  ws: ["text", "headers", "subprotocol", "compression"],
  http: ["method", "headers"],
  tcp: [],
  rpc: ["codec", "action", "body", "subprotocol"],
};

const PAYLOAD_BYTES = 64;
const OPEN_LOOP_PIPELINE = 64;
// Of all workers together: fewer than fit the backlog of most servers.
const CONNECTING_AT_ONCE = 256;
// What a loop of clients takes.
const WORKER_CONNECTIONS = 65_536;
// More than any client sends. What is due and cannot be sent is counted all the same, which takes time.
const RATE_MAX = 10_000_000;
const DAY_MS = 86_400_000;

/** Fills in defaults. Throws a TypeError, RangeError or SyntaxError that names what is wrong. */
export function planOf(options: StressOptions): Plan {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot ${ACTION}: the options must be an object`);
  }
  const { kind, timeout = 10_000, expect } = options;
  if (!KINDS.includes(kind)) throw wrong("kind", KINDS, kind);
  requireKnown(ACTION, options, [...COMMON, ...OWN[kind]]);
  requireTypes(ACTION, options, TYPES);
  requireSignal(ACTION, options.signal);
  const { connections = 50, workers = 1, requests } = options;
  const { hold = defaultHold(options) } = options;
  requireInteger(ACTION, "connections", connections, 1, 1 << 20);
  requireInteger(ACTION, "workers", workers, 1, Math.min(256, connections));
  requireInteger(ACTION, "hold", hold, 1, DAY_MS);
  requireInteger(ACTION, "timeout", timeout, 1, DAY_MS);
  if (requests !== undefined) {
    requireInteger(ACTION, "requests", requests, 1, Number.MAX_SAFE_INTEGER);
  }
  requireWorkers(connections, workers);
  const period = periodOf(options, connections);
  requireSeen(options);
  const payload = payloadOf(options);
  const { codec = "json", action = 1, backend = "auto" } = options;
  if (!CODECS.includes(codec)) throw wrong("codec", CODECS, codec);
  requireInteger(ACTION, "action", action, -32768, 32767);
  const plan: Plan = {
    kind,
    url: targetOf(kind, String(options.url)).url,
    connections,
    first: 0,
    total: connections,
    hold,
    requests: requests ?? Infinity,
    period,
    pipeline: pipelineOf(options, period),
    payload,
    text: options.text ?? typeof payload === "string",
    ramp: options.ramp ?? Infinity,
    atOnce: Math.max(1, Math.floor(CONNECTING_AT_ONCE / workers)),
    verify: options.verify === true || expect !== undefined,
    expect: expect ?? null,
    method: options.method ?? (payload === null ? "GET" : "POST"),
    headers: headersOf(options.headers),
    codec,
    action,
    body: options.body,
    subprotocol: options.subprotocol,
    compression: options.compression ?? false,
    timeout,
    sources: sourcesOf(options),
    backend: checkedBackend(backend, ACTION),
  };
  requireRamp(options.ramp);
  requireRoom(plan);
  if (kind === "http") requestOf(plan);
  return plan;
}

/** Milliseconds of a load that was told none: a number of messages takes as long as it takes. */
export function defaultHold({ requests, rate }: StressOptions): number {
  return requests === undefined || rate === 0 ? 10_000 : DAY_MS;
}

/** The plan of each worker: its share of connections, messages and rates. */
export function sharesOf(plan: Plan, workers: number): Plan[] {
  const { connections, requests, ramp } = plan;
  return Array.from({ length: workers }, (_, at) => {
    const first = Math.floor(connections * at / workers);
    const own = Math.floor(connections * (at + 1) / workers) - first;
    const before = Math.floor(requests * at / workers);
    return {
      ...plan,
      first,
      connections: own,
      requests: requests === Infinity
        ? Infinity
        : Math.floor(requests * (at + 1) / workers) - before,
      ramp: ramp * own / connections,
    };
  });
}

function wrong(name: string, known: string[], value: unknown): TypeError {
  return new TypeError(
    `Cannot ${ACTION}: "${name}" must be one of ${known.join(", ")}, is ${
      Deno.inspect(value)
    }`,
  );
}

function requireWorkers(connections: number, workers: number): void {
  if (connections / workers <= WORKER_CONNECTIONS) return;
  const least = Math.ceil(connections / WORKER_CONNECTIONS);
  throw new RangeError(
    `Cannot ${ACTION}: a worker holds at most ${WORKER_CONNECTIONS} connections; ${connections} need ${least} workers`,
  );
}

function periodOf(
  { rate, interval }: StressOptions,
  connections: number,
): number | null {
  if (rate !== undefined && interval !== undefined) {
    throw new TypeError(
      `Cannot ${ACTION}: "rate" and "interval" say the same; give one of them`,
    );
  }
  if (interval !== undefined) {
    requireInteger(ACTION, "interval", interval, 1, DAY_MS);
    requireRate(connections * 1000 / interval);
    return interval;
  }
  if (rate === undefined) return null;
  requireNumber("rate", rate, 0);
  requireRate(rate);
  return rate === 0 ? Infinity : connections * 1000 / rate;
}

function requireRate(rate: number): void {
  if (rate <= RATE_MAX) return;
  throw new RangeError(
    `Cannot ${ACTION}: ${rate} messages a second are asked for, at most ${RATE_MAX} messages a second are possible`,
  );
}

function requireRamp(ramp: number | undefined): void {
  if (ramp !== undefined) requireNumber("ramp", ramp, Number.MIN_VALUE);
}

function requireNumber(name: string, value: number, least: number): void {
  if (typeof value === "number" && value >= least && value < Infinity) return;
  const what = least === 0 ? "a number from 0 on" : "a number above 0";
  throw new RangeError(
    `Cannot ${ACTION}: "${name}" must be ${what}, is ${Deno.inspect(value)}`,
  );
}

function pipelineOf(
  { kind, pipeline }: StressOptions,
  period: number | null,
): number {
  if (pipeline === undefined) {
    return period === null || kind === "http" ? 1 : OPEN_LOOP_PIPELINE;
  }
  requireInteger(ACTION, "pipeline", pipeline, 1, 16_384);
  return pipeline;
}

function payloadOf({ kind, payload, body }: StressOptions): Plan["payload"] {
  if (payload !== undefined && body !== undefined) {
    throw new TypeError(
      `Cannot ${ACTION}: give "payload" or "body", not both`,
    );
  }
  if (payload === undefined) return kind === "http" ? null : PAYLOAD_BYTES;
  if (typeof payload === "string") return payload;
  const least = kind === "tcp" ? 1 : 0;
  requireInteger(ACTION, "payload", payload, least, QUEUE_BYTES);
  return payload;
}

// In a stream nobody sees an empty message.
function requireSeen({ kind, payload, expect }: StressOptions): void {
  if (kind !== "tcp") return;
  for (const [name, text] of Object.entries({ payload, expect })) {
    if (text !== "") continue;
    throw new TypeError(
      `Cannot ${ACTION}: "${name}" must not be empty for a socket, which has no messages but their bytes`,
    );
  }
}

function requireRoom({ payload, pipeline }: Plan): void {
  const size = typeof payload === "number" ? payload : payload?.length ?? 0;
  if (size * pipeline <= QUEUE_BYTES) return;
  throw new RangeError(
    `Cannot ${ACTION}: ${pipeline} messages of ${size} bytes are more than the ${QUEUE_BYTES} bytes that may wait on a connection; give a smaller "pipeline"`,
  );
}

function sourcesOf(
  { kind, url, sources = [] }: StressOptions,
): string[] {
  for (const source of sources) requireLocalAddress(ACTION, source);
  if (sources.length === 0 || targetOf(kind, String(url)).isIp) {
    return [...sources];
  }
  throw new TypeError(`Cannot ${ACTION}: a Unix socket has no "sources"`);
}
