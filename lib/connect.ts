// SPDX-License-Identifier: Apache-2.0
// connect.ts - connect() and adopt(): plain sockets that no server of ours has accepted; used by applications.

import {
  type BackendName,
  parseAddress,
  type SocketTuning,
} from "../ffi/mod.ts";
import { ClientLoop } from "./client_loop.ts";
import type { Connection } from "./connection.ts";
import { Dial, type Dialer, type DialTarget, requireTarget } from "./dial.ts";
import { checkTransport } from "./listen_address.ts";
import {
  checkedBackend,
  type EngineOptions,
  resolveOptions,
  type Settings,
} from "./options.ts";
import { requireAddress } from "./permissions.ts";
import {
  requireInteger,
  requireKnown,
  requireLocalAddress,
  requireSignal,
  requireTypes,
} from "./route_options.ts";
import {
  Socket,
  type SocketHandlers,
  type SocketOptions,
  stand,
} from "./socket.ts";
import { SocketConnection } from "./socket_connection.ts";
import { SocketHost } from "./socket_host.ts";
import { SocketOpening } from "./socket_opening.ts";
import {
  LIMIT_NAMES,
  limitsOf,
  requireSocketCallbacks,
  TUNING_NAMES,
  tuningOf,
  type TuningOptions,
} from "./socket_options.ts";

/**
 * Options of {@linkcode adopt}, and of {@linkcode connect} beside those that say where to.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export interface ClientSocketOptions<Data = undefined>
  extends SocketOptions, TuningOptions {
  /** What the application keeps with the socket. */
  data?: Data;
  /**
   * The kernel interface: `"auto"` takes io_uring where the kernel allows it and epoll elsewhere.
   *
   * @default {"auto"}
   */
  backend?: "auto" | BackendName;
  /**
   * Milliseconds for which the peer may take none of the bytes that wait for it; then the connection is cut.
   *
   * @default {20000}
   */
  stallTimeout?: number;
  /**
   * Bytes a second that the peer has to take on the whole while bytes wait for it, after five seconds; else the
   * connection is cut. 0 means no limit.
   *
   * @default {512}
   */
  minSendRate?: number;
}

/**
 * Options of {@linkcode connect} that do not depend on where to.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export interface ConnectOptions<Data = undefined>
  extends ClientSocketOptions<Data> {
  /**
   * Milliseconds for the look-up of the name and all its addresses together; 0 means for as long as the system tries.
   *
   * @default {10000}
   */
  connectTimeout?: number;
  /** Gives up connecting when it aborts; of no effect once the connection stands. */
  signal?: AbortSignal;
}

/**
 * Options of {@linkcode connect} on TCP.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export interface ConnectTcpOptions<Data = undefined>
  extends ConnectOptions<Data> {
  /** The transport. */
  transport?: "tcp";
  /** The port. */
  port: number;
  /**
   * Host name or address, IPv4 or IPv6.
   *
   * @default {"127.0.0.1"}
   */
  hostname?: string;
  /** The IP address of this machine to connect from; by default the system chooses. */
  localAddress?: string;
}

/**
 * Options of {@linkcode connect} on a Unix socket.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export interface ConnectUnixOptions<Data = undefined>
  extends ConnectOptions<Data> {
  /** The transport. */
  transport?: "unix";
  /** Path of the socket; a leading "@" names an abstract one. */
  path: string;
}

/**
 * What {@linkcode connect} returns: the promise of a socket, and the socket itself for who does not want to wait.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export interface Connecting<Data> extends Promise<Socket<Data>> {
  /**
   * The socket, before it is connected: what is written waits until then. Whoever has taken it is told of a failure
   * by `error` and `close`, and the promise may be left alone.
   */
  readonly socket: Socket<Data>;
}

type AnyOptions<Data> =
  & Partial<Omit<ConnectTcpOptions<Data>, "transport">>
  & Partial<Omit<ConnectUnixOptions<Data>, "transport">>
  & { transport?: "tcp" | "unix" };

const COMMON = [
  ...TUNING_NAMES,
  ...LIMIT_NAMES,
  "data",
  "backend",
  "stallTimeout",
  "minSendRate",
];
const KNOWN = [
  ...COMMON,
  "connectTimeout",
  "signal",
  "transport",
];

const CONNECT_TIMEOUT = 10_000;
const DEFAULT_HOSTNAME = "127.0.0.1";

