// SPDX-License-Identifier: Apache-2.0
// dial.ts - from a host name to a connection that stands: look-up, then attempts in turn; used by
// ws_client_session.ts.

import { lookup } from "node:dns";
import { errnoError, layout } from "../ffi/mod.ts";
import { type BackendChoice, ClientLoop } from "./client_loop.ts";
import type { Connection } from "./connection.ts";
import { requireNet, requirePath } from "./permissions.ts";
import type { PollLoop } from "./poll_loop.ts";

/** Where to connect to. */
export type DialTarget =
  | { transport: "tcp"; hostname: string; port: number }
  | { transport: "unix"; path: string };

/** How to connect. */
export interface DialOptions {
  backend: BackendChoice;
  /** Milliseconds for all addresses of a host together; 0 means for as long as the system tries. */
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

/** One way to a target: all that is tried until one address has answered, or none has. */
export class Dial {
  readonly #target: DialTarget;
  readonly #options: DialOptions;
  readonly #dialer: Dialer;
  readonly #began = performance.now();
  // What is still to be tried.
  #hosts: string[] = [];
  #attempt: Attempt | null = null;
  #aborted: Error | null = null;
  #over = false;

  /** Begins at once; the dialer is told later. */
  constructor(target: DialTarget, options: DialOptions, dialer: Dialer) {
    this.#target = target;
    this.#options = options;
    this.#dialer = dialer;
    hostsOf(target).then(
      (hosts) => {
        this.#hosts = hosts;
        this.#next(new Error("There is no address to connect to"));
      },
      (error) => this.#fail(error),
    );
  }

  /** Gives up; the dialer is told of this error. */
  abort(error: Error): void {
    this.#aborted ??= error;
    if (this.#attempt === null) this.#fail(error);
    else this.#attempt.abort();
  }

  // Tries the next address; `before` is what became of the last one. One after the other: an attempt that is slow has
  // its share of the time that is left.
  #next(before: Error): void {
    this.#attempt = null;
    const host = this.#hosts.shift();
    const timeout = this.#share();
    if (this.#over) return;
    if (this.#aborted !== null || host === undefined || timeout < 0) {
      return this.#fail(before);
    }
    try {
      this.#try(host, timeout);
    } catch (error) {
      this.#next(error as Error);
    }
  }

  #try(host: string, timeout: number): void {
    const { backend, response } = this.#options;
    const target = this.#target;
    const unix = target.transport === "unix";
    const port = unix ? 0 : target.port;
    const address = { host, port, unix, timeout, response };
    ClientLoop.connect(backend, address, (handle, client) => {
      this.#attempt = new Attempt(handle, client, {
        connected: (): Connection => this.#dialer.connected(handle, client),
        failed: (errno): void =>
          this.#next(errnoError(errno, `connect to ${nameOf(target, host)}`)),
        lost: (): void =>
          this.#fail(new Deno.errors.Interrupted("The loop was closed")),
      });
      return this.#attempt;
    });
  }

  #fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#dialer.failed(this.#aborted ?? error);
  }

  // Milliseconds for the next attempt; less than 0: none are left.
  #share(): number {
    const { timeout } = this.#options;
    if (timeout === 0) return 0;
    const left = timeout - (performance.now() - this.#began);
    const share = Math.ceil(left / (this.#hosts.length + 1));
    return share > 0 ? share : -1;
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

function nameOf(target: DialTarget, host: string): string {
  if (target.transport === "unix") return target.path;
  const { hostname, port } = target;
  const name = hostname.includes(":") ? `[${hostname}]` : hostname;
  return host === hostname ? `${name}:${port}` : `${name}:${port} (${host})`;
}

async function hostsOf(target: DialTarget): Promise<string[]> {
  if (target.transport === "unix") return [target.path];
  const { hostname } = target;
  return isAddress(hostname) ? [hostname] : await lookUp(hostname);
}

function isAddress(hostname: string): boolean {
  return hostname.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(hostname);
}

// All addresses of all families, in the order of the system.
function lookUp(hostname: string): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  lookup(hostname, { all: true, verbatim: true }, (error, found) => {
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
