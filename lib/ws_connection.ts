// SPDX-License-Identifier: Apache-2.0
// ws_connection.ts - one WebSocket connection on the server's side: records to callbacks, frames to the outbox;
// made by websocket.ts, called by poll_loop.ts and, through ws_socket.ts, by the application.

import { errnoName, type Inbox, layout, type Outbox } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { PollLoop } from "./poll_loop.ts";
import type { Subscriber } from "./topics.ts";
import { violationText } from "./violations.ts";
import { Assembler } from "./ws_assembler.ts";
import {
  OPCODE_BINARY,
  OPCODE_CONTINUATION,
  OPCODE_PING,
  OPCODE_PONG,
  OPCODE_TEXT,
  writeCloseFrame,
  writeFrame,
  writeTextFrame,
} from "./ws_encoder.ts";
import { Backlog, type SlowConsumerPolicy } from "./ws_backlog.ts";
import { Inbound, type InboundHost } from "./ws_inbound.ts";
import { frameOf, PreparedMessage } from "./ws_prepared.ts";
import type {
  PublishOptions,
  Sendable,
  SendStatus,
  ServerWebSocket,
  SocketStatistics,
} from "./ws_socket.ts";

/** A message on its way out. */
export type Outgoing = string | Uint8Array | PreparedMessage;

/** What a connection asks of its route. */
export interface SocketHost<Data> extends InboundHost<ServerWebSocket<Data>> {
  readonly highWatermark: number;
  readonly maxQueueBytes: number;
  readonly closeTimeout: number;
  readonly slowConsumer: SlowConsumerPolicy;
  /** Whether anybody wants to hear of pings and pongs. */
  readonly hearsControl: boolean;
  /** Whether reception is more than handing on messages as they come. */
  readonly careful: boolean;
  ping(socket: ServerWebSocket<Data>, payload: Uint8Array<ArrayBuffer>): void;
  pong(socket: ServerWebSocket<Data>, payload: Uint8Array<ArrayBuffer>): void;
  dropped(socket: ServerWebSocket<Data>, message: Outgoing): void;
  drain(socket: ServerWebSocket<Data>): void;
  close(socket: ServerWebSocket<Data>, code: number, reason: string): void;
}

/** Values of `readyState`. */
export const OPEN = 1;
export const CLOSING = 2;
export const CLOSED = 3;

const NO_STATUS = 1005; // RFC 6455 section 7.1.5: a close frame without a code
const ABNORMAL = 1006; // the connection ended without a close frame
const GOING_AWAY = 1001;
const WHOLE = layout.FIRST | layout.LAST;

// What sendFragment() is in the midst of.
const WHOLE_MESSAGES = 0; // of nothing
const FRAGMENTS_OF_TEXT = 1;
const FRAGMENTS_OF_BINARY = 2;
const FRAGMENTS_DROPPED = 3; // of a message whose first fragment was dropped

// No message is within it: all of them take the slow path.
const NO_LIMIT_FITS = -1;

const TOO_SLOW = 1013;

const NO_BYTES = new Uint8Array(0);
const UTF8 = new TextDecoder();
const ENCODER = new TextEncoder();

/** State of a connection after its handshake. */
export class WebSocketConnection<Data> implements Connection, Subscriber {
  readonly handle: number;
  /** What the application holds of it. */
  socket!: ServerWebSocket<Data>;
  readyState = OPEN;
  #topics: Set<string> | null = null;
  #receivedMessages = 0;
  #receivedBytes = 0;
  #sentMessages = 0;
  #sentBytes = 0;
  #droppedMessages = 0;
  readonly #host: SocketHost<Data>;
  readonly #maxQueueBytes: number;
  // Whether messages are held where they can be given up again.
  readonly #evicts: boolean;
  readonly #loop: PollLoop;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  #assembler: Assembler | null = null;
  // Null while messages are handed on as they come.
  #inbound: Inbound<Data> | null;
  #lifetime: ReturnType<typeof setTimeout> | undefined;
  #closeCode = ABNORMAL;
  #closeReason = "";
  #pong: Uint8Array | null = null;
  // send() said so, and drain has not followed yet.
  #queued = false;
  // Bytes that may wait for the peer together with a message that is simply sent, and what they are mostly.
  #limit: number;
  readonly #usualLimit: number;
  // Messages that C was not given yet.
  #backlog: Backlog | null = null;
  #fragments = WHOLE_MESSAGES;
  #tellingDropped = false;

