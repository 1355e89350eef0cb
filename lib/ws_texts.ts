// SPDX-License-Identifier: Apache-2.0
// ws_texts.ts - short text messages of servers, encoded together; made by poll_loop.ts, called by ws_outbound.ts.
//
// A call of the encoder costs as much as some short texts. They wait as one string, in which each has room for the
// header of its frame, until something else is staged or the turn ends. Only ASCII has as many bytes as characters:
// with anything else among them, all are encoded one by one.

import type { Outbox } from "../ffi/mod.ts";
import { headerLength, writeTextFrame, writeTextHeader } from "./ws_encoder.ts";
import type { Outbound } from "./ws_outbound.ts";

// From this length on a text is worth a call.
const LONG_TEXT = 512;
// So many that more would gain nothing.
const CHARACTERS_MAX = 16384;
// What is replaced by headers of two and of four bytes.
const SHORT_HEADER = "\0".repeat(2);
const MEDIUM_HEADER = "\0".repeat(4);

const UTF8 = new TextEncoder();

/** Texts that were accepted in this turn, and are not staged yet. */
export class Texts {
  /** Characters of them and of the room for their headers; at most three times as many bytes. */
  characters = 0;
  readonly #outbox: Outbox;
  readonly #write = (): void => this.#stage();
  #all = "";
  #texts: string[] = [];
  #senders: Outbound<unknown>[] = [];

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** Whether a text of a length may wait with the others. */
  takes(length: number): boolean {
    return length < LONG_TEXT && this.characters + length < CHARACTERS_MAX;
  }

  /** Adds one; its sender has counted a byte for each character, and is told if there are more. */
  push(sender: Outbound<unknown>, text: string): void {
    const room = headerLength(text.length) === 2 ? SHORT_HEADER : MEDIUM_HEADER;
    this.#all += room + text;
    if (this.characters === 0) this.#outbox.defer(this.#write);
    this.characters = this.#all.length;
    this.#texts.push(text);
    this.#senders.push(sender);
  }

  #stage(): void {
    const all = this.#all;
    const texts = this.#texts;
    const senders = this.#senders;
    this.#all = "";
    this.#texts = [];
    this.#senders = [];
    this.characters = 0;
    if (texts.length === 1 || !this.#stageAscii(all, texts, senders)) {
      this.#stageEach(texts, senders);
    }
  }

  // False when there is something else than ASCII.
  #stageAscii(
    all: string,
    texts: string[],
    senders: Outbound<unknown>[],
  ): boolean {
    const outbox = this.#outbox;
    const { bytes } = outbox;
    let at = outbox.room(all.length);
    const { read } = UTF8.encodeInto(all, bytes.subarray(at, at + all.length));
    if (read < all.length) return false;
    for (let i = 0; i < texts.length; i++) {
      const { length } = texts[i]!;
      writeTextHeader(bytes, at, length);
      at += headerLength(length) + length;
      outbox.commit(senders[i]!.handle, at, 0);
    }
    return true;
  }

  #stageEach(texts: string[], senders: Outbound<unknown>[]): void {
    for (let i = 0; i < texts.length; i++) {
      const sender = senders[i]!;
      const text = texts[i]!;
      const written = writeTextFrame(this.#outbox, sender.handle, text);
      sender.sentBytes += written - text.length;
    }
  }
}
