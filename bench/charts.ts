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
import { readLatest } from "./results.ts";

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
  const latest = readLatest(results);
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
