// SPDX-License-Identifier: Apache-2.0
// command.ts - stress as a program: flags, progress, report, exit code; called by ../stress.ts.

import { type Command, readCommand, USAGE, UsageError } from "./flags.ts";
import {
  defaultHold,
  type StressOptions,
  type StressProgress,
} from "./options.ts";
import { printed } from "./print.ts";
import { ProgressBar } from "./progress_bar.ts";
import type { StressReport } from "./report.ts";

const OK = 0;
const FAILED = 1;
const MISUSED = 2;
// As shells have it for SIGINT.
const KILLED = 130;

/** Runs the load that the arguments describe; returns the exit code. */
export async function command(
  args: readonly string[],
  stress: (options: StressOptions) => Promise<StressReport>,
): Promise<number> {
  try {
    const read = readCommand(args);
    if (read === "help") {
      console.log(USAGE);
      return OK;
    }
    const report = await run(read, stress);
    console.log(read.json ? JSON.stringify(report, null, 2) : printed(report));
    return report.ok ? OK : FAILED;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    console.error(error.message);
    if (!isMisuse(error)) return FAILED;
    console.error("Try --help");
    return MISUSED;
  }
}

async function run(
  { options, json }: Command,
  stress: (options: StressOptions) => Promise<StressReport>,
): Promise<StressReport> {
  const { connections = 50, hold = defaultHold(options), requests } = options;
  const isShown = !json && Deno.stderr.isTerminal();
  let bar: ProgressBar | null = null;
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) {
      // It has hidden the cursor.
      bar?.stop();
      Deno.exit(KILLED);
    }
    stop.abort();
  };
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    return await stress({
      ...options,
      signal: stop.signal,
      onProgress(progress: StressProgress): void {
        if (!isShown) return;
        bar ??= new ProgressBar(connections, hold, requests);
        bar.show(progress);
      },
    });
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
    (bar as ProgressBar | null)?.stop();
  }
}

// stress() itself knows what its options may be.
function isMisuse(error: Error): boolean {
  return [UsageError, TypeError, RangeError, SyntaxError]
    .some((kind) => error instanceof kind);
}
