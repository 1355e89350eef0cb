// SPDX-License-Identifier: Apache-2.0
// ring.ts - a bounded queue of bytes between isolates, in memory that they share; exported as
// @millrace/millrace/ring. Sleepers are woken by the protocol of c/mailbox.c, with Atomics in place of its fences.

/**
 * A bounded queue of messages between isolates: one or many push, one shifts,
 * and nobody waits for a lock.
 *
 * @example The end that receives
 * ```ts
 * import { Ring } from "@millrace/millrace/ring";
 *
 * const ring = new Ring({ bytes: 1 << 20 });
 * const worker = new Worker(new URL("./worker.ts", import.meta.url), {
 *   type: "module",
 * });
 * worker.postMessage(ring.buffer);
 * for await (const message of ring) console.log(message.length);
 * ```
 *
 * @example An end that sends
 * ```ts
 * import { Ring } from "@millrace/millrace/ring";
 *
 * addEventListener("message", async (event) => {
 *   const ring = Ring.over((event as MessageEvent).data);
 *   const message = new TextEncoder().encode("hello");
 *   while (!ring.push(message) && await ring.room(message.length)) continue;
 *   ring.close();
 * }, { once: true });
 * ```
 *
 * @module
 */

/** What a ring is to hold. */
export interface RingOptions {
  /**
   * Bytes for messages, each of which takes 4 to 7 more than it is long. From 64 to 1 GiB; rounded up to a power of
   * two.
   *
   * @default {65536}
   */
  bytes?: number;
}

const DEFAULT_BYTES = 64 * 1024;
const BYTES_MIN = 64;
const BYTES_MAX = 2 ** 30;

// Words of the memory before the messages. What different isolates write lies 128 bytes apart.
const MAGIC = 0;
const HEAD = 32; // position of the next message to take out
const TAIL = 64; // position behind the last message, and whether the ring is closed
const READER_SLEEPS = 96;
const WRITERS_SLEEP = 128;
const HEADER_BYTES = 640;

// Positions are multiples of 4, so that the tail has a bit left to say that nothing goes behind it any more: whoever has
// moved the tail has done so before the end, and is heard.
const CLOSED = 1;

const MAGIC_NUMBER = 0x6d72_7201;

const ALIVE_MS = 2 ** 30;

// A message begins with a word: 0 until its bytes are there, and then its length + 1.
const WORD_BYTES = 4;

/**
 * One end of a queue between isolates. Positions grow for ever, modulo 2 ** 32: where a message lies are their low
 * bits.
 */
export class Ring implements AsyncIterable<Uint8Array<ArrayBuffer>> {
  /** The shared memory, for `Ring.over()` in another isolate. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #capacity: number;

  /**
   * Makes a ring with memory of its own.
   *
   * @param options How large it is to be.
   */
  constructor(options?: RingOptions);
  /** @ignore The memory of another ring; see `Ring.over()`. */
  constructor(options: RingOptions | SharedArrayBuffer);
  constructor(options: RingOptions | SharedArrayBuffer = {}) {
    this.buffer = options instanceof SharedArrayBuffer
      ? checkedBuffer(options)
      : newBuffer(options.bytes ?? DEFAULT_BYTES);
    this.#words = new Int32Array(this.buffer);
    this.#bytes = new Uint8Array(this.buffer, HEADER_BYTES);
    this.#capacity = this.#bytes.length;
  }

  /**
   * Another end of a ring.
   *
   * @param buffer The `buffer` of a ring, as another isolate has sent it.
   * @returns The same ring for this isolate.
   */
  static over(buffer: SharedArrayBuffer): Ring {
    return new Ring(buffer);
  }

