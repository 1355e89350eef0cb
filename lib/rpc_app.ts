// SPDX-License-Identifier: Apache-2.0
// rpc_app.ts - an application of the action router: its routes, listeners and life; made by rpc.ts.

import { type Codec, json } from "./codec.ts";
import { Executor, ExecutorBusyError } from "./executor.ts";
import { callSafely, tellOfOnError } from "./rpc_callback.ts";
import type { RpcConnection } from "./rpc_connection.ts";
import type { RpcContext } from "./rpc_context.ts";
import { RpcCode, RpcError } from "./rpc_error.ts";
import {
  type Acceptor,
  type Listener,
  openTcpListener,
  openWebSocketListener,
  type RpcTcpListenOptions,
  type RpcWebSocketListenOptions,
  type RpcWebSocketOptions,
  type RpcWebSocketRoute,
  webSocketRoute,
} from "./rpc_listen.ts";
import { checkOptions, type RpcOptions } from "./rpc_options.ts";
import { Peer, type PeerCounters, type PeerHost } from "./rpc_peer.ts";
import {
  requireTimeout,
  Router,
  type RpcHandler,
  type RpcMiddleware,
  type RpcRouteOptions,
} from "./rpc_router.ts";
import type { Transport, TransportEvents } from "./rpc_transport.ts";

/** Moments in the life of an application. */
export type RpcEvent =
  | "beforeStart"
  | "afterStart"
  | "beforeShutdown"
  | "afterShutdown";

/** What an application has counted, and has. */
export interface RpcStatistics {
  /** Connections that are open. */
  connections: number;
  /** Requests whose handlers have not answered yet. */
  inFlight: number;
  /** Requests that came, notifications among them. */
  requests: number;
  /** Requests that failed, whether their senders were told or not. */
  errors: number;
  /** Packets that were pushed. */
  pushes: number;
}

/** A listener of an application. */
export interface RpcListener {
  /**
   * The address that it listens on.
   *
   * @throws {TypeError} Before the application is started.
   */
  readonly addr: Deno.Addr;
}

const EVENTS: readonly RpcEvent[] = [
  "beforeStart",
  "afterStart",
  "beforeShutdown",
  "afterShutdown",
];
const SHUTDOWN_MS = 30_000;

type State = "new" | "starting" | "running" | "stopped";

/**
 * Numbered actions with handlers, served to any number of listeners at once. Made by `rpc()`.
 *
 * Connections, requests and replies are those of `RpcConnection` and `RpcContext`.
 */
export class RpcApp implements AsyncDisposable {
  readonly #options: RpcOptions;
  readonly #router: Router;
  readonly #peers = new Set<Peer>();
  readonly #listeners: Pending[] = [];
  readonly #events = new Map<RpcEvent, (() => void | Promise<void>)[]>();
  readonly #counters: PeerCounters = { requests: 0, errors: 0, pushes: 0 };
  readonly #acceptor: Acceptor;
  readonly #host: PeerHost;
  #executor: Executor | null = null;
  #state: State = "new";
  #draining = false;
  #shutdown: Promise<void> | null = null;
  #nextId = 1;
  #emptied: (() => void) | null = null;

