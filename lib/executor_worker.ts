// SPDX-License-Identifier: Apache-2.0
// executor_worker.ts - what runs in the workers of executor.ts: calls one function at a time, and tells what came of
// it.

import { parentPort } from "node:worker_threads";

/** A function to call. */
export interface Job {
  /** That of no other call of the executor. */
  id: number;
  module: string;
  name: string;
  args: unknown[];
}

/**
 * What came of the job with this number: a value, or what is left of an error on its way between threads. Functions
 * may send messages of their own, which are without it.
 */
export type Outcome =
  | { job: number; value: unknown }
  | { job: number; error: ThrownText };

/** What of an error survives. */
export interface ThrownText {
  name: string;
  message: string;
  stack: string | undefined;
  /** Its property of that name, when it is a number. */
  code: number | undefined;
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

function textOf(error: unknown): ThrownText {
  if (!(error instanceof Error)) {
    const message = `Something that is no Error was thrown: ${
      Deno.inspect(error)
    }`;
    return { name: "Error", message, stack: undefined, code: undefined };
  }
  const { name, message, stack } = error;
  const { code } = error as { code?: unknown };
  return {
    name,
    message,
    stack,
    code: typeof code === "number" ? code : undefined,
  };
}

// Not everything can go from one thread to another.
function tell(outcome: Outcome): void {
  try {
    parentPort!.postMessage(outcome);
  } catch (error) {
    parentPort!.postMessage({ job: outcome.job, error: textOf(error) });
  }
}

parentPort?.on("message", async (job: Job) => tell(await run(job)));
