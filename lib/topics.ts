// SPDX-License-Identifier: Apache-2.0
// topics.ts - who is subscribed to what, and messages for all of them; one for each poll_loop.ts, used by
// ws_connection.ts and http_server.ts.
//
// A published message is encoded once, and compressed once for all that compress alike and remember nothing; each
// frame lies in the outbox once, and what is staged for a subscriber is the place where it lies. In a worker of
// serveAll(), others are told of the number of subscribers, and are posted what is published (worker_mail.ts).

import type { Outbox } from "../ffi/mod.ts";
import { prepare, PreparedMessage } from "./ws_prepared.ts";
import type { Sendable, SendOptions, SendStatus } from "./ws_socket.ts";

/** A topic has got its first subscriber, or lost its last one. */
export type TopicListener = (topic: string, change: "first" | "last") => void;

/** What topics know of a socket. */
export interface Subscriber {
  /** Names of its topics. */
  readonly topics: Set<string>;
  /** Whether messages can be sent. */
  readonly writable: boolean;
  /** The frame of a message that others are sent too; null when the peer is too slow, or has one of its own. */
  sharedFrame(
    message: PreparedMessage,
    options?: SendOptions,
  ): Uint8Array | null;
  /** Stages a message whose shared frame lies in the outbox. */
  sendShared(message: PreparedMessage, start: number, length: number): void;
  /** Sends a message as the route says for slow peers. */
  sendPublished(message: PreparedMessage, options?: SendOptions): SendStatus;
}

/** What topics know of those of the same server in other workers. */
export interface OtherWorkers {
  /**
   * Says how many subscribers a topic has here from now on; returns whether it has begun, or ended, in all workers.
   * Throws when it cannot be more than before; then it is as many as before.
   */
  set(topic: string, count: number): boolean;
  /** Looks up how many subscribers a topic has there. */
  count(topic: string): number;
  /** Sends a message to those of the last `count()`; returns to how many. */
  publish(
    topic: string,
    message: PreparedMessage,
    options: SendOptions | undefined,
  ): number;
}

// Longer frames go to the kernel from where they are, one call for each subscriber.
const SHARED_BYTES = 64 * 1024;

const NOBODY: ReadonlySet<Subscriber> = new Set();

