// SPDX-License-Identifier: Apache-2.0
// compression_stream.ts - compresses a stream or a long body piece by piece, as fast as it is read; made by
// compression.ts.

import {
  type BrotliCompress,
  type BrotliOptions,
  constants,
  createBrotliCompress,
  createGzip,
  type Gzip,
  type ZlibOptions,
} from "node:zlib";
import { checked } from "./body_writer.ts";

/** Options of each coding. */
export interface ZlibSettings {
  br: BrotliOptions;
  gzip: ZlibOptions;
}

/** Bytes that are compressed at one go, which takes half a millisecond in which nothing else happens. */
export const PIECE_BYTES = 64 * 1024;

// Logarithm of Brotli's window. Twice as much is read before the first byte of a long body comes out, and is kept.
const BROTLI_WINDOW = 18;

// What comes later still refers to what came before, which is not so after the flush that gzip has by default.
const FLUSH = {
  br: constants.BROTLI_OPERATION_FLUSH,
  gzip: constants.Z_SYNC_FLUSH,
} as const;

const NOTHING = new Uint8Array(0);
const ENDED = { done: true } as const;

/** What the codings are told, with the levels that were asked for. */
export function zlibSettings(
  brotliQuality: number,
  gzipLevel: number,
): ZlibSettings {
  return {
    br: {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: brotliQuality,
        [constants.BROTLI_PARAM_LGWIN]: BROTLI_WINDOW,
      },
    },
    gzip: { level: gzipLevel },
  };
}

/**
 * Source of a ReadableStream of what `body` is compressed to. It reads one chunk ahead: where that is not there yet, what
 * has come so far is flushed, so that nothing waits for bytes that may come hours later.
 */
export class CompressedSource implements UnderlyingDefaultSource<Uint8Array> {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | null;
  readonly #coding: keyof ZlibSettings;
  readonly #settings: ZlibSettings;
  /** Bytes that were announced and have not come; null when none were. */
  #left: number | null;
  #zlib: Gzip | BrotliCompress | null = null;
  #rest: Uint8Array = NOTHING;
  #next: Promise<ReadableStreamReadResult<Uint8Array>> | null = null;
  #arrived = false;
  #produced = false;
  #over = false;

  /** `length` is the content-length that was announced, if it was. */
  constructor(
    body: ReadableStream<Uint8Array> | Uint8Array,
    coding: keyof ZlibSettings,
    settings: ZlibSettings,
    length: number | null,
  ) {
    this.#coding = coding;
    this.#settings = settings;
    this.#left = length;
    if (body instanceof Uint8Array) {
      this.#reader = null;
      this.#take(body);
    } else {
      this.#reader = body.getReader();
    }
  }

  async pull(
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<void> {
    const zlib = this.#zlib ??= this.#open(controller);
    this.#produced = false;
    try {
      while (!this.#produced && !this.#over) await this.#feed(zlib, controller);
    } catch (error) {
      if (this.#over) return;
      this.#close();
      this.#reader?.cancel(error).catch(() => {});
      throw error;
    }
  }

  cancel(reason: unknown): Promise<void> | undefined {
    this.#close();
    return this.#reader?.cancel(reason);
  }

  // Made when the first bytes are wanted: a response to HEAD needs none.
  #open(
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Gzip | BrotliCompress {
    const zlib = this.#coding === "gzip"
      ? createGzip(this.#settings.gzip)
      : createBrotliCompress(this.#settings.br);
    zlib.on("data", (bytes: Uint8Array) => {
      if (this.#over) return;
      this.#produced = true;
      controller.enqueue(bytes);
    });
    // Whoever waits for what was written is told, too.
    zlib.on("error", () => {});
    return zlib;
  }

  // Compresses the next piece, or ends.
  async #feed(
    zlib: Gzip | BrotliCompress,
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<void> {
    if (this.#rest.length === 0) {
      const { done, value } = await this.#ask();
      this.#next = null;
      if (this.#over) return;
      if (done) return await this.#end(zlib, controller);
      this.#take(checked(value));
    }
    const piece = this.#rest.subarray(0, PIECE_BYTES);
    this.#rest = this.#rest.subarray(PIECE_BYTES);
    await settled((callback) => zlib.write(piece, callback));
    const last = this.#rest.length === 0;
    if (last) void this.#ask();
    // Others have their turn, and the source has one to have its next chunk ready.
    await new Promise((resolve) => setImmediate(resolve));
    if (last && !this.#arrived && !this.#over) {
      await settled((callback) => zlib.flush(FLUSH[this.#coding], callback));
    }
  }

  // The chunk after this one, which is asked for once.
  #ask(): Promise<ReadableStreamReadResult<Uint8Array>> {
    if (this.#next !== null) return this.#next;
    this.#arrived = false;
    const arrive = (): void => void (this.#arrived = true);
    const next = this.#reader?.read() ?? Promise.resolve(ENDED);
    next.then(arrive, arrive);
    return this.#next = next;
  }

  #take(bytes: Uint8Array): void {
    this.#rest = bytes;
    if (this.#left === null) return;
    this.#left -= bytes.length;
    if (this.#left < 0) throw notAsLong();
  }

  async #end(
    zlib: Gzip | BrotliCompress,
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<void> {
    if (this.#left !== null && this.#left > 0) throw notAsLong();
    await new Promise((resolve, reject) => {
      zlib.once("end", resolve).once("error", reject).end();
    });
    if (this.#over) return;
    this.#over = true;
    controller.close();
  }

  #close(): void {
    this.#over = true;
    this.#zlib?.destroy();
  }
}

function settled(
  start: (callback: (error?: Error | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) =>
    start((error) => error ? reject(error) : resolve())
  );
}

function notAsLong(): RangeError {
  return new RangeError(
    "Cannot compress the body: it is not as long as its content-length",
  );
}
