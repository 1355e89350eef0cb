// SPDX-License-Identifier: Apache-2.0
// worker_messages.ts - what modules of serveAll() call to publish and to reach other workers; exported by workers.ts,
// over the worker_mail.ts of the isolate.

import { type Sharing, sharing } from "./sharing.ts";
import type { MessageHandler } from "./worker_mail.ts";
import type { Sendable, SendOptions } from "./ws_socket.ts";

/** Which worker one is. */
export interface WorkerIdentity {
  /** Its number, from 0 on; whoever replaces it has the same. */
  number: number;
  /** How many workers there are. */
  count: number;
}

/**
 * Tells which worker of {@linkcode serveAll} this is.
 *
 * @returns Its number and how many there are; null in an isolate that is none of them.
 */
export function currentWorker(): WorkerIdentity | null {
  const mail = sharing()?.mail;
  return mail === undefined
    ? null
    : { number: mail.worker, count: mail.workers };
}

/**
 * Sends a message to all WebSockets that are subscribed to a topic of the module's server, in all workers.
 *
 * @param topic The topic, without a wildcard.
 * @param message The message; encoded once, however many subscribers there are.
 * @param options How it is to be sent.
 * @returns How many sockets of this worker accepted it, and how many subscribers there are in the workers that it was
 * posted to.
 * @throws {Error} In an isolate that is no worker, or does not listen.
 */
export function publish(
  topic: string,
  message: Sendable,
  options?: SendOptions,
): number {
  const { main } = ours("publish");
  if (main === null) {
    throw new Error("Cannot publish: this worker does not listen");
  }
  return main.topics.publish(topic, message, options, null);
}

/**
 * Sends a value to another worker, to be heard by its {@linkcode onMessage}. What one worker sends to another keeps its
 * order, also beside what it publishes.
 *
 * @param worker The number of the worker, or `"main"` for the option `onMessage` of `serveAll()`.
 * @param value Anything that can be cloned. Strings and bytes are the cheapest.
 * @returns Whether it is in the worker's mailbox: not when that is full, or nobody serves under that number just now.
 * @throws {RangeError} When there is no such number, or the value is longer than a mailbox.
 * @throws {TypeError} When the value cannot be cloned.
 */
export function send(worker: number | "main", value: unknown): boolean {
  const { mail } = ours("send");
  if (worker !== "main") return mail.sender.send(worker, value);
  mail.sendToMain(value);
  return true;
}

/**
 * Sends a value to all other workers.
 *
 * @param value Anything that can be cloned.
 * @returns How many have it in their mailbox; while a worker is replaced, the old one and the new one.
 * @throws {RangeError} When the value is longer than a mailbox.
 * @throws {TypeError} When the value cannot be cloned.
 */
export function broadcast(value: unknown): number {
  return ours("broadcast").mail.sender.broadcast(value);
}

/**
 * Hears what other workers and the main thread send to this one. Where it is called while the module is imported, no
 * message is missed.
 *
 * @param handler Called with each message. What it throws is logged.
 * @throws {Error} In an isolate that is no worker.
 */
export function onMessage(handler: MessageHandler): void {
  if (typeof handler !== "function") {
    throw new TypeError("Cannot hear messages: the handler must be a function");
  }
  ours("hear messages").mail.handlers.add(handler);
}

function ours(action: string): Sharing {
  const own = sharing();
  if (own !== null) return own;
  throw new Error(
    `Cannot ${action}: this is no worker of serveAll(); currentWorker() tells`,
  );
}
