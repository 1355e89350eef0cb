// SPDX-License-Identifier: Apache-2.0
// framer_delimiter.ts - frames with a delimiter behind each; exported by framing.ts.

import { copyOf } from "./bytes.ts";
import {
  DEFAULT_MAX_BYTES,
  Framer,
  join,
  Pieces,
  requireBytes,
} from "./framer.ts";
import { requireKnown } from "./route_options.ts";

/** What ends the frames of a {@linkcode DelimiterFramer}. */
export interface DelimiterOptions {
  /** The bytes behind each frame; a string stands for its UTF-8. */
  delimiter: string | Uint8Array;
  /**
   * Largest frame in bytes, without the delimiter.
   *
   * @default {1048576}
   */
  maxFrameBytes?: number;
}

/** Frames with a delimiter behind each, such as lines. */
export class DelimiterFramer extends Framer {
  readonly #delimiter: Uint8Array;
  readonly #max: number;
  readonly #pieces = new Pieces();

  /**
   * Makes a framer for one stream.
   *
   * @param options Delimiter and limit.
   * @throws {TypeError} When an option is unknown, or the delimiter is neither a string nor bytes.
   * @throws {RangeError} When the delimiter is empty, or the limit out of range.
   */
  constructor(options: DelimiterOptions) {
    super();
    requireKnown("make a framer", options, DELIMITER_OPTIONS);
    const { delimiter, maxFrameBytes = DEFAULT_MAX_BYTES } = options;
    if (typeof delimiter !== "string" && !(delimiter instanceof Uint8Array)) {
      throw new TypeError(
        'Cannot make a framer: "delimiter" must be a string or a Uint8Array',
      );
    }
    if (delimiter.length === 0) {
      throw new RangeError('Cannot make a framer: "delimiter" is empty');
    }
    requireBytes("maxFrameBytes", maxFrameBytes, 0);
    this.#delimiter = typeof delimiter === "string"
      ? new TextEncoder().encode(delimiter)
      : copyOf(delimiter);
    this.#max = maxFrameBytes;
  }

  /**
   * A frame with the delimiter behind it.
   *
   * @param frame The frame's bytes; copied.
   * @returns What is to be sent.
   * @throws {RangeError} When the frame is larger than allowed, or would be cut by its receiver.
   */
  encode(frame: Uint8Array): Uint8Array<ArrayBuffer> {
    const { length } = frame;
    if (length > this.#max) {
      throw new RangeError(
        `Cannot encode the frame: it has ${length} bytes, and at most ${this.#max} are allowed`,
      );
    }
    const bytes = new Uint8Array(length + this.#delimiter.length);
    bytes.set(frame);
    bytes.set(this.#delimiter, length);
    // An "aa" behind an "a" ends one byte too early, although the frame does not contain it.
    if (indexOf(bytes, this.#delimiter, 0) !== length) {
      throw new RangeError("Cannot encode the frame: the delimiter is in it");
    }
    return bytes;
  }

  /** Bytes of a frame that is not whole yet. */
  protected override get partial(): number {
    return this.#pieces.length;
  }

  /**
   * Finds the next frame.
   *
   * @param bytes Where to look.
   * @returns The frame, or null.
   */
  protected override next(bytes: Uint8Array): Uint8Array | null {
    const from = this.position;
    const kept = this.#pieces.length;
    // Where the delimiter begins, counted from `from`; negative when its first bytes came earlier.
    const begin = kept > 0 ? this.#across(bytes) : NOWHERE;
    const at = begin === NOWHERE
      ? indexOf(bytes, this.#delimiter, from)
      : from + begin;
    if (at === -1 && begin === NOWHERE) return this.#keep(bytes);
    const length = kept + at - from;
    if (length > this.#max) this.#tooLong();
    this.position = at + this.#delimiter.length;
    if (kept === 0) return bytes.subarray(from, at);
    if (at > from) this.#pieces.append(bytes.subarray(from, at));
    return this.#pieces.take().subarray(0, length);
  }

  // Looks for a delimiter of which some bytes were kept and the others have come now.
  #across(bytes: Uint8Array): number {
    const more = this.#delimiter.length - 1;
    if (more === 0) return NOWHERE;
    const tail = this.#pieces.view().subarray(-more);
    const seam = join(
      tail,
      bytes.subarray(this.position, this.position + more),
    );
    const at = indexOf(seam, this.#delimiter, 0);
    return at === -1 ? NOWHERE : at - tail.length;
  }

  #keep(bytes: Uint8Array): null {
    const rest = bytes.subarray(this.position);
    const sure = this.#pieces.length + rest.length - this.#delimiter.length + 1;
    if (sure > this.#max) this.#tooLong();
    this.#pieces.append(rest);
    this.position = bytes.length;
    return null;
  }

  #tooLong(): never {
    this.fail(`no delimiter within the ${this.#max} bytes that are allowed`);
  }
}

const DELIMITER_OPTIONS = ["delimiter", "maxFrameBytes"];

// No place where a delimiter across two chunks could begin.
const NOWHERE = 1;

function indexOf(
  bytes: Uint8Array,
  delimiter: Uint8Array,
  from: number,
): number {
  const last = bytes.length - delimiter.length;
  for (let at = from; at <= last; at++) {
    at = bytes.indexOf(delimiter[0]!, at);
    if (at === -1 || at > last) return -1;
    let same = 1;
    while (same < delimiter.length && bytes[at + same] === delimiter[same]) {
      same++;
    }
    if (same === delimiter.length) return at;
  }
  return -1;
}
