// SPDX-License-Identifier: Apache-2.0
// http_server.ts - a listening server: its loop, its handler and its life from listen to shutdown; made by
// serve.ts.

import { type BackendName, layout } from "../ffi/mod.ts";
import { AddressLimit, RefusedConnection } from "./address_limit.ts";
import { type Compression, compressionOf } from "./compression.ts";
import type { Connection } from "./connection.ts";
import { HeadText } from "./head_text.ts";
import { HttpConnection } from "./http_connection.ts";
import type { Handler, HttpHost } from "./http_host.ts";
import type { UrlBase } from "./http_request.ts";
import { type EngineOptions, resolveOptions } from "./options.ts";
import { requireNet, requirePath } from "./permissions.ts";
import { PollLoop } from "./poll_loop.ts";
import { type AllTimeouts, timeoutsOf } from "./request_timeouts.ts";
import type { ServerStatistics } from "./statistics.ts";
import type { TopicListener } from "./topics.ts";
import type { Sendable, SendOptions } from "./ws_socket.ts";

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
   * Stops accepting, lets requests in flight finish, closes idle connections at once and WebSockets with 1001, and
   * waits for raw sockets.
   *
   * Further calls wait for the first one, whose timeout counts.
   *
   * @param options When to stop waiting.
   * @returns What was open and what had to be cut.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownReport>;
  /** A copy of the counters. */
  statistics(): ServerStatistics;
  /**
   * Sends a message to all WebSockets that are subscribed to a topic.
   *
   * @param topic The topic, without a wildcard.
   * @param message The message; encoded once, however many subscribers there are.
   * @param options How it is to be sent.
   * @returns How many sockets accepted it.
   */
  publish(topic: string, message: Sendable, options?: SendOptions): number;
  /**
   * How many WebSockets would be sent a message for a topic; of a topic with a wildcard, how many have subscribed to
   * just that.
   *
   * @param topic The topic.
   * @returns Their number.
   */
  subscriberCount(topic: string): number;
}

/** Where to listen, and what to do then. */
export interface ServerInit<Addr extends Deno.Addr> {
  address: ServerAddress;
  handler: Handler;
  onError: (error: unknown) => Response | Promise<Response>;
  onListen: (addr: Addr) => void;
  onTopic: TopicListener | undefined;
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
  readonly compression: Compression | null;
  readonly base: UrlBase;
  readonly highWatermark: number;
  readonly maxDrainBytes: number;
  readonly maxRequests: number;
  readonly timeouts: AllTimeouts;
  readonly addr: Addr;
  readonly finished: Promise<void>;
  draining = false;
  readonly #transport: "tcp" | "unix";
  readonly #path: string;
  readonly #listener: number;
  readonly #socketFile: number | null;
  readonly #finish: () => void;
  readonly #addresses: AddressLimit | null;
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
    this.compression = compressionOf(init.engine.compress);
    this.highWatermark = settings.highWatermark;
    this.maxDrainBytes = settings.maxDrainBytes;
    this.maxRequests = settings.maxRequests;
    this.timeouts = timeoutsOf(settings);
    const perAddress = settings.maxConnectionsPerAddress;
    const addresses = perAddress > 0 && address.transport === "tcp"
      ? new AddressLimit(perAddress)
      : null;
    this.#addresses = addresses;
    this.#transport = address.transport;
    this.#path = address.host;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
    this.loop = new PollLoop(
      settings,
      (handle) => this.#accept(handle),
      addresses === null ? null : (handle) => addresses.release(handle),
    );
    this.loop.topics.listener = init.onTopic ?? null;
    this.#listener = this.#listen(address);
    this.addr = this.parseAddress(
      this.loop.reactor.listenAddress(this.#listener),
    ) as Addr;
    this.base = baseOf(this.addr);
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
    return this.#statistics ?? this.#count();
  }

  publish(topic: string, message: Sendable, options?: SendOptions): number {
    return this.loop.topics.publish(topic, message, options, null);
  }

  subscriberCount(topic: string): number {
    return this.loop.topics.count(topic);
  }

  async shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
    const { timeout = SHUTDOWN_MS } = options;
    if (typeof timeout !== "number" || !(timeout >= 0)) {
      throw new RangeError(
        `Cannot shut down: "timeout" must be a number of at least 0, is ${
          Deno.inspect(timeout)
        }`,
      );
    }
    return await (this.#shutdown ??= this.#drain(timeout));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  parseAddress(text: string): Deno.Addr {
    // Few peers have a path of their own.
    if (this.#transport === "unix") {
      return { transport: "unix", path: text || this.#path };
    }
    const [hostname = "", port = "0"] = text.split(" ");
    return { transport: "tcp", hostname, port: Number(port) };
  }

  #count(): ServerStatistics {
    return this.loop.tally.read(this.loop.reactor.counters());
  }

  #accept(handle: number): Connection {
    const { tally, reactor } = this.loop;
    if (
      this.#addresses === null ||
      this.#addresses.admit(handle, reactor.peerAddress(handle))
    ) return new HttpConnection(handle, this);
    tally.addressRefusals++;
    reactor.outbox.command(handle, layout.CMD_TERMINATE);
    return new RefusedConnection(handle);
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
      this.#statistics = this.#count();
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

// As those of Deno.serve.
function baseOf(addr: Deno.Addr): UrlBase {
  if (addr.transport === "tcp") {
    const { port } = addr as Deno.NetAddr;
    return { scheme: "http", authority: `localhost:${port}` };
  }
  const { path } = addr as Deno.UnixAddr;
  return { scheme: "http+unix", authority: escaped(path) };
}

function escaped(path: string): string {
  const bytes = Array.from(new TextEncoder().encode(path), (byte) => {
    const character = String.fromCharCode(byte);
    const hex = byte.toString(16).toUpperCase().padStart(2, "0");
    return /[A-Za-z0-9]/.test(character) ? character : `%${hex}`;
  });
  return bytes.join("");
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
