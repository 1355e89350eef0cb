// SPDX-License-Identifier: Apache-2.0
// mail_office.ts - the mail of all workers of a server, as their supervisor has it: opens mailboxes and the registry of
// topics, gives workers their places, and takes those of the dead; made by workers_server.ts.

import {
  Mailboxes,
  type MailboxStatistics,
  Registry,
  type RegistryStatistics,
} from "../ffi/mod.ts";
import { Directory, type MailAddress, MailSender } from "./mail_sender.ts";
import type { TopicListener } from "./topics.ts";
import { addressName, type MailInit } from "./worker_mail.ts";
import { prepare, PreparedMessage } from "./ws_prepared.ts";
import { requireTopic } from "./topics.ts";
import type { Sendable, SendOptions } from "./ws_socket.ts";

/** Messages between workers since the server was started, those of topics and of the application. */
export interface MailStatistics {
  /** Messages that were posted: one that is for three workers counts three times. */
  posted: number;
  /** Messages that were taken out of mailboxes. */
  received: number;
  /** Messages that wait in mailboxes now. */
  waiting: number;
  /** Bytes of those that wait or are being read, 16 more for each. */
  waitingBytes: number;
  /** Messages for which a worker's mailbox had no room. */
  dropped: number;
  /** Messages for a worker that has ended before it read them; some of them count as received as well. */
  lost: number;
  /** Times that a worker was woken by one. */
  wakes: number;
}

/** What the mail is to hold. */
export interface MailOptions {
  workers: number;
  /** Messages that may wait for one worker: a power of two. */
  messages: number;
  /** The same in bytes. */
  bytes: number;
  onTopic: TopicListener | undefined;
}

// A worker that is replaced keeps its place until its thread has ended, which may take a while.
const placesOf = (workers: number): number => 2 * workers + 8;

/** The mail of all workers. */
export class MailOffice {
  readonly #onTopic: TopicListener | undefined;
  readonly #mailboxes: Mailboxes;
  readonly #registry: Registry;
  readonly #directory: Directory;
  readonly #address: MailAddress;
  // Null when it is closed: then there is nobody to send to.
  #sender: MailSender | null;
  readonly #taken = new Set<number>();
  // What its mailbox had counted before the worker of a place had it.
  readonly #before = new Map<number, MailStatistics>();
  #service = -1;

  constructor({ workers, messages, bytes, onTopic }: MailOptions) {
    const count = placesOf(workers);
    this.#onTopic = onTopic;
    this.#mailboxes = Mailboxes.open({
      count,
      capacity: messages,
      maxBytes: bytes,
    });
    this.#registry = Registry.open(count, onTopic !== undefined);
    this.#directory = new Directory(workers, count);
    this.#address = {
      mailboxes: this.#mailboxes.address,
      maxBytes: bytes,
      registry: this.#registry.address,
      directory: this.#directory.buffer,
      workers,
    };
    this.#sender = new MailSender(
      this.#address,
      { place: null, worker: null, wakeSoon: null },
      this.#mailboxes,
      this.#registry,
    );
  }

  /** The server listens there, in all workers. */
  listens(addr: Deno.Addr): void {
    if (this.#service < 0) {
      this.#service = this.#registry.service(addressName(addr));
    }
  }

  /** A place for a worker that begins. */
  take(): MailInit {
    let place = 0;
    while (this.#taken.has(place)) place++;
    if (place >= this.#mailboxes.count) {
      throw new Error("Cannot start a worker: too many have not ended yet");
    }
    this.#taken.add(place);
    this.#before.set(place, this.#read(place));
    return { ...this.#address, place };
  }

  /** The worker of a place serves, and is the one of that number from here on. */
  enter(worker: number, place: number): void {
    this.#directory.enter(worker, place);
  }

  /** Its JavaScript has ended. */
  leave(worker: number, place: number): void {
    this.#directory.leave(worker, place);
  }

  /** Its thread has: nothing of it is left. */
  forget(place: number): void {
    this.#registry.abandon(place);
    this.#taken.delete(place);
    this.#before.delete(place);
    // It may have had no time to wake those it has posted to.
    this.#sender?.wakeEverybody();
    this.tellChanges();
  }

  /** Tells the application of topics that have begun or ended. */
  tellChanges(): void {
    if (this.#onTopic === undefined || this.#sender === null) return;
    for (const change of this.#registry.changes("supervisor")) {
      if (change.service !== this.#service) continue;
      try {
        this.#onTopic(change.topic, change.change);
      } catch (error) {
        console.error("Exception in onTopic", error);
      }
    }
  }

  publish(topic: string, message: Sendable, options?: SendOptions): number {
    requireTopic(topic);
    if (this.subscriberCount(topic) === 0) return 0;
    const prepared = message instanceof PreparedMessage
      ? message
      : prepare(message);
    return this.#sender!.publish(this.#service, topic, prepared, options);
  }

  subscriberCount(topic: string): number {
    return topic === "" ? 0 : this.#sender?.count(this.#service, topic) ?? 0;
  }

  send(worker: number, value: unknown): boolean {
    return this.#sender?.send(worker, value) ?? false;
  }

  broadcast(value: unknown): number {
    return this.#sender?.broadcast(value) ?? 0;
  }

  /** What was posted to the worker of a place, and what became of it. */
  statisticsOf(place: number): MailStatistics {
    const before = this.#before.get(place);
    const now = this.#read(place);
    if (before === undefined) return now;
    for (const name of Object.keys(now) as (keyof MailStatistics)[]) {
      now[name] -= before[name];
    }
    return now;
  }

  /** The same of all, also those that have ended. */
  statistics(): MailStatistics {
    const sum = readMailbox(null);
    for (let place = 0; place < this.#mailboxes.count; place++) {
      const one = this.#read(place);
      for (const name of Object.keys(sum) as (keyof MailStatistics)[]) {
        sum[name] += one[name];
      }
    }
    return sum;
  }

  /** What is subscribed to now, in all workers. */
  topics(): RegistryStatistics {
    return this.#registry.statistics();
  }

  /** Gives everything back; no worker may be left. */
  close(): void {
    this.#sender = null;
    this.#mailboxes.close();
    this.#registry.close();
  }

  #read(place: number): MailStatistics {
    return readMailbox(this.#mailboxes.statistics(place));
  }
}

function readMailbox(one: MailboxStatistics | null): MailStatistics {
  return one === null
    ? {
      posted: 0,
      received: 0,
      waiting: 0,
      waitingBytes: 0,
      dropped: 0,
      lost: 0,
      wakes: 0,
    }
    : {
      posted: one.posted,
      received: one.posted - one.waiting,
      waiting: one.waiting,
      waitingBytes: one.bytes,
      dropped: one.full,
      lost: one.lost,
      wakes: one.wakes,
    };
}