/**
 * Connects to a TCP server. A name may have addresses of both families: they are tried in turns, 250 ms apart, and
 * the first that answers is taken (RFC 8305).
 *
 * @example One line there and one back
 * ```ts
 * import { connect } from "@millrace/millrace";
 *
 * const socket = await connect({ hostname: "localhost", port: 7000 }, {
 *   data(socket, chunk) {
 *     console.log(new TextDecoder().decode(chunk));
 *     socket.close();
 *   },
 * });
 * socket.write("hello\n");
 * ```
 *
 * @typeParam Data What the application keeps with the socket.
 * @param options Address and limits.
 * @param handlers The callbacks of the socket; one object for many sockets will do.
 * @returns The socket, once it is connected and `open` was called. Rejects with `Deno.errors.ConnectionRefused`,
 * `TimedOut`, `NetworkUnreachable`, `NotFound` for a name without an address, the signal's reason, and others.
 * @throws {TypeError} When an option is unknown or of the wrong type, or a callback is no function.
 * @throws {RangeError} When a number is out of range.
 * @throws {Deno.errors.NotCapable} When the program is not allowed to.
 */
export function connect<Data = undefined>(
  options: ConnectTcpOptions<Data>,
  handlers: SocketHandlers<Data>,
): Connecting<Data>;
/**
 * Connects to a Unix socket.
 *
 * @typeParam Data What the application keeps with the socket.
 * @param options Path and limits.
 * @param handlers The callbacks of the socket.
 * @returns The socket, once it is connected and `open` was called.
 */
export function connect<Data = undefined>(
  options: ConnectUnixOptions<Data>,
  handlers: SocketHandlers<Data>,
): Connecting<Data>;
export function connect<Data = undefined>(
  options: AnyOptions<Data>,
  handlers: SocketHandlers<Data>,
): Connecting<Data> {
  checkOptions(options);
  const plan = planOf("connect", options, handlers);
  const target = targetOf(options);
  const { localAddress = "", connectTimeout = CONNECT_TIMEOUT, signal } =
    options;
  requireInteger("connect", "connectTimeout", connectTimeout, 0, 0xffffffff);
  signal?.throwIfAborted();
  requireTarget(target);
  const connector = new Connector(
    plan,
    target,
    localAddress,
    connectTimeout,
    signal,
  );
  return Object.defineProperty(connector.promise, "socket", {
    get: () => connector.take(),
  }) as Connecting<Data>;
}

/**
 * Takes over a socket that is connected already, such as one that a supervisor has accepted for this process.
 *
 * @typeParam Data What the application keeps with the socket.
 * @param fd Descriptor of a connected TCP or Unix socket; it is the socket's from here on, which closes it. When this
 * throws because of the permission or of an option that the kernel refuses, it is closed too; after other errors it is
 * still the caller's.
 * @param handlers The callbacks of the socket.
 * @param options Limits.
 * @returns The socket; `open` was called.
 * @throws {Deno.errors.NotConnected} When it is not connected, and others when it is no such socket.
 * @throws {Deno.errors.Busy} When it was taken over already.
 * @throws {Deno.errors.NotCapable} When the program is not allowed to connect to the peer.
 */
export function adopt<Data = undefined>(
  fd: number,
  handlers: SocketHandlers<Data>,
  options: ClientSocketOptions<Data> = {},
): Socket<Data> {
  requireKnown("adopt", options, COMMON);
  const plan = planOf("adopt", options, handlers);
  requireInteger("adopt", "fd", fd, 0, 0x7fffffff);
  let connection!: SocketConnection<Data>;
  ClientLoop.adopt(plan.backend, fd, (handle, client) => {
    const remote = remoteOf(handle, client);
    connection = connectionOf(plan, handle, client);
    connection.socket = new Socket(connection, plan.data, remote);
    return connection;
  });
  const { socket } = connection;
  try {
    if (hasName(socket.remoteAddr)) requireAddress(socket.remoteAddr);
    connection.tune(plan.tuning);
  } catch (error) {
    connection.abandon();
    throw error;
  }
  plan.host.open(socket);
  return socket;
}

/** What a socket is to be like. */
interface Plan<Data> {
  host: SocketHost<Data>;
  data: Data;
  backend: "auto" | BackendName;
  tuning: SocketTuning;
  settings: Settings;
}

/** One call of connect(). */
class Connector<Data> implements Dialer {
  readonly promise: Promise<Socket<Data>>;
  readonly #plan: Plan<Data>;
  readonly #opening: SocketOpening;
  readonly #socket: Socket<Data>;
  readonly #resolve: (socket: Socket<Data>) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #forget: () => void;
  #taken = false;
  // The signal's reason, and what callbacks are given in its place.
  #aborted: { error: Error; reason: unknown } | null = null;