/** The topics of a server. */
export class Topics {
  /** Told of first and last subscribers. */
  listener: TopicListener | null = null;
  /** The other workers; null where there are none. */
  others: OtherWorkers | null = null;
  readonly #outbox: Outbox;
  readonly #sharedBytes: number;
  // Names that end in a wildcard are among them.
  readonly #topics = new Map<string, Set<Subscriber>>();
  #patterns = 0;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
    this.#sharedBytes = Math.min(SHARED_BYTES, outbox.bytes.length);
  }

  /** Subscribes a socket; false when it is already. */
  subscribe(subscriber: Subscriber, topic: string): boolean {
    checkSubscription(topic);
    if (subscriber.topics.has(topic)) return false;
    const subscribers = this.#topics.get(topic);
    const count = (subscribers?.size ?? 0) + 1;
    const isFirst = this.others?.set(topic, count) ?? count === 1;
    subscriber.topics.add(topic);
    if (subscribers !== undefined) {
      subscribers.add(subscriber);
    } else {
      this.#topics.set(topic, new Set([subscriber]));
      if (isPattern(topic)) this.#patterns++;
    }
    if (isFirst) this.tell(topic, "first");
    return true;
  }

  /** Ends a subscription; false when there is none. */
  unsubscribe(subscriber: Subscriber, topic: string): boolean {
    if (!subscriber.topics.delete(topic)) return false;
    const subscribers = this.#topics.get(topic)!;
    subscribers.delete(subscriber);
    const { size } = subscribers;
    if (size === 0) {
      this.#topics.delete(topic);
      if (isPattern(topic)) this.#patterns--;
    }
    const isLast = this.others?.set(topic, size) ?? size === 0;
    if (isLast) this.tell(topic, "last");
    return true;
  }

  /** Ends all subscriptions of a socket. */
  leave(subscriber: Subscriber): void {
    for (const topic of subscriber.topics) this.unsubscribe(subscriber, topic);
  }

  /** How many sockets a message for the topic would be sent to. */
  count(topic: string): number {
    const here = isPattern(topic)
      ? this.#topics.get(topic)?.size ?? 0
      : this.#subscribers(topic).size;
    if (this.others === null || topic === "") return here;
    return here + this.others.count(topic);
  }

  /** Sends a message to all subscribers but one; returns how many accepted it, or are subscribed in other workers. */
  publish(
    topic: string,
    message: Sendable,
    options: SendOptions | undefined,
    except: Subscriber | null,
  ): number {
    requireTopic(topic);
    const subscribers = this.#subscribers(topic);
    const elsewhere = this.others?.count(topic) ?? 0;
    if (subscribers.size + elsewhere === 0) return 0;
    const prepared = message instanceof PreparedMessage
      ? message
      : prepare(message);
    // First, since what is published by a callback of ours has to come behind it.
    const sent = elsewhere === 0
      ? 0
      : this.others!.publish(topic, prepared, options);
    return sent + this.#deliver(subscribers, prepared, options, except);
  }

  /** Sends what another worker has published to the subscribers here. */
  deliver(
    topic: string,
    message: PreparedMessage,
    options: SendOptions | undefined,
  ): void {
    this.#deliver(this.#subscribers(topic), message, options, null);
  }

  /** Tells of a topic that has begun, or ended. */
  tell(topic: string, change: "first" | "last"): void {
    try {
      this.listener?.(topic, change);
    } catch (error) {
      console.error("Exception in onTopic", error);
    }
  }

  #deliver(
    subscribers: ReadonlySet<Subscriber>,
    prepared: PreparedMessage,
    options: SendOptions | undefined,
    except: Subscriber | null,
  ): number {
    const alone: Subscriber[] = [];
    let sent = this.#share(prepared, options, subscribers, except, alone);
    // These may call the application, which may write over what is shared.
    for (const subscriber of alone) {
      const status = subscriber.sendPublished(prepared, options);
      if (status !== "dropped") sent++;
    }
    return sent;
  }

  // Stages one frame for everybody who is sent the same, then the next one for the others, since making room for that
  // may end the first. Lists those who are not sent what others are. Returns how many it was staged for.
  #share(
    message: PreparedMessage,
    options: SendOptions | undefined,
    subscribers: Iterable<Subscriber>,
    except: Subscriber | null,
    alone: Subscriber[],
  ): number {
    const others: Subscriber[] = [];
    let shared: Uint8Array | null = null;
    let start = 0;
    let sent = 0;
    for (const subscriber of subscribers) {
      if (subscriber === except || !subscriber.writable) continue;
      const frame = subscriber.sharedFrame(message, options);
      if (frame === null || frame.length > this.#sharedBytes) {
        alone.push(subscriber);
        continue;
      }
      if (shared === null) start = this.#outbox.place(shared = frame);
      if (frame !== shared) {
        others.push(subscriber);
        continue;
      }
      subscriber.sendShared(message, start, frame.length);
      sent++;
    }
    return others.length === 0
      ? sent
      : sent + this.#share(message, options, others, except, alone);
  }

  #subscribers(topic: string): ReadonlySet<Subscriber> {
    const exact = this.#topics.get(topic) ?? NOBODY;
    return this.#patterns === 0 ? exact : this.#withPatterns(topic, exact);
  }

  // Whoever subscribed several times is sent one message all the same.
  #withPatterns(
    topic: string,
    exact: ReadonlySet<Subscriber>,
  ): ReadonlySet<Subscriber> {
    let all = exact;
    for (const pattern of patternsOf(topic)) {
      const more = this.#topics.get(pattern);
      if (more !== undefined) all = all.union(more);
    }
    return all;
  }
}

// The patterns that match a topic: one that ends in "*" for its last level, and one that ends in "#" for each level.
function patternsOf(topic: string): string[] {
  const patterns = [`${topic.slice(0, topic.lastIndexOf("/") + 1)}*`, "#"];
  for (let at = topic.indexOf("/"); at >= 0; at = topic.indexOf("/", at + 1)) {
    patterns.push(`${topic.slice(0, at + 1)}#`);
  }
  return patterns;
}

function isWildcard(level: string): boolean {
  return level === "*" || level === "#";
}

function isPattern(topic: string): boolean {
  return isWildcard(topic.slice(topic.lastIndexOf("/") + 1));
}

function checkSubscription(topic: unknown): void {
  if (typeof topic !== "string" || topic === "") {
    throw new TypeError(
      "Cannot subscribe: the topic must be a string that is not empty",
    );
  }
  if (topic.split("/").slice(0, -1).some(isWildcard)) {
    throw new TypeError(
      `Cannot subscribe to "${topic}": a wildcard can only be the last level`,
    );
  }
}

/** Checks a topic that is published to. */
export function requireTopic(topic: unknown): void {
  if (typeof topic !== "string" || topic === "") {
    throw new TypeError(
      "Cannot publish: the topic must be a string that is not empty",
    );
  }
  if (isPattern(topic)) {
    throw new TypeError(
      `Cannot publish to "${topic}": a wildcard is for subscriptions`,
    );
  }
}