  /** Made by `rpc()`. */
  constructor(options: RpcOptions) {
    checkOptions(options);
    this.#options = options;
    const { timeout = 0, order = "completion" } = options;
    const { maxInFlight = 64, maxPacketBytes = 1024 * 1024 } = options;
    this.#router = new Router(
      timeout,
      (module, name) => this.#inWorker(module, name),
    );
    this.#host = {
      router: this.#router,
      order,
      maxInFlight,
      maxPacketBytes,
      counters: this.#counters,
      gone: (peer, error) => this.#gone(peer, error),
      failed: (error, context) => this.#failed(error, context),
    };
    const draining = (): boolean => this.#draining;
    this.#acceptor = {
      get draining(): boolean {
        return draining();
      },
      maxPacketBytes,
      codecs: new Map(Object.entries(options.codecs ?? {})),
      accept: (transport, codec) => this.#accept(transport, codec),
    };
  }

  /**
   * Has a handler answer an action.
   *
   * @example
   * ```ts
   * import { rpc } from "@millrace/millrace/rpc";
   *
   * const app = rpc();
   * app.route<{ a: number; b: number }>(1, ({ body }) => body.a + body.b);
   * ```
   *
   * @typeParam Request What the body of the request is; nobody checks that but the option `parse`.
   * @typeParam Reply What the body of the reply is.
   * @param action The action, from -32768 to 32767 but not -1.
   * @param handler Answers requests; a name, where the option `worker` says of which module.
   * @param options How the route differs from others.
   * @returns The application.
   * @throws {RangeError} When the action is out of range.
   * @throws {TypeError} When the action has a route, or an option is wrong.
   */
  route<Request = unknown, Reply = unknown>(
    action: number,
    handler: RpcHandler<Request, Reply> | string,
    options: RpcRouteOptions<Request> = {},
  ): this {
    this.#router.add(
      action,
      handler as RpcHandler | string,
      options as RpcRouteOptions,
    );
    return this;
  }

  /**
   * Has a handler answer actions that have no route, of which the body is given as bytes. Without it they are answered
   * with an error.
   *
   * @param handler Answers requests.
   * @returns The application.
   */
  onNotFound(handler: RpcHandler<Uint8Array>): this {
    this.#router.setNotFound(handler as RpcHandler);
    return this;
  }

  /**
   * Has functions run around all handlers, in the order in which they are given.
   *
   * @example
   * ```ts
   * import { rpc } from "@millrace/millrace/rpc";
   *
   * const app = rpc();
   * app.use(async (context, next) => {
   *   const start = performance.now();
   *   await next();
   *   console.log(context.action, performance.now() - start);
   * });
   * ```
   *
   * @param middleware The functions.
   * @returns The application.
   */
  use(...middleware: RpcMiddleware[]): this {
    this.#router.use(middleware);
    return this;
  }

  /**
   * Has a function called at a moment in the application's life, which waits for its promise.
   *
   * @param event The moment.
   * @param listener The function; what it throws ends `start()`, and is logged in a shutdown.
   * @returns The application.
   */
  on(event: RpcEvent, listener: () => void | Promise<void>): this {
    if (!EVENTS.includes(event)) {
      throw new TypeError(
        `Cannot listen for "${event}": it must be one of ${EVENTS.join(", ")}`,
      );
    }
    const all = this.#events.get(event) ?? [];
    this.#events.set(event, [...all, listener]);
    return this;
  }

  /**
   * Has the application listen on TCP, or on a Unix socket, once it is started; at once when it is already.
   *
   * @param options Those of `listen()`, and a codec.
   * @returns The listener.
   */
  listenTcp(options: RpcTcpListenOptions): RpcListener {
    return this.#listen(() => openTcpListener(this.#acceptor, options));
  }

  /**
   * Has the application listen for WebSockets, on a server of its own, once it is started; at once when it is already.
   *
   * @param options Those of `serve()`, and more.
   * @returns The listener.
   */
  listenWebSocket(options: RpcWebSocketListenOptions): RpcListener {
    return this.#listen(() => openWebSocketListener(this.#acceptor, options));
  }

  /**
   * A route for WebSockets of the application on a server that is there already. The server outlives the application:
   * shut the application down first, so that its requests are answered.
   *
   * @example
   * ```ts
   * import { serve } from "@millrace/millrace";
   * import { rpc } from "@millrace/millrace/rpc";
   *
   * const app = rpc().route(1, () => "hello");
   * const route = app.websocket();
   * serve((request) =>
   *   request.headers.has("upgrade")
   *     ? route.upgrade(request)
   *     : new Response("a page")
   * );
   * ```
   *
   * @param options Limits and rules, and a codec.
   * @returns The route.
   */
  websocket(options: RpcWebSocketOptions = {}): RpcWebSocketRoute {
    return webSocketRoute(this.#acceptor, options);
  }

  /** The connections that are open. */
  get connections(): RpcConnection[] {
    return [...this.#peers].map(({ connection }) => connection);
  }

  /** A copy of the counters. */
  statistics(): RpcStatistics {
    let inFlight = 0;
    for (const peer of this.#peers) inFlight += peer.inFlight;
    return { connections: this.#peers.size, inFlight, ...this.#counters };
  }

  /**
   * Opens all listeners.
   *
   * @throws {TypeError} When the application was started before.
   * @throws {Error} When one of them cannot listen; the others are closed again.
   */
  async start(): Promise<void> {
    if (this.#state !== "new") {
      throw new TypeError(
        "Cannot start: the application was started or shut down before",
      );
    }
    this.#state = "starting";
    try {
      await this.#emit("beforeStart");
      if (this.#shutdown !== null) {
        throw new TypeError("Cannot start: the application was shut down");
      }
      for (const pending of this.#listeners) pending.start();
      this.#state = "running";
      await this.#emit("afterStart");
    } catch (error) {
      this.#state = "stopped";
      await Promise.all(this.#listeners.map((pending) => pending.stop(1)));
      throw error;
    }
  }

  /**
   * Starts, waits for the signal, and shuts down.
   *
   * @param signal When to shut down.
   * @param options When to stop waiting for requests in flight.
   */
  async run(
    signal: AbortSignal,
    options: { timeout?: number } = {},
  ): Promise<void> {
    checkShutdown(options);
    await this.start();
    await aborted(signal);
    await this.shutdown(options);
  }

  /**
   * Accepts no more connections and requests, waits until those in flight are answered, and closes all connections.
   * Further calls wait for the first one, whose timeout counts.
   *
   * @param options Milliseconds after which connections are cut, 30,000 unless given.
   * @returns When all is closed.
   */
  shutdown(options: { timeout?: number } = {}): Promise<void> {
    return this.#shutdown ??= this.#stop(checkShutdown(options));
  }

  /** The same as `shutdown()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  #listen(open: () => Listener): RpcListener {
    if (this.#draining) {
      throw new TypeError("Cannot listen: the application shuts down");
    }
    const pending = new Pending(open);
    this.#listeners.push(pending);
    if (this.#state === "running") pending.start();
    return pending;
  }

  #accept(transport: Transport, codec: Codec | undefined): TransportEvents {
    const own = codec ?? this.#options.codec ?? json;
    const peer = new Peer(this.#nextId++, transport, this.#host, own);
    this.#peers.add(peer);
    callSafely(() => this.#options.onOpen?.(peer.connection), (error) => {
      console.error("Exception in onOpen of the action router", error);
      peer.terminate();
    });
    if (this.#draining) queueMicrotask(() => peer.shutdown());
    return peer;
  }

  #gone(peer: Peer, error: Error | null): void {
    this.#peers.delete(peer);
    if (this.#peers.size === 0) this.#emptied?.();
    callSafely(
      () => this.#options.onClose?.(peer.connection, error),
      (thrown) =>
        console.error("Exception in onClose of the action router", thrown),
    );
  }

  #failed(error: unknown, context: RpcContext): void {
    if (this.#options.onError === undefined) {
      console.error(`Exception in the handler of ${context.action}`, error);
      return;
    }
    callSafely(() => this.#options.onError?.(error, context), tellOfOnError);
  }

  #inWorker(module: URL, name: string): RpcHandler {
    return async ({ body, signal }) => {
      const executor = this.#options.executor ??
        (this.#executor ??= new Executor());
      try {
        return await executor.run(module, name, [body], { signal });
      } catch (error) {
        throw rpcErrorOf(error);
      }
    };
  }

  async #stop(timeout: number): Promise<void> {
    await this.#emitSafely("beforeShutdown");
    this.#draining = true;
    this.#state = "stopped";
    const end = performance.now() + timeout;
    for (const pending of this.#listeners) pending.drain(timeout);
    for (const peer of this.#peers) peer.shutdown();
    await this.#empty(timeout);
    for (const peer of this.#peers) peer.terminate();
    // At once where the time is up already.
    const left = Math.max(1, end - performance.now());
    await Promise.all(this.#listeners.map((pending) => pending.stop(left)));
    await this.#executor?.close();
    await this.#emitSafely("afterShutdown");
  }

  async #empty(timeout: number): Promise<void> {
    if (this.#peers.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#emptied = resolve;
    const timer = setTimeout(resolve, timeout);
    await promise;
    clearTimeout(timer);
  }

  async #emit(event: RpcEvent): Promise<void> {
    for (const listener of this.#events.get(event) ?? []) await listener();
  }

  // A shutdown goes on whatever happens.
  async #emitSafely(event: RpcEvent): Promise<void> {
    try {
      await this.#emit(event);
    } catch (error) {
      console.error(`Exception in a listener of ${event}`, error);
    }
  }
}

// A listener that is opened when the application starts.
class Pending implements RpcListener {
  readonly #open: () => Listener;
  #listener: Listener | null = null;

  constructor(open: () => Listener) {
    this.#open = open;
  }

  get addr(): Deno.Addr {
    if (this.#listener !== null) return this.#listener.addr;
    throw new TypeError(
      "There is no address yet: the application is not started",
    );
  }

  start(): void {
    this.#listener ??= this.#open();
  }

  drain(timeout: number): void {
    this.#listener?.drain(timeout);
  }

  async stop(timeout: number): Promise<void> {
    await this.#listener?.stop(timeout);
  }
}

// What a function in a worker has thrown has lost its class on the way.
function rpcErrorOf(error: unknown): unknown {
  if (error instanceof ExecutorBusyError) {
    return new RpcError(RpcCode.Busy, "Too busy", { cause: error });
  }
  const { name, code, message } = error as Partial<RpcError>;
  if (name !== "RpcError" || code === undefined) return error;
  return new RpcError(code, message ?? "", { cause: error });
}

function checkShutdown(
  { timeout = SHUTDOWN_MS }: { timeout?: number },
): number {
  requireTimeout(timeout, "shut down");
  return timeout;
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}
