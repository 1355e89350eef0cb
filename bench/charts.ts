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
import type { IdleRound } from "./idle.ts";
import type { Round } from "./measure.ts";

/** Of each workload, the rounds of its latest run: those of different times are not compared. */
export interface Results {
  readonly rounds: readonly Round[];
  readonly idle: readonly IdleRound[];
}

type Dated<T> = T & { readonly date: string };
type Line = Dated<Round> | Dated<IdleRound>;

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
  const latest = latestOf(readLines(results));
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

function readLines(path: string): Line[] {
  return Deno.readTextFileSync(path).split("\n")
    .filter((line) => line !== "")
    .map((line): Line => JSON.parse(line))
    .filter((line) => line.void === undefined);
}

/** What the lines of the results say of the latest run of each workload. */
export function latestOf(lines: readonly Line[]): Results {
  const dates = new Map<string, string>();
  for (const { workload, date } of lines) {
    const known = dates.get(workload) ?? "";
    if (date > known) dates.set(workload, date);
  }
  const latest = lines.filter(({ workload, date }) =>
    dates.get(workload) === date
  );
  return {
    rounds: latest.filter(isRound),
    idle: latest.filter(isIdle),
  };
}

function isRound(line: Line): line is Dated<Round> {
  return !isIdle(line);
}

function isIdle(line: Line): line is Dated<IdleRound> {
  return "held" in line;
}