  constructor(handle: number, loop: PollLoop, host: SocketHost<Data>) {
    this.handle = handle;
    this.#host = host;
    this.#maxQueueBytes = Math.min(host.maxQueueBytes, loop.maxQueueBytes);
    this.#evicts = host.slowConsumer === "drop-oldest" ||
      host.slowConsumer === "coalesce";
    this.#usualLimit = this.#evicts
      ? Math.min(host.highWatermark, this.#maxQueueBytes)
      : this.#maxQueueBytes;
    this.#limit = this.#usualLimit;
    this.#loop = loop;
    this.#inbox = loop.reactor.inbox;
    this.#outbox = loop.reactor.outbox;
    this.#inbound = host.careful ? new Inbound(this, host, loop) : null;
  }

  /** Bytes that the kernel has not taken yet. */
  get buffered(): number {
    if (this.readyState === CLOSED) return 0;
    return this.#outbox.buffered(this.handle) + (this.#backlog?.bytes ?? 0);
  }

  get writable(): boolean {
    return this.readyState === OPEN;
  }

  get topics(): Set<string> {
    return this.#topics ??= new Set();
  }

  /** A copy of the counters. */
  statistics(): SocketStatistics {
    return {
      receivedMessages: this.#receivedMessages,
      receivedBytes: this.#receivedBytes,
      sentMessages: this.#sentMessages,
      sentBytes: this.#sentBytes,
      droppedMessages: this.#droppedMessages,
    };
  }

  receive(index: number): void {
    switch (this.#inbox.kind(index)) {
      case layout.MESSAGE:
        return this.#onMessage(index);
      case layout.PING:
        return this.#onPing(index);
      case layout.PONG:
        return this.#onPong(index);
      case layout.CLOSE:
        return this.#onClose(index);
      case layout.QUIET:
        return void this.ping(NO_BYTES);
      case layout.DRAIN:
        return this.#onDrain();
      case layout.VIOLATION:
        return this.#onViolation(index);
      case layout.END:
        return this.#end(() => this.#finish());
      case layout.CLOSED:
        this.#inbound?.abandon();
        return this.#tellClosed(errnoName(this.#inbox.code(index)));
    }
  }

  drain(): void {
    this.close(GOING_AWAY, "Server shutting down");
  }

  lost(): void {
    this.#tellClosed("");
  }

  /** Stages a text message. */
  sendText(text: string, key?: string): SendStatus {
    const buffered = this.#outbox.buffered(this.handle);
    // Near the limit the number of bytes matters, and not just that of characters.
    if (buffered + 3 * text.length > this.#limit) {
      return this.#sendSlowly(text, key);
    }
    if (this.readyState !== OPEN) return this.#drop(text);
    this.#sentBytes += writeTextFrame(this.#outbox, this.handle, text);
    this.#sentMessages++;
    return this.#staged(buffered + text.length);
  }

  /** Stages a binary message. */
  sendBytes(bytes: Uint8Array, key?: string): SendStatus {
    const total = this.#outbox.buffered(this.handle) + bytes.length;
    if (this.readyState !== OPEN || total > this.#limit) {
      return this.#sendSlowly(bytes, key);
    }
    writeFrame(this.#outbox, this.handle, OPCODE_BINARY, bytes);
    this.#sentMessages++;
    this.#sentBytes += bytes.length;
    return this.#staged(total);
  }

  /** Stages a message that was encoded before. */
  sendPrepared(prepared: PreparedMessage, key?: string): SendStatus {
    const total = this.#outbox.buffered(this.handle) + prepared.length;
    return this.readyState !== OPEN || total > this.#limit
      ? this.#sendSlowly(prepared, key)
      : this.#sendFrame(prepared);
  }

  sendShared(start: number, message: PreparedMessage): boolean {
    const total = this.#outbox.buffered(this.handle) + message.length;
    if (total > this.#limit) return false;
    this.#outbox.share(this.handle, start, frameOf(message).length);
    this.#sentMessages++;
    this.#sentBytes += message.length;
    this.#staged(total);
    return true;
  }

  sendPublished(message: PreparedMessage, key?: string): SendStatus {
    // Nobody who publishes can know of fragments that somebody else sends.
    return this.writable && this.#fragments !== WHOLE_MESSAGES
      ? this.#hold(message, key)
      : this.sendPrepared(message, key);
  }

  /** Subscribes to a topic; false when it was already. */
  subscribe(topic: string): boolean {
    return this.writable && this.#loop.topics.subscribe(this, topic);
  }

  /** Ends a subscription; false when there was none. */
  unsubscribe(topic: string): boolean {
    return this.#loop.topics.unsubscribe(this, topic);
  }

  /** Sends a message to all subscribers, itself among them when asked to. */
  publish(topic: string, message: Sendable, options?: PublishOptions): number {
    const except = options?.self === true ? null : this;
    return this.#loop.topics.publish(topic, message, options, except);
  }

  /** Stages a piece of a message; the last one has `fin`. */
  sendFragment(chunk: string | Uint8Array, fin: boolean): SendStatus {
    const isText = typeof chunk === "string";
    const kind = isText ? FRAGMENTS_OF_TEXT : FRAGMENTS_OF_BINARY;
    const before = this.#fragments;
    if (before === WHOLE_MESSAGES) this.#releaseAll();
    else if (before !== FRAGMENTS_DROPPED && before !== kind) {
      throw new TypeError(
        "Cannot send the fragment: those of one message must all be strings, or all be bytes",
      );
    }
    const bytes = isText ? ENCODER.encode(chunk) : chunk;
    const total = this.buffered + bytes.length;
    const fits = this.readyState === OPEN && before !== FRAGMENTS_DROPPED &&
      total <= this.#maxQueueBytes;
    if (!fits) return this.#dropFragment(chunk, before, fin);
    this.#fragments = fin ? WHOLE_MESSAGES : kind;
    const first = isText ? OPCODE_TEXT : OPCODE_BINARY;
    const opcode = before === WHOLE_MESSAGES ? first : OPCODE_CONTINUATION;
    writeFrame(this.#outbox, this.handle, opcode, bytes, fin);
    this.#sentBytes += bytes.length;
    if (fin) this.#sentMessages++;
    this.#endFragment();
    return this.#staged(total);
  }

  /** Stages a ping. */
  ping(payload: Uint8Array): SendStatus {
    return this.#sendControl(OPCODE_PING, payload);
  }

  /** Stages a pong that nobody has asked for. */
  pong(payload: Uint8Array): SendStatus {
    return this.#sendControl(OPCODE_PONG, payload);
  }

  /** Begins the closing handshake. */
  close(code: number, reason: string): void {
    if (this.readyState !== OPEN) return;
    if (this.#fragments === WHOLE_MESSAGES) this.#releaseAll();
    this.readyState = CLOSING;
    writeCloseFrame(this.#outbox, this.handle, code, reason);
    this.command(layout.CMD_DEADLINE, this.#host.closeTimeout);
    this.#inbound?.abandon();
  }

  /** Closes without a handshake. */
  terminate(): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSING;
    this.command(layout.CMD_TERMINATE, 0);
  }

  /** Delivers no message until `resume()`. */
  pause(): void {
    if (this.readyState !== OPEN) return;
    this.#inbound ??= new Inbound(this, this.#host, this.#loop);
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
    this.#lifetime = timer;
  }

  /** Stages a command for the connection. */
  command(op: number, argument: number): void {
    this.#outbox.command(this.handle, op, argument);
    this.#loop.kick();
  }

  /** Counts a handler's promise as outstanding until it settles. */
  watch(promise: Promise<unknown>): void {
    const settled = (): void => this.#loop.settled();
    this.#loop.promised();
    promise.then(settled, settled);
  }

  #sendControl(opcode: number, payload: Uint8Array): SendStatus {
    const total = this.buffered + payload.length;
    if (this.readyState !== OPEN || total > this.#maxQueueBytes) {
      return "dropped";
    }
    writeFrame(this.#outbox, this.handle, opcode, payload);
    return this.#staged(total);
  }

  #sendFrame(prepared: PreparedMessage): SendStatus {
    this.#outbox.write(this.handle, frameOf(prepared), 0);
    this.#sentMessages++;
    this.#sentBytes += prepared.length;
    return this.#staged(this.buffered);
  }

  // Whatever is not simply sent: to a slow peer, or to one that is gone.
  #sendSlowly(message: Outgoing, key?: string): SendStatus {
    if (this.readyState !== OPEN) return this.#drop(message);
    if (this.#fragments !== WHOLE_MESSAGES) throw inMidst();
    const queued = this.#outbox.buffered(this.handle);
    if (typeof message !== "string" && message.length > this.#maxQueueBytes) {
      return this.#refuse(message);
    }
    const prepared = message instanceof PreparedMessage
      ? message
      : new PreparedMessage(message);
    const fits = queued + prepared.length <= this.#maxQueueBytes;
    const waits = (this.#backlog?.length ?? 0) > 0 ||
      (this.#evicts && queued >= this.#host.highWatermark);
    if (fits && !waits) return this.#sendFrame(prepared);
    return waits || this.#evicts
      ? this.#hold(prepared, key)
      : this.#refuse(message);
  }

  // Keeps a message in JavaScript until there is room, and makes some among those that wait.
  #hold(message: PreparedMessage, key: string | undefined): SendStatus {
    const backlog = this.#backlog ??= new Backlog();
    const room = this.#maxQueueBytes - this.#outbox.buffered(this.handle) -
      message.length;
    if (room < (this.#evicts ? 0 : backlog.bytes)) return this.#refuse(message);
    const evicted: PreparedMessage[] = [];
    const coalesces = this.#host.slowConsumer === "coalesce";
    const same = coalesces && key !== undefined ? backlog.take(key) : null;
    if (same !== null) evicted.push(same);
    while (backlog.bytes > room) evicted.push(backlog.shift());
    backlog.push(message, key);
    this.#adjustLimit();
    this.#outbox.wantDrain(this.handle);
    this.#queued = true;
    for (const each of evicted) this.#drop(each);
    return "queued";
  }

  // Hands what waits to C, as far as the peer takes it. Returns whether that was all.
  #release(): boolean {
    const backlog = this.#backlog;
    if (backlog === null || this.#fragments !== WHOLE_MESSAGES) return true;
    const { highWatermark } = this.#host;
    while (
      backlog.length > 0 && this.#outbox.buffered(this.handle) < highWatermark
    ) this.#sendFrame(backlog.shift());
    this.#adjustLimit();
    return backlog.length === 0;
  }

  // The same however slow the peer is: something follows that must come behind.
  #releaseAll(): void {
    if (this.#backlog === null) return;
    while (this.#backlog.length > 0) this.#sendFrame(this.#backlog.shift());
    this.#adjustLimit();
  }

  // What was published in the meantime may follow the last one.
  #endFragment(): void {
    this.#adjustLimit();
    if (!this.#release()) this.#outbox.wantDrain(this.handle);
  }

  #adjustLimit(): void {
    const simple = this.#fragments === WHOLE_MESSAGES &&
      (this.#backlog === null || this.#backlog.length === 0);
    this.#limit = simple ? this.#usualLimit : NO_LIMIT_FITS;
  }

  // There is no room for a message, and none is made.
  #refuse(message: Outgoing): SendStatus {
    const status = this.#drop(message);
    if (this.#host.slowConsumer === "close") this.close(TOO_SLOW, "Too slow");
    return status;
  }

  #drop(message: Outgoing): SendStatus {
    this.#droppedMessages++;
    // One that is dropped while another one is being told of would lead to a further call, without an end.
    if (this.readyState !== OPEN || this.#tellingDropped) return "dropped";
    this.#tellingDropped = true;
    this.#host.dropped(this.socket, message);
    this.#tellingDropped = false;
    return "dropped";
  }

  // A message whose beginning is on its way can neither be taken back nor be sent with a hole.
  #dropFragment(
    chunk: string | Uint8Array,
    before: number,
    fin: boolean,
  ): SendStatus {
    if (before === WHOLE_MESSAGES || before === FRAGMENTS_DROPPED) {
      this.#fragments = fin ? WHOLE_MESSAGES : FRAGMENTS_DROPPED;
      this.#endFragment();
      return before === WHOLE_MESSAGES ? this.#refuse(chunk) : "dropped";
    }
    const status = this.#drop(chunk);
    this.close(TOO_SLOW, "Too slow");
    return status;
  }

  #staged(buffered: number): SendStatus {
    this.#loop.kick();
    if (buffered < this.#host.highWatermark) return "sent";
    this.#outbox.wantDrain(this.handle);
    this.#queued = true;
    return "queued";
  }

  #onMessage(index: number): void {
    if (this.readyState !== OPEN) return;
    const inbox = this.#inbox;
    const flags = inbox.flags(index);
    this.#receivedBytes += inbox.length(index);
    if ((flags & layout.LAST) !== 0) this.#receivedMessages++;
    if ((flags & WHOLE) !== WHOLE) return this.#onPiece(index, flags);
    if (this.#inbound !== null) return this.#inbound.receive(index);
    if ((flags & layout.TEXT) !== 0) {
      this.#host.message(this.socket, inbox.text(index));
    } else {
      const block = inbox.block(index);
      this.#host.message(this.socket, inbox.view(index));
      inbox.returned(block);
    }
  }

  #onPiece(index: number, flags: number): void {
    if (this.#inbound !== null && this.#host.reception === "fragment") {
      return this.#inbound.piece(index, flags);
    }
    const assembler = this.#assembler ??= new Assembler();
    assembler.push(this.#inbox.borrow(index), this.#inbox.total(index));
    if ((flags & layout.LAST) === 0) return;
    this.#assembler = null;
    const isText = (flags & layout.TEXT) !== 0;
    const message = isText ? assembler.takeText() : assembler.takeBytes();
    if (this.#inbound !== null) this.#inbound.assembled(message);
    else this.#host.message(this.socket, message);
  }

  // While the peer does not read, only the latest ping is worth an answer (RFC 6455 section 5.5.3).
  #onPing(index: number): void {
    if (this.readyState !== OPEN) return;
    const payload = this.#inbox.borrow(index);
    if (this.buffered < this.#host.highWatermark) {
      writeFrame(this.#outbox, this.handle, OPCODE_PONG, payload);
    } else {
      this.#pong = payload.slice();
      this.#outbox.wantDrain(this.handle);
    }
    if (!this.#host.hearsControl) return;
    const block = this.#inbox.block(index);
    this.#host.ping(this.socket, this.#inbox.view(index));
    this.#inbox.returned(block);
  }

  #onPong(index: number): void {
    if (this.readyState !== OPEN || !this.#host.hearsControl) return;
    const block = this.#inbox.block(index);
    this.#host.pong(this.socket, this.#inbox.view(index));
    this.#inbox.returned(block);
  }

  #onDrain(): void {
    if (this.readyState !== OPEN) return;
    if (this.#pong !== null) {
      writeFrame(this.#outbox, this.handle, OPCODE_PONG, this.#pong);
    }
    this.#pong = null;
    if (!this.#release()) this.#outbox.wantDrain(this.handle);
    else if (this.#queued) this.#tellDrained();
  }

  #tellDrained(): void {
    this.#queued = false;
    this.#host.drain(this.socket);
  }

  // Answers with the peer's own code, unless this is its answer to ours.
  #onClose(index: number): void {
    const code = this.#inbox.code(index);
    const reason = UTF8.decode(this.#inbox.borrow(index));
    this.#end(() => {
      this.#closeCode = code;
      this.#closeReason = reason;
      this.#answer(code === NO_STATUS ? null : code, "");
    });
  }

  #onViolation(index: number): void {
    const code = this.#inbox.code(index);
    const violation = this.#inbox.aux(index);
    this.#loop.tally.refused(violation);
    this.#end(() => {
      this.#closeCode = code;
      this.#closeReason = violationText(violation);
      this.#answer(code, this.#closeReason);
    });
  }

  // Whatever the end is, it comes behind the messages before it.
  #end(how: () => void): void {
    if (this.readyState === OPEN && this.#inbound?.postpones(how)) return;
    how();
  }

  #answer(code: number | null, reason: string): void {
    if (this.readyState === OPEN) {
      writeCloseFrame(this.#outbox, this.handle, code, reason);
    }
    this.#finish();
  }

  // Nothing more can be said or heard. What is left, sending the rest and waiting for the peer's FIN, is C's.
  #finish(): void {
    this.command(layout.CMD_FINISH, 0);
    this.#tellClosed("");
  }

  #tellClosed(reason: string): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    clearTimeout(this.#lifetime);
    this.#droppedMessages += this.#backlog?.length ?? 0;
    this.#backlog = null;
    this.#host.close(this.socket, this.#closeCode, this.#closeReason || reason);
    if (this.#topics !== null) this.#loop.topics.leave(this);
  }
}

function inMidst(): TypeError {
  return new TypeError(
    "Cannot send a message in the midst of another one: its last fragment has not been sent",
  );
}
