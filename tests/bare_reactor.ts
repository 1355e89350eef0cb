// SPDX-License-Identifier: Apache-2.0
// bare_reactor.ts - a Reactor without a server: tests of ffi/ poll it
// themselves, with clients on loopback.

import type { BackendName } from "../ffi/mod.ts";
import { Reactor, type ReactorOptions } from "../ffi/reactor.ts";
import { resolveOptions } from "../lib/options.ts";
import { RawClient } from "./raw_client.ts";
import { BACKENDS, deadline, turn } from "./testing.ts";

/** A reactor that listens on a free port of 127.0.0.1. */
export class BareReactor implements Disposable {
  readonly reactor: Reactor;
  readonly listener: number;
  readonly #addr: Deno.NetAddr;
  readonly #clients: RawClient[] = [];

  constructor(backend: BackendName, options: Partial<ReactorOptions> = {}) {
    this.reactor = new Reactor({
      ...resolveOptions({ backend, maxConnections: 64, bufferBytes: 8 << 20 }),
      ...options,
    });
    this.listener = this.reactor.listen({
      host: "127.0.0.1",
      port: 0,
      backlog: 64,
      reusePort: false,
      shared: false,
      ipv6Only: false,
      unix: false,
      stream: false,
      fd: null,
    });
    this.#addr = this.reactor.listenAddress(this.listener) as Deno.NetAddr;
  }

  async connect(): Promise<RawClient> {
    const client = await RawClient.connect({ addr: this.#addr });
    this.#clients.push(client);
    return client;
  }

  /** Polls until `visit`, called for each record, has returned a value. */
  async find<T>(visit: (index: number) => T | undefined): Promise<T> {
    for (const end = performance.now() + 20_000; performance.now() < end;) {
      const count = this.reactor.poll();
      let found: T | undefined;
      for (let index = 0; index < count; index++) {
        found ??= visit(index);
      }
      if (found !== undefined) return found;
      await turn();
    }
    throw new Error("Deadline passed: a record");
  }

  /** Polls until a record of that kind comes; the bytes are those of its turn. */
  record(kind: number): Promise<number> {
    const { inbox } = this.reactor;
    return this.find((index) => inbox.kind(index) === kind ? index : undefined);
  }

  /** Polls while something else is waited for. */
  async during<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => void (settled = true);
    promise.then(done, done);
    const polling = (async (): Promise<void> => {
      while (!settled) {
        this.reactor.poll();
        await turn();
      }
    })();
    const value = await deadline(promise, "what is polled for");
    await polling;
    return value;
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
    this.reactor.close();
  }
}

/** Registers a test of a bare reactor for each backend. */
export function testReactors(
  name: string,
  fn: (bare: BareReactor) => Promise<void>,
  options: Partial<ReactorOptions> = {},
): void {
  for (const backend of BACKENDS) {
    Deno.test(`${name} (${backend})`, async () => {
      using bare = new BareReactor(backend, options);
      await deadline(fn(bare), "the test");
    });
  }
}
