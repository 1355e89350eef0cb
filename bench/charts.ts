// SPDX-License-Identifier: Apache-2.0
// charts.ts - draws the results into bench/charts/, which the README shows: of each workload its latest run; called by
// run.ts, or by hand:
//
//   deno run -A bench/charts.ts [RESULTS]
import { drawLatencies } from "./chart_latency.ts";
import { drawMemory } from "./chart_memory.ts";
import { render, THEMES } from "./chart_theme.ts";
import { drawThroughput } from "./chart_throughput.ts";
import { benchPath } from "./paths.ts";
import type { Round } from "./measure.ts";

/** A round as it stands in the results. */
export type Result = Round & { readonly date: string };

const CHARTS = [
  { name: "throughput", draw: drawThroughput },
  { name: "latency", draw: drawLatencies },
  { name: "memory", draw: drawMemory },
];

if (import.meta.main) {
  await drawCharts(Deno.args[0] ?? benchPath("results.ndjson"));
}

/** Writes each chart for light and for dark pages; leaves out those whose workloads were never run. */
export async function drawCharts(results: string): Promise<void> {
  const latest = latestOf(readResults(results));
  await Deno.mkdir(benchPath("charts"), { recursive: true });
  for (const { name, draw } of CHARTS) {
    for (const theme of THEMES) {
      const chart = draw(latest, theme);
      if (chart === undefined) continue;
      const path = benchPath(`charts/${name}_${theme.name}.svg`);
      await Deno.writeTextFile(path, render(chart));
    }
  }
}

function readResults(path: string): Result[] {
  return Deno.readTextFileSync(path).split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
    .filter((result) => result.void === undefined);
}

/** The rounds of the latest run of each workload: runs of different times are not compared. */
export function latestOf(results: readonly Result[]): Result[] {
  const dates = new Map<string, string>();
  for (const { workload, date } of results) {
    const known = dates.get(workload) ?? "";
    if (date > known) dates.set(workload, date);
  }
  return results.filter(({ workload, date }) => dates.get(workload) === date);
}
