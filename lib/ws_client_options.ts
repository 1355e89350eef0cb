// SPDX-License-Identifier: Apache-2.0
// ws_client_options.ts - everything that can be said to connectWebSocket(), with defaults; checked here, once.

import type { BackendName } from "../ffi/mod.ts";
import { checkedBackend } from "./options.ts";
import {
  requireLocalAddress,
  requireSignal,
  requireTypes,
  resolveRoute,
  resolveWatermark,
} from "./route_options.ts";
import type { DialTarget } from "./dial.ts";
import type { SlowConsumerPolicy } from "./ws_backlog.ts";
import {
  type ClientCompressionSettings,
  offerOf,
  resolveClientCompression,
  type WebSocketClientCompression,
} from "./ws_client_deflate.ts";
import type { HandshakeRequest } from "./ws_client_handshake.ts";
import { TOKEN } from "./ws_handshake.ts";
import { checkedPolicy, FLAGS, type SocketSettings } from "./ws_options.ts";
import {
  type ReconnectOptions,
  type ReconnectSettings,
  resolveReconnect,
} from "./ws_reconnect.ts";

/**
 * Limits and rules of a client.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export interface WebSocketClientOptions<Data = undefined> {
  /** What the application keeps with the socket. */
  data?: Data;
  /** Subprotocols that are offered, the preferred one first. */
  protocols?: string | readonly string[];
  /** Fields of the request, such as `cookie`, `authorization` or `origin`. */
  headers?: HeadersInit;
  /**
   * Path of a Unix socket to connect to, in place of the URL's host; a leading "@" names an abstract one.
   */
  path?: string;
  /** The IP address of this machine to connect from; by default the system chooses. */
  localAddress?: string;
  /**
   * Offers permessage-deflate (RFC 7692); `true` does so with all defaults.
   *
   * @default {false}
   */
  compression?: boolean | WebSocketClientCompression;
  /**
   * Connects again when the connection could not be made, or has ended without this side having closed it; `true` does
   * so with all defaults. Not where that cannot help: when the server refuses the handshake with a status that says so,
   * such as 404, or closes with 1000 or 1008.
   *
   * @default {false}
   */
  reconnect?: boolean | ReconnectOptions;
  /** Closes the socket at once when it aborts, and gives up connecting. */
  signal?: AbortSignal;
  /**
   * Milliseconds until the connection stands, for the look-up and all addresses of the host together; 0 means for as
   * long as the system tries.
   *
   * @default {10000}
   */
  connectTimeout?: number;
  /**
   * Milliseconds for the server to answer the handshake; 0 means no limit.
   *
   * @default {10000}
   */
  handshakeTimeout?: number;
  /**
   * Milliseconds without a byte from the server after which the connection is closed; after half of them it is sent a
   * ping. 0 means never.
   *
   * @default {120000}
   */
  idleTimeout?: number;
  /**
   * Milliseconds that the server has to answer a close frame, and to end the connection then.
   *
   * @default {5000}
   */
  closeTimeout?: number;
  /**
   * Largest message in bytes; a larger one closes the socket with 1009.
   *
   * @default {1048576}
   */
  maxMessageBytes?: number;
  /**
   * Frames that a message may consist of; more close the socket with 1008.
   *
   * @default {1024}
   */
  maxFragments?: number;
  /**
   * Bytes waiting to be sent from which on `send()` returns `"queued"`.
   *
   * @default {1048576}
   */
  highWatermark?: number;
  /**
   * Bytes waiting to be sent at which, after a `send()` that returned `"queued"`, `drain` is called; at most
   * `highWatermark`.
   *
   * @default {262144}
   */
  lowWatermark?: number;
  /**
   * Bytes waiting to be sent beyond which `send()` returns `"dropped"`; at most 67108864.
   *
   * @default {16777216}
   */
  maxQueueBytes?: number;
  /**
   * What becomes of messages for a server that takes them too slowly. Each one that is given up is counted, and told by
   * `dropped`.
   *
   * @default {"drop-newest"}
   */
  slowConsumer?: SlowConsumerPolicy;
  /**
   * Has a message wait for the promise of the handler that was given the one before, the first one for that of `open`,
   * and `close` for that of the last. Meanwhile the server is held up.
   *
   * @default {false}
   */
  ordered?: boolean;
  /**
   * Overwrites the bytes of a message with 0xDB once its handler has returned, so that it shows where they are used
   * for longer.
   *
   * @default {false}
   */
  debug?: boolean;
  /**
   * The kernel interface: `"auto"` takes io_uring where the kernel allows it and epoll elsewhere.
   *
   * @default {"auto"}
   */
  backend?: "auto" | BackendName;
}

interface Limits {
  connectTimeout?: number;
  handshakeTimeout?: number;
  idleTimeout?: number;
  closeTimeout?: number;
  maxMessageBytes?: number;
  maxFragments?: number;
  highWatermark?: number;
  maxQueueBytes?: number;
}

