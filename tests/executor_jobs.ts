// SPDX-License-Identifier: Apache-2.0
// executor_jobs.ts - functions that the tests have run in workers.

import { parentPort } from "node:worker_threads";
import { RpcError } from "../lib/rpc_error.ts";

let calls = 0;

export function double(n: number): number {
  return n * 2;
}

/** How many calls this worker has had, which tells workers apart. */
export function count(): number {
  return ++calls;
}

export async function later(value: unknown): Promise<unknown> {
  await Promise.resolve();
  return value;
}

export function fail(message: string): never {
  throw new RangeError(message);
}

export function refuse(): never {
  throw new RpcError(123, "refused");
}

export function failOddly(): never {
  throw { odd: true };
}

/** Does not give the thread up before the gate opens: stopping the worker does not stop this. */
export function hang(gate: SharedArrayBuffer): void {
  const flags = new Int32Array(gate);
  Atomics.add(flags, 0, 1);
  while (Atomics.load(flags, 1) === 0);
}

/** Waits until the flag is set by somebody else. */
export function wait(gate: SharedArrayBuffer): number {
  const flags = new Int32Array(gate);
  Atomics.add(flags, 0, 1);
  Atomics.wait(flags, 1, 0);
  return ++calls;
}

export function chatter(): string {
  parentPort!.postMessage("a message of its own");
  parentPort!.postMessage(null);
  parentPort!.postMessage({ value: "nor an outcome" });
  parentPort!.postMessage({ error: { name: "Error", message: "nor that" } });
  return "done";
}

export function exit(): never {
  Deno.exit(7);
}

export function crashLater(): Promise<never> {
  queueMicrotask(() => {
    throw new Error("out of the blue");
  });
  return new Promise(() => {});
}

export function notCloneable(): () => void {
  return () => {};
}

export function lengthOf(buffer: ArrayBuffer): number {
  return buffer.byteLength;
}

export const value = 5;

/** Can be cut off at any time. */
export function forever(): Promise<never> {
  return new Promise(() => {});
}

/** The processors that this thread may run on, as the kernel writes them. */
export function processors(): string {
  const status = Deno.readTextFileSync("/proc/thread-self/status");
  return /Cpus_allowed_list:\s*(.*)/.exec(status)![1]!;
}
