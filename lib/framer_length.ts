// SPDX-License-Identifier: Apache-2.0
// framer_length.ts - frames with their length in front; exported by framing.ts, used by packet.ts.

import { DEFAULT_MAX_BYTES, Framer, Pieces, requireBytes } from "./framer.ts";
import { requireKnown, requireTypes } from "./route_options.ts";

/** How a {@linkcode LengthPrefixFramer} reads lengths. */
export interface LengthPrefixOptions {
  /**
   * Bytes of the length.
   *
   * @default {4}
   */
  lengthBytes?: 1 | 2 | 4 | 8;
  /**
   * Whether the lowest byte of the length comes first.
   *
   * @default {false}
   */
  littleEndian?: boolean;
  /**
   * Whether the length counts its own bytes too.
   *
   * @default {false}
   */
  inclusive?: boolean;
  /**
   * Smallest frame in bytes, without its length.
   *
   * @default {0}
   */
  minFrameBytes?: number;
  /**
   * Largest frame in bytes, without its length.
   *
   * @default {1048576}
   */
  maxFrameBytes?: number;
}

/**
 * Frames with their length in front, unsigned.
 *
 * @example
 * ```ts
 * import { LengthPrefixFramer } from "@millrace/millrace/framing";
 *
 * const framer = new LengthPrefixFramer({ lengthBytes: 2 });
 * const bytes = framer.encode(new TextEncoder().encode("hello"));
 * framer.push(bytes.subarray(0, 3), () => console.log("not yet"));
 * framer.push(bytes.subarray(3), (frame) => console.log(frame.length)); // 5
 * ```
 */
export class LengthPrefixFramer extends Framer {
  readonly #lengthBytes: number;
  readonly #littleEndian: boolean;
  readonly #extra: number;
  readonly #min: number;
  readonly #max: number;
  // Of a length that came in pieces.
  #head: Uint8Array | null = null;
  #headLength = 0;
  // Length of the frame that is being read; -1 while it is not known.
  #length = -1;
  readonly #pieces = new Pieces();

  /**
   * Makes a framer for one stream.
   *
   * @param options How lengths are read.
   * @throws {TypeError} When an option is unknown or of another type.
   * @throws {RangeError} When one is out of range.
   */
  constructor(options: LengthPrefixOptions = {}) {
    super();
    requireKnown("make a framer", options, LENGTH_PREFIX_OPTIONS);
    const { lengthBytes = 4, littleEndian = false, inclusive = false } =
      options;
    const { minFrameBytes = 0, maxFrameBytes = DEFAULT_MAX_BYTES } = options;
    if (![1, 2, 4, 8].includes(lengthBytes)) {
      throw new RangeError(
        `Cannot make a framer: "lengthBytes" must be 1, 2, 4 or 8, is ${lengthBytes}`,
      );
    }
    requireTypes("make a framer", options, FLAGS);
    requireBytes("maxFrameBytes", maxFrameBytes, 0);
    requireBytes("minFrameBytes", minFrameBytes, 0);
    this.#lengthBytes = lengthBytes;
    this.#littleEndian = littleEndian;
    this.#extra = inclusive ? lengthBytes : 0;
    this.#min = minFrameBytes;
    this.#max = Math.min(maxFrameBytes, largest(lengthBytes) - this.#extra);
    if (minFrameBytes > this.#max) {
      throw new RangeError(
        `Cannot make a framer: "minFrameBytes" is ${minFrameBytes}, and no frame can have more than ${this.#max}`,
      );
    }
  }

  /**
   * A frame with its length in front.
   *
   * @param frame The frame's bytes; copied.
   * @returns What is to be sent.
   * @throws {RangeError} When the frame is larger or smaller than allowed.
   */
  encode(frame: Uint8Array): Uint8Array<ArrayBuffer> {
    const { length } = frame;
    if (length < this.#min || length > this.#max) {
      throw new RangeError(
        `Cannot encode the frame: it has ${length} bytes, and ${this.#min} to ${this.#max} are allowed`,
      );
    }
    const bytes = new Uint8Array(this.#lengthBytes + length);
    let rest = length + this.#extra;
    for (let at = 0; at < this.#lengthBytes; at++) {
      bytes[this.#littleEndian ? at : this.#lengthBytes - 1 - at] = rest % 256;
      rest = Math.floor(rest / 256);
    }
    bytes.set(frame, this.#lengthBytes);
    return bytes;
  }

  /** Bytes of a frame that is not whole yet, its length among them. */
  protected override get partial(): number {
    return this.#length < 0
      ? this.#headLength
      : this.#lengthBytes + this.#pieces.length;
  }

  /**
   * Finds the next frame.
   *
   * @param bytes Where to look.
   * @returns The frame, or null.
   */
  protected override next(bytes: Uint8Array): Uint8Array | null {
    if (this.#length < 0 && !this.#readHead(bytes)) return null;
    const missing = this.#length - this.#pieces.length;
    const from = this.position;
    const to = Math.min(bytes.length, from + missing);
    this.position = to;
    const piece = bytes.subarray(from, to);
    if (this.#pieces.length > 0 || piece.length < missing) {
      this.#pieces.append(piece);
      if (piece.length < missing) return null;
    }
    this.#length = -1;
    return this.#pieces.length > 0 ? this.#pieces.take() : piece;
  }

  #readHead(bytes: Uint8Array): boolean {
    const size = this.#lengthBytes;
    if (this.#headLength === 0 && bytes.length - this.position >= size) {
      this.#length = this.#check(this.#read(bytes, this.position));
      this.position += size;
      return true;
    }
    const head = this.#head ??= new Uint8Array(size);
    while (this.#headLength < size && this.position < bytes.length) {
      head[this.#headLength++] = bytes[this.position++]!;
    }
    if (this.#headLength < size) return false;
    this.#headLength = 0;
    this.#length = this.#check(this.#read(head, 0));
    return true;
  }

  // Beyond 2^53 the value is not exact, and larger than any limit all the same.
  #read(bytes: Uint8Array, from: number): number {
    const size = this.#lengthBytes;
    let value = 0;
    for (let at = 0; at < size; at++) {
      value = value * 256 +
        bytes[this.#littleEndian ? from + size - 1 - at : from + at]!;
    }
    return value;
  }

  #check(value: number): number {
    const length = value - this.#extra;
    if (length >= this.#min && length <= this.#max) return length;
    this.fail(
      `its length is ${value}, and ${this.#min + this.#extra} to ${
        this.#max + this.#extra
      } are allowed`,
    );
  }
}

const LENGTH_PREFIX_OPTIONS = [
  "lengthBytes",
  "littleEndian",
  "inclusive",
  "minFrameBytes",
  "maxFrameBytes",
];

const FLAGS = { littleEndian: "boolean", inclusive: "boolean" } as const;

// The largest value of so many bytes, as far as numbers are exact.
function largest(lengthBytes: number): number {
  return Math.min(2 ** (8 * lengthBytes) - 1, Number.MAX_SAFE_INTEGER);
}
