// SPDX-License-Identifier: Apache-2.0
// testing.ts - what the behavioural tests share: both backends, deadlines, and
// servers that are closed in the end.

import { type HttpServer, serve, topology } from "../mod.ts";
import type { BackendName, ServeHandler, ServeTcpOptions } from "../mod.ts";

// Opens the shim now: it stays open, and no test shall be blamed for that.
topology();

export const BACKENDS: readonly BackendName[] = ["io_uring", "epoll"];

/** Nothing here takes a tenth of this; a test that does is stuck. */
const DEADLINE_MS = 30_000;

export type TcpServer = HttpServer<Deno.NetAddr>;

/** A server of any kind. */
export type ClosableServer = Pick<HttpServer, "shutdown" | "finished">;

/** What a test of one backend is given. */
export interface Context {
  readonly backend: BackendName;
  /** Starts a server on a free port of 127.0.0.1; the context closes it. */
  serve(
    handler: ServeHandler<Deno.NetAddr>,
    options?: Omit<ServeTcpOptions, "handler">,
  ): TcpServer;
  /** Has the context close a server that was started otherwise. */
  closing<Server extends ClosableServer>(server: Server): Server;
  /** Has the context dispose of a client, before it closes the servers. */
  using<Resource extends Disposable>(resource: Resource): Resource;
}

/** Registers one test for each backend. */
export function testBackends(
  name: string,
  fn: (context: Context) => Promise<void>,
): void {
  for (const backend of BACKENDS) {
    Deno.test(`${name} (${backend})`, () => runWith(backend, fn));
  }
}

async function runWith(
  backend: BackendName,
  fn: (context: Context) => Promise<void>,
): Promise<void> {
  const servers: ClosableServer[] = [];
  const resources: Disposable[] = [];
  const context: Context = {
    backend,
    serve: (handler, options = {}) =>
      context.closing(serve({
        hostname: "127.0.0.1",
        port: 0,
        backend,
        onListen: quiet,
        ...options,
      }, handler)),
    closing: (server) => {
      servers.push(server);
      return server;
    },
    using: (resource) => {
      resources.push(resource);
      return resource;
    },
  };
  try {
    await deadline(fn(context), "the test");
  } finally {
    for (const resource of resources) resource[Symbol.dispose]();
    for (const server of servers) {
      await deadline(server.shutdown({ timeout: 1 }), "shutdown");
      await deadline(server.finished, "finished");
    }
  }
}

/** An onListen that says nothing. */
export function quiet(): void {}

/** The promise's value; fails the test when it is not settled in time. */
export async function deadline<T>(
  promise: Promise<T>,
  what: string,
  ms: number = DEADLINE_MS,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`Deadline passed: ${what}`)),
    ms,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets the event loop turn until the condition holds. */
export async function until(
  condition: () => boolean,
  what: string,
): Promise<void> {
  const end = performance.now() + DEADLINE_MS;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Deadline passed: ${what}`);
    await turn();
  }
}

/** One turn of the event loop in which its I/O is served too. */
export function turn(): Promise<void> {
  return sleep(1);
}

/** For what has to take longer than a timeout under test; whoever waits for something asks `until()`. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Turns the loop until the number stays the same for many turns. */
export async function settled(value: () => number): Promise<number> {
  let last = value();
  for (let same = 0; same < 50; same++) {
    await turn();
    if (value() === last) continue;
    last = value();
    same = 0;
  }
  return last;
}

/** Silences console.error and collects what it was given. */
export async function withoutErrors(
  fn: () => Promise<void>,
): Promise<unknown[][]> {
  const original = console.error;
  const calls: unknown[][] = [];
  console.error = (...args: unknown[]): void => void calls.push(args);
  try {
    await fn();
  } finally {
    console.error = original;
  }
  return calls;
}

/** The bytes of a text in which each character stands for one. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

/** The text in which each character stands for one byte. */
export function fromLatin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) {
    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  }
  return text;
}

export function concat(
  parts: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Reproducible bytes in which every position looks different. */
export function pattern(
  length: number,
  seed: number = length,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** Compares long byte strings fast, and names the first difference. */
export function assertSameBytes(
  actual: Uint8Array,
  expected: Uint8Array,
  what: string,
): void {
  if (actual.length !== expected.length) {
    throw new Error(
      `${what}: ${actual.length} bytes instead of ${expected.length}`,
    );
  }
  for (let at = 0; at < actual.length; at++) {
    if (actual[at] !== expected[at]) {
      throw new Error(
        `${what}: byte ${at} is ${actual[at]} instead of ${expected[at]}`,
      );
    }
  }
}
