// SPDX-License-Identifier: Apache-2.0
// soak_load.ts - what a load of a soak is, and how its workers go on until told to stop; the loads are in soak_good.ts,
// soak_rude.ts and soak_slow.ts.

import { Random } from "./soak_random.ts";
import { pattern, sleep } from "./testing.ts";

/** What one visit of a client is given. */
export interface Visit {
  /** Where the server is. */
  readonly addr: Deno.NetAddr;
  readonly random: Random;
  /** About how long to pause between two things. */
  readonly pauseMs: number;
  /** Milliseconds of the server's timeouts. */
  readonly patience: number;
  /** The server gave the right answer. */
  answered(): void;
}

/** One kind of client. */
export interface Load {
  readonly name: string;
  /** Clients of this kind at a time. */
  readonly workers: number;
  /** Longest pause before each visit. */
  readonly pauseMs: number;
  /** From connecting to leaving. Throws when the server did not do what it should. */
  visit(visit: Visit): Promise<void>;
}

/** What became of the visits. */
export interface Tally {
  /** Visits that went as they should. */
  visits: Record<string, number>;
  /** Answers that were right. */
  answers: number;
  /** What was not as it should be. */
  failures: string[];
}

export const UPLOAD_BYTES = 256 * 1024;
export const FIXED_BYTES = 512 * 1024;
export const BROKEN_BYTES = 32 * 1024;

const FAILURE_CHARACTERS = 500;
const BYTES = pattern(2 * FIXED_BYTES);

/** What /fixed, /stream and /break answer for a number of bytes: made once, as making it takes longer than sending. */
export function bytesFor(length: number): Uint8Array<ArrayBuffer> {
  const from = length % FIXED_BYTES;
  return BYTES.subarray(from, from + length);
}

/** Runs all workers of some loads until the signal aborts and each has ended its visit. */
export async function runLoads(
  loads: readonly Load[],
  options: {
    addr: Deno.NetAddr;
    seed: number;
    patience: number;
    tally: Tally;
    signal: AbortSignal;
    say: (line: string) => void;
  },
): Promise<void> {
  const { addr, seed, patience, tally, signal, say } = options;
  const workers = loads.flatMap((load) =>
    Array.from({ length: load.workers }, () => load)
  );
  await Promise.all(workers.map(async (load, index) => {
    const random = new Random(seed * 1000 + index);
    const visit: Visit = {
      addr,
      random,
      pauseMs: load.pauseMs,
      patience,
      answered: () => void tally.answers++,
    };
    while (!signal.aborted) {
      await sleep(random.from(0, load.pauseMs));
      try {
        await load.visit(visit);
        tally.visits[load.name] = (tally.visits[load.name] ?? 0) + 1;
      } catch (error) {
        // The clients' stack says nothing that the name of the load does not.
        const text = error instanceof Error ? error.message : String(error);
        const failure = `${load.name}: ${text.slice(0, FAILURE_CHARACTERS)}`;
        tally.failures.push(failure);
        say(`FAILURE of ${failure}`);
        // A server that is gone fails each visit at once.
        await sleep(100);
      }
    }
  }));
}
