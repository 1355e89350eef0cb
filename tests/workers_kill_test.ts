// SPDX-License-Identifier: Apache-2.0
// Tests of workers that end at random under load: others serve on, another one follows, and nothing is left of them.
// With WORKERS_SECONDS=60 in the environment each goes on for a minute and prints what it has seen.

import { assert, assertEquals } from "@std/assert";
import { BACKENDS, deadline } from "./testing.ts";
import { type KillResult, killWorkers, unexplained } from "./workers_kill.ts";

const SECONDS = Number(Deno.env.get("WORKERS_SECONDS") ?? 0);
/** With the three that come before: twenty on each backend, and in every way. */
const KILLS = 8;
/** What heaps may grow by under load. */
const MEMORY_BYTES = 150e6;
/** Four arenas are of 600 MB: those of a worker that stalls, beside the next one's, but not of each that has ended. */
const MAPPED_BYTES = 1000e6;
const PATIENCE_MS = 240_000;

for (const backend of BACKENDS) {
  for (const balance of ["reuseport", "least"] as const) {
    Deno.test(
      `workers that end lose their own connections alone, balance ${balance} (${backend})`,
      async () => {
        const begin = performance.now();
        const goesOn = (kills: number): boolean =>
          kills < KILLS || performance.now() < begin + SECONDS * 1000;
        const result = await deadline(
          killWorkers({ backend, balance, workers: 4, goesOn }),
          "the test",
          PATIENCE_MS,
        );
        if (SECONDS > 0) print(result);
        check(result);
      },
    );
  }
}

function check(result: KillResult): void {
  const { before, after, view, kills, code, errors } = result;
  assertEquals(unexplained(result), []);
  assertEquals(view.workers.map(({ state }) => state), [
    "serving",
    "serving",
    "serving",
    "serving",
  ]);
  // Each has answered until its end, and was another one.
  assertEquals(new Set(kills.map(({ worker }) => worker)).size, kills.length);
  assert(after.threads <= before.threads);
  const grown = after.rss - before.rss;
  assert(grown < MEMORY_BYTES, `Memory has grown by ${grown} bytes`);
  const mapped = after.mapped - before.mapped;
  assert(mapped < MAPPED_BYTES, `Address space has grown by ${mapped} bytes`);
  assertEquals(code, 0, errors);
}

function print(result: KillResult): void {
  const { kills, losses, answers, before, after } = result;
  const waits = kills.map(({ replaced }) => replaced).sort((a, b) => a - b);
  console.log({
    kills: kills.length,
    answers,
    losses: losses.length,
    replacedMs: { median: waits[waits.length >> 1], longest: waits.at(-1) },
    before,
    after,
  });
}
