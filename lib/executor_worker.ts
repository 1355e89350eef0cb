// SPDX-License-Identifier: Apache-2.0
// executor_worker.ts - what runs in the workers of executor_pool.ts: calls one function at a time, and tells what came
// of it.

import { parentPort, workerData } from "node:worker_threads";
import type { Call } from "./executor_options.ts";
import type { Marked } from "./thread.ts";
import { textOf, type ThrownText } from "./thrown_text.ts";

/** What a worker is told when it begins. */
export interface PoolWorkerInit {
  /** The processors that it is to be bound to; none for any. */
  cpus: readonly number[];
  /** What its messages bear. */
  mark: string;
}

/** A function to call. */
export interface Job extends Call {
  /** That of no other call of the pool. */
  id: number;
}

/** What came of the job with this number: a value, or what is left of an error on its way between threads. */
export type Outcome =
  | { job: number; value: unknown }
  | { job: number; error: ThrownText };

// Calls go on where this fails.
async function bind({ cpus }: PoolWorkerInit): Promise<void> {
  if (cpus.length === 0) return;
  // The shim is only needed here.
  const { errnoError, pinThread } = await import("../ffi/mod.ts");
  const errno = pinThread(cpus);
  if (errno === 0) return;
  const action = `pin a worker of the executor to ${cpus.join(", ")}`;
  console.error(errnoError(errno, action).message);
}

async function run(job: Job): Promise<Outcome> {
  try {
    const exports = await import(job.module) as Record<string, unknown>;
    const fn = exports[job.name];
    if (typeof fn !== "function") {
      throw new TypeError(
        `Cannot run "${job.name}": ${job.module} exports no such function`,
      );
    }
    return { job: job.id, value: await fn(...job.args) };
  } catch (error) {
    return { job: job.id, error: textOf(error) };
  }
}

// Not everything can go from one thread to another.
function tell(outcome: Outcome): void {
  try {
    post(outcome);
  } catch (error) {
    post({ job: outcome.job, error: textOf(error) });
  }
}

function post(outcome: Outcome): void {
  const { mark } = workerData as PoolWorkerInit;
  const marked: Marked<Outcome> = [mark, outcome];
  parentPort!.postMessage(marked);
}

if (parentPort !== null) {
  const bound = bind(workerData as PoolWorkerInit);
  // Not `parentPort.on()`, which looks at each byte of a typed array before it hands the message over.
  globalThis.addEventListener("message", async (event) => {
    await bound;
    tell(await run((event as MessageEvent<Job>).data));
  });
}
