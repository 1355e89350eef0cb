// SPDX-License-Identifier: Apache-2.0
// arena.ts - the memory that one reactor shares with C, and the views of it; used by reactor.ts.
//
// An arena is never unmapped, since views of it may live as long as the isolate does. A closed reactor's arena
// is kept and given to the next reactor of the same shape.

import { unwrap } from "./errno.ts";
import * as layout from "./layout.ts";
import { library } from "./library.ts";
import { remember } from "./receive_block.ts";
import { type MemoryStatistics, readMemory } from "./memory.ts";

const free: Arena[] = [];

/** What must be equal for an arena to be used again. */
const SHAPE = [
  layout.OPTIONS_RING_ENTRIES,
  layout.OPTIONS_MAX_CONNECTIONS,
  layout.OPTIONS_BLOCK_COUNT,
  layout.OPTIONS_OUTBOX_BYTES,
  layout.OPTIONS_PAGES,
];

/** Memory shared with C. */
export class Arena {
  /** The `mr_arena`. */
  readonly pointer: Deno.PointerObject;
  /** All of it, as bytes; never given to the application. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** All of it, as 16-bit words. */
  readonly shorts: Uint16Array<ArrayBuffer>;
  /** All of it, as 32-bit words. */
  readonly words: Uint32Array<ArrayBuffer>;
  /** Offset of the first block. */
  readonly blocksOffset: number;
  /** Blocks that were retired. */
  lost = 0;
  readonly #shape: string;
  readonly #base: Deno.PointerObject;
  readonly #blocks: ArrayBuffer[] = [];
  // Views of them, whose length tells fastest whether one was transferred away.
  readonly #whole: Uint8Array[] = [];

  private constructor(pointer: Deno.PointerObject, shape: string) {
    this.pointer = pointer;
    this.#shape = shape;
    this.#base = library().mr_arena_base(pointer)!;
    const size = Number(library().mr_arena_bytes(pointer));
    const buffer = Deno.UnsafePointerView.getArrayBuffer(this.#base, size);
    this.bytes = new Uint8Array(buffer);
    this.shorts = new Uint16Array(buffer);
    this.words = new Uint32Array(buffer);
    this.blocksOffset = this.control(layout.CONTROL_BLOCKS_OFFSET);
  }

  /** An arena for these options (a struct mr_options), one that was used before if there is any. */
  static take(options: Uint8Array<ArrayBuffer>): Arena {
    const view = new DataView(options.buffer);
    const shape = SHAPE.map((offset) => view.getUint32(offset, true)).join();
    const index = free.findIndex((arena) => arena.#shape === shape);
    if (index !== -1) return free.splice(index, 1)[0]!;
    const out = new BigUint64Array(1);
    unwrap(library().mr_arena_open(options, out), "take memory for a reactor");
    return new Arena(Deno.UnsafePointer.create(out[0]!)!, shape);
  }

  /** Keeps the arena for another reactor. */
  release(): void {
    free.push(this);
  }

  /** A 32-bit word of struct mr_control. */
  control(offset: number): number {
    return this.words[offset >> 2]!;
  }

  /** A 64-bit counter of struct mr_control. */
  counter(offset: number): number {
    return this.words[offset >> 2]! + this.words[(offset >> 2) + 1]! * 2 ** 32;
  }

  /** What it is made of, and where it lies. Takes up to half a millisecond. */
  memory(): MemoryStatistics {
    const out = new Uint8Array(layout.MEMORY_BYTES);
    unwrap(library().mr_arena_memory(this.pointer, out), "look at memory");
    return readMemory(new DataView(out.buffer));
  }

  /** A buffer over part of the arena. */
  part(offset: number, length: number): ArrayBuffer {
    return Deno.UnsafePointerView.getArrayBuffer(this.#base, length, offset);
  }

  /** The buffer of one block: all that a view given to the application can reach. */
  block(index: number): ArrayBuffer {
    // A length of 0 means that the application transferred it away; see Inbox.returned.
    return this.madeBlock(index) ?? this.#makeBlock(index);
  }

  /** The same where it was made before, and not transferred away; else null. */
  madeBlock(index: number): ArrayBuffer | null {
    return (this.#whole[index]?.length ?? 0) !== 0
      ? this.#blocks[index]!
      : null;
  }

  /** Whether a block's buffer was transferred away. */
  isLost(index: number): boolean {
    return this.#whole[index]?.length === 0;
  }

  /** Gives up a block whose buffer was transferred away: it belongs to whoever holds that. */
  retire(index: number): void {
    delete this.#blocks[index];
    delete this.#whole[index];
    library().mr_block_lost(this.pointer, index);
    this.lost++;
  }

  #makeBlock(index: number): ArrayBuffer {
    // Filled from the front, so that the arrays stay without holes.
    for (let at = Math.min(this.#blocks.length, index); at <= index; at++) {
      this.#placeBlock(at);
    }
    return this.#blocks[index]!;
  }

  #placeBlock(index: number): void {
    const offset = this.blocksOffset + index * layout.BLOCK_BYTES;
    const buffer = this.part(offset, layout.BLOCK_BYTES);
    this.#blocks[index] = buffer;
    this.#whole[index] = new Uint8Array(buffer);
    remember(buffer, this, index);
  }
}
