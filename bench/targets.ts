// SPDX-License-Identifier: Apache-2.0
// targets.ts - what Millrace sets itself, as data, and whether a run has met it.
import { singleOf } from "./contenders.ts";
import type { IdleRound } from "./idle.ts";
import type { Round } from "./measure.ts";
import { STARVATION_P99_MS_MAX } from "./starvation.ts";
import { median, p50, p99, ratePerCpuSecond, ratiosTo } from "./summary.ts";
import { type Workload, WORKLOADS } from "./workloads.ts";

/** A bound on one figure of one workload: on a ratio, or on the figure itself. */
export interface Target {
  readonly workload: string;
  readonly figure: Figure;
  /**
   * Whose figure it is divided by; "floor" is the C floor of the same backend, "single" the same server with one
   * worker. Without it, the figure is the measure.
   */
  readonly against?: "deno" | "bun" | "floor" | "single" | "millrace-epoll";
  readonly atLeast?: number;
  readonly atMost?: number;
  /** Who has to meet it, if not both backends. */
  readonly contenders?: readonly string[];
}

/** What is compared. */
export type Figure =
  | "req/CPU-s"
  | "CPU/req"
  | "p50"
  | "p99"
  | "probe p99 ms"
  | IdleFigure;

/** Memory of many connections, above that of the servers at rest. */
export type IdleFigure = "MB above rest" | "B each";

/** How one contender stands to a target. */
export interface Outcome {
  readonly target: Target;
  readonly contender: string;
  /** Median of the rounds, and the least and the most of them; there is none where nothing was measured. */
  readonly measured?: { median: number; least: number; most: number };
  readonly met?: boolean;
}

const BACKENDS = ["io_uring", "epoll"];
const SPINNING = ["millrace-spin"];
// Neither backend is to be worse than the other by more.
const BACKENDS_DIFFER_MAX = 0.05;
// What further workers may cost for each answer, and for each delivery of what is published, as a multiple of one's.
const WORKER_COSTS_MAX = 1.05;
const PUBLISH_COSTS_MAX = 1.1;

const IDLE_FIGURES: Readonly<Record<IdleFigure, (round: IdleRound) => number>> =
  {
    "MB above rest": (round) => aboveRest(round) / 1e6,
    "B each": (round) => aboveRest(round) / round.connections,
  };

const FIGURES: Readonly<
  Record<Exclude<Figure, IdleFigure>, (round: Round) => number>
> = {
  "req/CPU-s": ratePerCpuSecond,
  "CPU/req": (round) => 1 / ratePerCpuSecond(round),
  "p50": p50,
  "p99": p99,
  "probe p99 ms": (round) => (round.probe?.p99_us ?? NaN) / 1000,
};

/** The ratios of requests per CPU-second that are wanted at least. */
const RATIOS: readonly {
  readonly workloads: readonly string[];
  readonly floor?: number;
  readonly bun: number;
  readonly deno: number;
}[] = [
  { workloads: ["ws-1", "ws-1-512"], floor: 0.97, bun: 1.05, deno: 1.25 },
  { workloads: ["ws-16"], floor: 0.9, bun: 1.4, deno: 15 },
  { workloads: ["ws-16b-128"], bun: 2, deno: 30 },
  { workloads: ["ws-16k-1", "ws-1m-1"], bun: 1.15, deno: 1.3 },
  { workloads: ["http-1", "http-1-512"], floor: 0.93, bun: 1.2, deno: 1.2 },
  { workloads: ["http-16"], bun: 10, deno: 10 },
  { workloads: ["json", "post", "download"], bun: 1.15, deno: 1.3 },
];

/** All that is set. */
export const TARGETS: readonly Target[] = [
  ...RATIOS.flatMap(({ workloads, floor, bun, deno }) =>
    workloads.flatMap((workload) => [
      ...(floor === undefined ? [] : [atLeast(workload, "floor", floor)]),
      atLeast(workload, "bun", bun),
      atLeast(workload, "deno", deno),
      sameOnBothBackends(workload),
    ])
  ),
  { workload: "ws-1-512", figure: "p99", against: "deno", atMost: 0.2 },
  ...["http-latency", "ws-latency"].map((workload): Target => ({
    workload,
    figure: "p50",
    against: "deno",
    atMost: 0.5,
    contenders: SPINNING,
  })),
  ...["sleep", "fetch", "sleep-512"].map((name): Target => ({
    workload: `starvation-${name}`,
    figure: "probe p99 ms",
    atMost: STARVATION_P99_MS_MAX,
  })),
  ...WORKLOADS.filter(({ workers }) => workers !== undefined).map(workersCost),
];

