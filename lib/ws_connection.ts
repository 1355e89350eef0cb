// SPDX-License-Identifier: Apache-2.0
// ws_connection.ts - one WebSocket connection: records to callbacks, frames to the outbox; made by ws_route.ts and
// ws_client_session.ts, called by poll_loop.ts and, through ws_socket.ts and ws_client_socket.ts, by the application.

import { errnoName, layout } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { Subscriber } from "./topics.ts";
import { violationText } from "./violations.ts";
import { Assembler } from "./ws_assembler.ts";
import { ABNORMAL_CLOSURE, GOING_AWAY, NO_STATUS } from "./ws_codes.ts";
import type { Common } from "./ws_common.ts";
import type { Deflater } from "./ws_deflate.ts";
import { OPCODE_PONG, writeCloseFrame, writeFrame } from "./ws_encoder.ts";
import { Inbound, type InboundHost } from "./ws_inbound.ts";
import { Outbound, type OutboundHost } from "./ws_outbound.ts";
import type { PreparedMessage } from "./ws_prepared.ts";
import type {
  PublishOptions,
  Sendable,
  SendOptions,
  SendStatus,
  SocketStatistics,
} from "./ws_socket.ts";

/** What a connection asks of who made it: a route, or a client. */
export interface SocketHost<Socket>
  extends InboundHost<Socket>, OutboundHost<Socket> {
  readonly closeTimeout: number;
  /** Whether anybody wants to hear of pings and pongs. */
  readonly hearsControl: boolean;
  /** Whether reception is more than handing on messages as they come. */
  readonly careful: boolean;
  ping(socket: Socket, payload: Uint8Array<ArrayBuffer>): void;
  pong(socket: Socket, payload: Uint8Array<ArrayBuffer>): void;
  close(socket: Socket, code: number, reason: string): void;
}

/** Values of `readyState`. */
export const CONNECTING = 0; // of a client
export const OPEN = 1;
export const CLOSING = 2;
export const CLOSED = 3;

const WHOLE = layout.FIRST | layout.LAST;

const NO_BYTES = new Uint8Array(0);
const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** What few connections have at a time, so that the others need not carry it: made when the first of it is wanted. */
class Extras {
  assembler: Assembler | null = null;
  /** What waits to be answered with a pong. */
  ping: Uint8Array | null = null;
  lifetime: ReturnType<typeof setTimeout> | undefined;
  wasClean = false;
  closeCode = ABNORMAL_CLOSURE;
  closeReason = "";
}

/** State of a connection after its handshake. */
export class WebSocketConnection<Socket> implements Connection, Subscriber {
  readonly handle: number;
  /** What the application holds of it. */
  socket!: Socket;
  /** Its sending side. */
  readonly outbound: Outbound<Socket>;
  #readyState = OPEN;
  #topics: Set<string> | null = null;
  #receivedMessages = 0;
  #receivedBytes = 0;
  readonly #common: Common<Socket>;
  // Null while messages are handed on as they come.
  #inbound: Inbound<Socket> | null;
  #extras: Extras | null = null;

  constructor(
    handle: number,
    common: Common<Socket>,
    deflater: Deflater | null,
  ) {
    const { host, loop } = common;
    this.handle = handle;
    this.#common = common;
    this.outbound = new Outbound(this, common, deflater);
    this.#inbound = host.careful ? new Inbound(this, host, loop) : null;
  }

  /** One of `OPEN`, `CLOSING` and `CLOSED`. */
  get readyState(): number {
    return this.#readyState;
  }

  get writable(): boolean {
    return this.#readyState === OPEN;
  }

  /** The peer's close frame has come. */
  get wasClean(): boolean {
    return this.#extras?.wasClean ?? false;
  }

  get topics(): Set<string> {
    return this.#topics ??= new Set();
  }

  /** A copy of the counters. */
  statistics(): SocketStatistics {
    this.#common.outbox.settle();
    const { sentMessages, sentBytes, droppedMessages } = this.outbound;
    return {
      receivedMessages: this.#receivedMessages,
      receivedBytes: this.#receivedBytes,
      sentMessages,
      sentBytes,
      droppedMessages,
    };
  }

  receive(index: number): void {
    switch (this.#common.inbox.kind(index)) {
      case layout.MESSAGE:
        return this.#onMessages(index);
      case layout.PING:
        return this.#onPing(index);
      case layout.PONG:
        return this.#onPong(index);
      case layout.CLOSE:
        return this.#onClose(index);
      case layout.QUIET:
        return void this.outbound.ping(NO_BYTES);
      case layout.DRAIN:
        return this.#onDrain();
      case layout.VIOLATION:
        return this.#onViolation(index);
      case layout.END:
        return this.#end(() => this.#finish());
      case layout.CLOSED:
        this.#inbound?.abandon();
        return this.#tellClosed(errnoName(this.#common.inbox.code(index)));
    }
  }

