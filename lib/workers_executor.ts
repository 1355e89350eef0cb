// SPDX-License-Identifier: Apache-2.0
// workers_executor.ts - the pool that all workers of a server share: where its threads run, and calls from workers;
// used by workers_server.ts and workers_member.ts.

import {
  callOf,
  ExecutorBusyError,
  type ExecutorOptions,
  type ExecutorRunOptions,
  type ExecutorStatistics,
} from "./executor_options.ts";
import type { Executor } from "./executor.ts";
import { Pool } from "./executor_pool.ts";
import type { ExecutorAnswer, ExecutorRequest } from "./executor_shared.ts";
import { plan } from "./placement.ts";
import { textOf } from "./thrown_text.ts";
import { type Topology, topology } from "./topology.ts";

/** The executor of a server on many workers, which is one for all of them. */
export type WorkersExecutor = Pick<Executor, "run" | "resize" | "statistics">;

/** The pool, as the supervisor has it. */
export class SharedExecutor implements WorkersExecutor {
  readonly #pool: Pool;

  /** `taken` are the processors that network workers are bound to. */
  constructor(
    settings: Required<ExecutorOptions>,
    taken: readonly number[],
  ) {
    const order = besides(taken);
    this.#pool = new Pool(settings, (workers) => order.slice(0, workers));
  }

  /** The statistics, for workers to read. */
  get figures(): SharedArrayBuffer {
    return this.#pool.figures.buffer;
  }

  async run<Result = unknown>(
    module: URL,
    name: string,
    args: unknown[] = [],
    options: ExecutorRunOptions = {},
  ): Promise<Result> {
    const call = callOf(module, name, args);
    return await this.#pool.run(call, options) as Result;
  }

  resize(maximum: number): void {
    this.#pool.resize(maximum);
  }

  statistics(): ExecutorStatistics {
    return this.#pool.statistics();
  }

  /** Takes the calls of a worker that starts now. */
  join(answer: (answer: ExecutorAnswer) => void): WorkerCalls {
    return new WorkerCalls(this.#pool, answer);
  }

  /** A reload begins: workers that start from here on have their calls run by new code. */
  renew(): void {
    this.#pool.renew();
  }

  /** A reload is done: nobody wants the old code any more. */
  retire(): void {
    this.#pool.retire();
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** The calls of one worker. */
export class WorkerCalls {
  readonly #pool: Pool;
  readonly #generation: number;
  readonly #answer: (answer: ExecutorAnswer) => void;
  readonly #running = new Map<number, AbortController>();
  #ended = false;

  constructor(pool: Pool, answer: (answer: ExecutorAnswer) => void) {
    this.#pool = pool;
    this.#generation = pool.generation;
    this.#answer = answer;
  }

  hear(request: ExecutorRequest): void {
    if (this.#ended) return;
    if (request.millrace === "run") void this.#run(request);
    else if (request.millrace === "resize") this.#pool.resize(request.maximum);
    else this.#running.get(request.id)?.abort();
  }

  /** The worker has ended, and nobody waits for its calls. */
  end(): void {
    this.#ended = true;
    for (const abort of this.#running.values()) abort.abort();
  }

  async #run(
    { id, call, transfer }: Extract<ExecutorRequest, { millrace: "run" }>,
  ): Promise<void> {
    const abort = new AbortController();
    const { signal } = abort;
    this.#running.set(id, abort);
    const answer = await this.#pool
      .run(call, { signal, transfer }, this.#generation).then(
        (value) => ({ value }),
        (error) => ({
          error: textOf(error),
          busy: error instanceof ExecutorBusyError,
        }),
      );
    this.#running.delete(id);
    if (!signal.aborted) this.#answer({ millrace: "ran", id, ...answer });
  }
}

// Processors that network workers leave, those of whole cores first; none when they are bound to none.
function besides(taken: readonly number[]): readonly number[] {
  const own = new Set(taken);
  return own.size === 0 ? [] : placesBeside(own, topology());
}

/** The order in which threads take processors that others do not use. */
export function placesBeside(
  taken: ReadonlySet<number>,
  machine: Topology,
): number[] {
  const ofTaken = machine.cpus.filter(({ id }) => taken.has(id));
  const cores = new Set(ofTaken.map(({ core }) => core));
  const free = machine.cpus.filter(({ id, allowed }) =>
    allowed && !taken.has(id)
  );
  const [siblings, alone] = [true, false].map((shared) =>
    free.filter(({ core }) => cores.has(core) === shared)
  );
  return [alone!, siblings!].filter(({ length }) => length > 0).flatMap((
    cpus,
  ) => plan(cpus.length, "spread", { ...machine, cpus }).map(({ cpu }) => cpu));
}