/** All that is set for memory. */
export const IDLE_TARGETS: readonly (Target & { figure: IdleFigure })[] = [
  { workload: "idle-25k", figure: "MB above rest", atMost: 60 },
  { workload: "idle-25k-active", figure: "MB above rest", atMost: 60 },
  { workload: "idle-100k", figure: "B each", atMost: 1024 },
];

/** Names of the workloads that a target is set for. */
export const TARGET_WORKLOADS: ReadonlySet<string> = new Set(
  [...TARGETS, ...IDLE_TARGETS].map(({ workload }) => workload),
);

function atLeast(
  workload: string,
  against: "deno" | "bun" | "floor",
  ratio: number,
): Target {
  return { workload, figure: "req/CPU-s", against, atLeast: ratio };
}

// Of two workers for each answer, of four for each delivery.
function workersCost({ name, workers }: Workload): Target {
  const [many, atMost] = workers === "share"
    ? [4, PUBLISH_COSTS_MAX]
    : [2, WORKER_COSTS_MAX];
  return {
    workload: name,
    figure: "CPU/req",
    against: "single",
    atMost,
    contenders: BACKENDS.map((it) => `millrace-${it}-x${many}`),
  };
}

function sameOnBothBackends(workload: string): Target {
  return {
    workload,
    figure: "req/CPU-s",
    against: "millrace-epoll",
    atLeast: 1 - BACKENDS_DIFFER_MAX,
    atMost: 1 + BACKENDS_DIFFER_MAX,
    contenders: ["millrace-io_uring"],
  };
}

/** Holds the rounds of a run against the targets of the workloads that took part in it. */
export function checkTargets(
  rounds: readonly Round[],
  targets: readonly Target[] = TARGETS,
): Outcome[] {
  const measured = new Set(rounds.map(({ workload }) => workload));
  return targets.filter(({ workload }) => measured.has(workload))
    .flatMap((target) => checkTarget(target, rounds));
}

/** The same of the memory of many connections. */
export function checkIdleTargets(rounds: readonly IdleRound[]): Outcome[] {
  const measured = new Set(rounds.map(({ workload }) => workload));
  return IDLE_TARGETS.filter(({ workload }) => measured.has(workload))
    .flatMap((target) =>
      outcomesOf(
        target,
        (contender) =>
          rounds.filter((round) =>
            round.workload === target.workload &&
            round.contender === contender && round.void === undefined
          ).map(IDLE_FIGURES[target.figure]),
      )
    );
}

/** Bytes that the servers have beyond those that they had before the first connection. */
export function aboveRest({ rest, held }: IdleRound): number {
  return held.resident_bytes - rest.resident_bytes;
}

function checkTarget(target: Target, rounds: readonly Round[]): Outcome[] {
  return outcomesOf(
    target,
    (contender) => valuesOf(target, contender, rounds),
  );
}

function outcomesOf(
  target: Target,
  valuesFor: (contender: string) => number[],
): Outcome[] {
  const names = target.contenders ??
    BACKENDS.map((backend) => `millrace-${backend}`);
  return names.map((contender) => {
    const values = valuesFor(contender);
    if (values.length === 0) return { target, contender };
    const measured = {
      median: median(values),
      least: Math.min(...values),
      most: Math.max(...values),
    };
    return { target, contender, measured, met: meets(target, measured) };
  });
}

function valuesOf(
  { workload, figure, against }: Target,
  contender: string,
  rounds: readonly Round[],
): number[] {
  const own = rounds.filter((round) =>
    round.contender === contender && round.workload === workload &&
    round.void === undefined
  );
  if (figure === "MB above rest" || figure === "B each") return [];
  if (against === undefined) {
    return own.map(FIGURES[figure]).filter(Number.isFinite);
  }
  const base = baseOf(against, contender);
  return ratiosTo(base, own, rounds, FIGURES[figure]);
}

function baseOf(
  against: NonNullable<Target["against"]>,
  contender: string,
): string {
  if (against === "floor") return contender.replace("millrace", "floor");
  return against === "single" ? singleOf(contender) : against;
}

// A bound in absolute figures has to hold in every round, a ratio in the middle.
function meets(
  { against, atLeast = -Infinity, atMost = Infinity }: Target,
  measured: { median: number; least: number; most: number },
): boolean {
  return against === undefined
    ? measured.least >= atLeast && measured.most <= atMost
    : measured.median >= atLeast && measured.median <= atMost;
}
