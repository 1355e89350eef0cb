// SPDX-License-Identifier: Apache-2.0
// listening_server.ts - what servers of every kind are: a loop with a listener, limits for those who connect, and a
// life from listen to shutdown; extended by http_server.ts and socket_server.ts.

import {
  type BackendName,
  parseAddress,
  type SocketTuning,
} from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { ServerAddress } from "./listen_address.ts";
import type { Settings } from "./options.ts";
import {
  requireAddress,
  requireNet,
  requireNotDenied,
  requirePath,
} from "./permissions.ts";
import { PollLoop } from "./poll_loop.ts";
import { sharing } from "./sharing.ts";
import { type SocketFile, socketFileOf } from "./socket_file.ts";
import type { ServerStatistics } from "./statistics.ts";
import { TIMER_MAX_MS } from "./route_options.ts";

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
  /**
   * Milliseconds for which connections go on as before, except that responses tell them to leave: a client that is
   * about to use an idle connection again then gets an answer. WebSockets and raw sockets are told afterwards.
   *
   * @default {0}
   */
  grace?: number;
}

/**
 * What running servers of every kind have.
 *
 * @typeParam Addr What its address is like.
 */
export interface RunningServer<Addr extends Deno.Addr = Deno.Addr>
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
  /** Lets the process end while the server runs, also with connections. */
  unref(): void;
  /**
   * Stops accepting, and waits until all connections are closed. Further calls wait for the first one, whose timeout
   * counts.
   *
   * @param options When to stop waiting.
   * @returns What was open and what had to be cut.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownReport>;
  /** A copy of the counters. */
  statistics(): ServerStatistics;
}

/** Where to listen, and how. */
export interface ListenInit {
  address: ServerAddress;
  settings: Settings;
  /** Connections carry bytes that are the application's, and no HTTP. */
  stream: boolean;
  tuning: SocketTuning;
}

const SHUTDOWN_MS = 30_000;

