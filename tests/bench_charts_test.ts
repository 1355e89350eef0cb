// SPDX-License-Identifier: Apache-2.0
// Tests of the benchmark's charts: which rounds they show, and that they show them.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { render, THEMES } from "../bench/chart_theme.ts";
import { drawLatencies } from "../bench/chart_latency.ts";
import { drawThroughput } from "../bench/chart_throughput.ts";
import type { Round } from "../bench/measure.ts";
import { latestOf } from "../bench/results.ts";
import { makeRound } from "./bench_testing.ts";

const [THEME] = THEMES;

function drawn(rounds: readonly Round[]): string {
  assert(THEME !== undefined);
  const chart = drawThroughput({ rounds, idle: [] }, THEME);
  assert(chart !== undefined);
  return render(chart);
}

Deno.test("bench: of each workload the rounds of its latest run are shown", () => {
  const line = (workload: string, date: string, count: number) => ({
    ...makeRound({ workload, count }),
    date,
  });
  const { rounds, idle } = latestOf([
    line("http-1", "2026-01-02", 2),
    line("http-1", "2026-01-01", 1),
    line("ws-1", "2026-01-01", 3),
    line("http-1", "2026-01-02", 4),
  ]);
  assertEquals(rounds.map(({ count }) => count), [2, 3, 4]);
  assertEquals(idle, []);
});

Deno.test("bench: a chart has a bar for each contender, with its median", () => {
  const svg = drawn([1e6, 3e6, 2e6].map((count, index) =>
    makeRound({
      workload: "ws-16",
      contender: "bun",
      round: index + 1,
      count,
      server_cpu_seconds: 1,
    })
  ));
  assertStringIncludes(svg, "Bun");
  assertStringIncludes(svg, "2 M");
  assert(!svg.includes("Deno.serve"));
});

Deno.test("bench: nothing is drawn of what was never run", () => {
  assert(THEME !== undefined);
  assertEquals(drawThroughput({ rounds: [], idle: [] }, THEME), undefined);
  const closed = [makeRound({ workload: "ws-rate-40k" })];
  assertEquals(drawLatencies({ rounds: closed, idle: [] }, THEME), undefined);
});
