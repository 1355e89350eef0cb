// SPDX-License-Identifier: Apache-2.0
// plan.ts - which contender is measured when under which workload, and how long all of it takes.
import { type Contender, CONTENDER_NAMES, takes } from "./contenders.ts";
import { countsSyscalls, TRACE_SECONDS, warmupOf } from "./measure.ts";
import { type RunOptions, WORKLOAD_NAMES } from "./options.ts";
import { TARGET_WORKLOADS } from "./targets.ts";
import { forWorkers } from "./workers_workloads.ts";
import { QUICK_WORKLOADS, type Workload, WORKLOADS } from "./workloads.ts";

/** One round of one contender under one workload. */
export interface Step {
  readonly round: number;
  readonly workload: Workload;
  readonly contender: Contender;
}

/** What says which workloads are wanted. */
export type Choice = Pick<RunOptions, "only" | "quick" | "targets">;

// A server starts and stops.
const START_SECONDS = 0.3;
// strace attaches and lets go, connections are opened once more.
const TRACE_OVERHEAD_SECONDS = 0.5;
// Most servers have answered all probes by then.
const PROBED_SECONDS = 2;

/** The workloads of a run. */
export function chooseWorkloads(
  choice: Choice,
  workloads: readonly Workload[] = WORKLOADS,
): Workload[] {
  return workloads.filter(({ name }) => isChosen(name, choice));
}

/** Whether a workload is part of a run: those that --only names are, else those of a short run, else all. */
export function isChosen(name: string, choice: Choice): boolean {
  if (namesWorkloads(choice)) return isWantedWorkload(name, choice.only);
  return (!choice.quick || QUICK_WORKLOADS.includes(name)) &&
    (!choice.targets || TARGET_WORKLOADS.has(name));
}

/** Whether a workload is among those that --only names, or it names none. */
export function isWantedWorkload(
  name: string,
  only: readonly string[],
): boolean {
  return isWanted(name, only, WORKLOAD_NAMES);
}

/** Whether a contender takes part. */
export function isWantedContender(
  name: string,
  only: readonly string[],
): boolean {
  return isWanted(name, only, CONTENDER_NAMES);
}

function namesWorkloads({ only }: Choice): boolean {
  return only.some((part) =>
    WORKLOAD_NAMES.some((name) => name.includes(part))
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

/**
 * All steps of a run, in order. All contenders take their turn within a round; every other round goes the other
 * way, so that a machine that slows down or speeds up favours nobody.
 */
export function plan(
  workloads: readonly Workload[],
  contenders: readonly Contender[],
  options: Choice & Pick<RunOptions, "rounds">,
): Step[] {
  const steps: Step[] = [];
  const named = namesWorkloads(options);
  for (let round = 1; round <= options.rounds; round++) {
    for (const workload of workloads) {
      if (workload.minor && !named && round > 1) continue;
      const able = contenders.filter((contender) => takes(contender, workload));
      if (round % 2 === 0) able.reverse();
      for (const contender of able) {
        const asked = forWorkers(workload, contender.workers);
        steps.push({ round, workload: asked, contender });
      }
    }
  }
  return steps;
}

/** About how many seconds a step takes. */
export function estimate(
  { round, workload }: Step,
  options: Pick<RunOptions, "seconds" | "warmup" | "syscalls">,
): number {
  const { seconds } = options;
  const window = workload.probe === undefined ? seconds : PROBED_SECONDS;
  const traced = countsSyscalls(workload, round, options)
    ? TRACE_SECONDS + TRACE_OVERHEAD_SECONDS
    : 0;
  return START_SECONDS + warmupOf(workload, options) + window + traced;
}

/** The time that is left when so much of a plan took so long, in seconds. */
export function secondsLeft(
  elapsed: number,
  done: readonly number[],
  left: readonly number[],
): number {
  const planned = sum(done);
  return sum(left) * (planned > 0 ? elapsed / planned : 1);
}

/** A length of time as people say it. */
export function durationText(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60
    ? `${whole} s`
    : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
