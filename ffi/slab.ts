// SPDX-License-Identifier: Apache-2.0
// slab.ts - buffers by size class, outside of JavaScript's heap; pairs with c/slab.c. Used by lib/buffer_pool.ts.

import { errnoError, unwrap } from "./errno.ts";
import * as layout from "./layout.ts";
import { library } from "./library.ts";

const ENOENT = 2;
const EMSGSIZE = 90;
const ENOBUFS = 105;

/** What a pool of buffers has on one NUMA node. */
export interface NodeStatistics {
  /** Number of the node, as in `topology()`. */
  node: number;
  /** Bytes of memory that were taken from the system. */
  allocated: number;
  /** Those of them that no buffer in use has. */
  free: number;
  /** Bytes of buffers in use; each has a power of two of them. */
  used: number;
  /** Buffers in use. */
  buffers: number;
  /** Buffers so far that were longer than any of the pool, and came from JavaScript's heap. */
  fallbacks: number;
}

/** A slab of this isolate, for as long as that lives. */
export class Slab {
  readonly #shim = library();
  readonly #pointer: Deno.PointerObject;
  // Those that are free, by their numbers: to make one anew takes longer than the rest.
  readonly #buffers = new Map<number, ArrayBuffer>();

  /** Throws when there is no memory, or `maxBytes` is out of range. */
  constructor(maxBytes: number) {
    const out = new BigUint64Array(1);
    const rc = this.#shim.mr_slab_open(BigInt(maxBytes), out);
    unwrap(rc, `open a pool of ${maxBytes} bytes`);
    this.#pointer = Deno.UnsafePointer.create(out[0]!)!;
  }

  /** Takes a buffer for so many bytes; null when that is more than any has. Throws when there is no memory left. */
  get(length: number): number | null {
    const buffer = this.#shim.mr_slab_get(this.#pointer, length);
    if (buffer >= 0) return buffer;
    if (buffer === -EMSGSIZE) return null;
    const action = `take a buffer of ${length} bytes`;
    if (buffer !== -ENOBUFS) throw errnoError(-buffer, action);
    throw new Deno.errors.Busy(
      `Cannot ${action}: all memory of the pool is in use; release buffers, or raise its "maxBytes"`,
    );
  }

  /** The bytes of a buffer that was taken; those from `from` on are zero, the others what they were. */
  view(buffer: number, length: number, from: number): Uint8Array<ArrayBuffer> {
    const size = sizeOf(length);
    const bytes = new Uint8Array(this.#arrayBuffer(buffer, size));
    bytes.fill(0, from);
    return length === size ? bytes : bytes.subarray(0, length);
  }

  /** Gives a buffer back. Views of it are empty from here on. */
  release(buffer: number, bytes: Uint8Array<ArrayBuffer>): void {
    // What was transferred away belongs to whoever holds it, and stays in use.
    if (bytes.buffer.detached) return;
    this.#buffers.set(buffer, bytes.buffer.transfer());
    this.#shim.mr_slab_release(this.#pointer, buffer);
  }

  /** What there is on each node. */
  statistics(): NodeStatistics[] {
    const all: NodeStatistics[] = [];
    const out = new BigUint64Array(layout.SLAB_STATS_BYTES / 8);
    const read = (offset: number): number => Number(out[offset / 8]!);
    for (let node = 0;; node++) {
      const rc = this.#shim.mr_slab_statistics(this.#pointer, node, out);
      if (rc === -ENOENT) return all;
      const allocated = read(layout.SLAB_STATS_ALLOCATED);
      const used = read(layout.SLAB_STATS_USED);
      const buffers = read(layout.SLAB_STATS_BUFFERS);
      const fallbacks = read(layout.SLAB_STATS_FALLBACKS);
      if (allocated + fallbacks === 0) continue;
      const free = allocated - used;
      all.push({ node, allocated, free, used, buffers, fallbacks });
    }
  }

  // The memory of one that has the same number and size is the same.
  #arrayBuffer(buffer: number, size: number): ArrayBuffer {
    const known = this.#buffers.get(buffer);
    if (known?.byteLength === size) return known;
    const at = this.#shim.mr_slab_at(this.#pointer, buffer)!;
    return Deno.UnsafePointerView.getArrayBuffer(at, size);
  }
}

// The next power of two.
function sizeOf(length: number): number {
  if (length <= layout.SLAB_BYTES_MIN) return layout.SLAB_BYTES_MIN;
  return 2 ** (32 - Math.clz32(length - 1));
}
