// SPDX-License-Identifier: Apache-2.0
// head_text.ts - request heads as text, many decoded at one blow; used by http_connection.ts.

import { type Inbox, layout } from "../ffi/mod.ts";

// A string that the application keeps, a header value for example, keeps the text that it was cut from.
const TEXT_BYTES = 4096;

/**
 * The text of one head at a time. A string belongs to the garbage collector, so that a request may be kept for
 * ever although the memory that it came in is used again in the next turn.
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

  #decode(inbox: Inbox, first: number, count: number): void {
    this.#origin = inbox.start(first);
    let flags = inbox.flags(first);
    let last = first;
    for (let next = first + 1; next < count; next++) {
      // Other records may lie between heads; the heads themselves have no gaps.
      if (inbox.kind(next) !== layout.HEAD) continue;
      if (inbox.start(next) + inbox.length(next) - this.#origin > TEXT_BYTES) {
        break;
      }
      flags |= inbox.flags(next);
      last = next;
    }
    const ascii = (flags & layout.NON_ASCII) === 0;
    this.text = ascii
      ? inbox.headsAscii(first, last)
      : inbox.headsLatin1(first, last);
    this.#last = last;
  }
}
