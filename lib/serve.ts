// SPDX-License-Identifier: Apache-2.0
// serve.ts - serve(), with the calls that Deno.serve accepts; makes an http_server.ts.

import type { HandlerInfo } from "./exchange.ts";
import { internalServerError } from "./http_response.ts";
import type { Handler } from "./http_host.ts";
import { type HttpServer, openServer } from "./http_server.ts";
import { addressOf } from "./listen_address.ts";
import { ENGINE_OPTION_NAMES, type EngineOptions } from "./options.ts";
import type { RequestTimeouts } from "./request_timeouts.ts";
import type { TopicListener } from "./topics.ts";
import type { TrailersInit } from "./trailers.ts";
import { requireSignal, requireTypes } from "./route_options.ts";

/**
 * What a handler is told beside the request.
 *
 * @typeParam Addr What addresses are like.
 */
export interface ServeHandlerInfo<Addr extends Deno.Addr = Deno.Addr> {
  /** The peer's address. */
  readonly remoteAddr: Addr;
  /**
   * Resolves when the kernel has taken the last byte of the response; rejects with `Deno.errors.Interrupted` when it
   * will not, because the peer has left or the response broke off. That it rejects while nobody waits for it is no
   * unhandled rejection. After an upgrade it resolves at once.
   */
  readonly completed: Promise<void>;
  /**
   * Sets other timeouts for this request than the server's options say, as a long poll or a slow upload needs them.
   * They hold until the response is complete; after that the call does nothing.
   *
   * @param timeouts What is to be different; 0 turns one off.
   */
  setTimeouts(timeouts: RequestTimeouts): void;
  /**
   * Trailer fields of the request, which are never merged into its headers. Resolves once all of the body has
   * arrived, so read the body first; without any, with empty headers. Rejects when the body breaks off. Fields that
   * must not come that late, such as `host`, `authorization` or `content-type`, are left out (RFC 9110 section
   * 6.5.1).
   */
  readonly trailers: Promise<Headers>;
  /**
   * Has the response end in trailer fields, and be sent in chunks for that, whatever its body is. Fields are named
   * in a `trailer` field; a function is called when the body has been sent, and for what it returns the handler may
   * name them itself. Should it throw, the response breaks off. A second call takes the place of the first.
   *
   * Ignored where trailers cannot be: in answers to HTTP/1.0 and to HEAD, and with statuses without a body. Most
   * clients drop trailers, unless they said `TE: trailers`.
   *
   * @param trailers The fields, or a function that returns them.
   * @throws {TypeError} When a field must not come that late, is malformed, or the response has begun.
   */
  setTrailers(trailers: TrailersInit): void;
  /**
   * Sends 103 Early Hints at once, any number of times before the handler returns. Nothing is sent to a client of
   * HTTP/1.0, nor to one that has left.
   *
   * @param headers Its fields, such as `link`.
   * @throws {TypeError} When a field is malformed, or the response has begun.
   */
  earlyHints(headers: HeadersInit): void;
}

/**
 * Answers a request. One that throws or rejects is answered by `onError`.
 *
 * @typeParam Addr What addresses are like.
 */
export type ServeHandler<Addr extends Deno.Addr = Deno.Addr> = (
  request: Request,
  info: ServeHandlerInfo<Addr>,
) => Response | Promise<Response>;

/**
 * Options of `Deno.serve` that do not depend on the transport, and those of the engine.
 *
 * @typeParam Addr What addresses are like.
 */
export interface ServeOptions<Addr extends Deno.Addr = Deno.Addr>
  extends EngineOptions {
  /** Closes the server and all its connections at once when it aborts. */
  signal?: AbortSignal;
  /**
   * Responses to GET and HEAD of exact paths, such as `{ "/health": new Response("ok") }`. They are known beforehand,
   * so that most of them are given without running JavaScript: those of up to 16 KiB with their heads. Their bodies are
   * text or bytes, and are copied when the server starts. Everything else is for the handler: other methods, other
   * paths, what only the decoded path has in common. A query does not count.
   */
  routes?: Readonly<Record<string, Response>>;
  /** Answers for a handler that threw or rejected. By default logs the error and answers 500. */
  onError?: (error: unknown) => Response | Promise<Response>;
  /** Told when the server listens. By default logs the address. */
  onListen?: (localAddr: Addr) => void;
  /** Told when a topic of WebSockets has got its first subscriber, or lost its last one. */
  onTopic?: TopicListener;
  /** Compresses as `Deno.serve` does, which is `compress` with a threshold of 64 bytes. */
  automaticCompression?: boolean;
}

/** Options of a server on TCP. */
export interface ServeTcpOptions extends ServeOptions<Deno.NetAddr> {
  /** The transport. */
  transport?: "tcp";
  /**
   * The port; 0 takes any free one.
   *
   * @default {8000}
   */
  port?: number;
  /**
   * Host name or address to listen on, IPv4 or IPv6.
   *
   * @default {"0.0.0.0"}
   */
  hostname?: string;
  /**
   * Lets several processes listen on the same port.
   *
   * @default {false}
   */
  reusePort?: boolean;
  /**
   * Connections that wait to be accepted.
   *
   * @default {511}
   */
  tcpBacklog?: number;
}

/** Options of a server on a Unix socket. */
export interface ServeUnixOptions extends ServeOptions<Deno.UnixAddr> {
  /** The transport. */
  transport?: "unix";
  /** Path of the socket; a leading "@" names an abstract one. */
  path: string;
}

/** The same options with the handler among them. */
export type WithHandler<Options, Addr extends Deno.Addr> = Options & {
  /** Answers requests. */
  handler: ServeHandler<Addr>;
};

