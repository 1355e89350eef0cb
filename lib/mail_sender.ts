// SPDX-License-Identifier: Apache-2.0
// mail_sender.ts - what a worker, or the main thread, sends to workers: messages of topics to those that have
// subscribers, values of the application; used by worker_mail.ts and mail_office.ts.

import {
  Mailboxes,
  type MailboxesAddress,
  NOBODY,
  Registry,
  type RegistryAddress,
} from "../ffi/mod.ts";
import { packValue, topicTag, TopicWriter } from "./mail_format.ts";
import type { PreparedMessage } from "./ws_prepared.ts";
import type { SendOptions } from "./ws_socket.ts";

/** Where the mail of all workers is, for those to find it. */
export interface MailAddress {
  mailboxes: MailboxesAddress;
  /** Bytes that one of them holds. */
  maxBytes: number;
  registry: RegistryAddress;
  directory: SharedArrayBuffer;
  /** Workers that serve at a time. */
  workers: number;
}

/** Who sends. */
export interface Sender {
  /** Its mailbox; null for the main thread, which has none. */
  place: number | null;
  /** Its number; null for the main thread. */
  worker: number | null;
  /** Something was posted: has `wake()` be called soon. Null where that is to be at once. */
  wakeSoon: (() => void) | null;
}

// What a mailbox counts for a message beside its bytes.
const OVERHEAD_BYTES = 16;

/** Which mailbox is whose. The supervisor writes it, everybody reads it. */
export class Directory {
  readonly buffer: SharedArrayBuffer;
  // The mailbox of each worker, and 1; 0 where it has none.
  readonly #places: Int32Array<SharedArrayBuffer>;
  // A bit for each mailbox that a worker reads: while one is replaced, both do.
  readonly #open: Int32Array<SharedArrayBuffer>;

  constructor(workers: number, places: number, buffer?: SharedArrayBuffer) {
    const words = Math.ceil(places / 32);
    this.buffer = buffer ?? new SharedArrayBuffer(4 * (workers + words));
    this.#places = new Int32Array(this.buffer, 0, workers);
    this.#open = new Int32Array(this.buffer, 4 * workers, words);
  }

  /** How many workers there are. */
  get workers(): number {
    return this.#places.length;
  }

  /** The mailbox of a worker; -1 when nobody serves under that number. */
  placeOf(worker: number): number {
    return Atomics.load(this.#places, worker) - 1;
  }

  /** Writes the set of all mailboxes that are read. */
  copyTo(mask: Uint32Array): void {
    for (let at = 0; at < mask.length; at++) {
      mask[at] = Atomics.load(this.#open, at);
    }
  }

  /** A worker reads its mailbox, and is the one of that number from here on. */
  enter(worker: number, place: number): void {
    Atomics.or(this.#open, place >>> 5, 1 << (place & 31));
    Atomics.store(this.#places, worker, place + 1);
  }

  /** It does not any longer. */
  leave(worker: number, place: number): void {
    Atomics.and(this.#open, place >>> 5, ~(1 << (place & 31)));
    Atomics.compareExchange(this.#places, worker, place + 1, 0);
  }
}

/** Sends to workers. */
export class MailSender {
  readonly mailboxes: Mailboxes;
  readonly registry: Registry;
  readonly directory: Directory;
  readonly #maxBytes: number;
  readonly #place: number | null;
  readonly #from: number;
  readonly #writer = new TopicWriter();
  readonly #mask: Uint32Array<ArrayBuffer>;
  readonly #wakeSoon: (() => void) | null;
  // Whose readers are to be woken for what was posted.
  readonly #toWake: Uint32Array<ArrayBuffer>;

  constructor(
    address: MailAddress,
    { place, worker, wakeSoon }: Sender,
    mailboxes: Mailboxes = Mailboxes.at(address.mailboxes),
    registry: Registry = Registry.at(address.registry),
  ) {
    const { maxBytes, workers, directory } = address;
    this.mailboxes = mailboxes;
    this.registry = registry;
    this.directory = new Directory(workers, mailboxes.count, directory);
    this.#maxBytes = maxBytes;
    this.#place = place;
    this.#from = worker ?? NOBODY;
    this.#mask = mailboxes.mask();
    this.#toWake = mailboxes.mask();
    this.#wakeSoon = wakeSoon;
  }

  /** How many subscribers a topic has in other workers. */
  count(service: number, topic: string): number {
    return this.registry.find(service, topic, this.#place ?? undefined);
  }

  /**
   * Posts a message to all whom the last `count()` has found; returns how many subscribers those have that took it in.
   * Throws when it is longer than a mailbox can ever hold.
   */
  publish(
    service: number,
    topic: string,
    message: PreparedMessage,
    options: SendOptions | undefined,
  ): number {
    const { found, counts } = this.registry;
    const length = this.#writer.write(topic, message, options);
    this.#requireRoom(length, "publish the message");
    this.#post(found, this.#writer.bytes, topicTag(service), length);
    return sumOf(found, counts);
  }

  /** Posts a value to a worker; false when nobody serves under that number, or its mailbox is full. */
  send(worker: number, value: unknown): boolean {
    if (!Number.isInteger(worker) || worker < 0 || worker >= this.#workers) {
      throw new RangeError(
        `Cannot send to worker ${worker}: they have numbers from 0 to ${
          this.#workers - 1
        }`,
      );
    }
    const { tag, bytes } = packValue(value);
    this.#requireRoom(bytes.length, "send the message");
    const place = this.directory.placeOf(worker);
    if (place < 0) return false;
    this.#mask.fill(0);
    this.#mask[place >>> 5] = 1 << (place & 31);
    return this.#post(this.#mask, bytes, tag) === 1;
  }

  /** Posts a value to all workers but this one; returns how many took it in. */
  broadcast(value: unknown): number {
    const { tag, bytes } = packValue(value);
    this.#requireRoom(bytes.length, "send the message");
    this.directory.copyTo(this.#mask);
    const own = this.#place;
    if (own !== null) this.#mask[own >>> 5]! &= ~(1 << (own & 31));
    return this.#post(this.#mask, bytes, tag);
  }

  /** Wakes those whom something was posted to. */
  wake(): void {
    this.mailboxes.wakeAll(this.#toWake);
    this.#toWake.fill(0);
  }

  /** Wakes all who sleep, for somebody who is gone. */
  wakeEverybody(): void {
    this.directory.copyTo(this.#toWake);
    this.wake();
  }

  #post(
    mask: Uint32Array<ArrayBuffer>,
    bytes: Uint8Array<ArrayBuffer>,
    tag: number,
    length: number = bytes.length,
  ): number {
    const posted = this.mailboxes.fillAll(mask, bytes, tag, this.#from, length);
    if (posted === 0) return 0;
    mask.forEach((bits, word) => this.#toWake[word]! |= bits);
    if (this.#wakeSoon === null) this.wake();
    else this.#wakeSoon();
    return posted;
  }

  get #workers(): number {
    return this.directory.workers;
  }

  #requireRoom(length: number, action: string): void {
    if (length + OVERHEAD_BYTES <= this.#maxBytes) return;
    throw new RangeError(
      `Cannot ${action}: it takes ${length} bytes, and a worker's mailbox holds ${this.#maxBytes}; the option "mailboxBytes" sets that`,
    );
  }
}

// The numbers of those whose bit is set.
function sumOf(mask: Uint32Array, counts: Uint32Array): number {
  let sum = 0;
  for (let word = 0; word < mask.length; word++) {
    for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
      sum += counts[32 * word + 31 - Math.clz32(bits & -bits)]!;
    }
  }
  return sum;
}
