// SPDX-License-Identifier: Apache-2.0
// ws_mask.ts - masks the frames of clients (RFC 6455 section 5.3); one for each client_loop.ts, used by
// ws_encoder.ts.

import type { Reactor } from "../ffi/mod.ts";

/** Bytes of a key in a frame's header. */
export const KEY_BYTES = 4;

// The system is asked for so many keys at a time: each call costs more than masking a short message.
const KEYS = 1024;

/** Puts keys into frames and has C mask what follows them. Every frame has a new, unpredictable key. */
export class Masker {
  readonly #reactor: Reactor;
  readonly #bytes: Uint8Array;
  readonly #keys = new Uint32Array(KEYS);
  #next = KEYS;

  constructor(reactor: Reactor) {
    this.#reactor = reactor;
    this.#bytes = reactor.outbox.bytes;
  }

  /** Writes a new key at a place of the outbox, and masks the bytes behind it. Returns the key. */
  seal(at: number, length: number): number {
    const bytes = this.#bytes;
    const key = this.#take();
    bytes[at] = key;
    bytes[at + 1] = key >>> 8;
    bytes[at + 2] = key >>> 16;
    bytes[at + 3] = key >>> 24;
    if (length > 0) this.mask(at + KEY_BYTES, length, key);
    return key;
  }

  /** Masks bytes of the outbox that are a multiple of four behind the beginning of their frame's payload. */
  mask(at: number, length: number, key: number): void {
    this.#reactor.mask(at, length, key);
  }

  #take(): number {
    if (this.#next === KEYS) {
      crypto.getRandomValues(this.#keys);
      this.#next = 0;
    }
    return this.#keys[this.#next++]!;
  }
}
