// SPDX-License-Identifier: Apache-2.0
// executor.ts - functions that take the processor for long, run in workers; used by rpc_app.ts and by applications.

/**
 * An executor runs functions of modules in a bounded pool of workers, so that what takes the processor for long does
 * not hold up the connections of a server.
 *
 * @example
 * ```ts
 * // hash.ts: export function hash(text: string): string { … }
 * import { Executor } from "@millrace/millrace/executor";
 *
 * await using executor = new Executor({ maximum: 4 });
 * const module = new URL("./hash.ts", import.meta.url);
 * const signal = AbortSignal.timeout(1000);
 * console.log(await executor.run(module, "hash", ["text"], { signal }));
 * ```
 *
 * @module
 */

import type { Worker } from "node:worker_threads";
import type { Job, Outcome, ThrownText } from "./executor_worker.ts";
import { requireInteger, requireKnown, TIMER_MAX_MS } from "./route_options.ts";
import { startThread, type ThreadModule } from "./thread.ts";

/** Bounds of an {@linkcode Executor}. */
export interface ExecutorOptions {
  /**
   * Workers at a time. They are started as they are needed.
   *
   * @default {navigator.hardwareConcurrency - 1, and at least 1}
   */
  maximum?: number;
  /**
   * Milliseconds without work after which a worker is stopped; 0 means never.
   *
   * @default {60000}
   */
  idleTimeout?: number;
  /**
   * Calls that may wait for a worker; one more is rejected.
   *
   * @default {1024}
   */
  maxQueue?: number;
}

/** How one function is to be run. */
export interface ExecutorRunOptions {
  /**
   * Gives the call up: one that waits is dropped, and for one that runs the worker is stopped, and another one started
   * when there is work.
   *
   * Deno 2.9 stops a worker when its function awaits or returns, and does not interrupt one that does neither: its
   * thread goes on although nobody waits for it. Give a function that may take very long a SharedArrayBuffer to look
   * at now and then.
   */
  signal?: AbortSignal;
  /** Buffers among the arguments that are moved to the worker instead of copied. */
  transfer?: ArrayBuffer[];
}

/** What an {@linkcode Executor} has and did. */
export interface ExecutorStatistics {
  /** Workers there are. */
  workers: number;
  /** Workers that run a function. */
  busy: number;
  /** Calls that wait for a worker. */
  queued: number;
  /** Calls that returned. */
  completed: number;
  /** Calls that threw, or whose worker ended. */
  failed: number;
  /** Calls that their signal gave up. */
  cancelled: number;
  /** Calls that were rejected as too many waited. */
  refused: number;
}

/** Too many calls wait for a worker. */
export class ExecutorBusyError extends Error {
  /** The name of the class. */
  override readonly name = "ExecutorBusyError";
}

interface Task {
  readonly job: Job;
  readonly transfer: ArrayBuffer[];
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
}

interface Slot {
  readonly worker: Worker;
  task: Task | null;
  idle: ReturnType<typeof setTimeout> | undefined;
}

const BOOTSTRAP: ThreadModule = {
  url: new URL("./executor_worker.ts", import.meta.url),
  load: () => import("./executor_worker.ts"),
};
const MAKE = "make an executor";
const OPTIONS = ["maximum", "idleTimeout", "maxQueue"];
const LARGEST_POOL = 1024;
const LARGEST_QUEUE = 1_000_000;

/** A bounded pool of workers that run functions of modules. */
export class Executor implements AsyncDisposable {
  readonly #idleTimeout: number;
  readonly #maxQueue: number;
  #maximum: number;
  readonly #slots = new Set<Slot>();
  readonly #queue = new Set<Task>();
  #nextId = 1;
  #closed = false;
  #completed = 0;
  #failed = 0;
  #cancelled = 0;
  #refused = 0;

  /**
   * Makes a pool without workers: they are started with the first calls.
   *
   * @param options Bounds.
   * @throws {TypeError} When an option is unknown.
   * @throws {RangeError} When one is out of range.
   */
  constructor(options: ExecutorOptions = {}) {
    requireKnown(MAKE, options, OPTIONS);
    const {
      maximum = Math.max(1, navigator.hardwareConcurrency - 1),
      idleTimeout = 60_000,
      maxQueue = 1024,
    } = options;
    requireInteger(MAKE, "maximum", maximum, 1, LARGEST_POOL);
    requireInteger(MAKE, "idleTimeout", idleTimeout, 0, TIMER_MAX_MS);
    requireInteger(MAKE, "maxQueue", maxQueue, 0, LARGEST_QUEUE);
    this.#maximum = maximum;
    this.#idleTimeout = idleTimeout;
    this.#maxQueue = maxQueue;
  }

  /**
   * Calls a function in a worker, which imports its module at the first call. Arguments and result are copied as
   * structured clones. A worker runs one function at a time.
   *
   * @typeParam Result What the function returns.
   * @param module The module.
   * @param name Under which name it exports the function.
   * @param args The arguments.
   * @param options Signal, and what is moved instead of copied.
   * @returns What the function returns, or resolves to.
   * @throws {ExecutorBusyError} When too many calls wait.
   * @throws {unknown} What the function throws, as an Error of the same name and message; the reason of the signal.
   */
  run<Result = unknown>(
    module: URL,
    name: string,
    args: unknown[] = [],
    options: ExecutorRunOptions = {},
  ): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const { signal, transfer = [] } = options;
    const task: Task = {
      job: { id: this.#nextId++, module: module.href, name, args },
      transfer,
      resolve,
      reject,
      signal,
      onAbort: undefined,
    };
    if (this.#closed) {
      reject(new TypeError("Cannot run the function: the executor is closed"));
    } else if (signal?.aborted) {
      this.#cancelled++;
      reject(signal.reason);
    } else {
      this.#admit(task);
    }
    return promise as Promise<Result>;
  }