/** All that a client is to do, checked. */
export interface ClientSettings extends Required<Limits>, SocketSettings {
  url: string;
  target: DialTarget;
  /** Empty for any. */
  localAddress: string;
  request: HandshakeRequest;
  /** Null when nothing is compressed. */
  compression: ClientCompressionSettings | null;
  /** Null when there is to be one attempt alone. */
  reconnect: ReconnectSettings | null;
  signal: AbortSignal | undefined;
  backend: "auto" | BackendName;
}

const WHAT = "a WebSocket client";

const DEFAULTS: Required<Limits> = {
  connectTimeout: 10_000,
  handshakeTimeout: 10_000,
  idleTimeout: 120_000,
  closeTimeout: 5_000,
  maxMessageBytes: 1024 * 1024,
  maxFragments: 1024,
  highWatermark: 1024 * 1024,
  maxQueueBytes: 16 * 1024 * 1024,
};

const MAY_BE_0 = new Set([
  "connectTimeout",
  "handshakeTimeout",
  "idleTimeout",
  "maxMessageBytes",
]);

// What the handshake itself says; the application cannot say it otherwise.
const HANDSHAKE_FIELDS = [
  "connection",
  "content-length",
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "sec-websocket-key",
  "sec-websocket-protocol",
  "sec-websocket-version",
  "transfer-encoding",
  "upgrade",
];

const DEFAULT_PORT = 80;

/** Fills in defaults. Throws a RangeError or TypeError that names what is wrong. */
export function resolveClient(
  url: string | URL,
  options: WebSocketClientOptions<unknown>,
): ClientSettings {
  const {
    data: _,
    protocols = [],
    headers,
    path,
    localAddress,
    compression,
    reconnect,
    signal,
    slowConsumer = "drop-newest",
    ordered = false,
    debug = false,
    backend = "auto",
    lowWatermark,
    ...rest
  } = options;
  const limits = resolveRoute(WHAT, rest, DEFAULTS, MAY_BE_0);
  requireTypes(`make ${WHAT}`, options, { ...FLAGS, path: "string" });
  requireSignal(`make ${WHAT}`, signal);
  requireLocalAddress(`make ${WHAT}`, localAddress);
  if (path !== undefined && localAddress !== undefined) {
    throw new TypeError(
      `Cannot make ${WHAT}: a Unix socket has no "localAddress"`,
    );
  }
  const parsed = parseUrl(String(url));
  const settings = resolveClientCompression(compression);
  return {
    ...limits,
    lowWatermark: resolveWatermark(WHAT, lowWatermark, limits.highWatermark),
    url: parsed.href,
    target: path === undefined
      ? tcpTarget(parsed)
      : { transport: "unix", path },
    localAddress: localAddress ?? "",
    request: {
      target: parsed.pathname + parsed.search,
      host: parsed.host,
      protocols: checkedProtocols(protocols),
      extensions: settings === null ? null : offerOf(settings),
      headers: checkedHeaders(headers),
    },
    compression: settings,
    reconnect: resolveReconnect(reconnect),
    signal,
    maxMessagesPerSecond: 0,
    slowConsumer: checkedPolicy(WHAT, slowConsumer),
    ordered,
    debug,
    backend: checkedBackend(backend, `make ${WHAT}`),
  };
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  const wrong = (why: string): SyntaxError =>
    new SyntaxError(`Cannot connect to ${Deno.inspect(text)}: ${why}`);
  if (url === null) throw wrong("it is no URL such as ws://localhost:8000/");
  if (url.protocol === "wss:") {
    throw wrong(
      "Millrace has no TLS yet; connect with ws: to a proxy that speaks TLS to the server, or use Deno's WebSocket",
    );
  }
  if (url.protocol !== "ws:") throw wrong("the scheme of a WebSocket is ws:");
  if (url.hash !== "" || text.includes("#")) {
    throw wrong("the URL of a WebSocket has no fragment");
  }
  if (url.username !== "" || url.password !== "") {
    throw wrong('give an "authorization" among the headers instead');
  }
  return url;
}

// The brackets of an IPv6 address belong to the URL.
function tcpTarget({ hostname, port }: URL): DialTarget {
  return {
    transport: "tcp",
    hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? DEFAULT_PORT : Number(port),
  };
}

function checkedProtocols(given: string | readonly string[]): string[] {
  const protocols = typeof given === "string" ? [given] : [...given];
  for (const protocol of protocols) {
    if (typeof protocol === "string" && TOKEN.test(protocol)) continue;
    throw new SyntaxError(
      `Cannot make ${WHAT}: ${Deno.inspect(protocol)} is no subprotocol`,
    );
  }
  if (new Set(protocols).size === protocols.length) return protocols;
  throw new SyntaxError(
    `Cannot make ${WHAT}: a subprotocol is offered twice in "${
      protocols.join(", ")
    }"`,
  );
}

function checkedHeaders(init: HeadersInit | undefined): Headers {
  const headers = new Headers(init);
  for (const name of HANDSHAKE_FIELDS) {
    if (!headers.has(name)) continue;
    throw new TypeError(
      `Cannot make ${WHAT}: "${name}" among the headers is said by the handshake itself`,
    );
  }
  return headers;
}
