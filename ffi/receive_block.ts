// SPDX-License-Identifier: Apache-2.0
// receive_block.ts - blocks of received bytes that the application keeps beyond their turn, found by the buffer that
// it was given; pairs with c/retain.c. Used by arena.ts and lib/buffer_pool.ts.

import type { Arena } from "./arena.ts";
import { library } from "./library.ts";

const ENOBUFS = 105;

const blocks = new WeakMap<ArrayBuffer, ReceiveBlock>();

/** A block, by one buffer that was made for it. */
export class ReceiveBlock {
  /** How often it is retained, as the same buffer. */
  retained = 0;
  readonly #arena: Arena;
  readonly #index: number;

  constructor(arena: Arena, index: number) {
    this.#arena = arena;
    this.#index = index;
  }

  /** Keeps the block until `release()`. False when as many as may be are kept; throws when its turn is over. */
  retain(): boolean {
    const rc = library().mr_block_retain(this.#arena.pointer, this.#index);
    if (rc === -ENOBUFS) return false;
    if (rc < 0) {
      throw new TypeError(
        "Cannot retain the bytes: they were valid until their callback returned",
      );
    }
    this.retained++;
    return true;
  }

  /** Undoes one `retain()`. */
  release(): void {
    this.retained--;
    if (this.#arena.isLost(this.#index)) this.#arena.retire(this.#index);
    const rc = library().mr_block_release(this.#arena.pointer, this.#index);
    if (rc === 1) this.#arena.release();
  }
}

/** Notes whose buffer it is. */
export function remember(
  buffer: ArrayBuffer,
  arena: Arena,
  index: number,
): void {
  blocks.set(buffer, new ReceiveBlock(arena, index));
}

/** The block behind a buffer that the application was given, if it is one. */
export function blockOf(buffer: ArrayBufferLike): ReceiveBlock | undefined {
  return blocks.get(buffer as ArrayBuffer);
}
