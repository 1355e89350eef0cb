// SPDX-License-Identifier: Apache-2.0
// statistics.ts - what is counted in TypeScript, beside the counters of the reactor; kept by poll_loop.ts.

import type { MemoryStatistics, ReactorCounters } from "../ffi/mod.ts";
import { violationText } from "./violations.ts";

/** Counters of a server since it was started; numbers that are not said to be as of now only grow. */
export interface ServerStatistics extends ReactorCounters {
  /** Requests and WebSockets that were refused, by the words that the refusal has for the reason. */
  refusals: Record<string, number>;
  /** Handlers that did not answer within `handlerTimeout`. */
  handlerTimeouts: number;
  /** Connections that ended with their last request: `maxRequests`. */
  requestLimits: number;
  /** Requests that were answered by `routes`. */
  routed: number;
  /** Connections that ended because more than `maxDrainBytes` of a body was left unread. */
  unreadBodies: number;
  /** The memory of the server; of one on many workers, that of each listener of each worker. */
  memory: MemoryStatistics[];
}

// Where in the numbers what is counted. Behind them are refusals, by their mr_violation.
const HANDLER_TIMEOUTS = 0;
const REQUEST_LIMITS = 1;
const ROUTED = 2;
const UNREAD_BODIES = 3;
const REFUSALS = 8;
const LENGTH = 128;

/** Bytes that a tally needs. */
export const TALLY_BYTES = LENGTH * Float64Array.BYTES_PER_ELEMENT;

/** Counts while a server runs: in memory that other threads can see, where that is given. */
export class Tally {
  readonly #counts: Float64Array;

  constructor(
    buffer: ArrayBuffer | SharedArrayBuffer = new ArrayBuffer(TALLY_BYTES),
  ) {
    this.#counts = new Float64Array(buffer);
  }

  get handlerTimeouts(): number {
    return this.#counts[HANDLER_TIMEOUTS]!;
  }

  set handlerTimeouts(count: number) {
    this.#counts[HANDLER_TIMEOUTS] = count;
  }

  get requestLimits(): number {
    return this.#counts[REQUEST_LIMITS]!;
  }

  set requestLimits(count: number) {
    this.#counts[REQUEST_LIMITS] = count;
  }

  get routed(): number {
    return this.#counts[ROUTED]!;
  }

  set routed(count: number) {
    this.#counts[ROUTED] = count;
  }

  get unreadBodies(): number {
    return this.#counts[UNREAD_BODIES]!;
  }

  set unreadBodies(count: number) {
    this.#counts[UNREAD_BODIES] = count;
  }

  /** A peer has broken a rule: an mr_violation. */
  refused(violation: number): void {
    this.#counts[REFUSALS + violation]!++;
  }

  /** Counts what another one has counted too. */
  add(other: Tally): void {
    other.#counts.forEach((count, at) => this.#counts[at]! += count);
  }

  /** All counters as of now. */
  read(
    counters: ReactorCounters,
    memory: MemoryStatistics[],
  ): ServerStatistics {
    const refusals: Record<string, number> = {};
    this.#counts.subarray(REFUSALS).forEach((count, violation) => {
      if (count > 0) refusals[violationText(violation)] = count;
    });
    return {
      ...counters,
      refusals,
      handlerTimeouts: this.handlerTimeouts,
      requestLimits: this.requestLimits,
      routed: this.routed,
      unreadBodies: this.unreadBodies,
      memory,
    };
  }
}
