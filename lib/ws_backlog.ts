// SPDX-License-Identifier: Apache-2.0
// ws_backlog.ts - messages that wait in JavaScript, where they can still be given up, for a peer that is slow; used by
// ws_outbound.ts.

import type { PreparedMessage } from "./ws_prepared.ts";

/**
 * What becomes of messages for a peer that takes them too slowly:
 * - `"drop-newest"`: what is more than `maxQueueBytes` is not accepted;
 * - `"drop-oldest"`: from `highWatermark` on messages wait where they can be given up, and the oldest are, so that
 *   `maxQueueBytes` is kept;
 * - `"coalesce"`: the same, and a message takes the place of one with the same key that still waits, behind the others;
 * - `"close"`: the first one that is not accepted closes the socket with 1013.
 */
export type SlowConsumerPolicy =
  | "drop-newest"
  | "drop-oldest"
  | "coalesce"
  | "close";

/** A message that waits. */
export interface Waiting {
  message: PreparedMessage;
  key: string | undefined;
  /** What was asked for of compressing it, which is done when it goes out. */
  compress: boolean | undefined;
}

// What a message takes beside its bytes: many small ones must not take more memory than a few large ones.
const OVERHEAD_BYTES = 256;

/** Messages in the order in which they are to be sent. */
export class Backlog {
  /** Bytes of the messages. */
  bytes = 0;
  readonly #waiting = new Set<Waiting>();
  readonly #keys = new Map<string, Waiting>();

  /** Number of messages. */
  get length(): number {
    return this.#waiting.size;
  }

  /** Bytes of memory that the messages take. */
  get cost(): number {
    return this.bytes + OVERHEAD_BYTES * this.length;
  }

  /** Adds a message behind the others. */
  push(waiting: Waiting): void {
    const { message, key } = waiting;
    this.#waiting.add(waiting);
    if (key !== undefined) this.#keys.set(key, waiting);
    this.bytes += message.length;
  }

  /** Removes the message that is next. There must be one. */
  shift(): Waiting {
    const [first] = this.#waiting;
    this.#remove(first!);
    return first!;
  }

  /** Removes the message with that key, if there is one. */
  take(key: string): PreparedMessage | null {
    const waiting = this.#keys.get(key);
    if (waiting === undefined) return null;
    this.#remove(waiting);
    return waiting.message;
  }

  #remove(waiting: Waiting): void {
    const { message, key } = waiting;
    this.#waiting.delete(waiting);
    if (key !== undefined && this.#keys.get(key) === waiting) {
      this.#keys.delete(key);
    }
    this.bytes -= message.length;
  }
}

/** Bytes of memory that a message takes while it waits. */
export function costOf(message: PreparedMessage): number {
  return message.length + OVERHEAD_BYTES;
}
