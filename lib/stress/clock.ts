// SPDX-License-Identifier: Apache-2.0
// clock.ts - time as load.ts sees it, so that tests can make it pass.

/** Tells the time, and calls when it has come. */
export interface Clock {
  /** Milliseconds since some moment. */
  now(): number;
  /** Calls a function after so many milliseconds; returns a function that keeps it from that. */
  after(ms: number, call: () => void): () => void;
}

/** The time of this process. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, call): () => void {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
