// SPDX-License-Identifier: Apache-2.0
// recorder.ts - what is counted and timed while the load runs; filled by lane.ts, read by load.ts and report.ts.

import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
  initWebAssemblySync,
} from "hdr-histogram-js";

// In WebAssembly recording a value takes 20 ns; in JavaScript it takes 70.
initWebAssemblySync();

const MICROSECONDS = 1000;
const HOUR = 3_600_000_000;

/** An error with what it is counted as. */
export interface Failure {
  /** In words, such as "connection refused"; errors of the same kind are counted together. */
  kind: string;
  /** What happened, in full. */
  message: string;
}

/** Errors of one kind. */
export interface StressError {
  /** What they have in common, such as "connection refused". */
  kind: string;
  /** How many there were. */
  count: number;
  /** The first of them, in full. */
  first: string;
}

/** The counters of one share of the load. */
export interface Counts {
  /** Connections that stood at least once. */
  opened: number;
  /** Those that could not be made. */
  failed: number;
  /** Those that stood and ended too early. */
  lost: number;
  /** Times that an HTTP connection was made anew. */
  reconnects: number;
  sent: number;
  answered: number;
  /** Messages whose answers never came. */
  unanswered: number;
  /** Messages of the schedule whose connection was gone. */
  missed: number;
  /** Bytes of the answers. */
  bytes: number;
}

/** Times in microseconds, at three digits of precision. */
export function newHistogram(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: HOUR,
    numberOfSignificantValueDigits: 3,
    useWebAssembly: true,
  });
}

/** A histogram as a text that can be posted. */
export function encodeHistogram(histogram: Histogram): string {
  return encodeIntoCompressedBase64(histogram);
}

/** The histogram of such a text. */
export function decodeHistogram(text: string): Histogram {
  return decodeFromCompressedBase64(text, 32, true);
}

/** Records one share of the load. */
export class Recorder {
  readonly counts: Counts = noCounts();
  /** From when a message was due, or sent, to its answer. */
  readonly latency: Histogram = newHistogram();
  /** From the beginning to the connection, or the end of its handshake. */
  readonly connecting: Histogram = newHistogram();
  readonly #errors = new Map<string, StressError>();
  #errorCount = 0;

  /** How many errors there were. */
  get errorCount(): number {
    return this.#errorCount;
  }

  /** Those, by their kinds. */
  get errors(): StressError[] {
    return [...this.#errors.values()];
  }

  /** A connection stands after so many milliseconds. */
  connected(ms: number): void {
    this.counts.opened++;
    this.connecting.recordValue(microseconds(ms));
  }

  /** An answer has come after so many milliseconds. */
  answer(ms: number, bytes: number): void {
    this.counts.answered++;
    this.counts.bytes += bytes;
    this.latency.recordValue(microseconds(ms));
  }

  /** Something went wrong. */
  error({ kind, message }: Failure): void {
    this.#errorCount++;
    const known = this.#errors.get(kind);
    if (known === undefined) {
      this.#errors.set(kind, { kind, count: 1, first: message });
    } else {
      known.count++;
    }
  }

  /** Forgets the messages of the warm-up, but for those whose answers are still to come. Errors stay. */
  restart(inFlight: number): void {
    this.latency.reset();
    Object.assign(this.counts, {
      sent: inFlight,
      answered: 0,
      unanswered: 0,
      missed: 0,
      bytes: 0,
    });
  }

  /** Gives the memory of the histograms back. */
  destroy(): void {
    this.latency.destroy();
    this.connecting.destroy();
  }
}

/** Counters at zero. */
export function noCounts(): Counts {
  return {
    opened: 0,
    failed: 0,
    lost: 0,
    reconnects: 0,
    sent: 0,
    answered: 0,
    unanswered: 0,
    missed: 0,
    bytes: 0,
  };
}

function microseconds(ms: number): number {
  return Math.min(Math.round(ms * MICROSECONDS), HOUR);
}
