// SPDX-License-Identifier: Apache-2.0
// listen.ts - listen(): servers of plain TCP and Unix sockets; makes a socket_server.ts.

import { addressOf } from "./listen_address.ts";
import {
  type EngineOptions,
  resolveOptions,
  type Settings,
} from "./options.ts";
import { requireKnown, requireSignal, requireTypes } from "./route_options.ts";
import type { SocketHandlers, SocketOptions } from "./socket.ts";
import { SocketHost } from "./socket_host.ts";
import {
  LIMIT_NAMES,
  limitsOf,
  requireSocketCallbacks,
  TUNING_NAMES,
  tuningOf,
  type TuningOptions,
} from "./socket_options.ts";
import { openSocketServer, type SocketServer } from "./socket_server.ts";

/** Options of the engine that mean something without HTTP, and that mean the same. */
export type SocketEngineOptions = Pick<
  EngineOptions,
  | "backend"
  | "batch"
  | "ring"
  | "spin"
  | "maxConnections"
  | "maxConnectionsPerAddress"
  | "stallTimeout"
  | "minSendRate"
  | "rateGrace"
  | "lingerTimeout"
  | "maxLingerBytes"
  | "bufferBytes"
  | "hugePages"
  | "prefault"
  | "memoryNode"
>;

/**
 * Options of {@linkcode listen} that do not depend on where it listens.
 *
 * @typeParam Data What the application keeps with each socket.
 */
export interface ListenOptions<Data = undefined>
  extends SocketOptions, TuningOptions, SocketEngineOptions {
  /** Makes what the application keeps with a socket, before `open` is called. */
  data?: (remoteAddr: Deno.Addr) => Data;
  /** Closes the server and all its connections at once when it aborts. */
  signal?: AbortSignal;
}

/**
 * Options of {@linkcode listen} on TCP.
 *
 * @typeParam Data What the application keeps with each socket.
 */
