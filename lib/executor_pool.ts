// SPDX-License-Identifier: Apache-2.0
// executor_pool.ts - a pool of workers that run functions of modules; used by executor.ts and workers_executor.ts.

import type { Worker } from "node:worker_threads";
import {
  type Call,
  ExecutorBusyError,
  type ExecutorOptions,
  type ExecutorRunOptions,
  type ExecutorStatistics,
  Figures,
  requireMaximum,
  type Runner,
} from "./executor_options.ts";
import type { Job, Outcome, PoolWorkerInit } from "./executor_worker.ts";
import { startThread, type ThreadModule, unmarked } from "./thread.ts";
import { errorOf } from "./thrown_text.ts";

interface Task {
  readonly job: Job;
  readonly transfer: ArrayBuffer[];
  /** Workers that were started before this one are too old for it. */
  readonly generation: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
}

interface Slot {
  readonly worker: Worker;
  readonly generation: number;
  task: Task | null;
  idle: ReturnType<typeof setTimeout> | undefined;
}

const BOOTSTRAP: ThreadModule = {
  url: new URL("./executor_worker.ts", import.meta.url),
  load: () => import("./executor_worker.ts"),
};

/** A bounded pool of workers. */
export class Pool implements Runner {
  readonly figures: Figures = new Figures();
  readonly #minimum: number;
  readonly #idleTimeout: number;
  readonly #maxQueue: number;
  readonly #cpus: (workers: number) => readonly number[];
  #maximum: number;
  readonly #slots = new Set<Slot>();
  readonly #queue = new Set<Task>();
  #nextId = 1;
  #generation = 0;
  #oldest = 0;
  #closed = false;

  /** `cpus` are the processors that workers are bound to, when there may be so many; none for any. */
  constructor(
    { maximum, minimum, idleTimeout, maxQueue }: Required<ExecutorOptions>,
    cpus: (workers: number) => readonly number[] = () => [],
  ) {
    this.#maximum = maximum;
    this.#minimum = minimum;
    this.#idleTimeout = idleTimeout;
    this.#maxQueue = maxQueue;
    this.#cpus = cpus;
    this.figures.set("maximum", maximum);
    this.#fill();
  }

  /** That of workers which are started now. */
  get generation(): number {
    return this.#generation;
  }

  /** Calls a function. Workers of an older generation are not asked. */
  run(
    call: Call,
    { signal, transfer = [] }: ExecutorRunOptions,
    generation = 0,
  ): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const task: Task = {
      job: { id: this.#nextId++, ...call },
      transfer,
      generation,
      resolve,
      reject,
      signal,
      onAbort: undefined,
    };
    if (this.#closed) {
      reject(new TypeError("Cannot run the function: the executor is closed"));
    } else if (signal?.aborted) {
      this.figures.add("cancelled");
      reject(signal.reason);
    } else {
      this.#admit(task);
    }
    return promise;
  }

  resize(maximum: number): void {
    requireMaximum("resize the executor", maximum);
    this.#maximum = maximum;
    this.figures.set("maximum", maximum);
    for (const slot of this.#slots) {
      if (slot.task === null && this.#slots.size > maximum) {
        void this.#stop(slot);
      }
    }
    this.#assign();
    this.#fill();
  }

  statistics(): ExecutorStatistics {
    return this.figures.read();
  }

  /** Workers that are started from here on load modules anew, and are of another generation. */
  renew(): void {
    this.#generation++;
  }

  /** Has workers of older generations end, once they are idle. */
  retire(): void {
    this.#oldest = this.#generation;
    for (const slot of this.#slots) {
      if (slot.task === null && slot.generation < this.#oldest) {
        void this.#stop(slot);
      }
    }
    this.#fill();
  }

