// SPDX-License-Identifier: Apache-2.0
// worker_mail.ts - what a worker of serveAll() has to do with the others: its mailbox, and its part in their topics;
// made by workers_thread.ts, told of servers by sharing.ts, used by worker_messages.ts.

import { NOBODY } from "../ffi/mod.ts";
import {
  kindOf,
  notCloned,
  readTopic,
  serviceOf,
  TOPIC,
  unpackValue,
} from "./mail_format.ts";
import { type MailAddress, MailSender } from "./mail_sender.ts";
import type { PollLoop } from "./poll_loop.ts";
import type { OtherWorkers, Topics } from "./topics.ts";
import type { PreparedMessage } from "./ws_prepared.ts";
import type { SendOptions } from "./ws_socket.ts";

/**
 * Told of a message.
 *
 * @param value A copy of what was sent.
 * @param from The number of the worker that has sent it; null for the main thread.
 */
export type MessageHandler = (
  value: unknown,
  from: number | null,
) => void | Promise<void>;

/** What a worker is told of its mail. */
export interface MailInit extends MailAddress {
  /** The mailbox that it is to read. */
  place: number;
}

/** What it says to its supervisor. */
export type MailNote =
  /** Topics have begun or ended. */
  | { millrace: "topics" }
  /** A value of the application. */
  | { millrace: "message"; value: unknown };

/** The mail of a worker. */
export class WorkerMail {
  readonly worker: number;
  readonly sender: MailSender;
  /** Called with each message of the application. */
  readonly handlers: Set<MessageHandler> = new Set();
  readonly #place: number;
  readonly #note: (note: MailNote) => void;
  // Servers that listen.
  readonly #open = new Map<PollLoop, ServerTopics>();
  readonly #wake = (): void => this.sender.wake();
  // It reads the mailbox.
  #reader: PollLoop | null = null;

  constructor(
    init: MailInit,
    worker: number,
    note: (note: MailNote) => void,
  ) {
    this.worker = worker;
    this.#place = init.place;
    this.#note = note;
    this.sender = new MailSender(init, {
      place: init.place,
      worker,
      wakeSoon: () => this.#wakeSoon(),
    });
  }

  /** How many workers there are. */
  get workers(): number {
    return this.sender.directory.workers;
  }

  /** A server of this worker listens: its topics are those of all workers. The first one's loop reads the mailbox. */
  opened(loop: PollLoop, addr: Deno.Addr): void {
    const topics = new ServerTopics(this, this.#place, addr);
    loop.topics.others = topics;
    this.#open.set(loop, topics);
    if (this.#reader === null) this.#readBy(loop);
  }

  /** It is closed; another one reads on. */
  closed(loop: PollLoop): void {
    this.#open.delete(loop);
    if (this.#reader !== loop) return;
    this.#reader = null;
    // Several may close at a time.
    const next = this.#open.keys().find((each) => !each.isClosed);
    if (next !== undefined) this.#readBy(next);
  }

  /** Tells of topics that have ended with another worker. */
  tellChanges(): void {
    const changes = this.sender.registry.changes("workers");
    for (const { service, topic, change } of changes) {
      this.#topicsOf(service)?.tell(topic, change);
    }
  }

  /** Sends a value to the main thread. Throws a TypeError for one that cannot be cloned. */
  sendToMain(value: unknown): void {
    try {
      this.#note({ millrace: "message", value });
    } catch (error) {
      throw notCloned(error);
    }
  }

  /** The supervisor has to look at topics. */
  topicsChanged(): void {
    this.#note({ millrace: "topics" });
  }

  #readBy(loop: PollLoop): void {
    loop.reactor.openMailbox(this.sender.mailboxes, this.#place);
    loop.onPosted = (index): void => this.#receive(loop, index);
    this.#reader = loop;
  }

  // At the end of this turn, when our own subscribers are sent what is published too: so all that is published in a turn
  // is one turn's work for the others, and leaves in as few packets as here.
  #wakeSoon(): void {
    const loop = this.#reader;
    if (loop === null || loop.isClosed) return this.sender.wake();
    loop.beforePoll = this.#wake;
    loop.kick();
  }

  #receive({ reactor }: PollLoop, index: number): void {
    const tag = reactor.inbox.aux(index);
    const from = reactor.inbox.total(index);
    const bytes = reactor.posted(index);
    if (kindOf(tag) === TOPIC) {
      const { topic, message, options } = readTopic(bytes);
      this.#topicsOf(serviceOf(tag))?.deliver(topic, message, options);
      return;
    }
    const value = unpackValue(kindOf(tag), bytes);
    const sender = from === NOBODY ? null : from;
    for (const handler of this.handlers) hand(handler, value, sender);
  }

  #topicsOf(service: number): Topics | null {
    for (const [loop, topics] of this.#open) {
      if (topics.service === service) return loop.topics;
    }
    return null;
  }
}

/** What a server's topics know of those of other workers. */
class ServerTopics implements OtherWorkers {
  readonly #mail: WorkerMail;
  readonly #place: number;
  readonly #addr: Deno.Addr;
  #service = -1;

  constructor(mail: WorkerMail, place: number, addr: Deno.Addr) {
    this.#mail = mail;
    this.#place = place;
    this.#addr = addr;
  }

  /** The number of the server, the same in all workers. */
  get service(): number {
    if (this.#service < 0) {
      const { registry } = this.#mail.sender;
      this.#service = registry.service(addressName(this.#addr));
    }
    return this.#service;
  }

  set(topic: string, count: number): boolean {
    const { registry } = this.#mail.sender;
    const answer = registry.set(this.service, this.#place, topic, count);
    if (answer.listed) this.#mail.topicsChanged();
    return answer.changed;
  }

  count(topic: string): number {
    return this.#mail.sender.count(this.service, topic);
  }

  publish(
    topic: string,
    message: PreparedMessage,
    options: SendOptions | undefined,
  ): number {
    return this.#mail.sender.publish(this.service, topic, message, options);
  }
}

/** What names the servers on an address in all workers. */
export function addressName(addr: Deno.Addr): string {
  if (addr.transport === "unix" || addr.transport === "unixpacket") {
    return `unix ${(addr as Deno.UnixAddr).path}`;
  }
  const { hostname, port } = addr as Deno.NetAddr;
  return `${hostname} ${port}`;
}

// One that goes wrong harms neither the others nor the worker.
function hand(
  handler: MessageHandler,
  value: unknown,
  from: number | null,
): void {
  try {
    const result = handler(value, from);
    if (result instanceof Promise) result.catch(complain);
  } catch (error) {
    complain(error);
  }
}

function complain(error: unknown): void {
  console.error("Exception in onMessage", error);
}
