// SPDX-License-Identifier: Apache-2.0
// file_body.ts - a response body that is a file, or parts of one: a stream for whoever reads it, and for
// response_writer.ts, which does not, what file_sender.ts sends. Made by files.ts.

import { closeFile, readFile } from "../ffi/mod.ts";
import type { ByteRange } from "./file_range.ts";

/** Bytes, or a part of the file. */
export type FilePart = Uint8Array<ArrayBuffer> | ByteRange;

/** An open file and what of it is to be sent. */
export interface FileContent {
  fd: number;
  parts: readonly FilePart[];
  length: number;
}

const READ_BYTES = 64 * 1024;

// By the stream and not by the response: middleware makes a new response around the stream of another.
const sources = new WeakMap<ReadableStream, FileSource>();

// Closes the files of bodies that nobody has read, cancelled or sent.
const forgotten = new FinalizationRegistry<FileSource>((source) =>
  source.cancel()
);

/** A stream over parts of a file, which it closes. Nothing is read before somebody asks. */
export function fileStream(
  content: FileContent,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source = new FileSource(content);
  const stream = new ReadableStream(source, { highWaterMark: 0 });
  sources.set(stream, source);
  forgotten.register(stream, source);
  return stream;
}

/**
 * The file behind a stream of `fileStream()`, for who sends `length` bytes and closes it; null for another body,
 * and for one that was read from. The stream is used up then.
 */
export function takeFile(
  body: ReadableStream | Uint8Array,
  length: number | null,
): FileContent | null {
  if (!(body instanceof ReadableStream)) return null;
  const content = sources.get(body)?.take(length) ?? null;
  if (content !== null) void body.cancel();
  return content;
}

class FileSource implements UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> {
  readonly #content: FileContent;
  #open = true;
  #part = 0;
  #done = 0;

  constructor(content: FileContent) {
    this.#content = content;
  }

  pull(
    controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>,
  ): void {
    try {
      controller.enqueue(this.#next());
    } catch (error) {
      this.cancel();
      throw error;
    }
    if (this.#part < this.#content.parts.length) return;
    this.cancel();
    controller.close();
  }

  cancel(): void {
    if (this.#open) closeFile(this.#content.fd);
    this.#open = false;
  }

  take(length: number | null): FileContent | null {
    const whole = this.#open && this.#part === 0 && this.#done === 0;
    if (!whole || (length ?? this.#content.length) !== this.#content.length) {
      return null;
    }
    this.#open = false;
    return this.#content;
  }

  #next(): Uint8Array<ArrayBuffer> {
    const part = this.#content.parts[this.#part]!;
    if (part instanceof Uint8Array) {
      this.#part++;
      return part.slice();
    }
    const left = part.length - this.#done;
    const bytes = new Uint8Array(Math.min(left, READ_BYTES));
    const count = readFile(
      this.#content.fd,
      bytes,
      part.start + this.#done,
    );
    if (count === 0) {
      throw new Deno.errors.UnexpectedEof(
        "Cannot read the file: it has become shorter",
      );
    }
    this.#done += count;
    if (count === left) {
      this.#part++;
      this.#done = 0;
    }
    return bytes.subarray(0, count);
  }
}
