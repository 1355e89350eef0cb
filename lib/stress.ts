// SPDX-License-Identifier: Apache-2.0
// stress.ts - the load tool: a program, and stress(), which it calls; imported by tests and scripts.

/**
 * The load tool: puts a server under load over WebSockets, HTTP/1.1, plain sockets or the action router, and tells how
 * it bears it. It is a program:
 *
 * ```sh
 * deno run -A jsr:@millrace/millrace/stress ws ws://localhost:9001/ws -c 25000 --hold 30s --interval 10s --verify
 * deno run -A jsr:@millrace/millrace/stress http http://localhost:9001/plaintext -c 64 --rate 20000 --json
 * ```
 *
 * and a function for scripts.
 *
 * @example
 * ```ts
 * import { stress } from "@millrace/millrace/stress";
 *
 * const report = await stress({
 *   kind: "http",
 *   url: "http://localhost:9001/",
 *   connections: 64,
 *   hold: 5000,
 *   rate: 10_000,
 * });
 * console.log(report.latency?.p99, report.errors);
 * ```
 *
 * @module
 */

import process from "node:process";
import { command } from "./stress/command.ts";
import { Crew } from "./stress/crew.ts";
import { planOf, type StressOptions } from "./stress/options.ts";
import { reportOf, type StressReport } from "./stress/report.ts";
import { obstacleOf } from "./stress/system_limits.ts";

const PROGRESS_MS = 500;

/**
 * Puts a server under load: opens connections, keeps them busy for as long as it shall, and closes them.
 *
 * What is wrong with the server, or the way there, does not throw: it is counted in the report.
 *
 * @param options What is to be done.
 * @returns What was measured.
 * @throws {TypeError} When an option is unknown or of the wrong type.
 * @throws {RangeError} When a number is out of range, or the system does not allow so many connections.
 * @throws {SyntaxError} When the URL is none of the kind.
 */
export async function stress(options: StressOptions): Promise<StressReport> {
  const plan = planOf(options);
  const obstacle = obstacleOf(plan);
  if (obstacle !== null) {
    throw new RangeError(`Cannot run the load: ${obstacle}`);
  }
  const { signal, workers = 1, onProgress } = options;
  signal?.throwIfAborted();
  const crew = await Crew.of(plan, workers);
  const stop = (): void => crew.stop();
  signal?.addEventListener("abort", stop);
  // It may have aborted while the crew came together.
  if (signal?.aborted) stop();
  const timer = onProgress &&
    setInterval(() => onProgress(crew.progress()), PROGRESS_MS);
  const before = process.cpuUsage();
  try {
    const shares = await crew.run();
    const { user, system } = process.cpuUsage(before);
    const used = {
      cpu: (user + system) / 1000,
      memory: Deno.memoryUsage().rss,
    };
    return reportOf(plan, shares, used, signal?.aborted ?? false);
  } finally {
    clearInterval(timer);
    signal?.removeEventListener("abort", stop);
  }
}

export type {
  StressKind,
  StressOptions,
  StressProgress,
} from "./stress/options.ts";
export type { StressError } from "./stress/recorder.ts";
export type { StressReport, StressTimes } from "./stress/report.ts";

if (import.meta.main) Deno.exit(await command(Deno.args, stress));
