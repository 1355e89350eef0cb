// SPDX-License-Identifier: Apache-2.0
// ws_batch.ts - the messages that arrived for a socket at once; made by ws_inbound.ts for a handler of `messages`.

import { blockOf, type Inbox, layout } from "../ffi/mod.ts";
import type { Message } from "./ws_socket.ts";

/** Has a batch forget its messages. For ws_inbound.ts. */
export let endBatch: (batch: MessageBatch) => void;

const POISON = 0xdb;

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Messages that arrived for a socket at once, in their order. Nothing is decoded or allocated for a message before
 * it is asked for. A batch is valid until the handler returns, and so are its bytes; its texts are for ever.
 */
export class MessageBatch implements Iterable<Message> {
  readonly #inbox: Inbox;
  readonly #first: number;
  // Messages that lie in no inbox: put together from pieces, or held in a pause.
  readonly #own: Message[] | null;
  #length: number;
  // Whether a view was given out, and which ones where they are to be overwritten.
  #lent = false;
  readonly #views: Uint8Array[] | null;

  static {
    endBatch = (batch) => batch.#finish();
  }

  /** Made by Millrace. */
  constructor(
    inbox: Inbox,
    first: number,
    length: number,
    own: Message[] | null,
    debug: boolean,
  ) {
    this.#inbox = inbox;
    this.#first = first;
    this.#length = length;
    this.#own = own;
    this.#views = debug ? [] : null;
  }

  /** Number of messages; 0 once the handler has returned. */
  get length(): number {
    return this.#length;
  }

  /**
   * Whether a message is text.
   *
   * @param index From 0.
   * @returns Whether it is.
   */
  isText(index: number): boolean {
    this.#check(index);
    if (this.#own !== null) return typeof this.#own[index] === "string";
    return (this.#inbox.flags(this.#first + index) & layout.TEXT) !== 0;
  }

  /**
   * A message as a string, be it text or binary.
   *
   * @param index From 0.
   * @returns Its text; for bytes that are no UTF-8 with U+FFFD in their place.
   */
  text(index: number): string {
    this.#check(index);
    const own = this.#own?.[index];
    if (own === undefined) return this.#inbox.text(this.#first + index);
    return typeof own === "string" ? own : TEXT.decode(own);
  }

  /**
   * A message as bytes, be it text or binary.
   *
   * @param index From 0.
   * @returns A view that is valid until the handler returns.
   */
  bytes(index: number): Uint8Array<ArrayBuffer> {
    this.#check(index);
    const own = this.#own?.[index];
    if (typeof own === "string") return UTF8.encode(own);
    this.#lent = true;
    const view = own ?? this.#inbox.view(this.#first + index);
    this.#views?.push(view);
    return view;
  }

  /**
   * A message as a handler of `message` is given it.
   *
   * @param index From 0.
   * @returns A string for text, a view for binary.
   */
  at(index: number): Message {
    return this.isText(index) ? this.text(index) : this.bytes(index);
  }

  /** The messages, as `at()` gives them. */
  *[Symbol.iterator](): Generator<Message> {
    for (let index = 0; index < this.#length; index++) yield this.at(index);
  }

  #check(index: number): void {
    if (Number.isInteger(index) && index >= 0 && index < this.#length) return;
    throw new RangeError(
      this.#length === 0
        ? "Cannot read the batch: it was valid until its handler returned"
        : `Cannot read message ${index}: the batch has ${this.#length}`,
    );
  }

  #finish(): void {
    const length = this.#length;
    this.#length = 0;
    this.#views?.forEach(poison);
    if (!this.#lent || this.#own !== null) return;
    for (let index = 0; index < length; index++) {
      this.#inbox.returned(this.#inbox.block(this.#first + index));
    }
  }
}

/** Overwrites the bytes of a message, unless they were transferred away or are kept. */
export function poison(view: Uint8Array): void {
  const kept = (blockOf(view.buffer)?.retained ?? 0) > 0;
  if (view.length > 0 && !kept) view.fill(POISON);
}