export interface ListenTcpOptions<Data = undefined>
  extends ListenOptions<Data> {
  /** The transport. */
  transport?: "tcp";
  /** The port; 0 takes any free one. */
  port: number;
  /**
   * Host name or address to listen on, IPv4 or IPv6. `"::"` takes connections of both.
   *
   * @default {"0.0.0.0"}
   */
  hostname?: string;
  /**
   * Has `"::"` take no connections of IPv4.
   *
   * @default {false}
   */
  ipv6Only?: boolean;
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

/**
 * Options of {@linkcode listen} on a Unix socket.
 *
 * @typeParam Data What the application keeps with each socket.
 */
export interface ListenUnixOptions<Data = undefined>
  extends ListenOptions<Data> {
  /** The transport. */
  transport?: "unix";
  /** Path of the socket; a leading "@" names an abstract one. */
  path: string;
}

/**
 * Options of {@linkcode listen} on a socket that another process has opened.
 *
 * @typeParam Data What the application keeps with each socket.
 */
export interface ListenInheritedOptions<Data = undefined>
  extends ListenOptions<Data> {
  /**
   * Descriptor of a listening TCP or Unix socket; it is the server's from here on, and closed too when its address is
   * not allowed. After other errors it is still the caller's. Connections that are not accepted
   * yet when the server closes are left to whoever else has the socket, and the file of a Unix socket is not removed.
   */
  fd: number;
}

type AnyOptions<Data> =
  & Partial<Omit<ListenTcpOptions<Data>, "transport">>
  & Partial<Omit<ListenUnixOptions<Data>, "transport">>
  & Partial<ListenInheritedOptions<Data>>
  & { transport?: "tcp" | "unix" };

const ENGINE_NAMES = [
  "backend",
  "batch",
  "ring",
  "spin",
  "maxConnections",
  "maxConnectionsPerAddress",
  "stallTimeout",
  "minSendRate",
  "rateGrace",
  "lingerTimeout",
  "maxLingerBytes",
  "bufferBytes",
  "hugePages",
  "prefault",
  "memoryNode",
] as const;

const KNOWN = [
  ...ENGINE_NAMES,
  ...TUNING_NAMES,
  ...LIMIT_NAMES,
  "data",
  "signal",
];
const TCP_NAMES = ["port", "hostname", "ipv6Only", "reusePort", "tcpBacklog"];
const TYPES = {
  data: "function",
  hostname: "string",
  ipv6Only: "boolean",
  path: "string",
  reusePort: "boolean",
} as const;

const ACTION = "listen";

/**
 * Listens for plain TCP connections: the application reads and writes their bytes itself.
 *
 * @example An echo that reads no faster than its peer does
 * ```ts
 * import { listen } from "@millrace/millrace";
 *
 * listen({ port: 7000 }, {
 *   data(socket, chunk) {
 *     if (socket.write(chunk) !== "sent") socket.pause();
 *   },
 *   drain: (socket) => socket.resume(),
 * });
 * ```
 *
 * @typeParam Data What the application keeps with each socket.
 * @param options Address and limits.
 * @param handlers The callbacks of all its sockets.
 * @returns The running server.
 * @throws {TypeError} When an option is unknown or of the wrong type, or a callback is no function.
 * @throws {RangeError} When a number is out of range.
 * @throws {Deno.errors.NotCapable} When the program is not allowed to.
 */
export function listen<Data = undefined>(
  options: ListenTcpOptions<Data>,
  handlers: SocketHandlers<Data>,
): SocketServer<Deno.NetAddr>;
/**
 * Listens for connections to a Unix socket.
 *
 * @typeParam Data What the application keeps with each socket.
 * @param options Path and limits.
 * @param handlers The callbacks of all its sockets.
 * @returns The running server.
 */
export function listen<Data = undefined>(
  options: ListenUnixOptions<Data>,
  handlers: SocketHandlers<Data>,
): SocketServer<Deno.UnixAddr>;
/**
 * Goes on listening on a socket that another process has opened, as a supervisor does.
 *
 * @typeParam Data What the application keeps with each socket.
 * @param options Descriptor and limits.
 * @param handlers The callbacks of all its sockets.
 * @returns The running server.
 * @throws {Deno.errors.Busy} When a server has it already, and others when it is no socket that listens.
 */
export function listen<Data = undefined>(
  options: ListenInheritedOptions<Data>,
  handlers: SocketHandlers<Data>,
): SocketServer;
export function listen<Data = undefined>(
  options: AnyOptions<Data>,
  handlers: SocketHandlers<Data>,
): SocketServer {
  checkOptions(options);
  requireSocketCallbacks("a server of sockets", handlers);
  const limits = limitsOf(ACTION, options);
  return openSocketServer<Data, Deno.Addr>({
    address: addressOf(ACTION, options, 0),
    settings: settingsOf(options, limits),
    tuning: tuningOf(ACTION, options),
    host: new SocketHost<Data>(handlers, limits, options.data),
    signal: options.signal,
  });
}

// Nothing is ignored silently: an option that has no effect would be taken for one that has.
function checkOptions<Data>(options: AnyOptions<Data>): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError("Cannot listen: the options must be an object");
  }
  requireKnown(ACTION, options, [...KNOWN, ...placeNames(options)]);
  requireTypes(ACTION, options, TYPES);
  requireSignal(ACTION, options.signal);
}

// What says where, each of the three ways without the options of the others.
function placeNames<Data>(options: AnyOptions<Data>): string[] {
  if (options.fd !== undefined) return ["fd"];
  if (options.path !== undefined) return ["transport", "path"];
  if (options.port === undefined) {
    throw new TypeError('Cannot listen: "port", "path" or "fd" must be given');
  }
  return ["transport", ...TCP_NAMES];
}

function settingsOf<Data>(
  options: AnyOptions<Data>,
  limits: Required<SocketOptions>,
): Settings {
  const { idleTimeout, lowWatermark, highWatermark, maxQueueBytes } = limits;
  const engine: EngineOptions = Object.fromEntries(
    ENGINE_NAMES.map((name) => [name, options[name]]),
  );
  return resolveOptions(
    { ...engine, idleTimeout, lowWatermark, highWatermark, maxQueueBytes },
    ACTION,
  );
}
