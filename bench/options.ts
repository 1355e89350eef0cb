// SPDX-License-Identifier: Apache-2.0
// options.ts - what the benchmark was asked for.
import { parseArgs } from "@std/cli/parse-args";
import { CONTENDER_NAMES } from "./contenders.ts";
import { IDLE_NAMES } from "./idle_workloads.ts";
import type { MeasureOptions } from "./measure.ts";
import { benchPath } from "./paths.ts";
import { WORKLOADS } from "./workloads.ts";

/** What the benchmark was asked for. */
export interface RunOptions extends Omit<MeasureOptions, "load"> {
  readonly rounds: number;
  /** Parts of names of contenders and workloads. */
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly targets: boolean;
  readonly list: boolean;
  readonly help: boolean;
  readonly json: boolean;
  readonly results: string;
}

/** What --help prints. */
export const USAGE = `Usage: deno task bench [options]

  --only NAME,NAME   workloads and contenders to keep, by names or parts of them
  --quick            one short round of the most telling workloads
  --targets          the workloads that a target is set for
  --rounds N         rounds of everything (3)
  --seconds N        length of a measured window (1)
  --warmup N         seconds before it (0.5)
  --server-core N, --client-core N   cores of the two sides (0 and 1)
  --results FILE     where raw rounds are appended (bench/results.ndjson)
  --json             print a summary as JSON instead of the tables
  --list             print the names of workloads and contenders, and measure nothing
  --help             print this

Exits with 1 when a round was void or a contender failed, and with 2 for a wrong option.`;

/** Names of all workloads. */
export const WORKLOAD_NAMES: readonly string[] = [
  ...WORKLOADS.map(({ name }) => name),
  ...IDLE_NAMES,
];

/** Reads the arguments of the program; throws a `TypeError` that says which one is wrong. */
export function readOptions(args: string[]): RunOptions {
  const parsed = parseArgs(args, {
    boolean: ["quick", "targets", "list", "json", "help"],
    string: [
      "rounds",
      "seconds",
      "warmup",
      "only",
      "server-core",
      "client-core",
      "results",
    ],
    unknown: refuseUnknown,
  });
  const quick = parsed.quick;
  const only = parsed.only?.split(",").filter((name) => name !== "") ?? [];
  for (const name of only) checkName(name);
  const serverCore = whole("server-core", parsed["server-core"], 0, 0);
  const clientCore = whole("client-core", parsed["client-core"], 1, 0);
  if (serverCore === clientCore) {
    throw new TypeError(
      `Cannot run: server and client share core ${serverCore}; they would measure each other`,
    );
  }
  return {
    rounds: whole("rounds", parsed.rounds, quick ? 1 : 3, 1),
    seconds: seconds("seconds", parsed.seconds, quick ? 0.5 : 1, 0.05),
    warmup: seconds("warmup", parsed.warmup, quick ? 0.3 : 0.5, 0),
    serverCore,
    clientCore,
    // Each takes almost as long as a short round.
    syscalls: !quick,
    only,
    quick,
    targets: parsed.targets,
    list: parsed.list,
    help: parsed.help,
    json: parsed.json,
    results: parsed.results ?? benchPath("results.ndjson"),
  };
}

function refuseUnknown(argument: string): boolean {
  throw new TypeError(
    `Cannot run: "${argument}" is no option of the benchmark; try --help`,
  );
}

function whole(
  name: string,
  text: string | undefined,
  fallback: number,
  least: number,
): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text !== "" && Number.isSafeInteger(value) && value >= least) {
    return value;
  }
  throw new TypeError(
    `Cannot run: --${name} "${text}" is no whole number from ${least}`,
  );
}

function seconds(
  name: string,
  text: string | undefined,
  fallback: number,
  least: number,
): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text !== "" && Number.isFinite(value) && value >= least) return value;
  throw new TypeError(
    `Cannot run: --${name} "${text}" is no number of seconds from ${least}`,
  );
}

function checkName(name: string): void {
  const names = [...CONTENDER_NAMES, ...WORKLOAD_NAMES];
  if (names.some((known) => known.includes(name))) return;
  throw new TypeError(
    `Cannot run: "${name}" is part of no name that --list shows`,
  );
}
