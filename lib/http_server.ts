// SPDX-License-Identifier: Apache-2.0
// http_server.ts - a listening server: its loop, its handler and its life from listen to shutdown; made by
// serve.ts.

import type { BackendName, ReactorCounters } from "../ffi/mod.ts";
import { HeadText } from "./head_text.ts";
import {
  type Handler,
  HttpConnection,
  type HttpHost,
} from "./http_connection.ts";
import { type EngineOptions, resolveOptions } from "./options.ts";
import { requireNet, requirePath } from "./permissions.ts";
import { PollLoop } from "./poll_loop.ts";

/** What a shutdown has done. */
export interface ShutdownReport {
  /** Connections that were open when it began. */
  connections: number;
  /** Requests among them that were being answered. */
  requests: number;
  /** Connections that had to be cut at the deadline. */
  forced: number;
}

/** How to shut down. */
export interface ShutdownOptions {
  /**
   * Milliseconds after which connections that are still busy are cut; 0 means to wait for them however long.
   *
   * @default {30000}
   */
  timeout?: number;
}

/** Counters of a server since it was started. */
export type ServerStatistics = ReactorCounters;

/**
 * A running server, as `Deno.serve` returns it, and a little more.
 *
 * @typeParam Addr What its address is like.
 */
export interface HttpServer<Addr extends Deno.Addr = Deno.Addr>
  extends AsyncDisposable {
  /** Resolves when the server is closed. */
  readonly finished: Promise<void>;
  /** The address that it listens on. */
  readonly addr: Addr;
  /** The kernel interface in use. */
  readonly backend: BackendName;
  /** Why it was chosen. */
  readonly backendReason: string;
  /** Has the server keep the process alive, which is the default. */
  ref(): void;
  /** Lets the process end while the server runs. */
  unref(): void;
  /**
   * Stops accepting, lets requests in flight finish, closes idle connections at once and WebSockets with 1001.
   *
   * @param options When to stop waiting.
   * @returns What was open and what had to be cut.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownReport>;
  /** A copy of the counters. */
  statistics(): ServerStatistics;
}

/** Where to listen, and what to do then. */
export interface ServerInit<Addr extends Deno.Addr> {
  address: ServerAddress;
  handler: Handler;
  onError: (error: unknown) => Response | Promise<Response>;
  onListen: (addr: Addr) => void;
  signal: AbortSignal | undefined;
  engine: EngineOptions;
}

/** An address as it was asked for. */
export interface ServerAddress {
  transport: "tcp" | "unix";
  /** Host name, or path of a Unix socket. */
  host: string;
  port: number;
  backlog: number;
  reusePort: boolean;
}

// A longer timer would fire at once.
const TIMER_MAX_MS = 0x7fffffff;

const SHUTDOWN_MS = 30_000;

/** Opens a server. */
export function openServer<Addr extends Deno.Addr>(
  init: ServerInit<Addr>,
): HttpServer<Addr> {
  return new Server(init);
}

class Server<Addr extends Deno.Addr> implements HttpServer<Addr>, HttpHost {
  readonly loop: PollLoop;
  readonly heads: HeadText = new HeadText();
  readonly handler: Handler;
  readonly onError: (error: unknown) => Response | Promise<Response>;
  readonly authority: string;
  readonly highWatermark: number;
  readonly addr: Addr;
  readonly finished: Promise<void>;
  draining = false;
  readonly #transport: "tcp" | "unix";
  readonly #listener: number;
  readonly #socketFile: number | null;
  readonly #finish: () => void;
  #shutdown: Promise<ShutdownReport> | null = null;
  #statistics: ServerStatistics | null = null;

  constructor(init: ServerInit<Addr>) {
    const { address, signal } = init;
    const settings = resolveOptions(init.engine);
    signal?.throwIfAborted();
    if (address.transport === "tcp") requireNet(address.host, address.port);
    else requirePath(address.host);
    this.handler = init.handler;
    this.onError = init.onError;
    this.highWatermark = settings.highWatermark;
    this.#transport = address.transport;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
    this.loop = new PollLoop(
      settings,
      (handle) => new HttpConnection(handle, this),
    );
    this.#listener = this.#listen(address);
    this.addr = this.parseAddress(
      this.loop.reactor.listenAddress(this.#listener),
    ) as Addr;
    this.authority = authorityOf(this.addr);
    this.#socketFile = address.transport === "unix"
      ? inodeOf(address.host)
      : null;
    const abort = (): void => void this.#close();
    signal?.addEventListener("abort", abort, { once: true });
    this.finished.then(() => signal?.removeEventListener("abort", abort));
    try {
      init.onListen(this.addr);
    } catch (error) {
      void this.#close();
      throw error;
    }
  }

  get backend(): BackendName {
    return this.loop.reactor.backend;
  }

  get backendReason(): string {
    return this.loop.reactor.reason;
  }

  ref(): void {
    this.loop.ref();
  }

  unref(): void {
    this.loop.unref();
  }

  statistics(): ServerStatistics {
    return this.#statistics ?? this.loop.reactor.counters();
  }

  shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
    return this.#shutdown ??= this.#drain(options.timeout ?? SHUTDOWN_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  parseAddress(text: string): Deno.Addr {
    if (this.#transport === "unix") return { transport: "unix", path: text };
    const [hostname = "", port = "0"] = text.split(" ");
    return { transport: "tcp", hostname, port: Number(port) };
  }

  #listen(address: ServerAddress): number {
    const { host, port, backlog, reusePort, transport } = address;
    try {
      return this.loop.reactor.listen({
        host,
        port,
        backlog,
        reusePort,
        unix: transport === "unix",
      });
    } catch (error) {
      void this.loop.close();
      throw error;
    }
  }

  async #drain(timeout: number): Promise<ShutdownReport> {
    if (this.#statistics !== null) {
      return { connections: 0, requests: 0, forced: 0 };
    }
    this.draining = true;
    const { loop } = this;
    const open = [...loop.connections()];
    const requests = open.reduce(
      (sum, c) => sum + (c instanceof HttpConnection ? c.inFlight : 0),
      0,
    );
    loop.reactor.unlisten(this.#listener);
    for (const connection of open) connection.drain();
    const deadline = timeout === 0 || timeout > TIMER_MAX_MS
      ? undefined
      : setTimeout(() => void this.#close(), timeout);
    await loop.empty();
    clearTimeout(deadline);
    const forced = this.#statistics === null
      ? 0
      : (this.#statistics as ServerStatistics).connections;
    await this.#close();
    return { connections: open.length, requests, forced };
  }

  // The kernel leaves the file behind, and nobody could listen on it again. A file that somebody else has put
  // there meanwhile stays.
  #removeSocketFile(): void {
    if (this.#socketFile === null) return;
    const { path } = this.addr as unknown as Deno.UnixAddr;
    if (inodeOf(path) === this.#socketFile) Deno.removeSync(path);
  }

  async #close(): Promise<void> {
    if (this.#statistics === null) {
      this.#statistics = this.loop.reactor.counters();
      await this.loop.close();
      try {
        this.#removeSocketFile();
      } finally {
        this.#finish();
      }
    }
    await this.finished;
  }
}

// What a request without Host is taken to have been sent to, as by Deno.serve.
function authorityOf(addr: Deno.Addr): string {
  return addr.transport === "tcp"
    ? `localhost:${(addr as Deno.NetAddr).port}`
    : "localhost";
}

// Null for an abstract socket, which has no file.
function inodeOf(path: string): number | null {
  if (path.startsWith("@")) return null;
  try {
    return Deno.statSync(path).ino;
  } catch {
    return null;
  }
}
