// SPDX-License-Identifier: Apache-2.0
// mailbox.ts - mailboxes through which the isolates of a process send bytes to its reactors; pairs with
// c/mailbox.c. What arrives is read through reactor.ts.

import { unwrap } from "./errno.ts";
import * as layout from "./layout.ts";
import { library } from "./library.ts";

/** Struct mr_mailboxes_options. */
export interface MailboxesOptions {
  /** Mailboxes, at most 1,024. */
  count: number;
  /** Messages that may wait in one of them: a power of two. */
  capacity: number;
  /** Bytes that may wait in one of them, those of its reader's turn included. */
  maxBytes: number;
}

/** Where mailboxes lie, for other isolates of this process: what `postMessage` can carry. */
export interface MailboxesAddress {
  address: bigint;
  count: number;
}

/** What a mailbox counts; all but the first two and `open` only grow. */
export interface MailboxStatistics {
  /** Messages that wait. */
  waiting: number;
  /** Bytes that wait or are being read, 16 more for each message. */
  bytes: number;
  /** Whether a reactor reads it. */
  open: boolean;
  /** Messages that it has taken in. */
  posted: number;
  /** Messages that it had no room for. */
  full: number;
  /** Messages for which there was no reactor, any longer or yet. */
  lost: number;
  /** Times that its reactor was woken. */
  wakes: number;
}

/** The sender of what no mailbox's owner has posted. */
export const NOBODY = 0xffffffff;

/**
 * Mailboxes of a process. Opened by one isolate, which gives `address` to others and closes them when none of those
 * will use them any longer; a reactor that reads one may go on to do so.
 */
export class Mailboxes implements Disposable {
  /** For `Mailboxes.at()` in another isolate. */
  readonly address: MailboxesAddress;
  /** How many there are. */
  readonly count: number;
  readonly #shim = library();
  readonly #isOwner: boolean;
  readonly #one: Uint32Array<ArrayBuffer>;
  #pointer: Deno.PointerObject | null;

  private constructor(address: MailboxesAddress, isOwner: boolean) {
    this.address = address;
    this.count = address.count;
    this.#isOwner = isOwner;
    this.#pointer = Deno.UnsafePointer.create(address.address);
    this.#one = this.mask();
  }

  /** Takes memory for mailboxes. Throws when there is none, or an option is out of its range. */
  static open(options: MailboxesOptions): Mailboxes {
    const packed = new Uint8Array(layout.MAILBOXES_OPTIONS_BYTES);
    const view = new DataView(packed.buffer);
    const { count, capacity, maxBytes } = options;
    view.setUint32(layout.MAILBOXES_OPTIONS_COUNT, count, true);
    view.setUint32(layout.MAILBOXES_OPTIONS_CAPACITY, capacity, true);
    view.setUint32(layout.MAILBOXES_OPTIONS_MAX_BYTES, maxBytes, true);
    const out = new BigUint64Array(1);
    unwrap(
      library().mr_mailboxes_open(packed, out),
      `open ${count} mailboxes for ${capacity} messages of ${maxBytes} bytes`,
    );
    return new Mailboxes({ address: out[0]!, count }, true);
  }

  /** Mailboxes that another isolate of this process has opened, and closes only when this one is done with them. */
  static at(address: MailboxesAddress): Mailboxes {
    return new Mailboxes(address, false);
  }

  /** A set of mailboxes with none in it: bit 0 of the first word is that of the first one. */
  mask(): Uint32Array<ArrayBuffer> {
    return new Uint32Array(Math.ceil(this.count / 32));
  }

  /**
   * Posts a copy of the bytes to one mailbox; false when it is full, or nobody reads it. What one isolate posts to a
   * mailbox keeps its order.
   */
  post(
    mailbox: number,
    bytes: Uint8Array<ArrayBuffer>,
    tag: number = 0,
    from: number = NOBODY,
  ): boolean {
    if (!(mailbox >= 0 && mailbox < this.count)) {
      throw new RangeError(
        `Cannot post to mailbox ${mailbox}: there are ${this.count}`,
      );
    }
    const word = mailbox >>> 5;
    this.#one[word] = 1 << (mailbox & 31);
    try {
      return this.postAll(this.#one, bytes, tag, from) === 1;
    } finally {
      this.#one[word] = 0;
    }
  }

  /**
   * Posts one copy of the bytes to all mailboxes of a mask; returns how many have taken it in, whose bits are left.
   * Throws when the message is longer than a mailbox may ever hold, or memory is short.
   */
  postAll(
    mask: Uint32Array<ArrayBuffer>,
    bytes: Uint8Array<ArrayBuffer>,
    tag: number = 0,
    from: number = NOBODY,
  ): number {
    const posted = this.#shim.mr_mailbox_post(
      this.#opened(),
      mask,
      mask.length,
      from,
      tag,
      bytes,
      bytes.length,
    );
    return posted < 0
      ? unwrap(posted, `post a message of ${bytes.length} bytes`)
      : posted;
  }

  /** The same without waking anybody: `wakeAll()` with the mask that this leaves has to follow. */
  fillAll(
    mask: Uint32Array<ArrayBuffer>,
    bytes: Uint8Array<ArrayBuffer>,
    tag: number,
    from: number,
    length: number = bytes.length,
  ): number {
    const posted = this.#shim.mr_mailbox_fill(
      this.#opened(),
      mask,
      mask.length,
      from,
      tag,
      bytes,
      length,
    );
    return posted < 0
      ? unwrap(posted, `post a message of ${length} bytes`)
      : posted;
  }

  /** Wakes the readers of all mailboxes of a mask, once for any number of messages. */
  wakeAll(mask: Uint32Array<ArrayBuffer>): void {
    this.#shim.mr_mailbox_wake(this.#opened(), mask, mask.length);
  }

  /** What a mailbox has counted. */
  statistics(mailbox: number): MailboxStatistics {
    const out = new BigUint64Array(layout.MAILBOX_STATS_BYTES / 8);
    unwrap(
      this.#shim.mr_mailbox_stats(this.#opened(), mailbox, out),
      `read the statistics of mailbox ${mailbox}`,
    );
    const read = (offset: number): number => Number(out[offset / 8]!);
    return {
      waiting: read(layout.MAILBOX_STATS_WAITING),
      bytes: read(layout.MAILBOX_STATS_HELD_BYTES),
      open: read(layout.MAILBOX_STATS_OPEN) !== 0,
      posted: read(layout.MAILBOX_STATS_POSTED),
      full: read(layout.MAILBOX_STATS_FULL),
      lost: read(layout.MAILBOX_STATS_LOST),
      wakes: read(layout.MAILBOX_STATS_WAKES),
    };
  }

  /** Has a reactor of this isolate read a mailbox; for reactor.ts. */
  giveTo(reactor: Deno.PointerObject, mailbox: number, action: string): void {
    const pointer = this.#opened();
    unwrap(this.#shim.mr_mailbox_open(pointer, mailbox, reactor), action);
  }

  /** Ends the use of them by this isolate. */
  close(): void {
    if (this.#pointer === null) return;
    if (this.#isOwner) this.#shim.mr_mailboxes_close(this.#pointer);
    this.#pointer = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #opened(): Deno.PointerObject {
    if (this.#pointer !== null) return this.#pointer;
    throw new Deno.errors.BadResource(
      "Cannot use the mailboxes: they are closed",
    );
  }
}