/** A server that listens. Its subclass says what a connection is, and calls `begin()` when it is whole. */
export abstract class ListeningServer<Addr extends Deno.Addr>
  implements RunningServer<Addr> {
  readonly loop: PollLoop;
  readonly addr: Addr;
  readonly finished: Promise<void>;
  /** It shuts down: whoever is answered is told to leave. */
  draining = false;
  /** The turn in which that began. */
  drainTurn = 0;
  /** The time in which they may come back is over. */
  leaving = false;
  readonly #listener: number;
  readonly #socketFile: SocketFile | null;
  readonly #finish: () => void;
  #shutdown: Promise<ShutdownReport> | null = null;
  #statistics: ServerStatistics | null = null;

  constructor(init: ListenInit) {
    const { address, settings } = init;
    const { transport, host, port, fd } = address;
    if (fd !== null && sharing() !== null) {
      throw new TypeError(
        "Cannot listen: workers of serveAll() cannot all take over the same descriptor",
      );
    }
    if (fd === null && transport === "unix") requirePath(host);
    else if (fd === null) requireNet(host, port);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
    this.loop = new PollLoop(settings, (handle) => this.open(handle));
    this.#listener = this.#listen(init);
    this.addr = this.loop.reactor.listenAddress(this.#listener) as Addr;
    this.#requireBound(fd !== null);
    // That of an inherited socket is not ours to remove, and that of a shared one not a single worker's.
    this.#socketFile = fd === null && sharing() === null
      ? socketFileOf(this.addr)
      : null;
    this.#share();
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

  async shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
    const { timeout, grace } = checkShutdown(options);
    return await (this.#shutdown ??= this.#drain(timeout, grace));
  }

  /** Closes the server and all its connections at once. */
  async close(): Promise<void> {
    if (this.#statistics === null) {
      this.#statistics = this.#count();
      await this.loop.close();
      try {
        this.#socketFile?.remove();
      } finally {
        this.#finish();
      }
    }
    await this.finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  /** The address of a peer. */
  parseAddress(text: string): Deno.Addr {
    const { addr } = this;
    if (addr.transport !== "unix") return parseAddress(text, false);
    // Few peers have a path of their own.
    return parseAddress(text || (addr as unknown as Deno.UnixAddr).path, true);
  }

  /** The object for a new connection. */
  protected abstract open(handle: number): Connection;

  /** Requests that are being answered on these connections. */
  protected requests(_connections: Connection[]): number {
    return 0;
  }

  /** Heeds the application's signal from here on, and tells it that the server listens. */
  protected begin(
    signal: AbortSignal | undefined,
    onListen?: (addr: Addr) => void,
  ): void {
    const abort = (): void => this.#closeNow();
    signal?.addEventListener("abort", abort, { once: true });
    this.finished.then(() => signal?.removeEventListener("abort", abort));
    try {
      onListen?.(this.addr);
    } catch (error) {
      this.#closeNow();
      throw error;
    }
  }

  // For who waits for `finished` at most: nobody else would hear that the file of a socket is still there.
  #closeNow(): void {
    this.close().catch((error) =>
      console.error("The file of a socket could not be removed", error)
    );
  }

  #count(): ServerStatistics {
    const { tally, reactor } = this.loop;
    return tally.read(reactor.counters(), [reactor.memory()]);
  }

  // Where it is one of several workers.
  #share(): void {
    try {
      sharing()?.opened(this, this.loop);
    } catch (error) {
      void this.loop.close();
      throw error;
    }
  }

  #listen({ address, settings, stream, tuning }: ListenInit): number {
    const { reactor } = this.loop;
    const most = settings.maxConnectionsPerAddress;
    try {
      const listener = reactor.listen({
        ...address,
        unix: address.transport === "unix",
        stream,
        shared: sharing() !== null,
      }, tuning);
      if (most > 0) reactor.limitAddresses(most);
      return listener;
    } catch (error) {
      void this.loop.close();
      throw error;
    }
  }

  // What a name has led to, or an inherited socket is bound to, is known only now.
  #requireBound(inherited: boolean): void {
    const { addr } = this;
    try {
      if (inherited) requireAddress(addr);
      else if (isNet(addr)) requireNotDenied(addr.hostname, addr.port);
    } catch (error) {
      void this.loop.close();
      throw error;
    }
  }

  async #drain(timeout: number, grace: number): Promise<ShutdownReport> {
    if (this.#statistics !== null) {
      return { connections: 0, requests: 0, forced: 0 };
    }
    this.draining = true;
    this.drainTurn = this.loop.turn;
    const { loop } = this;
    const open = [...loop.connections()];
    const requests = this.requests(open);
    loop.reactor.unlisten(this.#listener);
    const deadline = timeout === 0 || timeout > TIMER_MAX_MS
      ? undefined
      : setTimeout(() => this.#closeNow(), timeout);
    const empty = loop.empty();
    if (grace > 0) {
      await within(empty, grace);
      // A timer says nothing of what has arrived meanwhile.
      if (!loop.isClosed) await loop.turned();
    }
    this.leaving = true;
    for (const connection of [...loop.connections()]) connection.drain();
    await empty;
    clearTimeout(deadline);
    const forced = this.#statistics === null
      ? 0
      : (this.#statistics as ServerStatistics).connections;
    await this.close();
    return { connections: open.length, requests, forced };
  }
}

/** The options with defaults. Throws a RangeError for one that is no time. */
export function checkShutdown(
  { timeout = SHUTDOWN_MS, grace = 0 }: ShutdownOptions,
): Required<ShutdownOptions> {
  for (const [name, value] of Object.entries({ timeout, grace })) {
    if (typeof value === "number" && value >= 0) continue;
    throw new RangeError(
      `Cannot shut down: "${name}" must be a number of at least 0, is ${
        Deno.inspect(value)
      }`,
    );
  }
  return { timeout, grace };
}

// Resolves with the promise, and after so many milliseconds at the latest.
async function within(promise: Promise<void>, ms: number): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, Math.min(ms, TIMER_MAX_MS));
  await Promise.race([promise, over]);
  clearTimeout(timer);
}

function isNet(addr: Deno.Addr): addr is Deno.NetAddr {
  return addr.transport === "tcp";
}
