// SPDX-License-Identifier: Apache-2.0
// file_sender.ts - sends a body that is a file without reading it: C takes the bytes from file to socket. Made by
// response_writer.ts.

import { closeFile, dupFile } from "../ffi/mod.ts";
import type { BodySink } from "./body_writer.ts";
import type { FileContent } from "./file_body.ts";

/** One file on its way out. */
export class FileSender {
  /** The client knows the length. */
  readonly isFramed = true;
  /** It ends by itself. */
  readonly isStream = false;
  readonly #sink: BodySink;
  readonly #content: FileContent;
  readonly #done: (error: unknown) => void;
  readonly #lastRange: number;
  #next = 0;
  #open = true;

  /** `done` is called with null once all is staged or sent, or with what went wrong. */
  constructor(
    sink: BodySink,
    content: FileContent,
    done: (error: unknown) => void,
  ) {
    this.#sink = sink;
    this.#content = content;
    this.#done = done;
    this.#lastRange = content.parts.findLastIndex((part) =>
      !(part instanceof Uint8Array)
    );
  }

  /** Stages parts up to one that C has to tell the end of; called again when it does. */
  advance(): void {
    const { parts } = this.#content;
    try {
      while (this.#next < parts.length) {
        if (!this.#stage(this.#next++)) return;
      }
    } catch (error) {
      this.cancel();
      this.#done(error);
      return;
    }
    this.#done(null);
  }

  /** Nothing more is staged. */
  cancel(): void {
    this.#next = Infinity;
    if (this.#open) closeFile(this.#content.fd);
    this.#open = false;
  }

  // Returns whether more may be staged at once.
  #stage(index: number): boolean {
    const { fd, parts } = this.#content;
    const part = parts[index]!;
    const { outbox, handle } = this.#sink;
    const responses = index === parts.length - 1 ? 1 : 0;
    this.#sink.staged();
    if (part instanceof Uint8Array) {
      outbox.write(handle, part, responses);
      return true;
    }
    // C closes what it is given, so that ranges before the last go with a second descriptor.
    if (index === this.#lastRange) this.#open = false;
    const given = this.#open ? dupFile(fd) : fd;
    return outbox.file(handle, given, part.start, part.length, responses);
  }
}