  /** Whether an end has closed it. Messages that it holds can still be taken out. */
  get isClosed(): boolean {
    return (Atomics.load(this.#words, TAIL) & CLOSED) !== 0;
  }

  /**
   * Puts a copy of a message in; any number of isolates may. One that is terminated in the midst of it leaves a gap
   * that nothing behind it can be read over.
   *
   * @param message Bytes, or none.
   * @returns False when there is no room for it now, or the ring is closed.
   * @throws {RangeError} When it is longer than the ring.
   */
  push(message: Uint8Array): boolean {
    const { length } = checkedMessage(message);
    const size = this.#sizeOf(length);
    let tail = Atomics.load(this.#words, TAIL);
    for (;;) {
      if ((tail & CLOSED) !== 0 || !this.#fits(tail, size)) return false;
      const end = (tail + size) | 0;
      const found = Atomics.compareExchange(this.#words, TAIL, tail, end);
      if (found === tail) break;
      tail = found;
    }
    this.#write(tail + WORD_BYTES, message);
    Atomics.store(this.#words, this.#wordAt(tail), length + 1);
    this.#wake(READER_SLEEPS);
    return true;
  }

  /**
   * Takes the next message out; only one isolate may.
   *
   * @returns Its bytes, which are the caller's own, or null when there is none now.
   * @throws {Error} When somebody else has written to the memory.
   */
  shift(): Uint8Array<ArrayBuffer> | null {
    const head = Atomics.load(this.#words, HEAD);
    const word = Atomics.load(this.#words, this.#wordAt(head));
    if (word === 0) return null;
    if (word < 0 || word > this.#capacity - WORD_BYTES + 1) throw damaged();
    const message = this.#read(head + WORD_BYTES, word - 1);
    const size = this.#sizeOf(word - 1);
    // A later message may begin anywhere here, and must not seem to be there before it is.
    this.#clear(head, size);
    Atomics.store(this.#words, HEAD, (head + size) | 0);
    this.#wake(WRITERS_SLEEP);
    return message;
  }

  /**
   * Waits for the next message, and keeps the process alive meanwhile.
   *
   * @returns Whether there is one: false when the ring is closed and holds none.
   */
  async wait(): Promise<boolean> {
    while (!this.#isFilled()) {
      if (this.#isOver()) return false;
      await this.#sleep(
        READER_SLEEPS,
        () => this.#isFilled() || this.#isOver(),
      );
    }
    return true;
  }

  /**
   * Waits until a message would fit, and keeps the process alive meanwhile. Another isolate's may be faster, so that
   * `push()` has to be asked again.
   *
   * @param length Bytes of the message.
   * @returns Whether there is room: false when the ring is closed.
   * @throws {RangeError} When such a message is longer than the ring.
   */
  async room(length: number): Promise<boolean> {
    const size = this.#sizeOf(length);
    const fits = (): boolean =>
      this.#fits(Atomics.load(this.#words, TAIL), size);
    while (!this.isClosed) {
      if (fits()) return true;
      await this.#sleep(WRITERS_SLEEP, () => fits() || this.isClosed);
    }
    return false;
  }

  /**
   * Takes nothing in any more, and wakes all who wait. Any end may close it; what `push()` has taken in before is still
   * there to be taken out.
   */
  close(): void {
    Atomics.or(this.#words, TAIL, CLOSED);
    for (const flag of [READER_SLEEPS, WRITERS_SLEEP]) {
      Atomics.store(this.#words, flag, 0);
      Atomics.notify(this.#words, flag);
    }
  }

  /** Takes all messages out, until the ring is closed and empty. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    while (await this.wait()) {
      for (let next = this.shift(); next !== null; next = this.shift()) {
        yield next;
      }
    }
  }

  // Bytes that a message takes; a multiple of those of a word.
  #sizeOf(length: number): number {
    const size = (length + 2 * WORD_BYTES - 1) & -WORD_BYTES;
    if (length >= 0 && length <= BYTES_MAX && size <= this.#capacity) {
      return size;
    }
    throw new RangeError(
      `Cannot push a message of ${length} bytes: the ring has ${this.#capacity}`,
    );
  }

  // A head that has moved on since the tail was read makes room; the exchange then finds the tail moved too.
  #fits(tail: number, size: number): boolean {
    const used = (tail - Atomics.load(this.#words, HEAD)) | 0;
    return used + size <= this.#capacity;
  }

  #isFilled(): boolean {
    const head = Atomics.load(this.#words, HEAD);
    return Atomics.load(this.#words, this.#wordAt(head)) !== 0;
  }

  // Closed, and each message that was pushed has been taken out.
  #isOver(): boolean {
    const head = Atomics.load(this.#words, HEAD);
    return Atomics.load(this.#words, TAIL) === (head | CLOSED);
  }

  // Says that it sleeps, and then looks once more. The word is left when it does not sleep after all, as it may be that
  // of another sleeper.
  async #sleep(flag: number, isDone: () => boolean): Promise<void> {
    Atomics.store(this.#words, flag, 1);
    if (isDone()) return;
    const { async, value } = Atomics.waitAsync(this.#words, flag, 1);
    if (!async) return;
    // To the runtime a wait is nothing to stay alive for.
    const alive = setInterval(() => {}, ALIVE_MS);
    await value;
    clearInterval(alive);
  }

  // After what the sleepers wait for has been stored.
  #wake(flag: number): void {
    if (Atomics.load(this.#words, flag) === 0) return;
    if (Atomics.exchange(this.#words, flag, 0) === 0) return;
    Atomics.notify(this.#words, flag);
  }

  #offset(position: number): number {
    return position & (this.#capacity - 1);
  }

  #wordAt(position: number): number {
    return (HEADER_BYTES + this.#offset(position)) / WORD_BYTES;
  }

  #write(position: number, message: Uint8Array): void {
    const start = this.#offset(position);
    const room = this.#capacity - start;
    if (message.length <= room) {
      this.#bytes.set(message, start);
    } else {
      this.#bytes.set(message.subarray(0, room), start);
      this.#bytes.set(message.subarray(room), 0);
    }
  }

  #read(position: number, length: number): Uint8Array<ArrayBuffer> {
    const message = new Uint8Array(length);
    const start = this.#offset(position);
    const room = this.#capacity - start;
    message.set(this.#bytes.subarray(start, start + Math.min(length, room)));
    if (length > room) {
      message.set(this.#bytes.subarray(0, length - room), room);
    }
    return message;
  }

  #clear(position: number, size: number): void {
    const start = this.#offset(position);
    this.#bytes.fill(0, start, start + size);
    const room = this.#capacity - start;
    if (size > room) this.#bytes.fill(0, 0, size - room);
  }
}

function newBuffer(bytes: number): SharedArrayBuffer {
  if (!(bytes >= BYTES_MIN && bytes <= BYTES_MAX)) {
    throw new RangeError(
      `Cannot make a ring: "bytes" must be from ${BYTES_MIN} to ${BYTES_MAX}, is ${bytes}`,
    );
  }
  const capacity = 2 ** Math.ceil(Math.log2(bytes));
  const buffer = new SharedArrayBuffer(HEADER_BYTES + capacity);
  new Int32Array(buffer)[MAGIC] = MAGIC_NUMBER;
  return buffer;
}

function checkedBuffer(buffer: SharedArrayBuffer): SharedArrayBuffer {
  const capacity = buffer.byteLength - HEADER_BYTES;
  const isRing = capacity >= BYTES_MIN && capacity <= BYTES_MAX &&
    (capacity & (capacity - 1)) === 0 &&
    new Int32Array(buffer, 0, 1)[MAGIC] === MAGIC_NUMBER;
  if (isRing) return buffer;
  throw new TypeError("Cannot open a ring: the buffer is not that of a ring");
}

function damaged(): Error {
  return new Error(
    "Cannot shift: what lies in the ring is no message, so something else than a ring has written there",
  );
}

function checkedMessage(message: Uint8Array): Uint8Array {
  if (message instanceof Uint8Array) return message;
  throw new TypeError("Cannot push: the message must be a Uint8Array");
}