  /**
   * Changes how many workers there may be. When there are more, those that are idle are stopped at once and the others
   * when they are done.
   *
   * @param maximum Their number.
   * @throws {RangeError} When it is out of range.
   */
  resize(maximum: number): void {
    requireInteger("resize the executor", "maximum", maximum, 1, LARGEST_POOL);
    this.#maximum = maximum;
    for (const slot of this.#slots) {
      if (slot.task === null && this.#slots.size > maximum) this.#stop(slot);
    }
    this.#assign();
  }

  /** A copy of the counters. */
  statistics(): ExecutorStatistics {
    const busy = [...this.#slots].filter(({ task }) => task !== null);
    return {
      workers: this.#slots.size,
      busy: busy.length,
      queued: this.#queue.size,
      completed: this.#completed,
      failed: this.#failed,
      cancelled: this.#cancelled,
      refused: this.#refused,
    };
  }

  /** Stops all workers, whatever they do. Calls that are not done are rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    const error = new Deno.errors.Interrupted("The executor was closed");
    for (const task of [...this.#queue]) this.#fail(task, error);
    const stopped = [...this.#slots].map((slot) => {
      const { task } = slot;
      slot.task = null;
      if (task !== null) this.#fail(task, error);
      return this.#stop(slot);
    });
    await Promise.all(stopped);
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #admit(task: Task): void {
    const free = this.#slots.size < this.#maximum ||
      [...this.#slots].some((slot) => slot.task === null);
    if (!free && this.#queue.size >= this.#maxQueue) {
      this.#refused++;
      task.reject(
        new ExecutorBusyError(
          `Cannot run the function: ${this.#queue.size} calls wait for a worker already`,
        ),
      );
      return;
    }
    task.onAbort = (): void => this.#cancel(task);
    task.signal?.addEventListener("abort", task.onAbort, { once: true });
    this.#queue.add(task);
    this.#assign();
  }

  // Gives calls that wait to workers that are idle, or new.
  #assign(): void {
    for (const task of this.#queue) {
      try {
        const slot = this.#idleSlot();
        if (slot === null) return;
        this.#queue.delete(task);
        this.#start(slot, task);
      } catch (error) {
        // Arguments that cannot be cloned, or no worker, as for want of a permission.
        this.#fail(task, error);
      }
    }
  }

  #idleSlot(): Slot | null {
    for (const slot of this.#slots) if (slot.task === null) return slot;
    return this.#slots.size < this.#maximum ? this.#open() : null;
  }

  #open(): Slot {
    const worker = startThread(BOOTSTRAP);
    const slot: Slot = { worker, task: null, idle: undefined };
    let reason: Error | null = null;
    worker.on("message", (message: unknown) => this.#finish(slot, message));
    worker.on("error", (error: Error) => void (reason = error));
    worker.on("exit", () => this.#lost(slot, reason));
    this.#slots.add(slot);
    return slot;
  }

  #start(slot: Slot, task: Task): void {
    clearTimeout(slot.idle);
    slot.task = task;
    slot.worker.ref();
    try {
      slot.worker.postMessage(task.job, task.transfer);
    } catch (error) {
      slot.task = null;
      this.#rest(slot);
      throw error;
    }
  }

  #finish(slot: Slot, message: unknown): void {
    const { task } = slot;
    if (task === null || !isOutcome(message, task.job)) return;
    slot.task = null;
    if ("value" in message) {
      this.#completed++;
      this.#end(task).resolve(message.value);
    } else {
      this.#failed++;
      this.#end(task).reject(errorOf(message.error));
    }
    if (this.#slots.size > this.#maximum) void this.#stop(slot);
    else this.#rest(slot);
    this.#assign();
  }

  // An idle worker keeps no process alive.
  #rest(slot: Slot): void {
    slot.worker.unref();
    if (this.#idleTimeout === 0) return;
    slot.idle = setTimeout(() => void this.#stop(slot), this.#idleTimeout);
    Deno.unrefTimer(slot.idle);
  }

  #cancel(task: Task): void {
    this.#cancelled++;
    this.#queue.delete(task);
    for (const slot of this.#slots) {
      if (slot.task !== task) continue;
      slot.task = null;
      void this.#stop(slot);
    }
    this.#end(task).reject(task.signal!.reason);
    this.#assign();
  }

  // Nobody but stop() ends a worker, unless its function did.
  #lost(slot: Slot, reason: Error | null): void {
    clearTimeout(slot.idle);
    this.#slots.delete(slot);
    const { task } = slot;
    if (task === null) return;
    slot.task = null;
    const message = "The worker has ended before the function returned";
    this.#fail(task, new Error(message, { cause: reason }));
    this.#assign();
  }

  #fail(task: Task, error: unknown): void {
    this.#failed++;
    this.#queue.delete(task);
    this.#end(task).reject(error);
  }

  // Its promise is settled by whoever calls this.
  #end(task: Task): Task {
    task.signal?.removeEventListener("abort", task.onAbort!);
    return task;
  }

  async #stop(slot: Slot): Promise<void> {
    clearTimeout(slot.idle);
    this.#slots.delete(slot);
    await slot.worker.terminate();
  }
}

// A function may send messages of its own, also when it has returned.
function isOutcome(message: unknown, job: Job): message is Outcome {
  return typeof message === "object" && message !== null &&
    (message as Partial<Outcome>).job === job.id;
}

function errorOf({ name, message, stack, code }: ThrownText): Error {
  const error = new Error(message);
  error.name = name;
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });
}
