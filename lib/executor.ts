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

import {
  callOf,
  type ExecutorOptions,
  type ExecutorRunOptions,
  type ExecutorStatistics,
  resolveExecutor,
  type Runner,
} from "./executor_options.ts";
import { Pool } from "./executor_pool.ts";
import { sharedRunner } from "./executor_shared.ts";

export { ExecutorBusyError } from "./executor_options.ts";
export type {
  ExecutorOptions,
  ExecutorRunOptions,
  ExecutorStatistics,
} from "./executor_options.ts";

/**
 * A bounded pool of workers that run functions of modules.
 *
 * One that is made in a worker of {@linkcode serveAll} has no pool of its own, but has its calls run in the one that
 * all workers of the server share. Bounds and statistics are then those of that pool.
 */
export class Executor implements AsyncDisposable {
  readonly #runner: Runner;

  /**
   * Makes a pool; all but `minimum` of its workers are started with the first calls.
   *
   * @param options Bounds.
   * @throws {TypeError} When an option is unknown.
   * @throws {RangeError} When one is out of range.
   */
  constructor(options: ExecutorOptions = {}) {
    const settings = resolveExecutor("make an executor", options, 1);
    this.#runner = sharedRunner() ?? new Pool(settings);
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
   * @throws {TypeError} When the module is no URL, or the executor is closed.
   * @throws {unknown} What the function throws, as an Error of the same name and message; the reason of the signal.
   */
  async run<Result = unknown>(
    module: URL,
    name: string,
    args: unknown[] = [],
    options: ExecutorRunOptions = {},
  ): Promise<Result> {
    const call = callOf(module, name, args);
    return await this.#runner.run(call, options) as Result;
  }

  /**
   * Changes how many workers there may be. When there are more, those that are idle are stopped at once and the others
   * when they are done: no call is interrupted.
   *
   * @param maximum Their number.
   * @throws {RangeError} When it is out of range.
   */
  resize(maximum: number): void {
    this.#runner.resize(maximum);
  }

  /** A copy of the counters. */
  statistics(): ExecutorStatistics {
    return this.#runner.statistics();
  }

  /**
   * Rejects calls that are not done, and stops all workers, whatever they do. Of a pool that others share only those
   * that run calls of this executor.
   */
  async close(): Promise<void> {
    await this.#runner.close();
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
