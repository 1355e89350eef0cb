// SPDX-License-Identifier: Apache-2.0
// soak_run.ts - one soak: a server in a process of its own, all loads, and the judgement; used by soak.ts and
// soak_test.ts.

import { equal } from "@std/assert";
import type { BackendName } from "../mod.ts";
import { type Ending, SoakChild } from "./soak_child.ts";
import { hasSameBlocks } from "./holdings.ts";
import { GOOD_LOADS } from "./soak_good.ts";
import { runLoads, type Tally } from "./soak_load.ts";
import { RUDE_LOADS } from "./soak_rude.ts";
import type { Sample } from "./soak_server.ts";
import { SLOW_LOADS } from "./soak_slow.ts";
import { sleep } from "./testing.ts";

/** How to soak. */
export interface SoakOptions {
  backend: BackendName;
  seed: number;
  /** Seconds of load in all. */
  seconds: number;
  /** Seconds between two samples. */
  every: number;
  /**
   * Milliseconds of the server's timeouts. When the machine is so busy that a client stands still for longer, it is cut
   * although it is a good one.
   */
  patience: number;
  /** Is told how it goes. */
  say: (line: string) => void;
}

/** All that was seen of a soak. */
export interface SoakResult {
  /** Seconds of load in all. */
  seconds: number;
  /** At rest, before any load. */
  before: Sample;
  /** At rest, after the warm-up. */
  warm: Sample;
  /** Under load, at even distances. */
  samples: Sample[];
  /** At rest, when all clients are gone. */
  after: Sample;
  tally: Tally;
  ending: Ending;
  /** Milliseconds for which the process of the clients stood still at most. */
  pause: number;
}

/** The part of the load after which caches are filled and code is compiled. */
const WARM_UP = 0.2;
/** All that the server keeps is back after this: no timeout of it is longer. */
const REST_MS = 15_000;
const MIB = 2 ** 20;

/**
 * How much more the heap may hold at rest after the load than before it. Ten minutes are some 150,000 requests and 50,000
 * connections, so that a leak of 30 bytes for each request shows; what a run still compiles and caches is less.
 */
const HEAP_AT_REST = 3 * MIB;
/** What the halves of a load may differ by: bodies on their way, of up to 512 KiB for each client. */
const HEAP_UNDER_LOAD = 8 * MIB;
/** A shorter load has not filled what allocators keep: then only what is held at rest is compared, and only the heap. */
const SETTLED_SECONDS = 120;
/**
 * Resident memory also knows what allocators keep for later: pages of the arena, of 64 MiB, that were used once, freed
 * buffers, and the young generation of V8. Blocks of the arena are counted exactly.
 */
const RSS = 32 * MIB;

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const child = await SoakChild.start(options.backend, options.patience);
  try {
    return await withChild(child, options);
  } catch (error) {
    const errors = await child.kill();
    throw new Error(`The soak broke off. The server printed: ${errors}`, {
      cause: error,
    });
  }
}

async function withChild(
  child: SoakChild,
  { seconds, seed, every, patience, say }: SoakOptions,
): Promise<SoakResult> {
  const tally: Tally = { visits: {}, answers: 0, failures: [] };
  const pauses = watchPauses();
  const start = performance.now();
  const line = (what: string, sample: Sample): void =>
    say(
      `${((performance.now() - start) / 1000).toFixed(0).padStart(4)} s  ${
        what.padEnd(6)
      }  ${
        describe(sample)
      }, ${tally.answers} answers, ${tally.failures.length} failures`,
    );
  const load = async (part: number, seed: number): Promise<Sample[]> => {
    const samples: Sample[] = [];
    const stop = new AbortController();
    const loads = [...GOOD_LOADS, ...RUDE_LOADS, ...SLOW_LOADS];
    const running = runLoads(loads, {
      addr: child.addr,
      seed,
      patience,
      tally,
      signal: stop.signal,
      say,
    });
    const end = performance.now() + part * seconds * 1000;
    try {
      while (performance.now() < end) {
        await sleep(Math.min(every * 1000, end - performance.now()));
        samples.push(await child.sample());
        line("load", samples.at(-1)!);
      }
    } finally {
      stop.abort();
      await running;
    }
    return samples;
  };
  try {
    const before = await rest(child, null);
    line("before", before);
    await load(WARM_UP, seed);
    const warm = await rest(child, before);
    line("warm", warm);
    const samples = await load(1 - WARM_UP, seed + 1);
    const after = await rest(child, before);
    line("after", after);
    const ending = await child.end();
    const pause = pauses.longest();
    return { seconds, before, warm, samples, after, tally, ending, pause };
  } finally {
    pauses.stop();
  }
}

