// SPDX-License-Identifier: Apache-2.0
// run.ts - the benchmark: interleaved rounds of all contenders under all workloads. bench/README.md has the method.
//
//   deno task bench [--rounds 3] [--seconds 1] [--warmup 0.5] [--only NAME,NAME] [--quick] [--json]
//                   [--server-core 0] [--client-core 1] [--results FILE]
import { parseArgs } from "@std/cli/parse-args";
import { buildLoad } from "./build.ts";
import {
  type Absent,
  type Contender,
  CONTENDER_NAMES,
  killAll,
  listContenders,
  takes,
} from "./contenders.ts";
import {
  IDLE_NAMES,
  IDLE_WORKLOADS,
  printIdleTable,
  runIdle,
} from "./idle_workloads.ts";
import { describeMachine, type Machine, pinSelf } from "./machine.ts";
import { measure, type MeasureOptions, type Round } from "./measure.ts";
import { benchPath } from "./paths.ts";
import { printAbsent, printTable } from "./report.ts";
import { summarize } from "./summary.ts";
import { QUICK_WORKLOADS, type Workload, WORKLOADS } from "./workloads.ts";

interface RunOptions extends Omit<MeasureOptions, "load"> {
  readonly rounds: number;
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly json: boolean;
  readonly results: string;
}

const WORKLOAD_NAMES = [...WORKLOADS.map(({ name }) => name), ...IDLE_NAMES];

if (import.meta.main) await main();

async function main(): Promise<void> {
  const options = readOptionsOrExit();
  const load = await buildLoad();
  const workloads = chooseWorkloads(options);
  const { contenders, absent } = await listContenders((name) =>
    isWanted(name, options.only, CONTENDER_NAMES)
  );
  const machine = await describeMachine();
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  await pinSelf(options.clientCore);
  const rounds = await runRounds(
    plan(workloads, contenders, options.rounds),
    { ...options, load },
    machine,
    absent,
  );
  const tables = workloads.map((workload) =>
    summarize(workload, contenders, rounds)
  );
  const idle = await runIdle(
    IDLE_WORKLOADS.filter(({ name, onlyNamed }) =>
      onlyNamed || options.quick
        ? options.only.includes(name)
        : isWanted(name, options.only, WORKLOAD_NAMES)
    ),
    contenders,
    { ...options, load },
    (result) => append(options.results, { ...machine, ...result }),
  );
  if (options.json) {
    console.log(JSON.stringify({ machine, absent, tables, idle }));
    return;
  }
  console.log(
    `\n${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, ` +
      `Deno ${machine.deno}, ${machine.commit || "no commit"}`,
  );
  tables.forEach(printTable);
  idle.forEach(printIdleTable);
  printAbsent(absent);
}

// A quick run asks for less, unless somebody has said what to ask for.
function chooseWorkloads({ only, quick }: RunOptions): Workload[] {
  const named = only.some((part) =>
    WORKLOAD_NAMES.some((name) => name.includes(part))
  );
  return WORKLOADS.filter(({ name }) =>
    named || !quick
      ? isWanted(name, only, WORKLOAD_NAMES)
      : QUICK_WORKLOADS.includes(name)
  );
}

function interrupt(): void {
  killAll();
  Deno.exit(130);
}

function readOptionsOrExit(): RunOptions {
  try {
    return readOptions(Deno.args);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
}

function readOptions(args: string[]): RunOptions {
  const parsed = parseArgs(args, {
    boolean: ["quick", "json"],
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
  return {
    rounds: number(parsed.rounds, quick ? 1 : 3),
    seconds: number(parsed.seconds, quick ? 0.5 : 1),
    warmup: number(parsed.warmup, quick ? 0.3 : 0.5),
    serverCore: number(parsed["server-core"], 0),
    clientCore: number(parsed["client-core"], 1),
    only,
    quick,
    json: parsed.json,
    results: parsed.results ?? benchPath("results.ndjson"),
  };
}

function refuseUnknown(argument: string): boolean {
  throw new TypeError(
    `Cannot run: "${argument}" is no option of the benchmark`,
  );
}

function number(text: string | undefined, fallback: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (!(value >= 0)) throw new TypeError(`Cannot run: "${text}" is no number`);
  return value;
}

function checkName(name: string): void {
  const names = [...CONTENDER_NAMES, ...WORKLOAD_NAMES];
  if (names.some((known) => known.includes(name))) return;
  throw new TypeError(
    `Cannot run: "${name}" is part of none of ${names.join(", ")}`,
  );
}

// A part of --only restricts the kind of thing (contender or workload) of which it is a name, or part of names.
function isWanted(
  name: string,
  only: readonly string[],
  kind: readonly string[],
): boolean {
  const relevant = only.filter((part) => kind.some((it) => it.includes(part)));
  return relevant.length === 0 ||
    relevant.some((part) =>
      kind.includes(part) ? name === part : name.includes(part)
    );
}

interface Step {
  readonly round: number;
  readonly workload: Workload;
  readonly contender: Contender;
}

// All contenders take their turn within a round; every other round goes the other way, so that a machine that
// slows down or speeds up favours nobody.
function plan(
  workloads: readonly Workload[],
  contenders: readonly Contender[],
  rounds: number,
): Step[] {
  const steps: Step[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const workload of workloads) {
      const able = contenders.filter((contender) => takes(contender, workload));
      if (round % 2 === 0) able.reverse();
      for (const contender of able) steps.push({ round, workload, contender });
    }
  }
  return steps;
}

async function runRounds(
  steps: readonly Step[],
  options: RunOptions & MeasureOptions,
  machine: Machine,
  absent: Absent[],
): Promise<Round[]> {
  const rounds: Round[] = [];
  const failed = new Set<string>();
  for (const [index, step] of steps.entries()) {
    const { round, workload, contender } = step;
    const name = `${contender.name} in ${workload.name}`;
    if (failed.has(name)) continue;
    showProgress(`${index + 1}/${steps.length} round ${round}`, step);
    try {
      const result = await measure(contender, workload, round, options);
      rounds.push(result);
      if (result.void !== undefined) Deno.exitCode = 1;
      append(options.results, { ...machine, ...result });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      absent.push({ name, reason });
      failed.add(name);
      Deno.exitCode = 1;
    }
  }
  showProgress();
  return rounds;
}

function append(path: string, line: object): void {
  Deno.writeTextFileSync(path, JSON.stringify(line) + "\n", { append: true });
}

function showProgress(prefix?: string, step?: Step): void {
  const text = step === undefined
    ? ""
    : `${prefix}: ${step.workload.name} ${step.contender.name}`;
  const output = Deno.stderr.isTerminal()
    ? `\r\x1b[K${text}`
    : text && `${text}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(output));
}
