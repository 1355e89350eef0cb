// SPDX-License-Identifier: Apache-2.0
// same_bytes.ts - compares bytes, whole or as they come in pieces; used by messages.ts, tcp_wire.ts and
// response_parser.ts.

import { Buffer } from "node:buffer";

// From here on a call of the runtime is worth its price.
const CALL_BYTES = 256;

/** Whether two ranges of bytes are the same; they have to be as long as each other. */
export function sameBytes(
  one: Uint8Array,
  start: number,
  end: number,
  other: Uint8Array,
  otherStart: number,
): boolean {
  const length = end - start;
  if (length >= CALL_BYTES) {
    return Buffer.compare(
      one.subarray(start, end),
      other.subarray(otherStart, otherStart + length),
    ) === 0;
  }
  for (let at = 0; at < length; at++) {
    if (one[start + at] !== other[otherStart + at]) return false;
  }
  return true;
}

/** Compares what comes in pieces, again and again, with the same bytes. */
export class SameBytes {
  // Null where anything will do.
  readonly #expected: Uint8Array | null;
  #at = 0;
  #right = true;

  constructor(expected: Uint8Array | null) {
    this.#expected = expected;
  }

  /** The next piece: `bytes` from `start` to `end`. */
  push(bytes: Uint8Array, start: number, end: number): void {
    const expected = this.#expected;
    if (expected === null) return;
    const fits = this.#at + end - start <= expected.length;
    this.#right &&= fits && sameBytes(bytes, start, end, expected, this.#at);
    this.#at += end - start;
  }

  /** That was the last one: whether all of them were right. Begins anew. */
  finish(): boolean {
    const right = this.#right &&
      (this.#expected === null || this.#at === this.#expected.length);
    this.#at = 0;
    this.#right = true;
    return right;
  }
}
