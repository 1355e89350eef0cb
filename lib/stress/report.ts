// SPDX-License-Identifier: Apache-2.0
// report.ts - what came of a load: adds up the shares of all threads; made by ../stress.ts, printed by print.ts.

import type { Histogram } from "hdr-histogram-js";
import type { Share } from "./hand.ts";
import type { Snapshot } from "./load.ts";
import type { Plan, StressKind } from "./options.ts";
import {
  type Counts,
  decodeHistogram,
  newHistogram,
  noCounts,
  type StressError,
} from "./recorder.ts";

/** Times in microseconds, at three digits of precision. */
export interface StressTimes {
  /** How many times were taken. */
  count: number;
  /** The shortest. */
  min: number;
  /** The mean. */
  mean: number;
  /** The median. */
  p50: number;
  /** What 75 of 100 took at most. */
  p75: number;
  /** What 90 of 100 took at most. */
  p90: number;
  /** What 99 of 100 took at most. */
  p99: number;
  /** What 999 of 1,000 took at most. */
  p999: number;
  /** What 9,999 of 10,000 took at most. */
  p9999: number;
  /** The longest. */
  max: number;
  /** How many took how long: those up to each bound, and above the one before. */
  distribution: { upTo: number; count: number }[];
}

/** What {@linkcode stress} has measured. */
export interface StressReport {
  /** Whether there was no error. */
  ok: boolean;
  /** Whether it was ended early. */
  interrupted: boolean;
  /** What was put under load. */
  kind: StressKind;
  /** Where. */
  url: string;
  /** Milliseconds of the hold. */
  elapsed: number;
  /** Connections. */
  connections: {
    /** Those that were asked for. */
    wanted: number;
    /** Those that stood. */
    opened: number;
    /** Those that could not be made. */
    failed: number;
    /** Those that ended too early. */
    lost: number;
    /** Times that an HTTP connection was made anew, since the server had ended it. */
    reconnects: number;
  };
  /** Messages, requests or calls. */
  messages: {
    /** Those that were sent. */
    sent: number;
    /** Those that were answered. */
    answered: number;
    /** Those whose answers never came. */
    unanswered: number;
    /** Those of the schedule that were not sent, as their connection was gone. */
    missed: number;
    /** Answers a second during the hold. */
    perSecond: number;
  };
  /** Bytes of the answers, without framing; 0 for calls, whose bodies are values. */
  bytes: number;
  /** From when a message was due by the schedule, or sent where there is none, to its answer. Null without answers. */
  latency: StressTimes | null;
  /** From the beginning to the connection, or the end of its handshake. Null without connections. */
  connecting: StressTimes | null;
  /** What went wrong. */
  errors: StressError[];
  /** What the tool itself has used. */
  client: {
    /** Threads. */
    workers: number;
    /** Share of one processor that the busiest thread has used during the hold, from 0 to 1. */
    busiest: number;
    /** Milliseconds of processors that the process has used altogether. */
    cpu: number;
    /** Resident bytes at the end. */
    memory: number;
  };
  /** What makes the figures doubtful. */
  warnings: string[];
}

// From here on the client itself is what limits the rate.
const SATURATED = 0.95;
// A hold that is shorter says nothing about that.
const SATURATION_MS = 500;

/** Adds up what the threads have to tell. */
export function reportOf(
  plan: Plan,
  shares: readonly Share[],
  process: { cpu: number; memory: number },
  interrupted: boolean,
): StressReport {
  const snapshots = shares.map(({ snapshot }) => snapshot);
  const counts = sumOf(snapshots);
  const elapsed = Math.max(...snapshots.map((snapshot) => snapshot.elapsed));
  const inTime = snapshots.reduce((sum, each) => sum + each.answeredInTime, 0);
  const busiest = Math.max(
    ...shares.map(({ busy, snapshot }) =>
      snapshot.elapsed === 0 ? 0 : busy / snapshot.elapsed
    ),
  );
  const errors = errorsOf(shares);
  return {
    ok: errors.length === 0,
    interrupted,
    kind: plan.kind,
    url: plan.url,
    elapsed,
    connections: {
      wanted: plan.connections,
      opened: counts.opened,
      failed: counts.failed,
      lost: counts.lost,
      reconnects: counts.reconnects,
    },
    messages: {
      sent: counts.sent,
      answered: counts.answered,
      unanswered: counts.unanswered,
      missed: counts.missed,
      perSecond: elapsed === 0 ? 0 : inTime * 1000 / elapsed,
    },
    bytes: counts.bytes,
    latency: timesOf(shares.map(({ latency }) => latency)),
    connecting: timesOf(shares.map(({ connecting }) => connecting)),
    errors,
    client: { workers: shares.length, busiest, ...process },
    warnings: elapsed >= SATURATION_MS && busiest > SATURATED
      ? [
        "The client was the bottleneck: it used a whole processor. Give it more --workers, or read the rates as a lower bound",
      ]
      : [],
  };
}

/** What the times of a histogram say. */
export function timesIn(histogram: Histogram): StressTimes {
  const at = (percentile: number): number =>
    histogram.getValueAtPercentile(percentile);
  return {
    count: histogram.totalCount,
    min: at(0),
    mean: histogram.mean,
    p50: at(50),
    p75: at(75),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    p9999: at(99.99),
    max: histogram.maxValue,
    distribution: distributionOf(histogram),
  };
}

function sumOf(snapshots: readonly Snapshot[]): Counts {
  const sum = noCounts();
  for (const { counts } of snapshots) {
    for (const name of Object.keys(sum) as (keyof Counts)[]) {
      sum[name] += counts[name];
    }
  }
  return sum;
}

function errorsOf(shares: readonly Share[]): StressError[] {
  const all = new Map<string, StressError>();
  for (const error of shares.flatMap(({ errors }) => errors)) {
    const known = all.get(error.kind);
    if (known === undefined) all.set(error.kind, { ...error });
    else known.count += error.count;
  }
  return [...all.values()].sort((one, other) => other.count - one.count);
}

function timesOf(encoded: readonly string[]): StressTimes | null {
  const all = newHistogram();
  for (const text of encoded) {
    const histogram = decodeHistogram(text);
    all.add(histogram);
    histogram.destroy();
  }
  const times = all.totalCount === 0 ? null : timesIn(all);
  all.destroy();
  return times;
}

/** The rows of a histogram, bounds of which are 1, 2, 5, 10 and so on, from the shortest time to the longest. */
export function distributionOf(
  histogram: Histogram,
): StressTimes["distribution"] {
  const rows: StressTimes["distribution"] = [];
  let before = 0;
  for (const upTo of bounds()) {
    const all = countUpTo(histogram, upTo);
    if (all > 0) rows.push({ upTo, count: all - before });
    before = all;
    if (all === histogram.totalCount) return rows;
  }
  return rows;
}

function* bounds(): Iterable<number> {
  for (let decade = 1;; decade *= 10) {
    for (const digit of [1, 2, 5]) yield digit * decade;
  }
}

// The histogram tells which time is the n-th, so that the number of times up to a bound is searched for.
function countUpTo(histogram: Histogram, bound: number): number {
  const { totalCount } = histogram;
  let low = 0;
  let high = totalCount;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const time = histogram.getValueAtPercentile(middle / totalCount * 100);
    if (time <= bound) low = middle;
    else high = middle - 1;
  }
  return low;
}
