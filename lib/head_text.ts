// SPDX-License-Identifier: Apache-2.0
// head_text.ts - request heads as text, decoded once for all that lie side by side in a receive buffer; used by
// http_connection.ts.

import { type Inbox, layout } from "../ffi/mod.ts";

/**
 * The text of one head at a time. A string belongs to the garbage collector, so that a request may be kept for
 * ever although the buffer that it came in is used again in the next turn.
 */
export class HeadText {
  /** One or more heads, one character for each byte. */
  text = "";
  /** Where the selected head begins in `text`. */
  start = 0;
  #turn = -1;
  #origin = 0;
  #last = -1;

  /** Selects the head of one record of the inbox, which has `count` of them in this turn. */
  select(inbox: Inbox, index: number, count: number, turn: number): void {
    if (turn !== this.#turn || index > this.#last) {
      this.#turn = turn;
      this.#decode(inbox, index, count);
    }
    this.start = inbox.start(index) - this.#origin;
  }

  #decode(inbox: Inbox, index: number, count: number): void {
    const block = inbox.block(index);
    let flags = inbox.flags(index);
    let last = index;
    while (
      last + 1 < count && inbox.kind(last + 1) === layout.HEAD &&
      inbox.block(last + 1) === block
    ) {
      flags |= inbox.flags(++last);
    }
    const ascii = (flags & layout.NON_ASCII) === 0;
    this.text = ascii
      ? inbox.asciiBetween(index, last)
      : inbox.latin1Between(index, last);
    this.#origin = inbox.start(index);
    this.#last = last;
  }
}
