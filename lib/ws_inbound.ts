// SPDX-License-Identifier: Apache-2.0
// ws_inbound.ts - reception that is more than handing on whole messages as they come: held while the application is
// paused or busy, limited in rate, in batches, in pieces; made by ws_connection.ts.

import { type Inbox, layout } from "../ffi/mod.ts";
import type { PollLoop } from "./poll_loop.ts";
import { endBatch, MessageBatch, poison } from "./ws_batch.ts";
import { POLICY_VIOLATION } from "./ws_codes.ts";
import { OPEN, type WebSocketConnection } from "./ws_connection.ts";
import type { Message } from "./ws_socket.ts";

/** What handlers want to be given. */
export type Reception = "message" | "messages" | "fragment";

/** What reception asks of the route. A promise is that of a handler, and never rejects. */
export interface InboundHost<Socket> {
  readonly reception: Reception;
  readonly ordered: boolean;
  readonly debug: boolean;
  /** Messages a second; 0 means no limit. */
  readonly messageRate: number;
  message(socket: Socket, message: Message): Promise<void> | undefined;
  messages(socket: Socket, batch: MessageBatch): Promise<void> | undefined;
  fragment(
    socket: Socket,
    chunk: Message,
    fin: boolean,
  ): Promise<void> | undefined;
}

// A message, or a piece of one, that nobody else holds.
interface Held {
  data: Message;
  fin: boolean;
}

const WHOLE = layout.FIRST | layout.LAST;

/** The receiving side of one connection. */
export class Inbound<Socket> {
  readonly #connection: WebSocketConnection<Socket>;
  readonly #host: InboundHost<Socket>;
  readonly #loop: PollLoop;
  readonly #inbox: Inbox;
  // By the application.
  #paused = false;
  // A handler's promise is waited for.
  #busy = false;
  // C was told to stop reading.
  #stopped = false;
  #delivering = false;
  // What has arrived since, and how the connection ended behind it.
  #held: Held[] = [];
  #end: (() => void) | null = null;
  // What follows the promise that is waited for, whatever has become of the connection.
  #whenDone: (() => void) | null = null;
  // Messages that may still come now, as of a time.
  #allowance: number;
  #allowedAt: number;
  #decoder: TextDecoder | null = null;

  constructor(
    connection: WebSocketConnection<Socket>,
    host: InboundHost<Socket>,
    loop: PollLoop,
  ) {
    this.#connection = connection;
    this.#host = host;
    this.#loop = loop;
    this.#inbox = loop.reactor.inbox;
    this.#allowance = host.messageRate;
    this.#allowedAt = loop.now;
  }

  /** Takes in a record that is a whole message. */
  receive(index: number): void {
    if (!this.#admits()) return this.#refuse();
    if (this.#holds()) return this.#hold(this.#copy(index), true);
    switch (this.#host.reception) {
      case "message":
        return this.#lend(
          index,
          (message) => this.#host.message(this.#connection.socket, message),
        );
      case "messages":
        return this.#deliverBatch(index);
      case "fragment":
        return this.#lend(
          index,
          (chunk) => this.#host.fragment(this.#connection.socket, chunk, true),
        );
    }
  }