  drain(): void {
    this.close(GOING_AWAY, "Server shutting down");
  }

  lost(): void {
    this.#tellClosed("");
  }

  sharedFrame(
    message: PreparedMessage,
    options?: SendOptions,
  ): Uint8Array<ArrayBuffer> | null {
    return this.outbound.sharedFrame(message, options);
  }

  sendShared(message: PreparedMessage, start: number, length: number): void {
    this.outbound.sendShared(message, start, length);
  }

  sendPublished(message: PreparedMessage, options?: SendOptions): SendStatus {
    return this.outbound.sendPublished(message, options);
  }

  /** Subscribes to a topic; false when it was already. */
  subscribe(topic: string): boolean {
    return this.writable && this.#common.loop.topics.subscribe(this, topic);
  }

  /** Ends a subscription; false when there was none. */
  unsubscribe(topic: string): boolean {
    return this.#common.loop.topics.unsubscribe(this, topic);
  }

  /** Sends a message to all subscribers, itself among them when asked to. */
  publish(topic: string, message: Sendable, options?: PublishOptions): number {
    const except = options?.self === true ? null : this;
    return this.#common.loop.topics.publish(topic, message, options, except);
  }

  /** Begins the closing handshake; without a code when it is null. */
  close(code: number | null, reason: string): void {
    if (this.readyState !== OPEN) return;
    this.outbound.releaseAll();
    this.#become(CLOSING);
    this.#writeClose(code, reason);
    this.command(layout.CMD_DEADLINE, this.#common.host.closeTimeout);
    this.#inbound?.abandon();
  }

  /** Closes without a handshake. */
  terminate(): void {
    if (this.readyState === CLOSED) return;
    this.#become(CLOSING);
    this.command(layout.CMD_TERMINATE, 0);
  }

  /** Delivers no message until `resume()`. */
  pause(): void {
    if (this.readyState !== OPEN) return;
    this.#inbound ??= new Inbound(this, this.#common.host, this.#common.loop);
    this.#inbound.pause();
  }

  /** Delivers what was held, and goes on. */
  resume(): void {
    if (this.readyState === OPEN) this.#inbound?.resume();
  }

  /** Delivers no message before a promise of the application is settled, where the route is ordered. */
  waitFor(result: Promise<void> | undefined): void {
    this.#inbound?.waitFor(result);
  }

  /** Closes after so many milliseconds. */
  limitLife(ms: number): void {
    const over = (): void => this.close(GOING_AWAY, "Lifetime over");
    const timer = setTimeout(over, ms);
    Deno.unrefTimer(timer);
    this.#more().lifetime = timer;
  }

  /** Stages a command for the connection. */
  command(op: number, argument: number): void {
    this.#common.outbox.command(this.handle, op, argument);
    this.#common.loop.kick();
  }

  /** Counts a handler's promise as outstanding until it settles. */
  watch(promise: Promise<unknown>): void {
    const settled = (): void => this.#common.loop.settled();
    this.#common.loop.promised();
    promise.then(settled, settled);
  }

  /** Counts a record that is a whole message. */
  count(index: number): void {
    this.#receivedMessages++;
    this.#receivedBytes += this.#common.inbox.length(index);
  }

  #more(): Extras {
    return this.#extras ??= new Extras();
  }

