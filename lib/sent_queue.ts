// SPDX-License-Identifier: Apache-2.0
// sent_queue.ts - responses whose end somebody waits for, until the kernel has taken their bytes; made by
// http_connection.ts for a connection that needs one.

/** A response that is staged. */
export interface Staged {
  /** Told once: with null when the kernel has all of it, else why it never will. */
  sent(error: Error | null): void;
}

/**
 * C answers one question at a time: whether all that was staged by then has been taken. Who comes while it is open
 * waits for the next one.
 */
export class SentQueue {
  readonly #ask: () => void;
  #asked: Staged[] = [];
  #next: Staged[] = [];

  /** `ask` issues the command, whose answer leads to `taken()`. */
  constructor(ask: () => void) {
    this.#ask = ask;
  }

  /** Waits for all that is staged now. */
  push(response: Staged): void {
    if (this.#asked.length > 0) {
      this.#next.push(response);
      return;
    }
    this.#asked.push(response);
    this.#ask();
  }

  /** The kernel has what it was asked about. */
  taken(): void {
    const done = this.#asked;
    this.#asked = this.#next;
    this.#next = [];
    if (this.#asked.length > 0) this.#ask();
    for (const response of done) response.sent(null);
  }

  /** Nothing more will be heard: tells everybody the same. */
  end(error: Error | null): void {
    const all = [...this.#asked, ...this.#next];
    this.#asked = [];
    this.#next = [];
    for (const response of all) response.sent(error);
  }
}
