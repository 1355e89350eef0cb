// SPDX-License-Identifier: Apache-2.0
// ws_assembler.ts - puts a message together that came in pieces: long, fragmented, or cut by a read; used by
// ws_connection.ts.

interface Room {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** So many of them, from the first, were ever written. */
  used: number;
}

// The length of a frame is the peer's word. Up to this much it is believed and taken at once.
const BELIEVED_BYTES = 1024 * 1024;

// Rooms between these sizes are kept for other messages; their sizes are powers of two.
const SPARE_BITS_MIN = 12;
const SPARE_BITS_MAX = 20;
const SPARES_BYTES_MAX = 64 * 1024 * 1024;

const NO_ROOM: Room = { bytes: new Uint8Array(0), used: 0 };
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Rooms of messages that are over: a new one costs more than copying a message into it. */
class Spares {
  // By the logarithm of their size.
  readonly #rooms: Room[][] = Array.from(
    { length: SPARE_BITS_MAX + 1 },
    () => [],
  );
  #bytes = 0;

  take(bits: number): Room | undefined {
    const room = this.#rooms[bits]!.pop();
    if (room !== undefined) this.#bytes -= room.bytes.length;
    return room;
  }

  put(room: Room): void {
    const { length } = room.bytes;
    if (this.#bytes + length > SPARES_BYTES_MAX) return;
    this.#rooms[Math.log2(length)]!.push(room);
    this.#bytes += length;
  }
}

// Garbage collection may take all of them while no message comes.
let spares = new WeakRef(new Spares());

/** The pieces of one message so far. */
export class Assembler {
  #room = NO_ROOM;
  #length = 0;

  /** Adds a copy of a piece; `expected` is the length of the frame that it belongs to. */
  push(piece: Uint8Array, expected: number): void {
    const length = this.#length + piece.length;
    if (length > this.#room.bytes.length) {
      this.#grow(length, this.#length + expected);
    }
    this.#room.bytes.set(piece, this.#length);
    this.#length = length;
  }

  /** The message as text, which is known to be UTF-8; ends the message. */
  takeText(): string {
    const text = UTF8.decode(this.#room.bytes.subarray(0, this.#length));
    this.release();
    return text;
  }

  /** The message as bytes that nobody else holds; ends the message. */
  takeBytes(): Uint8Array<ArrayBuffer> {
    if (2 * this.#length > this.#room.bytes.length) {
      const bytes = this.lendBytes();
      this.#room = NO_ROOM;
      this.#length = 0;
      return bytes;
    }
    const bytes = this.#room.bytes.slice(0, this.#length);
    this.release();
    return bytes;
  }

  /** The message as bytes that are valid until `release()`. */
  lendBytes(): Uint8Array<ArrayBuffer> {
    const room = this.#room;
    // Whoever looks at the buffer behind them is not to see what others have sent.
    if (room.used > this.#length) room.bytes.fill(0, this.#length, room.used);
    room.used = this.#length;
    return room.bytes.subarray(0, this.#length);
  }

  /** Ends the message; nobody uses its bytes any more. */
  release(): void {
    giveBack(this.#room, this.#length);
    this.#room = NO_ROOM;
    this.#length = 0;
  }

  #grow(needed: number, expected: number): void {
    const room = this.#room;
    const believed = Math.min(
      expected,
      Math.max(BELIEVED_BYTES, 2 * room.bytes.length),
    );
    this.#room = roomFor(Math.max(needed, believed));
    this.#room.bytes.set(room.bytes.subarray(0, this.#length));
    giveBack(room, this.#length);
  }
}

function roomFor(length: number): Room {
  const bits = Math.ceil(Math.log2(length));
  if (bits < SPARE_BITS_MIN || bits > SPARE_BITS_MAX) {
    return { bytes: new Uint8Array(length), used: 0 };
  }
  return spares.deref()?.take(bits) ??
    { bytes: new Uint8Array(2 ** bits), used: 0 };
}

function giveBack(room: Room, used: number): void {
  const { length } = room.bytes;
  // One that the application has transferred away has no length.
  if (length < 2 ** SPARE_BITS_MIN || length > 2 ** SPARE_BITS_MAX) return;
  let all = spares.deref();
  if (all === undefined) spares = new WeakRef(all = new Spares());
  room.used = Math.max(room.used, used);
  all.put(room);
}