  #become(readyState: number): void {
    this.#readyState = readyState;
    this.outbound.adjustLimit();
  }

  // Records of a connection that follow one another are taken in here, which spares the loop to look for it each time.
  #onMessages(first: number): void {
    const { loop, inbox } = this.#common;
    let index = first;
    do {
      loop.taken = index + 1;
      this.#onMessage(index);
      index = loop.taken;
    } while (index < loop.records && inbox.followsMessage(index));
  }

  #onMessage(index: number): void {
    if (this.#readyState !== OPEN) return;
    const inbox = this.#common.inbox;
    const flags = inbox.flags(index);
    if ((flags & WHOLE) !== WHOLE) return this.#onPiece(index, flags);
    this.count(index);
    if (this.#inbound !== null) return this.#inbound.receive(index);
    if ((flags & layout.TEXT) !== 0) {
      this.#common.host.message(this.socket, inbox.text(index));
    } else {
      const block = inbox.block(index);
      this.#common.host.message(this.socket, inbox.view(index));
      inbox.returned(block);
    }
  }

  #onPiece(index: number, flags: number): void {
    this.#receivedBytes += this.#common.inbox.length(index);
    if ((flags & layout.LAST) !== 0) this.#receivedMessages++;
    if (this.#inbound !== null && this.#common.host.reception === "fragment") {
      return this.#inbound.piece(index, flags);
    }
    const extras = this.#more();
    const assembler = extras.assembler ??= new Assembler();
    assembler.push(
      this.#common.inbox.borrow(index),
      this.#common.inbox.total(index),
    );
    if ((flags & layout.LAST) === 0) return;
    extras.assembler = null;
    const isText = (flags & layout.TEXT) !== 0;
    if (this.#inbound !== null) {
      this.#inbound.assembled(
        isText ? assembler.takeText() : assembler.takeBytes(),
      );
    } else if (isText) {
      this.#common.host.message(this.socket, assembler.takeText());
    } else {
      this.#common.host.message(this.socket, assembler.lendBytes());
      assembler.release();
    }
  }

  // Answered until the peer's close frame, behind our own too (RFC 6455 section 5.5.2). While the peer does not read,
  // only the latest is worth an answer (section 5.5.3).
  #onPing(index: number): void {
    if (this.readyState === CLOSED) return;
    const payload = this.#common.inbox.borrow(index);
    if (this.outbound.buffered < this.#common.host.highWatermark) {
      this.#writePong(payload);
    } else {
      this.#more().ping = payload.slice();
      this.outbound.wantDrain();
    }
    if (this.readyState !== OPEN || !this.#common.host.hearsControl) return;
    const block = this.#common.inbox.block(index);
    this.#common.host.ping(this.socket, this.#common.inbox.view(index));
    this.#common.inbox.returned(block);
  }

  #onPong(index: number): void {
    if (this.readyState !== OPEN || !this.#common.host.hearsControl) return;
    const block = this.#common.inbox.block(index);
    this.#common.host.pong(this.socket, this.#common.inbox.view(index));
    this.#common.inbox.returned(block);
  }

  #onDrain(): void {
    if (this.readyState === CLOSED) return;
    const extras = this.#extras;
    if (extras !== null && extras.ping !== null) {
      this.#writePong(extras.ping);
      extras.ping = null;
    }
    if (this.readyState === OPEN) this.outbound.drained();
  }

  // Answers with the peer's own code, unless this is its answer to ours.
  #onClose(index: number): void {
    const code = this.#common.inbox.code(index);
    const reason = this.#common.inbox.length(index) === 0
      ? ""
      : UTF8.decode(this.#common.inbox.borrow(index));
    this.#end(() => {
      const extras = this.#more();
      extras.closeCode = code;
      extras.closeReason = reason;
      extras.wasClean = true;
      this.#answer(code === NO_STATUS ? null : code, "");
      if (this.#common.masker === null) this.#finish();
      else this.#awaitEnd();
    });
  }

  #onViolation(index: number): void {
    const code = this.#common.inbox.code(index);
    const violation = this.#common.inbox.aux(index);
    this.#common.loop.tally.refused(violation);
    this.#end(() => {
      const extras = this.#more();
      extras.closeCode = code;
      extras.closeReason = violationText(violation);
      this.#answer(code, extras.closeReason);
      this.#finish();
    });
  }

  // Whatever the end is, it comes behind the messages before it.
  #end(how: () => void): void {
    if (this.readyState === OPEN && this.#inbound?.postpones(how)) return;
    how();
  }

  #answer(code: number | null, reason: string): void {
    if (this.readyState === OPEN) this.#writeClose(code, reason);
  }

  // It is for the server to end the connection first (RFC 6455 section 7.1.1).
  #awaitEnd(): void {
    this.#become(CLOSING);
    this.command(layout.CMD_DEADLINE, this.#common.host.closeTimeout);
    // While it is paused, nothing is late.
    this.#inbound?.abandon();
  }

  // Nothing more can be said or heard. What is left, sending the rest and waiting for the peer's FIN, is C's. A client
  // is told when that is over: nothing of it is left then.
  #finish(): void {
    this.command(layout.CMD_FINISH, 0);
    if (this.#common.masker === null) this.#tellClosed("");
    else this.#become(CLOSING);
  }

  #writeClose(code: number | null, reason: string): void {
    writeCloseFrame(
      this.#common.outbox,
      this.handle,
      code,
      reason,
      this.#common.masker,
    );
  }

  #writePong(payload: Uint8Array): void {
    const { handle } = this;
    writeFrame(
      this.#common.outbox,
      handle,
      OPCODE_PONG,
      payload,
      true,
      this.#common.masker,
    );
  }

  #tellClosed(reason: string): void {
    if (this.readyState === CLOSED) return;
    this.#become(CLOSED);
    const { lifetime, wasClean, closeCode, closeReason } = this.#more();
    clearTimeout(lifetime);
    this.outbound.abandon();
    // How the connection went does not matter once the peer has said why.
    const why = wasClean ? closeReason : closeReason || reason;
    const tell = (): void => {
      this.#common.host.close(this.socket, closeCode, why);
      if (this.#topics !== null) this.#common.loop.topics.leave(this);
    };
    if (this.#inbound === null) tell();
    else this.#inbound.whenDone(tell);
  }
}
