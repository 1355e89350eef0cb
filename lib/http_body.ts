// SPDX-License-Identifier: Apache-2.0
// http_body.ts - one request body on its way to the application; filled by the
// connection, read through lib/http_request.ts.

/** What a body asks of the connection that delivers it. */
export interface BodyFlow {
  /** Too much waits unread: deliver no more until `resume()`. */
  pause(): void;
  /** What waited was read or dropped: go on. Only ever follows a `pause()`. */
  resume(): void;
  /** The application wants the bytes; called at most once. */
  consume(): void;
}

/** Unread bytes above which the connection is asked to pause. */
export const BODY_HIGH_WATERMARK = 256 * 1024;

// The length of a body is the client's word. Up to this much it is believed and
// allocated at once; beyond, the buffer grows with what has arrived, so that no
// head alone makes the server reserve gigabytes.
const BELIEVED_BYTES = 1024 * 1024;

const EMPTY = new Uint8Array(0);
const UTF8 = new TextDecoder();

// What the application does with the body.
const NOT_ASKED = 0;
const READS_WHOLE = 1;
const READS_STREAM = 2;
const GONE = 3;

type Bytes = Uint8Array<ArrayBuffer>;

/** A read of the whole body that waits for its end. */
interface PendingRead {
  /** Nothing of the bytes themselves is left in what they are converted to: borrowed ones do. */
  decodes: boolean;
  convert: (bytes: Uint8Array) => unknown;
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

/**
 * The body of one request. The connection calls `push()`, then `end()` or
 * `fail()`, and `discard()`; the application reads it once, whole or as a
 * stream.
 */
export class RequestBody {
  readonly #length: number | null;
  readonly #flow: BodyFlow;
  #buffer: Bytes = EMPTY;
  #filled = 0;
  #mode = NOT_ASKED;
  #used = false;
  #consumed = false;
  #paused = false;
  #ended = false;
  #failure: Error | null = null;
  #read: PendingRead | null = null;
  #controller: ReadableByteStreamController | null = null;
  #hungry = false;
  #shown: ReadableStream | null = null;

  /** `length` is the Content-Length, or null for a chunked body. */
  constructor(length: number | null, flow: BodyFlow) {
    this.#length = length;
    this.#flow = flow;
  }

  /** Whether the application has taken the body; it cannot be taken again. */
  get used(): boolean {
    return this.#used;
  }

  /** This is the stream in which the application sees the body. */
  show(stream: ReadableStream | null): void {
    this.#shown = stream;
  }

  /** How long a stream is; null when that is unknown, or it is not this body. */
  lengthOf(stream: ReadableStream): number | null {
    return stream === this.#shown ? this.#length : null;
  }

