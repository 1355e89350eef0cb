// SPDX-License-Identifier: Apache-2.0
// executor_options.ts - what can be said to an executor and to its calls, checked, and what it counts; used by
// executor.ts, executor_pool.ts, executor_shared.ts and workers_options.ts.

import { requireInteger, requireKnown, TIMER_MAX_MS } from "./route_options.ts";

/** Bounds of an {@linkcode Executor}. */
export interface ExecutorOptions {
  /**
   * Workers at a time. They are started as they are needed.
   *
   * @default {navigator.hardwareConcurrency - 1, and at least 1}
   */
  maximum?: number;
  /**
   * Workers that are started beforehand, and not stopped when they have no work.
   *
   * @default {0}
   */
  minimum?: number;
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
  /** Workers there may be. */
  maximum: number;
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
  /** Calls that their signal gave up, or the end of the server's worker that made them. */
  cancelled: number;
  /** Calls that were rejected as too many waited. */
  refused: number;
}

/** Too many calls wait for a worker. */
export class ExecutorBusyError extends Error {
  /** The name of the class. */
  override readonly name = "ExecutorBusyError";
}

/** A function to call. */
export interface Call {
  module: string;
  name: string;
  args: unknown[];
}

/** A call as the application has named it. Throws a TypeError unless that names a module, a function and arguments. */
export function callOf(module: URL, name: string, args: unknown[]): Call {
  const wrong = !(module instanceof URL)
    ? "the module must be given as a URL"
    : typeof name !== "string"
    ? "its name must be a string"
    : !Array.isArray(args)
    ? "its arguments must be an array"
    : null;
  if (wrong === null) return { module: module.href, name, args };
  throw new TypeError(`Cannot run the function: ${wrong}`);
}

/** Who runs calls: a pool of its own, or the pool that a worker shares with others. */
export interface Runner {
  run(call: Call, options: ExecutorRunOptions): Promise<unknown>;
  resize(maximum: number): void;
  statistics(): ExecutorStatistics;
  close(): Promise<void>;
}

const OPTIONS = ["maximum", "minimum", "idleTimeout", "maxQueue"];
const LARGEST_POOL = 1024;
const LARGEST_QUEUE = 1_000_000;

/** The options with defaults; `networkWorkers` are threads that want a processor too. Throws for a wrong one. */
export function resolveExecutor(
  action: string,
  options: ExecutorOptions,
  networkWorkers: number,
): Required<ExecutorOptions> {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(
      `Cannot ${action}: options of an executor must be an object, are ${
        Deno.inspect(options)
      }`,
    );
  }
  requireKnown(action, options, OPTIONS);
  const {
    // Like plan(), the runtime heeds affinity and quota; siblings of SMT are worth something to functions that compute.
    maximum = Math.max(1, navigator.hardwareConcurrency - networkWorkers),
    minimum = 0,
    idleTimeout = 60_000,
    maxQueue = 1024,
  } = options;
  requireMaximum(action, maximum);
  requireInteger(action, "minimum", minimum, 0, maximum);
  requireInteger(action, "idleTimeout", idleTimeout, 0, TIMER_MAX_MS);
  requireInteger(action, "maxQueue", maxQueue, 0, LARGEST_QUEUE);
  return { maximum, minimum, idleTimeout, maxQueue };
}

/** Throws a RangeError unless a pool may have so many workers. */
export function requireMaximum(action: string, maximum: unknown): void {
  requireInteger(action, "maximum", maximum, 1, LARGEST_POOL);
}

const FIGURES = [
  "maximum",
  "workers",
  "busy",
  "queued",
  "completed",
  "failed",
  "cancelled",
  "refused",
] as const;

type Figure = (typeof FIGURES)[number];

/** The statistics of a pool, where other threads can read them; it alone writes them. */
export class Figures {
  readonly buffer: SharedArrayBuffer;
  readonly #values: Float64Array<SharedArrayBuffer>;

  constructor(
    buffer: SharedArrayBuffer = new SharedArrayBuffer(8 * FIGURES.length),
  ) {
    this.buffer = buffer;
    this.#values = new Float64Array(buffer);
  }

  add(name: Figure, by = 1): void {
    this.#values[FIGURES.indexOf(name)]! += by;
  }

  set(name: Figure, value: number): void {
    this.#values[FIGURES.indexOf(name)] = value;
  }

  /** A copy. */
  read(): ExecutorStatistics {
    const entries = FIGURES.map((name, at) => [name, this.#values[at]]);
    return Object.fromEntries(entries) as ExecutorStatistics;
  }
}