  /** Stops all workers, whatever they do. Calls that are not done are rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    const error = new Deno.errors.Interrupted("The executor was closed");
    for (const task of [...this.#queue]) this.#fail(task, error);
    const stopped = [...this.#slots].map((slot) => {
      const task = this.#release(slot);
      if (task !== null) this.#fail(task, error);
      return this.#stop(slot);
    });
    await Promise.all(stopped);
  }

  #admit(task: Task): void {
    const free = this.#slots.size < this.#maximum ||
      [...this.#slots].some((slot) => slot.task === null);
    if (!free && this.#queue.size >= this.#maxQueue) {
      this.figures.add("refused");
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
    this.figures.add("queued");
    this.#assign();
  }

  // Gives calls that wait to workers that are idle, or new.
  #assign(): void {
    for (const task of this.#queue) {
      try {
        const slot = this.#slotFor(task);
        if (slot === null) return;
        this.#unqueue(task);
        this.#start(slot, task);
      } catch (error) {
        // Arguments that cannot be cloned, or no worker, as for want of a permission.
        this.#fail(task, error);
      }
    }
  }

  // Null when there is none for any call.
  #slotFor(task: Task): Slot | null {
    const idle = [...this.#slots].filter((slot) => slot.task === null);
    const fits = idle.find((slot) => slot.generation >= task.generation);
    if (fits !== undefined) return fits;
    if (this.#slots.size >= this.#maximum) {
      const [old] = idle;
      if (old === undefined) return null;
      void this.#stop(old);
    }
    return this.#open();
  }

  #open(): Slot {
    const mark = crypto.randomUUID();
    const cpus = this.#cpus(this.#maximum);
    const workerData: PoolWorkerInit = { cpus, mark };
    const worker = startThread(BOOTSTRAP, workerData);
    const generation = this.#generation;
    const slot: Slot = { worker, generation, task: null, idle: undefined };
    let reason: Error | null = null;
    worker.on("message", (data: unknown) => {
      const outcome = unmarked<Outcome>(mark, data);
      if (outcome !== null) this.#finish(slot, outcome);
    });
    worker.on("error", (error: Error) => void (reason = error));
    worker.on("exit", () => this.#lost(slot, reason));
    this.#slots.add(slot);
    this.figures.add("workers");
    return slot;
  }

  // Those that are always there.
  #fill(): void {
    const count = Math.min(this.#minimum, this.#maximum);
    while (!this.#closed && this.#slots.size < count) this.#rest(this.#open());
  }

  #start(slot: Slot, task: Task): void {
    clearTimeout(slot.idle);
    slot.worker.ref();
    try {
      slot.worker.postMessage(task.job, task.transfer);
    } catch (error) {
      this.#rest(slot);
      throw error;
    }
    slot.task = task;
    this.figures.add("busy");
  }

  #finish(slot: Slot, outcome: Outcome): void {
    const { task } = slot;
    if (task === null || outcome.job !== task.job.id) return;
    this.#release(slot);
    if ("value" in outcome) {
      this.figures.add("completed");
      this.#end(task).resolve(outcome.value);
    } else {
      this.figures.add("failed");
      this.#end(task).reject(errorOf(outcome.error));
    }
    const old = slot.generation < this.#oldest;
    if (old || this.#slots.size > this.#maximum) void this.#stop(slot);
    else this.#rest(slot);
    this.#assign();
    this.#fill();
  }

  // An idle worker keeps no process alive.
  #rest(slot: Slot): void {
    slot.worker.unref();
    if (this.#idleTimeout === 0) return;
    slot.idle = setTimeout(() => {
      if (this.#slots.size > this.#minimum) void this.#stop(slot);
    }, this.#idleTimeout);
    Deno.unrefTimer(slot.idle);
  }

  #cancel(task: Task): void {
    this.figures.add("cancelled");
    this.#unqueue(task);
    for (const slot of this.#slots) {
      if (slot.task !== task) continue;
      this.#release(slot);
      void this.#stop(slot);
    }
    this.#end(task).reject(task.signal!.reason);
    this.#assign();
    this.#fill();
  }

  // Nobody but stop() ends a worker, unless its function did.
  #lost(slot: Slot, reason: Error | null): void {
    this.#remove(slot);
    const task = this.#release(slot);
    if (task === null) return;
    const message = "The worker has ended before the function returned";
    this.#fail(task, new Error(message, { cause: reason }));
    this.#assign();
    // One that ends without a call would do so again.
    this.#fill();
  }

  #fail(task: Task, error: unknown): void {
    this.figures.add("failed");
    this.#unqueue(task);
    this.#end(task).reject(error);
  }

  // Its promise is settled by whoever calls this.
  #end(task: Task): Task {
    task.signal?.removeEventListener("abort", task.onAbort!);
    return task;
  }

  #unqueue(task: Task): void {
    if (this.#queue.delete(task)) this.figures.add("queued", -1);
  }

  // What the worker was at.
  #release(slot: Slot): Task | null {
    const { task } = slot;
    if (task !== null) this.figures.add("busy", -1);
    slot.task = null;
    return task;
  }

  #remove(slot: Slot): void {
    clearTimeout(slot.idle);
    if (this.#slots.delete(slot)) this.figures.add("workers", -1);
  }

  async #stop(slot: Slot): Promise<void> {
    this.#remove(slot);
    await slot.worker.terminate();
  }
}
