// SPDX-License-Identifier: Apache-2.0
// messages.ts - what is sent as a message, and what has to come back; used by ws_wire.ts, tcp_wire.ts and rpc_wire.ts.

import type { Plan } from "./options.ts";
import { sameBytes } from "./same_bytes.ts";

// Two numbers of 32 bits, as bytes and as hexadecimal digits.
const STAMP_BYTES = 8;
const STAMP_DIGITS = 16;

const UTF8 = new TextEncoder();

/**
 * The messages of a load. Where answers are verified and the payload is so many bytes, a message begins with the numbers
 * of its connection and of itself: no other is like it, so that answers that were mixed up show.
 */
export class Messages {
  /** Bytes of each message. */
  readonly size: number;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #text: string;
  readonly #expected: Uint8Array<ArrayBuffer> | null;
  readonly #expectedText: string | null;
  readonly #isStamped: boolean;
  readonly #isStampedText: boolean;
  readonly #verify: boolean;

  constructor({ payload, verify, expect }: Plan) {
    const size = payload ?? 0;
    this.#text = typeof size === "number" ? filler(size) : size;
    this.#bytes = UTF8.encode(this.#text);
    this.size = this.#bytes.length;
    this.#verify = verify;
    this.#expectedText = expect;
    this.#expected = expect === null ? null : UTF8.encode(expect);
    const isOwn = typeof payload === "number" && verify && expect === null;
    this.#isStamped = isOwn && this.size >= STAMP_BYTES;
    this.#isStampedText = isOwn && this.size >= STAMP_DIGITS;
  }

  /** Bytes of each answer. */
  get answerSize(): number {
    return this.#expected?.length ?? this.size;
  }

  /** A message as bytes, which are valid until the next call. */
  bytes(lane: number, number: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#bytes;
    if (this.#isStamped) {
      stamp(bytes, 0, lane);
      stamp(bytes, 4, number);
    }
    return bytes;
  }

  /** A message as a text. */
  text(lane: number, number: number): string {
    if (!this.#isStampedText) return this.#text;
    return digits(lane) + digits(number) + this.#text.slice(STAMP_DIGITS);
  }

  /** Whether an answer is the one to a message. */
  isAnswer(
    answer: string | Uint8Array,
    lane: number,
    number: number,
  ): boolean {
    if (!this.#verify) return true;
    if (typeof answer === "string") {
      return answer === (this.#expectedText ?? this.text(lane, number));
    }
    return answer.length === this.answerSize &&
      this.isPartOfAnswer(answer, 0, answer.length, 0, lane, number);
  }

  /** Whether bytes from `start` to `end` are those of the answer to a message from `offset` on. */
  isPartOfAnswer(
    bytes: Uint8Array,
    start: number,
    end: number,
    offset: number,
    lane: number,
    number: number,
  ): boolean {
    if (!this.#verify) return true;
    const expected = this.#expected ?? this.bytes(lane, number);
    return sameBytes(bytes, start, end, expected, offset);
  }
}

// Letters that change with their place, so that a shift shows.
function filler(size: number): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789-";
  return alphabet.repeat(Math.ceil(size / alphabet.length)).slice(0, size);
}

function digits(value: number): string {
  return (value >>> 0).toString(16).padStart(STAMP_DIGITS / 2, "0");
}

function stamp(bytes: Uint8Array, at: number, value: number): void {
  for (let shift = 0; shift < 32; shift += 8) bytes[at++] = value >>> shift;
}