type AnyOptions =
  & ServeTcpOptions
  & Partial<Omit<ServeUnixOptions, "transport" | "onListen">>;

/** Where servers listen that are told nothing else. */
export const DEFAULT_PORT = 8000;
// From which on Deno.serve compresses.
const AUTOMATIC_THRESHOLD = 64;

const COMMON_OPTIONS = [
  "signal",
  "onError",
  "onListen",
  "onTopic",
  "handler",
  "routes",
  "transport",
  "automaticCompression",
];
const ADDRESS_OPTIONS = ["port", "hostname", "reusePort", "tcpBacklog", "path"];
const KNOWN = new Set([
  ...COMMON_OPTIONS,
  ...ADDRESS_OPTIONS,
  ...ENGINE_OPTION_NAMES,
]);
const TYPES = {
  automaticCompression: "boolean",
  hostname: "string",
  onError: "function",
  onListen: "function",
  onTopic: "function",
  path: "string",
  port: "number",
  reusePort: "boolean",
  tcpBacklog: "number",
} as const;
const TLS_OPTIONS = [
  "cert",
  "key",
  "certFile",
  "keyFile",
  "keyFormat",
  "alpnProtocols",
];

/**
 * Serves HTTP with the given handler on port 8000.
 *
 * @example
 * ```ts
 * import { serve } from "@millrace/millrace";
 *
 * serve(() => new Response("Hello, World!"));
 * ```
 *
 * @param handler Answers requests.
 * @returns The running server.
 */
export function serve(
  handler: ServeHandler<Deno.NetAddr>,
): HttpServer<Deno.NetAddr>;
/**
 * Serves HTTP on a Unix socket.
 *
 * @param options Path and limits.
 * @param handler Answers requests.
 * @returns The running server.
 */
export function serve(
  options: ServeUnixOptions,
  handler: ServeHandler<Deno.UnixAddr>,
): HttpServer<Deno.UnixAddr>;
/**
 * Serves HTTP on TCP.
 *
 * @param options Address and limits.
 * @param handler Answers requests.
 * @returns The running server.
 */
export function serve(
  options: ServeTcpOptions,
  handler: ServeHandler<Deno.NetAddr>,
): HttpServer<Deno.NetAddr>;
/**
 * Serves HTTP on a Unix socket.
 *
 * @param options Path, limits and handler.
 * @returns The running server.
 */
export function serve(
  options: WithHandler<ServeUnixOptions, Deno.UnixAddr>,
): HttpServer<Deno.UnixAddr>;
/**
 * Serves HTTP on TCP.
 *
 * @param options Address, limits and handler.
 * @returns The running server.
 */
export function serve(
  options: WithHandler<ServeTcpOptions, Deno.NetAddr>,
): HttpServer<Deno.NetAddr>;
export function serve(first: unknown, second?: unknown): HttpServer {
  const [options, handler] = readArguments(first, second);
  checkOptions(options);
  return openServer({
    address: addressOf("serve", options, DEFAULT_PORT),
    handler: handler as (
      request: Request,
      info: HandlerInfo,
    ) => Response | Promise<Response> as Handler,
    routes: options.routes,
    onError: options.onError ?? logError,
    onListen: (options.onListen as ((addr: Deno.Addr) => void) | undefined) ??
      logAddress,
    onTopic: options.onTopic,
    signal: options.signal,
    engine: engineOf(options),
  });
}

function readArguments(
  first: unknown,
  second: unknown,
): [options: AnyOptions, handler: unknown] {
  const options = typeof first === "function"
    ? {}
    : first as AnyOptions & { handler?: unknown };
  const handler = typeof first === "function"
    ? first
    : second ?? (options as { handler?: unknown })?.handler;
  if (typeof handler !== "function") {
    throw new TypeError("Cannot serve: a handler function must be given");
  }
  if (typeof options !== "object" || options === null) {
    throw new TypeError("Cannot serve: the options must be an object");
  }
  return [options, handler];
}

// Nothing is ignored silently: an option that has no effect would be taken for one that has.
function checkOptions(options: AnyOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (TLS_OPTIONS.includes(name)) {
      throw new TypeError(
        `Cannot serve: "${name}" is an option of TLS, which Millrace does not have yet`,
      );
    }
    if (!KNOWN.has(name)) {
      throw new TypeError(`Cannot serve: unknown option "${name}"`);
    }
  }
  requireTypes("serve", options, TYPES);
  requireSignal("serve", options.signal);
  if (
    options.automaticCompression !== undefined && options.compress !== undefined
  ) {
    throw new TypeError(
      'Cannot serve: "automaticCompression" and "compress" are the same; give one of them',
    );
  }
}

function engineOf(options: AnyOptions): EngineOptions {
  return options.automaticCompression === true
    ? { ...options, compress: { threshold: AUTOMATIC_THRESHOLD } }
    : options;
}

function logError(error: unknown): Response {
  console.error(error);
  return internalServerError();
}

/** What is done when a server listens and nobody else is to be told. */
export function logAddress(
  addr: Deno.Addr,
  protocol: "http" | "tcp" = "http",
): void {
  if (addr.transport === "unix") {
    console.log(`Listening on ${(addr as Deno.UnixAddr).path}`);
    return;
  }
  const { hostname, port } = addr as Deno.NetAddr;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  if (protocol === "tcp") {
    console.log(`Listening on tcp://${host}:${port}`);
    return;
  }
  const everywhere = hostname === "0.0.0.0" || hostname === "::";
  console.log(
    `Listening on http://${host}:${port}/${
      everywhere ? ` (http://localhost:${port}/)` : ""
    }`,
  );
}
