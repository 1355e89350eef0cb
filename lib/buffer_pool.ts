// SPDX-License-Identifier: Apache-2.0
// buffer_pool.ts - bytes that the application has until it releases them: those of a callback that are to outlive it,
// and buffers of a pool.

import { blockOf, type NodeStatistics, Slab } from "../ffi/mod.ts";
import { requireInteger } from "./route_options.ts";

/** What a pool of buffers is to be like. */
export interface BufferPoolOptions {
  /**
   * Memory that the pool may take, in bytes: from 2 MiB to 16 GiB, rounded down to a multiple of 2 MiB. It is taken as
   * it is needed, near the processor that the thread then runs on, and is kept until the isolate ends.
   *
   * @default {67108864}
   */
  maxBytes?: number;
}

// Whose bytes they are: a slab that knows them by a number, a block, or the heap.
interface Owner {
  release(buffer: number, bytes: Uint8Array<ArrayBuffer>): void;
}

const MAX_BYTES_DEFAULT = 64 * 2 ** 20;
const MAX_BYTES_MIN = 2 * 2 ** 20;
const MAX_BYTES_MAX = 16 * 2 ** 30;

const NOTHING = new Uint8Array(0);

const HEAP: Owner = {
  release(_: number, bytes: Uint8Array<ArrayBuffer>): void {
    if (!bytes.buffer.detached) bytes.buffer.transfer(0);
  },
};

// What retain() takes buffers from where it is not told.
let shared: BufferPool | null = null;

/**
 * Bytes that are the application's until it has released them as often as it has retained them. Made by `retain()` and
 * `BufferPool.get()`, which count as the first time.
 *
 * @example
 * ```ts
 * import { retain } from "@millrace/millrace";
 *
 * async function store(file: Deno.FsFile, message: Uint8Array<ArrayBuffer>) {
 *   using kept = retain(message);
 *   await file.write(kept.bytes);
 * }
 * ```
 */
export class RetainedBytes implements Disposable {
  #bytes: Uint8Array<ArrayBuffer>;
  #references = 1;
  readonly #owner: Owner;
  readonly #buffer: number;

  /** Made by Millrace. */
  constructor(bytes: Uint8Array<ArrayBuffer>, owner: Owner, buffer: number) {
    this.#bytes = bytes;
    this.#owner = owner;
    this.#buffer = buffer;
  }

  /**
   * The bytes. A view of them must not be used once they are released: it may be empty then, or show what the same
   * memory is used for next.
   *
   * @throws {TypeError} When they are released.
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    this.#check("read");
    return this.#bytes;
  }

  /**
   * Keeps them for somebody else too: they are released when both have done so.
   *
   * @returns This.
   * @throws {TypeError} When they are released.
   */
  retain(): this {
    this.#check("retain");
    this.#references++;
    return this;
  }

  /**
   * Releases them, and gives their memory back the last time.
   *
   * @throws {TypeError} When they are released.
   */
  release(): void {
    this.#check("release");
    if (--this.#references > 0) return;
    const bytes = this.#bytes;
    this.#bytes = NOTHING;
    this.#owner.release(this.#buffer, bytes);
  }

  /** The same as `release()`. */
  [Symbol.dispose](): void {
    this.release();
  }

  #check(action: string): void {
    if (this.#references > 0) return;
    throw new TypeError(`Cannot ${action} the bytes: they were released`);
  }
}

/**
 * Buffers that are used again instead of being collected as garbage, for messages that are put together before they
 * are sent. They have 64 bytes to 256 KiB; longer ones come from JavaScript's heap and are counted as `fallbacks`. A pool
 * is its isolate's: buffers that were transferred to another one are full of zeros once its isolate has ended.
 *
 * @example
 * ```ts
 * import { BufferPool, type ServerWebSocket } from "@millrace/millrace";
 *
 * const pool = new BufferPool({ maxBytes: 16 << 20 });
 *
 * function sendTagged(
 *   socket: ServerWebSocket,
 *   tag: number,
 *   payload: Uint8Array,
 * ): void {
 *   using buffer = pool.get(1 + payload.length);
 *   buffer.bytes[0] = tag;
 *   buffer.bytes.set(payload, 1);
 *   socket.send(buffer.bytes);
 * }
 * ```
 */
export class BufferPool {
  readonly #slab: Slab;

  /**
   * Makes a pool, which takes no memory yet.
   *
   * @param options How much memory it may take.
   * @throws {RangeError} When `maxBytes` is out of range.
   */
  constructor(options: BufferPoolOptions = {}) {
    const { maxBytes = MAX_BYTES_DEFAULT } = options;
    requireInteger(
      "open a pool",
      "maxBytes",
      maxBytes,
      MAX_BYTES_MIN,
      MAX_BYTES_MAX,
    );
    this.#slab = new Slab(maxBytes);
  }

  /** The pool that `retain()` takes buffers from by default. */
  static get shared(): BufferPool {
    return shared ??= new BufferPool();
  }

  /**
   * Takes a buffer, all of whose bytes are zero.
   *
   * @param length How many bytes.
   * @returns The bytes, which are to be released.
   * @throws {RangeError} When it is no length.
   * @throws {Deno.errors.Busy} When all memory of the pool is in use.
   */
  get(length: number): RetainedBytes {
    requireInteger("take a buffer", "length", length, 0, 0xffffffff);
    return this.#take(length, 0);
  }

  /**
   * Takes a buffer with a copy of some bytes.
   *
   * @param bytes What to copy.
   * @returns The copy, which is to be released.
   * @throws {Deno.errors.Busy} When all memory of the pool is in use.
   */
  copy(bytes: Uint8Array): RetainedBytes {
    const copy = this.#take(bytes.length, bytes.length);
    copy.bytes.set(bytes);
    return copy;
  }

  /**
   * What the pool has on each NUMA node.
   *
   * @returns One entry for each node on which it has or was asked for anything.
   */
  statistics(): NodeStatistics[] {
    return this.#slab.statistics();
  }

  // The first bytes, which are to be written over, may be those of an earlier use.
  #take(length: number, written: number): RetainedBytes {
    const buffer = this.#slab.get(length);
    if (buffer === null) {
      return new RetainedBytes(new Uint8Array(length), HEAP, 0);
    }
    const bytes = this.#slab.view(buffer, length, written);
    return new RetainedBytes(bytes, this.#slab, buffer);
  }
}

/**
 * Keeps bytes that a callback was given beyond its return: where they lie, as long as no more than an eighth of the
 * server's receive buffers is kept so, and else as a copy. Other bytes are copied. To be called before the callback
 * returns, or first awaits.
 *
 * @example
 * ```ts
 * import { retain, websocket } from "@millrace/millrace";
 *
 * const uploads = websocket({
 *   async message(_socket, message) {
 *     if (typeof message === "string") return;
 *     using kept = retain(message);
 *     await Deno.writeFile("upload", kept.bytes);
 *   },
 * });
 * ```
 *
 * @param bytes The bytes, or a part of them.
 * @param pool Where a copy goes.
 * @returns The bytes, which are to be released.
 * @throws {TypeError} When the callback that was given them has returned.
 * @throws {Deno.errors.Busy} When all memory of the pool is in use.
 */
export function retain(
  bytes: Uint8Array<ArrayBuffer>,
  pool: BufferPool = BufferPool.shared,
): RetainedBytes {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError("Cannot retain the bytes: they must be a Uint8Array");
  }
  const block = bytes.length > 0 ? blockOf(bytes.buffer) : undefined;
  return block?.retain()
    ? new RetainedBytes(bytes, block, 0)
    : pool.copy(bytes);
}
