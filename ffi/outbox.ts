// SPDX-License-Identifier: Apache-2.0
// outbox.ts - stages bytes and commands for the next flush; pairs with c/outbox.c. Used by the protocols in lib/.

import type { Arena } from "./arena.ts";
import * as layout from "./layout.ts";

const UTF8 = new TextEncoder();
const COMMAND_WORDS = layout.COMMAND_BYTES >> 2;
const HANDLE = layout.COMMAND_HANDLE >> 2;
const OP_COUNT = layout.COMMAND_OP >> 2;
const OFFSET = layout.COMMAND_OFFSET >> 2;
const LENGTH = layout.COMMAND_LENGTH >> 2;
const COUNT_MAX = 0xffff;

/** Struct mr_timeouts. */
export interface ConnectionTimeouts {
  bodyTimeout: number;
  stallTimeout: number;
  minBodyRate: number;
  minSendRate: number;
}

// A file up to this length leaves in one send with its head, which is cheaper than a second system call and a
// record that tells of its end.
const SHORT_FILE_BYTES = 16384;

// Bytes from which a system call of their own is cheaper than a copy into the outbox.
const DIRECT_BYTES = 64 * 1024;

/**
 * What a turn sends. Bytes for one connection that are staged one after the other become one send. `room()`
 * makes place, `bytes` is written from `position` on, `commit()` stages what was written.
 */
export class Outbox {
  /** The staging area; never given to the application. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Offset in `bytes` of the first free byte. */
  position = 0;
  /** Staged commands that C has not taken over. */
  count = 0;
  readonly #lowWatermark: number;
  readonly #commands: Uint32Array;
  readonly #rows: Uint32Array;
  readonly #capacity: number;
  readonly #flush: (now: number) => void;
  readonly #sendNow: (handle: number, bytes: Uint8Array) => number;
  #deferred: (() => void) | null = null;