  constructor(
    plan: Plan<Data>,
    target: DialTarget,
    source: string,
    timeout: number,
    signal: AbortSignal | undefined,
  ) {
    const { promise, resolve, reject } = Promise.withResolvers<Socket<Data>>();
    this.promise = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#plan = plan;
    const { backend, host, data, settings } = plan;
    const dial = new Dial(
      target,
      { backend, source, timeout, response: false },
      this,
    );
    const limits = {
      highWatermark: host.highWatermark,
      // What the connection will not take must not wait for it.
      maxQueueBytes: Math.min(host.maxQueueBytes, settings.maxQueueBytes),
    };
    this.#opening = new SocketOpening(limits, (error) => dial.abort(error));
    this.#socket = new Socket(this.#opening, data, target as Deno.Addr);
    const abort = (): void => {
      const { reason } = signal!;
      const error = abortionOf(reason);
      this.#aborted = { error, reason };
      dial.abort(error);
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#forget = (): void => signal?.removeEventListener("abort", abort);
  }

  /** The socket, for who does not wait. */
  take(): Socket<Data> {
    this.#taken = true;
    this.promise.catch(() => {}); // the callbacks tell
    return this.#socket;
  }

  connected(handle: number, client: ClientLoop): Connection {
    this.#forget();
    const { host, tuning } = this.#plan;
    const socket = this.#socket;
    const connection = connectionOf(this.#plan, handle, client);
    connection.socket = socket;
    try {
      connection.tune(tuning);
      this.#opening.replay(connection);
    } catch (error) {
      connection.abandon();
      this.failed(error as Error);
      return connection;
    }
    stand(socket, connection, remoteOf(handle, client));
    host.open(socket);
    // It may have fallen at once, and `open` may have ended the socket.
    const fallen = this.#opening.queued && !connection.queued;
    if (fallen && connection.writable) host.drain(socket);
    this.#resolve(socket);
    return connection;
  }

  failed(error: Error): void {
    this.#forget();
    this.#opening.failed(error);
    const aborted = this.#aborted;
    this.#reject(error === aborted?.error ? aborted.reason : error);
    if (this.#taken) this.#plan.host.close(this.#socket, error);
  }
}

function planOf<Data>(
  action: string,
  options: ClientSocketOptions<Data>,
  handlers: SocketHandlers<Data>,
): Plan<Data> {
  requireSocketCallbacks("a socket", handlers);
  const { backend = "auto", stallTimeout, minSendRate } = options;
  const engine: EngineOptions = {};
  if (stallTimeout !== undefined) engine.stallTimeout = stallTimeout;
  if (minSendRate !== undefined) engine.minSendRate = minSendRate;
  return {
    host: new SocketHost(handlers, limitsOf(action, options)),
    data: options.data as Data,
    backend: checkedBackend(backend, action),
    tuning: tuningOf(action, options),
    settings: resolveOptions(engine, action),
  };
}

function connectionOf<Data>(
  plan: Plan<Data>,
  handle: number,
  client: ClientLoop,
): SocketConnection<Data> {
  const { host, settings } = plan;
  const { loop } = client;
  loop.reactor.outbox.timeouts(handle, settings);
  const connection = new SocketConnection(handle, loop, host, false, client);
  connection.setTimeout(host.idleTimeout);
  return connection;
}

// A reason need not be an Error, but callbacks are given one.
function abortionOf(reason: unknown): Error {
  return reason instanceof Error
    ? reason
    : new Error("Connecting was aborted", { cause: reason });
}

// Who has connected to a Unix socket has most often no name.
function hasName(addr: Deno.Addr): boolean {
  return addr.transport !== "unix" || (addr as Deno.UnixAddr).path !== "";
}

// A peer that is gone already has no address any more.
function remoteOf(handle: number, client: ClientLoop): Deno.Addr {
  return client.loop.reactor.remoteAddress(handle) ?? parseAddress("", false);
}

// Nothing is ignored silently: an option that has no effect would be taken for one that has.
function checkOptions<Data>(options: AnyOptions<Data>): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError("Cannot connect: the options must be an object");
  }
  const place = options.path === undefined
    ? ["port", "hostname", "localAddress"]
    : ["path"];
  requireKnown("connect", options, [...KNOWN, ...place]);
  requireTypes("connect", options, { hostname: "string", path: "string" });
  requireLocalAddress("connect", options.localAddress);
  requireSignal("connect", options.signal);
}

function targetOf<Data>(options: AnyOptions<Data>): DialTarget {
  const { hostname = DEFAULT_HOSTNAME, port, path } = options;
  checkTransport("connect", options.transport, path !== undefined);
  if (path !== undefined) return { transport: "unix", path };
  requireInteger("connect", "port", port, 1, 65535);
  return { transport: "tcp", hostname, port: port! };
}
