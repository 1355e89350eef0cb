// SPDX-License-Identifier: Apache-2.0
// dial.ts - from a host name to a connection that stands: look-up, then attempts on all its addresses; used
// by ws_client_session.ts and connect.ts.

import { lookup } from "node:dns";
import { errnoByName, errnoError, layout } from "../ffi/mod.ts";
import { type BackendChoice, ClientLoop } from "./client_loop.ts";
import type { Connection } from "./connection.ts";
import { requireNet, requireNotDenied, requirePath } from "./permissions.ts";
import type { PollLoop } from "./poll_loop.ts";
import { TIMER_MAX_MS } from "./route_options.ts";

// RFC 8305 section 5: Connection Attempt Delay.
const ATTEMPT_DELAY_MS = 250;

/** Where to connect to. */
export type DialTarget =
  | { transport: "tcp"; hostname: string; port: number }
  | { transport: "unix"; path: string };

/** How to connect. */
export interface DialOptions {
  backend: BackendChoice;
  /** Our own IP address; empty for any. */
  source: string;
  /** Milliseconds for the look-up and all addresses together; 0 means for as long as the system tries. */
  timeout: number;
  /** Whether the peer is expected to answer with the head of a response, and not with bytes of any kind. */
  response: boolean;
}

/** Who is told what became of it, exactly once. */
export interface Dialer {
  /** The connection stands. What is returned takes over its handle. */
  connected(handle: number, loop: ClientLoop): Connection;
  /** It does not, and nothing is left of it. */
  failed(error: Error): void;
}

/** Throws NotCapable unless connecting there is allowed. */
export function requireTarget(target: DialTarget): void {
  if (target.transport === "tcp") requireNet(target.hostname, target.port);
  else requirePath(target.path);
}

/**
 * One way to a target: all that is tried until one address has answered, or none has. As RFC 8305 has it, the
 * addresses of both families take turns, an attempt that takes long does not hold up the next one, and the first
 * that stands is taken.
 */
export class Dial {
  readonly #target: DialTarget;
  readonly #options: DialOptions;
  readonly #dialer: Dialer;
  // What is still to be tried.
  #hosts: string[] = [];
  readonly #attempts = new Set<Attempt>();
  readonly #errors: Error[] = [];
  #looking = true;
  #next: ReturnType<typeof setTimeout> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #aborted: Error | null = null;
  #over = false;

