// SPDX-License-Identifier: Apache-2.0
// inbox.ts - reads the records of a turn; pairs with c/inbox.h. Used by lib/poll_loop.ts and the protocols.

import type { Arena } from "./arena.ts";
import * as layout from "./layout.ts";

const UTF8 = new TextDecoder();
// Strips no byte order mark: in a WebSocket message it is a character like any other.
const UTF8_KEEPING_BOM = new TextDecoder("utf-8", { ignoreBOM: true });

// Blocks that the application may take for good before it is given copies.
const LOST_MAX = 16;

// Texts that are decoded together.
const TEXT_RUN_BYTES = 1024;
const FRAME_HEADER_MAX = 14;
const ASCII_MESSAGE = layout.FIRST | layout.LAST | layout.TEXT | layout.ASCII;

const RECORD_WORDS = layout.RECORD_BYTES >> 2;
const RECORD_SHORTS = layout.RECORD_BYTES >> 1;

/**
 * What arrived in this turn: `reactor.poll()` says how many records there are, and every method takes the index
 * of one. Bytes are valid until the next poll.
 */
export class Inbox {
  readonly #arena: Arena;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #shorts: Uint16Array;
  readonly #words: Uint32Array;
  readonly #base: number;
  readonly #headsBase: number;
  // Records of this turn.
  #count = 0;
  // Texts of this turn that were decoded together: those of the records from #textFirst to #textEnd, whose bytes begin
  // at #textStart of their block.
  #texts = "";
  #textFirst = 0;
  #textEnd = 0;
  #textStart = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
    this.#bytes = arena.bytes;
    this.#shorts = arena.shorts;
    this.#words = arena.words;
    this.#base = arena.control(layout.CONTROL_RECORDS_OFFSET);
    this.#headsBase = arena.control(layout.CONTROL_HEADS_OFFSET);
  }

  /** The connection. */
  handle(index: number): number {
    return this.#word(index, layout.RECORD_HANDLE);
  }

  /** An mr_record_kind. */
  kind(index: number): number {
    return this
      .#bytes[this.#base + index * layout.RECORD_BYTES + layout.RECORD_KIND]!;
  }

  /** Whether a record is one of a message, of the same connection as the record before it. */
  followsMessage(index: number): boolean {
    return this.kind(index) === layout.MESSAGE &&
      this.handle(index) === this.handle(index - 1);
  }

  /** Flags of that kind. */
  flags(index: number): number {
    return this
      .#bytes[this.#base + index * layout.RECORD_BYTES + layout.RECORD_FLAGS]!;
  }

  /** Listener, status, close code or errno. */
  code(index: number): number {
    return this
      .#shorts[
        (this.#base >> 1) + index * RECORD_SHORTS + (layout.RECORD_CODE >> 1)
      ]!;
  }

  /** Index of the block that holds the bytes. */
  block(index: number): number {
    return this.#word(index, layout.RECORD_BLOCK);
  }

  /** Offset of the first byte within its block, of a head within the heads. */
  start(index: number): number {
    return this.#word(index, layout.RECORD_START);
  }

  /** Number of bytes. */
  length(index: number): number {
    return this.#word(index, layout.RECORD_LENGTH);
  }

  /** Lengths of method and target, or an mr_violation. */
  aux(index: number): number {
    return this.#word(index, layout.RECORD_AUX);
  }

  /** Length of the body or frame of which the bytes are a part. */
  total(index: number): number {
    return this.#word(index, layout.RECORD_TOTAL_LOW) +
      this.#word(index, layout.RECORD_TOTAL_HIGH) * 2 ** 32;
  }

  /**
   * The bytes, over a buffer that reaches no other connection's; may be given to the application. Call `returned()`
   * afterwards.
   */
  view(index: number): Uint8Array<ArrayBuffer> {
    if (this.#arena.lost >= LOST_MAX) return this.borrow(index).slice();
    const block = this.block(index);
    return new Uint8Array(
      this.#arena.madeBlock(block) ?? this.#makeBlock(block),
      this.start(index),
      this.length(index),
    );
  }

  /**
   * The application has had a view of a block. When it has transferred the buffer away, the block now belongs to
   * whoever holds that and is never used again. After a few of those it gets copies instead of views.
   */
  returned(block: number): void {
    if (this.#arena.isLost(block)) this.#arena.retire(block);
  }

  /** The bytes, over the whole arena: for Millrace's own use. */
  borrow(index: number): Uint8Array<ArrayBuffer> {
    const start = this.#offset(index);
    return this.#bytes.subarray(start, start + this.length(index));
  }

  /** A new turn has begun, with so many records. */
  turned(count: number): void {
    this.#count = count;
    this.#textFirst = this.#textEnd = 0;
  }

  /** The bytes as a string; they are known to be UTF-8. */
  text(index: number): string {
    if (index >= this.#textFirst && index < this.#textEnd) {
      const start = this.start(index) - this.#textStart;
      return this.#texts.substring(start, start + this.length(index));
    }
    const length = this.length(index);
    if (length === 0) return "";
    if ((this.flags(index) & layout.ASCII) === 0) {
      return UTF8_KEEPING_BOM.decode(this.borrow(index));
    }
    return this.#decodeRun(index);
  }

  // A call of the decoder costs more than it does, so it is given texts that lie side by side at once. Whoever keeps one
  // of them keeps them all, which is why they are few.
  #decodeRun(first: number): string {
    const start = this.start(first);
    let last = first;
    while (this.#isNextText(last + 1, start)) last++;
    const at = this.#offset(first);
    const end = at - start + this.start(last) + this.length(last);
    const text = UTF8_KEEPING_BOM.decode(this.#bytes.subarray(at, end));
    if (last === first) return text;
    this.#texts = text;
    this.#textFirst = first;
    this.#textEnd = last + 1;
    this.#textStart = start;
    return text.substring(0, this.length(first));
  }

  /** The bytes as a string with a character for each, whatever they are. */
  latin1(index: number): string {
    return latin1Of(this.borrow(index));
  }

  /** The heads of some HEAD records that follow one another, as ASCII. */
  headsAscii(first: number, last: number): string {
    return UTF8.decode(this.#heads(first, last));
  }

  /** The same where bytes above 127 may occur: each becomes the character of its number. */
  headsLatin1(first: number, last: number): string {
    return latin1Of(this.#heads(first, last));
  }

  // Whether a record is a text behind that of the record before it, and within the bytes that are decoded together.
  #isNextText(index: number, start: number): boolean {
    if (index >= this.#count || !this.followsMessage(index)) return false;
    const gap = this.start(index) - this.start(index - 1) -
      this.length(index - 1);
    return this.flags(index) === ASCII_MESSAGE &&
      this.block(index) === this.block(index - 1) &&
      gap > 0 && gap <= FRAME_HEADER_MAX &&
      this.start(index) + this.length(index) - start <= TEXT_RUN_BYTES;
  }

  #makeBlock(block: number): ArrayBuffer {
    this.returned(block);
    return this.#arena.block(block);
  }

  #heads(first: number, last: number): Uint8Array {
    const end = this.start(last) + this.length(last);
    return this.#bytes.subarray(
      this.#headsBase + this.start(first),
      this.#headsBase + end,
    );
  }

  #offset(index: number): number {
    return this.#arena.blocksOffset + this.block(index) * layout.BLOCK_BYTES +
      this.start(index);
  }

  #word(index: number, field: number): number {
    return this
      .#words[(this.#base >> 2) + index * RECORD_WORDS + (field >> 2)]!;
  }
}

// Each byte becomes the character of its number.
function latin1Of(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
