// SPDX-License-Identifier: Apache-2.0
// framing.ts - cuts a stream of bytes into frames, by a length in front of each or a delimiter behind; used by
// packet.ts, and by applications on connections of any kind.

/**
 * Framing: where one message ends and the next one begins in a stream of bytes.
 *
 * @example Lines over a raw socket
 * ```ts
 * import { DelimiterFramer } from "@millrace/millrace/framing";
 * import { rawSocket, serve } from "@millrace/millrace";
 *
 * const text = new TextDecoder();
 * const lines = rawSocket<DelimiterFramer>({
 *   data(socket, chunk) {
 *     socket.data.push(chunk, (line) => console.log(text.decode(line)));
 *   },
 * });
 *
 * serve((request) =>
 *   lines.upgrade(request, {
 *     protocol: "lines",
 *     data: new DelimiterFramer({ delimiter: "\n" }),
 *   })
 * );
 * ```
 *
 * @module
 */

import { copyOf } from "./bytes.ts";
import { requireKnown } from "./route_options.ts";

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
const DEFAULT_MAX_BYTES = 1024 * 1024;
const FIRST_CAPACITY = 256;

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

function join(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (second.length === 0) return first;
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

// Grows with what has arrived, not with what a peer announces.
class Pieces {
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
    requireBoolean("littleEndian", littleEndian);
    requireBoolean("inclusive", inclusive);
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

// The largest value of so many bytes, as far as numbers are exact.
function largest(lengthBytes: number): number {
  return Math.min(2 ** (8 * lengthBytes) - 1, Number.MAX_SAFE_INTEGER);
}

function requireBoolean(name: string, value: unknown): void {
  if (typeof value === "boolean") return;
  throw new TypeError(
    `Cannot make a framer: "${name}" must be a boolean, is ${
      Deno.inspect(value)
    }`,
  );
}

function requireBytes(name: string, value: unknown, min: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= min) return;
  throw new RangeError(
    `Cannot make a framer: "${name}" must be an integer of at least ${min}, is ${
      Deno.inspect(value)
    }`,
  );
}