  /** Begins at once; the dialer is told later. */
  constructor(
    target: DialTarget,
    options: DialOptions,
    dialer: Dialer,
    find: (target: DialTarget) => Promise<string[]> = hostsOf,
  ) {
    this.#target = target;
    this.#options = options;
    this.#dialer = dialer;
    if (options.timeout > 0) {
      this.#deadline = setTimeout(
        () => this.abort(errnoByName("ETIMEDOUT", connecting(target))),
        Math.min(options.timeout, TIMER_MAX_MS),
      );
    }
    find(target).then(
      (hosts) => this.#found(inTurns(hosts)),
      (error) => this.abort(error),
    );
  }

  /** Gives up; the dialer is told of this error once nothing is left. */
  abort(error: Error): void {
    this.#aborted ??= error;
    this.#looking = false;
    this.#hosts.length = 0;
    this.#abortAll();
    this.#settle();
  }

  #found(hosts: string[]): void {
    if (!this.#looking) return;
    this.#looking = false;
    this.#hosts = hosts;
    this.#tryNext();
  }

  #tryNext(): void {
    clearTimeout(this.#next);
    const host = this.#hosts.shift();
    if (host === undefined) return this.#settle();
    try {
      this.#try(host);
    } catch (error) {
      this.#errors.push(error as Error);
      return this.#tryNext();
    }
    if (this.#hosts.length === 0) return;
    this.#next = setTimeout(() => this.#tryNext(), ATTEMPT_DELAY_MS);
  }

  #try(host: string): void {
    const { backend, source, response } = this.#options;
    const target = this.#target;
    const unix = target.transport === "unix";
    const port = unix ? 0 : target.port;
    if (!unix) requireNotDenied(host, port);
    const address = { host, source, port, unix, timeout: 0, response };
    ClientLoop.connect(backend, address, (handle, client) => {
      const attempt = new Attempt(handle, client, {
        connected: (): Connection => {
          if (this.#over || this.#aborted !== null) return attempt;
          this.#end();
          this.#attempts.delete(attempt);
          this.#abortAll();
          return this.#dialer.connected(handle, client);
        },
        failed: (errno): void => {
          const error = errnoError(errno, connecting(target, host));
          this.#failed(attempt, error);
        },
        lost: (): void =>
          this.#failed(
            attempt,
            new Deno.errors.Interrupted("The loop was closed"),
          ),
      });
      this.#attempts.add(attempt);
      return attempt;
    });
  }

  #failed(attempt: Attempt, error: Error): void {
    this.#attempts.delete(attempt);
    if (this.#over) return;
    this.#errors.push(error);
    this.#tryNext();
  }

  #settle(): void {
    if (this.#over || this.#attempts.size > 0 || this.#looking) return;
    this.#end();
    this.#dialer.failed(this.#aborted ?? this.#error());
  }

  // The last error, which is that of an address that was not refused at once.
  #error(): Error {
    const error = this.#errors.at(-1) ??
      errnoByName("ENOENT", connecting(this.#target));
    if (this.#errors.length > 1) {
      error.cause = new AggregateError(this.#errors.slice(0, -1));
    }
    return error;
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#next);
    clearTimeout(this.#deadline);
  }

  #abortAll(): void {
    for (const attempt of this.#attempts) attempt.abort();
  }
}

/** How an attempt may end. */
interface Ends {
  connected(): Connection;
  failed(errno: number): void;
  lost(): void;
}

/** A connection until it stands. */
class Attempt implements Connection {
  readonly handle: number;
  readonly #loop: PollLoop;
  readonly #ends: Ends;

  constructor(handle: number, client: ClientLoop, ends: Ends) {
    this.handle = handle;
    this.#loop = client.loop;
    this.#ends = ends;
  }

  receive(index: number): void {
    const { inbox } = this.#loop.reactor;
    switch (inbox.kind(index)) {
      case layout.CONNECTED:
        return this.#loop.replace(this.#ends.connected());
      case layout.CLOSED:
        return this.#ends.failed(inbox.code(index));
    }
  }

  abort(): void {
    this.#loop.reactor.outbox.command(this.handle, layout.CMD_TERMINATE);
    this.#loop.kick();
  }

  drain(): void {
    this.abort();
  }

  lost(): void {
    this.#ends.lost();
  }
}

// What is being done, for errors; with the address where a name has several.
function connecting(target: DialTarget, address?: string): string {
  if (target.transport === "unix") return `connect to ${target.path}`;
  const { hostname, port } = target;
  const name = hostname.includes(":") ? `[${hostname}]` : hostname;
  const found = address === undefined || address === hostname
    ? ""
    : ` (${address})`;
  return `connect to ${name}:${port}${found}`;
}

/** Addresses of both families in turns, each family in its order, beginning with that of the first one. */
export function inTurns(addresses: string[]): string[] {
  const isV6 = (address: string): boolean => address.includes(":");
  const first = addresses.filter((address) =>
    isV6(address) === isV6(addresses[0]!)
  );
  const second = addresses.filter((address) => !first.includes(address));
  const longer = Math.max(first.length, second.length);
  return Array.from({ length: longer }, (_, at) => [first[at], second[at]])
    .flat().filter((address) => address !== undefined);
}

async function hostsOf(target: DialTarget): Promise<string[]> {
  // It may have been revoked since the last time.
  requireTarget(target);
  if (target.transport === "unix") return [target.path];
  return isAddress(target.hostname)
    ? [target.hostname]
    : await lookUp(target.hostname, target.port);
}

function isAddress(hostname: string): boolean {
  return hostname.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(hostname);
}

// All addresses of all families, in the order of the system.
function lookUp(hostname: string, port: number): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  // Deno asks whether that port of the host is allowed; without it, whether all are.
  const options = { all: true as const, verbatim: true, port };
  lookup(hostname, options, (error, found) => {
    if (error === null) {
      resolve(found.map(({ address }) => address));
    } else {
      reject(
        new Deno.errors.NotFound(
          `Cannot find the address of ${hostname}: ${error.message}`,
          { cause: error },
        ),
      );
    }
  });
  return promise;
}
