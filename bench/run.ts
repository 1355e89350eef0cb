// SPDX-License-Identifier: Apache-2.0
// run.ts - the benchmark: interleaved rounds of all contenders under all workloads. bench/README.md has the method.
import { buildLoad } from "./build.ts";
import { drawCharts } from "./charts.ts";
import {
  type Absent,
  CONTENDER_NAMES,
  killAll,
  listContenders,
} from "./contenders.ts";
import { IDLE_WORKLOADS, printIdleTable, runIdle } from "./idle_workloads.ts";
import { describeMachine, type Machine, pinSelf } from "./machine.ts";
import { measure, type MeasureOptions, type Round } from "./measure.ts";
import { readOptions, type RunOptions, USAGE } from "./options.ts";
import {
  chooseWorkloads,
  durationText,
  estimate,
  isChosen,
  isWantedContender,
  plan,
  secondsLeft,
  type Step,
} from "./plan.ts";
import {
  printAbsent,
  printTable,
  printTargets,
  printValidity,
} from "./report.ts";
import { summarize, validityOf } from "./summary.ts";
import { checkIdleTargets, checkTargets } from "./targets.ts";
import type { Workload } from "./workloads.ts";

if (import.meta.main) await main();

async function main(): Promise<void> {
  const options = readOptionsOrExit();
  if (options.help) return console.log(USAGE);
  const workloads = chooseWorkloads(options);
  const idleWorkloads = IDLE_WORKLOADS.filter(({ name, onlyNamed }) =>
    onlyNamed ? options.only.includes(name) : isChosen(name, options)
  );
  if (options.list) return printList([...workloads, ...idleWorkloads], options);
  const load = await buildLoad();
  const { contenders, absent } = await listContenders((name) =>
    isWantedContender(name, options.only)
  );
  const machine = await describeMachine();
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  await pinSelf(options.clientCore);
  const steps = plan(workloads, contenders, options);
  const started = performance.now();
  const rounds = await runRounds(steps, { ...options, load }, machine, absent);
  const tables = workloads.map((workload) =>
    summarize(workload, contenders, rounds)
  );
  const idle = await runIdle(
    idleWorkloads,
    contenders,
    { ...options, load },
    (result) => append(options.results, { ...machine, ...result }),
  );
  const seconds = (performance.now() - started) / 1000;
  // Of everything, by everybody: a part of it would make charts with gaps.
  if (options.only.length === 0 && !options.quick && !options.targets) {
    await drawCharts(options.results);
  }
  const targets = [
    ...checkTargets(rounds),
    ...checkIdleTargets(idle.flatMap(({ rows }) => rows)),
  ];
  const validity = validityOf(rounds);
  if (options.json) {
    console.log(
      JSON.stringify({ machine, absent, tables, idle, targets, validity }),
    );
    return;
  }
  console.log(
    `\n${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, ` +
      `Deno ${machine.deno}, ${machine.commit || "no commit"}`,
  );
  tables.forEach(printTable);
  idle.forEach(printIdleTable);
  printAbsent(absent);
  printTargets(targets);
  printValidity(validity);
  console.log(`All of it took ${durationText(seconds)}`);
}

function printList(workloads: readonly Workload[], options: RunOptions): void {
  const width = Math.max(...workloads.map(({ name }) => name.length));
  for (const { name, title } of workloads) {
    console.log(`${name.padEnd(width)}  ${title}`);
  }
  const names = CONTENDER_NAMES.filter((name) =>
    isWantedContender(name, options.only)
  );
  console.log(`\ncontenders: ${names.join(", ")}`);
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

async function runRounds(
  steps: readonly Step[],
  options: RunOptions & MeasureOptions,
  machine: Machine,
  absent: Absent[],
): Promise<Round[]> {
  const rounds: Round[] = [];
  const failed = new Set<string>();
  const planned = steps.map((step) => estimate(step, options));
  const started = performance.now();
  for (const [index, step] of steps.entries()) {
    const { round, workload, contender } = step;
    const name = `${contender.name} in ${workload.name}`;
    if (failed.has(name)) continue;
    const left = secondsLeft(
      (performance.now() - started) / 1000,
      planned.slice(0, index),
      planned.slice(index),
    );
    showProgress(
      `${index + 1} of ${steps.length}, round ${round}: ${workload.name} ` +
        `${contender.name}, ${durationText(left)} left`,
    );
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
  showProgress("");
  return rounds;
}

function append(path: string, line: object): void {
  Deno.writeTextFileSync(path, JSON.stringify(line) + "\n", { append: true });
}

// On one line of a terminal, else on a line each.
function showProgress(text: string): void {
  const output = Deno.stderr.isTerminal()
    ? `\r\x1b[K${text}`
    : text && `${text}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(output));
}