  /** The next piece. The bytes are borrowed: copied before this returns. */
  push(bytes: Uint8Array): void {
    if (this.#mode === GONE || this.#failure !== null) return;
    if (bytes.length === 0) return;
    if (this.#hungry) {
      this.#hungry = false;
      this.#controller!.enqueue(new Uint8Array(bytes));
      return;
    }
    if (this.#read?.decodes === true && this.#isWhole(bytes)) {
      this.#ended = true;
      this.#settle(this.#read, bytes);
      return;
    }
    this.#append(bytes);
    if (this.#mode !== READS_WHOLE && this.#filled > BODY_HIGH_WATERMARK) {
      this.#pause();
    }
  }

  /** The body is complete. */
  end(): void {
    if (this.#failure !== null) return;
    this.#ended = true;
    if (this.#read !== null) this.#settle(this.#read, this.#take());
    else if (this.#hungry) this.#close();
  }

  /** The rest will never come: whoever reads, now or later, gets `error`. */
  fail(error: Error): void {
    if (this.#ended || this.#failure !== null || this.#mode === GONE) return;
    this.#failure = error;
    this.#drop();
    this.#abort(error);
  }

  /**
   * Drops what is left of the body once its request has been answered. A reader
   * that still waits gets an error, and so does one that comes later.
   */
  discard(): void {
    if (this.#mode === GONE) return;
    const streaming = this.#mode === READS_STREAM;
    this.#leave();
    if (streaming || this.#read !== null) {
      this.#abort(
        new Deno.errors.BadResource(
          "Cannot read request body as underlying resource unavailable",
        ),
      );
    }
  }

  /** The application wants no more of it. */
  cancel(): void {
    this.#used = true;
    this.#leave();
  }

  /** The body decoded as UTF-8, without a byte order mark. */
  text(): Promise<string> {
    return this.#readWhole(toText);
  }

  /** The body parsed as JSON. */
  json(): Promise<unknown> {
    return this.#readWhole(toJson);
  }

  /** The body as bytes that nobody else holds. */
  bytes(): Promise<Bytes> {
    return this.#readWhole(toBytes);
  }

  /** The body as an ArrayBuffer that nobody else holds. */
  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#readWhole(toArrayBuffer);
  }

  /** The body if all of it has arrived and nobody has read it, else null. */
  takeWhole(): Bytes | null {
    if (!this.#ended || this.#used || this.#mode === GONE) return null;
    this.#wantWhole();
    return toBytes(this.#take());
  }

  /** The body as a byte stream, wanted only once somebody reads the stream. */
  stream(): ReadableStream<Bytes> {
    if (this.#used) throw alreadyConsumed();
    if (this.#mode === GONE) throw requestClosed();
    this.#used = true;
    this.#mode = READS_STREAM;
    return new ReadableStream({
      type: "bytes",
      start: (controller: ReadableByteStreamController): void => {
        this.#controller = controller;
        if (this.#failure !== null) controller.error(this.#failure);
      },
      pull: (): void => this.#pull(),
      cancel: (): void => this.cancel(),
    });
  }

  #readWhole<T>(convert: (bytes: Uint8Array) => T): Promise<T> {
    if (this.#used) return Promise.reject(alreadyConsumed());
    if (this.#mode === GONE) return Promise.reject(requestClosed());
    this.#wantWhole();
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#ended) return settled(convert, this.#take());
    return new Promise((resolve, reject) => {
      this.#read = {
        decodes: convert === toText || convert === toJson,
        convert,
        resolve: resolve as (value: unknown) => void,
        reject,
      };
    });
  }

  #settle(read: PendingRead, bytes: Uint8Array): void {
    this.#read = null;
    try {
      read.resolve(read.convert(bytes));
    } catch (error) {
      read.reject(error);
    }
  }

  // Runs when somebody reads and the stream itself holds nothing. All that waits
  // goes at once, so that afterwards the connection may always go on.
  #pull(): void {
    this.#consume();
    if (this.#filled > 0) {
      this.#controller!.enqueue(this.#take());
      this.#resume();
    } else if (this.#ended) {
      this.#close();
    } else {
      this.#hungry = true;
    }
  }

  #close(): void {
    this.#mode = GONE;
    this.#hungry = false;
    this.#controller!.close();
    // A reader that brought its own buffer is only answered by this.
    this.#controller!.byobRequest?.respond(0);
  }

  #abort(error: Error): void {
    this.#hungry = false;
    this.#controller?.error(error);
    this.#read?.reject(error);
    this.#read = null;
  }

  #leave(): void {
    this.#mode = GONE;
    this.#hungry = false;
    this.#drop();
    this.#resume();
  }

  #drop(): void {
    this.#buffer = EMPTY;
    this.#filled = 0;
  }

  #take(): Bytes {
    const { length } = this.#buffer;
    const bytes = this.#filled === length
      ? this.#buffer
      : this.#buffer.subarray(0, this.#filled);
    this.#drop();
    return bytes;
  }

  #isWhole(bytes: Uint8Array): boolean {
    return this.#filled === 0 && bytes.length === this.#length;
  }

  #append(bytes: Uint8Array): void {
    if (this.#isWhole(bytes)) {
      // A copy costs less than memory that is cleared first.
      this.#buffer = bytes.slice();
      this.#filled = bytes.length;
      return;
    }
    const filled = this.#filled + bytes.length;
    if (filled > this.#buffer.length) this.#grow(filled);
    this.#buffer.set(bytes, this.#filled);
    this.#filled = filled;
  }

  #grow(needed: number): void {
    const waiting = this.#buffer.subarray(0, this.#filled);
    this.#buffer = new Uint8Array(Math.max(needed, this.#expected()));
    this.#buffer.set(waiting);
  }

  // How much room to make at a time: for a whole body all that is announced,
  // else twice what there was.
  #expected(): number {
    const doubled = 2 * this.#buffer.length;
    if (this.#length === null || this.#mode === READS_STREAM) return doubled;
    return Math.min(this.#length, Math.max(BELIEVED_BYTES, doubled));
  }

  // However much there is, it will be read: nothing waits any more.
  #wantWhole(): void {
    this.#used = true;
    this.#mode = READS_WHOLE;
    this.#consume();
    this.#resume();
  }

  #consume(): void {
    if (this.#consumed) return;
    this.#consumed = true;
    this.#flow.consume();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#flow.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#flow.resume();
  }
}

function toText(bytes: Uint8Array): string {
  return UTF8.decode(bytes);
}

function toJson(bytes: Uint8Array): unknown {
  return JSON.parse(UTF8.decode(bytes));
}

function toBytes(bytes: Uint8Array): Bytes {
  return bytes.length === bytes.buffer.byteLength && bytes.length > 0
    ? bytes as Bytes
    : bytes.slice();
}

function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return toBytes(bytes).buffer;
}

function settled<T>(
  convert: (bytes: Uint8Array) => T,
  bytes: Uint8Array,
): Promise<T> {
  try {
    return Promise.resolve(convert(bytes));
  } catch (error) {
    return Promise.reject(error);
  }
}

function alreadyConsumed(): TypeError {
  return new TypeError("Body already consumed");
}

function requestClosed(): TypeError {
  return new TypeError("Request closed");
}
