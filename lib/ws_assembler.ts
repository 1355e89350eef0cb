// SPDX-License-Identifier: Apache-2.0
// ws_assembler.ts - puts a message together that came in pieces: long, fragmented, or cut by a read; used by
// ws_socket.ts.

// The length of a frame is the peer's word. Up to this much it is believed and allocated at once.
const BELIEVED_BYTES = 1024 * 1024;

const EMPTY = new Uint8Array(0);
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** The pieces of one message so far. */
export class Assembler {
  #bytes: Uint8Array<ArrayBuffer> = EMPTY;
  #length = 0;

  /** Adds a copy of a piece; `expected` is the length of the frame that it belongs to. */
  push(piece: Uint8Array, expected: number): void {
    const length = this.#length + piece.length;
    if (length > this.#bytes.length) {
      this.#grow(length, this.#length + expected);
    }
    this.#bytes.set(piece, this.#length);
    this.#length = length;
  }

  /** The message as text, which is known to be UTF-8. */
  takeText(): string {
    return UTF8.decode(this.takeBytes());
  }

  /** The message as bytes that nobody else holds. */
  takeBytes(): Uint8Array<ArrayBuffer> {
    const bytes = this.#length === this.#bytes.length
      ? this.#bytes
      : this.#bytes.slice(0, this.#length);
    this.#bytes = EMPTY;
    this.#length = 0;
    return bytes;
  }

  #grow(needed: number, expected: number): void {
    const believed = Math.min(
      expected,
      Math.max(BELIEVED_BYTES, 2 * this.#bytes.length),
    );
    const grown = new Uint8Array(Math.max(needed, believed));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
