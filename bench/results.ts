// SPDX-License-Identifier: Apache-2.0
// results.ts - reads the raw rounds that runs have left, for charts.ts and markdown.ts.
import type { IdleRound } from "./idle.ts";
import type { Round } from "./measure.ts";

/** Of each workload, the rounds of its latest run: those of different times are not compared. */
export interface Results {
  readonly rounds: readonly Round[];
  readonly idle: readonly IdleRound[];
}

type Dated<T> = T & { readonly date: string };
type Line = Dated<Round> | Dated<IdleRound>;

/** Reads a file of raw rounds; void ones are left out. */
export function readLatest(path: string): Results {
  return latestOf(
    Deno.readTextFileSync(path).split("\n")
      .filter((line) => line !== "")
      .map((line): Line => JSON.parse(line))
      .filter((line) => line.void === undefined),
  );
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