/** Waits until everything is given back, as long as that may take, and returns what is held then. */
async function rest(child: SoakChild, like: Sample | null): Promise<Sample> {
  const end = performance.now() + REST_MS;
  let sample = await child.sample();
  while (performance.now() < end && !isAtRest(sample, like)) {
    await sleep(200);
    sample = await child.sample();
  }
  // Garbage that hangs on finalizers takes several collections.
  for (let count = 0; count < 5; count++) {
    await sleep(50);
    const next = await child.sample();
    sample.heap = Math.min(sample.heap, next.heap);
    sample.rss = Math.min(sample.rss, next.rss);
  }
  return sample;
}

function isAtRest(sample: Sample, like: Sample | null): boolean {
  return sample.connections === 1 && Object.keys(sample.open).length === 0 &&
    (like === null || hasSameBlocks(sample, like));
}

/** What was wrong with a soak; empty when nothing was. */
export function judge(result: SoakResult): string[] {
  const { seconds, before, warm, samples, after, tally, ending } = result;
  const wrong = tally.failures.slice(0, 20);
  const expect = (condition: boolean, otherwise: string): void => {
    if (!condition) wrong.push(otherwise);
  };
  const grows = (what: string, from: number, to: number, by: number): void =>
    expect(to - from <= by, `${what} grew from ${mib(from)} to ${mib(to)}`);

  expect(after.connections === 1, `${after.connections - 1} connections left`);
  // Not as before the load: Deno opens some of its own in the first seconds.
  expect(
    equal(after.descriptors, warm.descriptors),
    `Descriptors ${Deno.inspect(after.descriptors)} instead of ${
      Deno.inspect(warm.descriptors)
    }`,
  );
  expect(
    hasSameBlocks(after, before),
    `${after.blocksFree} free blocks instead of ${before.blocksFree}`,
  );
  for (const [name, count] of Object.entries(after.open)) {
    expect(false, `${count} of ${name} never ended`);
  }
  grows("At rest the heap", warm.heap, after.heap, HEAP_AT_REST);
  if (seconds >= SETTLED_SECONDS) {
    grows("At rest resident memory", warm.rss, after.rss, RSS);
  }
  const half = samples.length >> 1;
  const median = (of: Sample[], name: "heap" | "rss"): number =>
    of.map((sample) => sample[name]).sort((a, b) => a - b)[of.length >> 1] ?? 0;
  for (const [name, by] of [["heap", HEAP_UNDER_LOAD], ["rss", RSS]] as const) {
    const early = median(samples.slice(0, half), name);
    const late = median(samples.slice(half), name);
    if (seconds < SETTLED_SECONDS) continue;
    grows(`Under load the median of ${name}`, early, late, by);
  }
  for (const name of ["exhausted", "overflows", "acceptErrors"] as const) {
    expect(after[name] === 0, `${after[name]} ${name}`);
  }
  expect(after.timeouts > 0, "No timeout has cut anybody");
  expect(after.expectedErrors > 0, "No response has failed");
  expect(ending.errors === "", `The server printed: ${ending.errors}`);
  expect(ending.code === 0, `The server ended with ${ending.code}`);
  const { connections, requests, forced } = ending.report;
  expect(
    // The one that asked for the last sample may not have been closed yet.
    connections <= 1 && requests + forced === 0,
    `The shutdown found ${Deno.inspect(ending.report)}`,
  );
  return wrong;
}

function describe(sample: Sample): string {
  return `rss ${mib(sample.rss)}, heap ${mib(sample.heap)}, ${
    Object.values(sample.descriptors).reduce((sum, count) => sum + count, 0)
  } descriptors, ${
    sample.connections - 1
  } connections, ${sample.blocksFree} blocks free`;
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

/** When the clients' process stands still for seconds, timeouts cut the innocent: that is to be known. */
function watchPauses(): { longest(): number; stop(): void } {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 50);
  return { longest: () => longest, stop: () => clearInterval(timer) };
}
