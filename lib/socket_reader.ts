// SPDX-License-Identifier: Apache-2.0
// socket_reader.ts - reading of which a part may be left for later; made by socket_connection.ts for handlers with a
// `read` callback.

/** Has a reader show a piece that has arrived. For socket_connection.ts. */
export let feed: (reader: SocketReader, chunk: Uint8Array<ArrayBuffer>) => void;

/** Keeps what is unread of that piece, which is about to go. For socket_connection.ts. */
export let keep: (reader: SocketReader) => void;

/** What a reader has thrown because its peer wants too much. For socket_connection.ts. */
export let refusalOf: (reader: SocketReader) => Error | null;

// A buffer that has been emptied and is longer is given up: most peers are quiet most of the time.
const SPARE_BYTES = 4096;

/**
 * Bytes that have arrived and were not read yet, in order. What came in one piece is shown where it lies; only what
 * a callback leaves unread is copied, and what is then looked at together with bytes that came later.
 */
export class SocketReader {
  readonly #limit: number;
  // Kept bytes are those from start to end, and come before those of the piece.
  #kept: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #start = 0;
  #end = 0;
  #piece: Uint8Array<ArrayBuffer> | null = null;
  #at = 0;
  #refusal: Error | null = null;

  static {
    feed = (reader, chunk) => {
      reader.#piece = chunk;
      reader.#at = 0;
    };
    keep = (reader) => reader.#keep();
    refusalOf = (reader) => reader.#refusal;
  }

  /** Made for each socket whose handlers have `read`. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** How many bytes there are to read. */
  get available(): number {
    return this.#end - this.#start + this.#left();
  }

  /**
   * Shows the next bytes without reading them. The view is valid until the callback returns, or bytes are read or
   * looked at anew: copy it with `.slice()` to keep it.
   *
   * @param length How many; by default all there are.
   * @returns The bytes; null when there are less, and `read` will be called again when more have come.
   * @throws {RangeError} When it is no length; or there are less and never will be as many, because of
   * `maxUnreadBytes`: that is the peer's doing, and cuts the connection unless the callback catches it.
   */
  peek(length: number = this.available): Uint8Array<ArrayBuffer> | null {
    if (!Number.isInteger(length) || length < 0) {
      throw new RangeError(
        `Cannot read: the length must be an integer of at least 0, is ${length}`,
      );
    }
    if (length > this.available) {
      if (length <= this.#limit) return null;
      throw this.#refusal = new RangeError(
        `Cannot read: ${length} bytes are more than "maxUnreadBytes" (${this.#limit}) allows`,
      );
    }
    const kept = this.#end - this.#start;
    if (kept === 0 && this.#piece !== null) {
      return this.#piece.subarray(this.#at, this.#at + length);
    }
    if (length > kept) this.#append(length - kept);
    return this.#kept.subarray(this.#start, this.#start + length);
  }

  /**
   * Takes the next bytes off: they have been read.
   *
   * @param length How many; by default all there are.
   * @throws {RangeError} When there are not as many.
   */
  discard(length: number = this.available): void {
    if (!Number.isInteger(length) || length < 0 || length > this.available) {
      throw new RangeError(
        `Cannot discard ${length} bytes: there are ${this.available}`,
      );
    }
    const kept = Math.min(length, this.#end - this.#start);
    this.#start += kept;
    this.#at += length - kept;
    if (this.#start === this.#end) this.#start = this.#end = 0;
  }

  // A piece whose buffer the application has transferred away has no bytes left.
  #left(): number {
    return this.#piece === null
      ? 0
      : Math.max(0, this.#piece.length - this.#at);
  }

  #keep(): void {
    this.#append(this.#left());
    this.#piece = null;
    this.#at = 0;
    if (this.#end === 0 && this.#kept.length > SPARE_BYTES) {
      this.#kept = new Uint8Array(0);
    }
  }

  // Moves bytes from the piece behind those that are kept.
  #append(length: number): void {
    if (length === 0) return;
    if (this.#kept.length - this.#end < length) this.#makeRoom(length);
    this.#kept.set(
      this.#piece!.subarray(this.#at, this.#at + length),
      this.#end,
    );
    this.#end += length;
    this.#at += length;
  }

  // Moving the bytes down is worth it while they are few: each is moved once at most for each that was read.
  #makeRoom(length: number): void {
    const bytes = this.#kept.subarray(this.#start, this.#end);
    const room = this.#kept.length;
    if (2 * (bytes.length + length) <= room) {
      this.#kept.copyWithin(0, this.#start, this.#end);
    } else {
      const longer = Math.max(2 * room, bytes.length + length);
      this.#kept = new Uint8Array(longer);
      this.#kept.set(bytes);
    }
    this.#start = 0;
    this.#end = bytes.length;
  }
}
