// SPDX-License-Identifier: Apache-2.0
// framer.ts - what framers have in common: bytes in, frames out, and what is kept between; extended by framer_length.ts
// and framer_delimiter.ts.

import { copyOf } from "./bytes.ts";

/** The bytes are not those of the framing, or a frame is larger than allowed. What follows cannot be read any more. */
export class FramingError extends Error {
  /** The name of the class. */
  override readonly name = "FramingError";
}

/**
 * Takes a frame, without its length or delimiter. The bytes are valid until it returns: copy them with `.slice()` to
 * keep them. When it returns false no further frame is delivered before `resume()`, or the next `push()`.
 */
export type OnFrame = (frame: Uint8Array) => boolean | void;

const NOTHING = new Uint8Array(0);
const FIRST_CAPACITY = 256;

/** Largest frame unless it is said otherwise. */
export const DEFAULT_MAX_BYTES: number = 1024 * 1024;

/**
 * Cuts a stream of bytes into frames, however the network has cut it. A frame that is whole in the bytes that are
 * pushed is delivered as a view of them; only one that came in pieces is copied, and takes no more than twice the
 * memory of what has arrived of it.
 */
export abstract class Framer {
  /** Where in the bytes the next frame is looked for. */
  protected position = 0;
  #held: Uint8Array | null = null;
  #pushing = false;
  #failure: FramingError | null = null;

  /**
   * Takes in the next bytes of the stream. What lies behind a frame whose callback returned false, or threw, is kept.
   *
   * @param chunk The bytes; nothing of them is used once this has returned.
   * @param onFrame Called with each frame that ends in them.
   * @returns False when a callback returned false.
   * @throws {FramingError} When the bytes are malformed; from then on with every call.
   * @throws {TypeError} When it is called by its own callback.
   */
  push(chunk: Uint8Array, onFrame: OnFrame): boolean {
    if (this.#pushing) {
      throw new TypeError(
        "Cannot take in bytes: the framer is delivering a frame; return false to be given no more of them",
      );
    }
    if (this.#failure !== null) throw this.#failure;
    const held = this.#held;
    const bytes = held === null ? chunk : join(held, chunk);
    this.#held = null;
    this.position = 0;
    this.#pushing = true;
    try {
      return this.#deliver(bytes, onFrame);
    } finally {
      this.#pushing = false;
      this.#hold(bytes, bytes !== chunk);
    }
  }

  /**
   * Goes on after a callback has returned false.
   *
   * @param onFrame Called with each frame that is whole already.
   * @returns False when a callback returned false.
   * @throws {FramingError} When the bytes are malformed.
   */
  resume(onFrame: OnFrame): boolean {
    return this.push(NOTHING, onFrame);
  }

  /**
   * Tells that the stream has ended.
   *
   * @throws {FramingError} When it ended within a frame.
   */
  end(): void {
    if (this.#failure !== null) throw this.#failure;
    const { pending } = this;
    if (pending > 0) {
      this.fail(`the stream ended within a frame, after ${pending} bytes`);
    }
  }

  /** Bytes that have been taken in and not been delivered. */
  get pending(): number {
    return this.partial + (this.#held?.length ?? 0);
  }

  /** Bytes of a frame that is not whole yet, its length among them. */
  protected abstract get partial(): number;

  /**
   * Finds the next frame in the bytes from `position` on, and moves that behind it.
   *
   * @param bytes The bytes.
   * @returns The frame; null when there is none, after all bytes have been taken over.
   */
  protected abstract next(bytes: Uint8Array): Uint8Array | null;

  /**
   * Refuses the stream.
   *
   * @param why What is wrong with it.
   */
  protected fail(why: string): never {
    this.#failure = new FramingError(`Cannot read the frame: ${why}`);
    throw this.#failure;
  }

  #deliver(bytes: Uint8Array, onFrame: OnFrame): boolean {
    while (this.position < bytes.length) {
      const frame = this.next(bytes);
      if (frame === null) return true;
      if (onFrame(frame) === false) return false;
    }
    return true;
  }

  // A peer can have this happen for each of many tiny frames, so that what is held already is not copied again.
  #hold(bytes: Uint8Array, own: boolean): void {
    if (this.#failure !== null || this.position >= bytes.length) return;
    this.#held = own
      ? bytes.subarray(this.position)
      : copyOf(bytes.subarray(this.position));
  }
}

/** Both, one behind the other; the first one itself when there is no more. */
export function join(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (second.length === 0) return first;
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** Bytes of a frame that comes in pieces. Grows with what has arrived, not with what a peer announces. */
export class Pieces {
  length = 0;
  #bytes = NOTHING;

  append(bytes: Uint8Array): void {
    const length = this.length + bytes.length;
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(
        Math.max(length, 2 * this.#bytes.length, FIRST_CAPACITY),
      );
      larger.set(this.view());
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.length);
    this.length = length;
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  take(): Uint8Array {
    const bytes = this.view();
    this.#bytes = NOTHING;
    this.length = 0;
    return bytes;
  }
}

/** Throws a RangeError unless the option is a number of bytes. */
export function requireBytes(name: string, value: unknown, min: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= min) return;
  throw new RangeError(
    `Cannot make a framer: "${name}" must be an integer of at least ${min}, is ${
      Deno.inspect(value)
    }`,
  );
}
