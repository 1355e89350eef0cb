// SPDX-License-Identifier: Apache-2.0
// body_writer.ts - sends a response body that does not go out at one blow: a stream, or very many bytes; made by
// response_writer.ts.

import type { Outbox } from "../ffi/mod.ts";
import { disconnected } from "./exchange.ts";
import { latin1 } from "./http_response.ts";
import type { ResponseTrailers } from "./trailers.ts";

/** Where the body goes. */
export interface BodySink {
  readonly handle: number;
  readonly outbox: Outbox;
  /** Undefined while more may be staged, else a promise for when it may. */
  writable(): Promise<void> | undefined;
  /** Something was staged. */
  staged(): void;
}

const PIECE_BYTES = 256 * 1024;
const CRLF = Uint8Array.of(13, 10);

/** One body on its way out. */
export class BodyWriter {
  readonly #sink: BodySink;
  readonly #body: ReadableStream<Uint8Array> | Uint8Array;
  readonly #length: number | null;
  readonly #chunked: boolean;
  readonly #trailers: ResponseTrailers | null;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  #cancelled = false;

  /**
   * `length` is the content-length that was announced; null means chunked, or up to the end of the connection.
   * `trailers` follow a chunked body.
   */
  constructor(
    sink: BodySink,
    body: ReadableStream<Uint8Array> | Uint8Array,
    length: number | null,
    chunked: boolean,
    trailers: ResponseTrailers | null = null,
  ) {
    this.#sink = sink;
    this.#body = body;
    this.#length = length;
    this.#chunked = chunked;
    this.#trailers = trailers;
  }

  /** Whether the client can tell a cut body from a whole one. */
  get isFramed(): boolean {
    return this.#chunked || this.#length !== null;
  }

  /** Whether the body comes from a producer, who may never end it. */
  get isStream(): boolean {
    return this.#body instanceof ReadableStream;
  }

  /**
   * Stages the whole body, no faster than the peer takes it. False when it was cancelled. Throws what the stream
   * threw, or the trailers, or a RangeError when it was not as long as announced: the response cannot be completed
   * then.
   */
  async run(): Promise<boolean> {
    const whole = this.#body instanceof Uint8Array
      ? await this.#writePieces(this.#body)
      : await this.#pump(this.#body);
    // A cancellation may have come between the last piece and this.
    if (!whole || this.#cancelled) return false;
    const lines = this.#trailers === null ? "" : await this.#trailers.lines();
    if (this.#cancelled) return false;
    const { outbox, handle } = this.#sink;
    const end = this.#chunked ? `0\r\n${lines}\r\n` : "";
    outbox.write(handle, latin1(end), 1);
    this.#sink.staged();
    return true;
  }

  /** The peer is gone: the producer is told, and nothing more is staged. */
  cancel(): void {
    this.#cancelled = true;
    this.#reader?.cancel(disconnected()).catch(() => {});
  }

  async #writePieces(bytes: Uint8Array): Promise<boolean> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      this.#write(bytes.subarray(at, at + PIECE_BYTES));
      await this.#sink.writable();
      if (this.#cancelled) return false;
    }
    return true;
  }

  async #pump(stream: ReadableStream<Uint8Array>): Promise<boolean> {
    this.#reader = stream.getReader();
    let left = this.#length ?? Infinity;
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (this.#cancelled) return false;
        if (done) break;
        const piece = checked(value);
        const room = left;
        left -= Math.min(room, piece.length);
        if (!await this.#writePieces(piece.subarray(0, room))) return false;
        if (piece.length > room) {
          throw new RangeError(
            "Cannot send the body: it is longer than its content-length",
          );
        }
      }
    } catch (error) {
      this.#reader.cancel(error).catch(() => {});
      throw error;
    }
    if (left > 0 && this.#length !== null) {
      throw new RangeError(
        "Cannot send the body: it is shorter than its content-length",
      );
    }
    return true;
  }

  #write(bytes: Uint8Array): void {
    const { outbox, handle } = this.#sink;
    if (this.#chunked) {
      outbox.writeText(handle, `${bytes.length.toString(16)}\r\n`, 0);
    }
    outbox.write(handle, bytes, 0);
    if (this.#chunked) outbox.write(handle, CRLF, 0);
    this.#sink.staged();
  }
}

/** A chunk of a stream, which may be anything. */
export function checked(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  throw new TypeError("Cannot send a body chunk: it is not a Uint8Array");
}