  /** Takes in a message that was put together. */
  assembled(message: Message): void {
    if (!this.#admits()) return this.#refuse();
    if (this.#holds()) return this.#hold(message, true);
    this.#deliver({ data: message, fin: true });
  }

  /** Takes in a record that is a piece of a message, for a handler of fragments. */
  piece(index: number, flags: number): void {
    const fin = (flags & layout.LAST) !== 0;
    if (fin && !this.#admits()) return this.#refuse();
    if ((flags & layout.TEXT) !== 0) {
      const text = this.#decode(this.#inbox.borrow(index), fin);
      if (this.#holds()) this.#hold(text, fin);
      else this.#deliver({ data: text, fin });
    } else if (this.#holds()) {
      this.#hold(this.#copy(index), fin);
    } else {
      this.#lend(
        index,
        (chunk) => this.#host.fragment(this.#connection.socket, chunk, fin),
      );
    }
  }

  /** Whether `end` will be called once the messages before it are delivered and, on an ordered route, handled. */
  postpones(end: () => void): boolean {
    if (this.#held.length === 0 && !this.#busy) return false;
    this.#end ??= end;
    return true;
  }

  /** Delivers nothing more; what comes next is the end. */
  abandon(): void {
    this.#held = [];
    this.#paused = false;
    const end = this.#end;
    this.#end = null;
    this.#start();
    end?.();
  }

  /** Calls `fn` once the handler whose promise is waited for is done: now, if there is none. */
  whenDone(fn: () => void): void {
    if (this.#busy) this.#whenDone = fn;
    else fn();
  }

  pause(): void {
    this.#paused = true;
    this.#stop();
  }

  resume(): void {
    this.#paused = false;
    this.#release();
  }

  /** Delivers nothing before a handler's promise is settled, where the route is ordered. */
  waitFor(result: Promise<void> | undefined): void {
    if (result === undefined || !this.#host.ordered) return;
    this.#busy = true;
    result.then(() => {
      this.#busy = false;
      this.#release();
      this.#whenDone?.();
    });
  }

  #holds(): boolean {
    return this.#paused || this.#busy || this.#held.length > 0;
  }

  #hold(data: Message, fin: boolean): void {
    this.#held.push({ data, fin });
    this.#stop();
  }

  // Delivers what was held, until the application pauses again or is busy.
  #release(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    while (this.#held.length > 0 && this.#flows()) this.#deliverHeld();
    this.#delivering = false;
    if (!this.#flows()) return;
    const end = this.#end;
    this.#end = null;
    this.#start();
    end?.();
  }

  #flows(): boolean {
    return !this.#paused && !this.#busy && this.#connection.readyState === OPEN;
  }

  #deliverHeld(): void {
    if (this.#host.reception !== "messages") {
      return this.#deliver(this.#held.shift()!);
    }
    const messages = this.#held.map(({ data }) => data);
    this.#held = [];
    this.#deliverOwn(messages);
  }

  #deliver({ data, fin }: Held): void {
    if (this.#host.reception === "messages") return this.#deliverOwn([data]);
    const { socket } = this.#connection;
    const result = this.#host.reception === "message"
      ? this.#host.message(socket, data)
      : this.#host.fragment(socket, data, fin);
    if (this.#host.debug && typeof data !== "string") poison(data);
    this.waitFor(result);
  }

  #deliverOwn(messages: Message[]): void {
    this.#handBatch(0, messages.length, messages);
  }

  // The records of a connection follow one another, but for those that came in two reads.
  #deliverBatch(first: number): void {
    let end = first + 1;
    let admitted = true;
    while (admitted && this.#isWholeMessage(end)) {
      admitted = this.#admits();
      if (admitted) this.#connection.count(end++);
    }
    this.#loop.taken = end;
    this.#handBatch(first, end - first, null);
    if (!admitted) this.#refuse();
  }

  #isWholeMessage(index: number): boolean {
    return index < this.#loop.records &&
      this.#inbox.handle(index) === this.#connection.handle &&
      this.#inbox.kind(index) === layout.MESSAGE &&
      (this.#inbox.flags(index) & WHOLE) === WHOLE;
  }

  #handBatch(first: number, length: number, own: Message[] | null): void {
    const { debug } = this.#host;
    const batch = new MessageBatch(this.#inbox, first, length, own, debug);
    const result = this.#host.messages(this.#connection.socket, batch);
    endBatch(batch);
    this.waitFor(result);
  }

  // Text is the handler's for good, bytes until it returns.
  #lend(
    index: number,
    handler: (message: Message) => Promise<void> | undefined,
  ): void {
    const inbox = this.#inbox;
    if ((inbox.flags(index) & layout.TEXT) !== 0) {
      return this.waitFor(handler(inbox.text(index)));
    }
    const block = inbox.block(index);
    const view = inbox.view(index);
    const result = handler(view);
    if (this.#host.debug) poison(view);
    inbox.returned(block);
    this.waitFor(result);
  }

  #copy(index: number): Message {
    return (this.#inbox.flags(index) & layout.TEXT) !== 0
      ? this.#inbox.text(index)
      : this.#inbox.borrow(index).slice();
  }

  #decode(bytes: Uint8Array, last: boolean): string {
    this.#decoder ??= new TextDecoder("utf-8", { ignoreBOM: true });
    return this.#decoder.decode(bytes, { stream: !last });
  }

  // A bucket that holds the messages of one second, and is filled at their rate.
  #admits(): boolean {
    const rate = this.#host.messageRate;
    if (rate === 0) return true;
    const { now } = this.#loop;
    const grown = this.#allowance + (now - this.#allowedAt) * rate / 1000;
    this.#allowance = Math.min(rate, grown);
    this.#allowedAt = now;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }

  #refuse(): void {
    this.#connection.close(POLICY_VIOLATION, "Too many messages");
  }

  #stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#connection.command(layout.CMD_PAUSE, 0);
  }

  #start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#connection.command(layout.CMD_RESUME, 0);
  }
}