  /**
   * `flush(0)` makes C take over all commands, `flush(1)` also be done with all bytes. `sendNow` makes it take over all
   * commands and send what the socket takes of further bytes; it returns how many of them. `lowWatermark` is for
   * connections that have none of their own.
   */
  constructor(
    arena: Arena,
    flush: (now: number) => void,
    sendNow: (handle: number, bytes: Uint8Array) => number,
    lowWatermark: number,
  ) {
    this.#lowWatermark = lowWatermark;
    const size = arena.control(layout.CONTROL_OUTBOX_BYTES);
    this.bytes = new Uint8Array(
      arena.part(arena.control(layout.CONTROL_OUTBOX_OFFSET), size),
    );
    const commands = arena.control(layout.CONTROL_COMMANDS_OFFSET) >> 2;
    this.#capacity = arena.control(layout.CONTROL_COMMANDS_CAPACITY);
    this.#commands = arena.words.subarray(
      commands,
      commands + this.#capacity * COMMAND_WORDS,
    );
    this.#rows = arena.words.subarray(
      arena.control(layout.CONTROL_ROWS_OFFSET) >> 2,
    );
    this.#flush = flush;
    this.#sendNow = sendNow;
  }

  /** Has `write` stage what is cheaper to stage together, before anything else is staged or handed over. */
  defer(write: () => void): void {
    this.#deferred = write;
  }

  /** Stages what was deferred. */
  settle(): void {
    const write = this.#deferred;
    if (write === null) return;
    this.#deferred = null;
    write();
  }

  /** Whether there is something for C to take over. */
  get isPending(): boolean {
    return this.count > 0 || this.#deferred !== null;
  }

  /** Makes sure that `length` bytes can be written at the position it returns. At most `bytes.length`. */
  room(length: number): number {
    this.settle();
    if (length > this.bytes.length - this.position) this.#makeRoom();
    return this.position;
  }

  /** Stages the bytes from `position` to `end` for a connection; `responses` end in them. */
  commit(handle: number, end: number, responses: number): void {
    const start = this.position;
    const length = end - start;
    const last = (this.count - 1) * COMMAND_WORDS;
    const commands = this.#commands;
    this.position = end;
    if (
      this.count > 0 && commands[last + HANDLE] === handle &&
      (commands[last + OP_COUNT]! & 0xffff) === layout.CMD_SEND &&
      (commands[last + OP_COUNT]! >>> 16) + responses <= COUNT_MAX &&
      commands[last + OFFSET]! + commands[last + LENGTH]! === start
    ) {
      commands[last + LENGTH]! += length;
      commands[last + OP_COUNT]! += responses << 16;
    } else {
      this.#push(handle, layout.CMD_SEND, responses, start, length);
    }
    this.#stage(handle, length);
  }

  /** Copies bytes that several connections are sent, at most `bytes.length`. Returns where, for `share()`. */
  place(bytes: Uint8Array): number {
    const start = this.room(bytes.length);
    this.bytes.set(bytes, start);
    this.position = start + bytes.length;
    return start;
  }

  /** Stages placed bytes for one more connection. They are valid until there is made room for others. */
  share(handle: number, start: number, length: number): void {
    this.settle();
    if (!this.#extend(handle, start, length)) {
      this.#push(handle, layout.CMD_SEND, 0, start, length);
    }
    this.#stage(handle, length);
  }

  /** Sends many bytes from where they are, as far as the socket takes them; stages all others, in pieces. */
  write(handle: number, bytes: Uint8Array, responses: number): void {
    this.settle();
    const sent = isWorthSending(bytes) ? this.#sendNow(handle, bytes) : 0;
    let rest = sent === 0 ? bytes : bytes.subarray(sent);
    while (rest.length > this.bytes.length) {
      this.#makeRoom();
      this.#copy(handle, rest.subarray(0, this.bytes.length), 0);
      rest = rest.subarray(this.bytes.length);
    }
    this.room(rest.length);
    this.#copy(handle, rest, responses);
  }

  /** Stages text as UTF-8; returns the number of its bytes. */
  writeText(handle: number, text: string, responses: number): number {
    if (3 * text.length > this.bytes.length) {
      const bytes = UTF8.encode(text);
      this.write(handle, bytes, responses);
      return bytes.length;
    }
    const start = this.room(3 * text.length);
    const { written } = UTF8.encodeInto(text, this.bytes.subarray(start));
    this.commit(handle, start + written, responses);
    return written;
  }

  /** Stages a command without bytes. */
  command(handle: number, op: number, argument = 0, second = 0): void {
    this.settle();
    this.#push(handle, op, 0, argument, second);
  }

  /** Stages other timeouts for a connection, or with null those of the reactor. */
  timeouts(handle: number, timeouts: ConnectionTimeouts | null): void {
    if (timeouts === null) return this.command(handle, layout.CMD_TIMEOUTS);
    const words = new Uint32Array(layout.TIMEOUTS_BYTES >> 2);
    words[layout.TIMEOUTS_BODY_TIMEOUT >> 2] = timeouts.bodyTimeout;
    words[layout.TIMEOUTS_STALL_TIMEOUT >> 2] = timeouts.stallTimeout;
    words[layout.TIMEOUTS_MIN_BODY_RATE >> 2] = timeouts.minBodyRate;
    words[layout.TIMEOUTS_MIN_SEND_RATE >> 2] = timeouts.minSendRate;
    const start = this.room(words.byteLength);
    this.bytes.set(new Uint8Array(words.buffer), start);
    this.position = start + words.byteLength;
    this.#push(handle, layout.CMD_TIMEOUTS, 0, start, words.byteLength);
  }

  /**
   * Stages part of a file, whose descriptor C takes over. True when it is a short one, which then is like any bytes;
   * after another nothing may be staged for the connection until FILE_SENT.
   */
  file(
    handle: number,
    fd: number,
    start: number,
    length: number,
    responses: number,
  ): boolean {
    const short = length <= SHORT_FILE_BYTES;
    const room = short ? length : 0;
    const at = this.room(room + layout.FILE_RANGE_BYTES) + room;
    const range = new DataView(this.bytes.buffer, at, layout.FILE_RANGE_BYTES);
    range.setBigUint64(layout.FILE_RANGE_START, BigInt(start), true);
    range.setBigUint64(layout.FILE_RANGE_LENGTH, BigInt(length), true);
    range.setUint32(layout.FILE_RANGE_FD, fd, true);
    this.position = at + layout.FILE_RANGE_BYTES;
    this.#push(handle, layout.CMD_FILE, responses, at, room);
    return short;
  }

  /** Whether C knows the connection: what is staged for another goes nowhere. */
  isLive(handle: number): boolean {
    return this.#rows[this.#row(handle, 0)] === handle;
  }

  /** Bytes accepted for a connection that the kernel has not taken. */
  buffered(handle: number): number {
    this.settle();
    return this.bufferedBefore(handle);
  }

  /** The same without what is deferred. */
  bufferedBefore(handle: number): number {
    const row = this.#row(handle, 0);
    if (this.#rows[row] !== handle) return 0;
    return this.#rows[row + (layout.ROW_QUEUED >> 2)]! +
      this.#rows[row + (layout.ROW_STAGED >> 2)]!;
  }

  /** Asks for a DRAIN record once the queue has fallen to the low watermark, which may be the connection's own. */
  wantDrain(handle: number, lowWatermark: number | null = null): void {
    const row = this.#row(handle, 0);
    if (this.#rows[row] !== handle) return;
    const low = lowWatermark ?? this.#lowWatermark;
    this.#rows[row + (layout.ROW_DRAIN_BELOW >> 2)] = low + 1;
  }

  // Adds bytes behind those of the last command, if they are for the same connection and lie there.
  #extend(handle: number, start: number, length: number): boolean {
    const last = (this.count - 1) * COMMAND_WORDS;
    const commands = this.#commands;
    if (
      this.count === 0 || commands[last + HANDLE] !== handle ||
      (commands[last + OP_COUNT]! & 0xffff) !== layout.CMD_SEND ||
      commands[last + OFFSET]! + commands[last + LENGTH]! !== start
    ) return false;
    commands[last + LENGTH]! += length;
    return true;
  }

  #stage(handle: number, length: number): void {
    const row = this.#row(handle, 0);
    if (this.#rows[row] === handle) {
      this.#rows[row + (layout.ROW_STAGED >> 2)]! += length;
    }
  }

  #copy(handle: number, bytes: Uint8Array, responses: number): void {
    this.bytes.set(bytes, this.position);
    this.commit(handle, this.position + bytes.length, responses);
  }

  #makeRoom(): void {
    this.settle();
    this.#flush(1);
    this.position = 0;
  }

  #row(handle: number, field: number): number {
    return (((handle & layout.SLOT_MASK) * layout.ROW_BYTES) + field) >> 2;
  }

  #push(
    handle: number,
    op: number,
    count: number,
    offset: number,
    length: number,
  ): void {
    if (this.count === this.#capacity) {
      // The bytes stay where they are, those of this command among them. Nothing is sent yet, so that what a connection
      // is still to be sent can leave together.
      this.#flush(0);
    }
    const at = this.count++ * COMMAND_WORDS;
    this.#commands[at + HANDLE] = handle;
    this.#commands[at + OP_COUNT] = op | count << 16;
    this.#commands[at + OFFSET] = offset;
    this.#commands[at + LENGTH] = length;
  }
}

// Memory that may shrink or is shared is not for C to read.
function isWorthSending({ length, buffer }: Uint8Array): boolean {
  return length >= DIRECT_BYTES && buffer instanceof ArrayBuffer &&
    !buffer.resizable;
}
