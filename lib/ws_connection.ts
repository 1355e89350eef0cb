// SPDX-License-Identifier: Apache-2.0
// ws_connection.ts - one WebSocket connection on the server's side: records to callbacks, frames to the outbox;
// made by websocket.ts, called by poll_loop.ts and, through ws_socket.ts, by the application.

import { errnoName, type Inbox, layout, type Outbox } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { PollLoop } from "./poll_loop.ts";
import { violationText } from "./violations.ts";
import { Assembler } from "./ws_assembler.ts";
import type { Deflater } from "./ws_deflate.ts";
import {
  OPCODE_BINARY,
  OPCODE_PING,
  OPCODE_PONG,
  OPCODE_TEXT,
  writeCloseFrame,
  writeFrame,
  writeTextFrame,
} from "./ws_encoder.ts";
import type { Message, SendStatus, ServerWebSocket } from "./ws_socket.ts";

/** What a connection asks of its route. */
export interface SocketHost<Data> {
  readonly highWatermark: number;
  readonly maxQueueBytes: number;
  readonly closeTimeout: number;
  message(socket: ServerWebSocket<Data>, message: Message): void;
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

const NO_BYTES = new Uint8Array(0);
const UTF8 = new TextDecoder();
const UTF8_ENCODER = new TextEncoder();

/** State of a connection after its handshake. */
export class WebSocketConnection<Data> implements Connection {
  readonly handle: number;
  /** What the application holds of it. */
  socket!: ServerWebSocket<Data>;
  readyState = OPEN;
  readonly #host: SocketHost<Data>;
  readonly #maxQueueBytes: number;
  readonly #loop: PollLoop;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #deflater: Deflater | null;
  #assembler: Assembler | null = null;
  #closeCode = ABNORMAL;
  #closeReason = "";
  #pong: Uint8Array | null = null;
  // send() said so, and drain has not followed yet.
  #queued = false;

  constructor(
    handle: number,
    loop: PollLoop,
    host: SocketHost<Data>,
    deflater: Deflater | null,
  ) {
    this.handle = handle;
    this.#deflater = deflater;
    this.#host = host;
    this.#maxQueueBytes = Math.min(host.maxQueueBytes, loop.maxQueueBytes);
    this.#loop = loop;
    this.#inbox = loop.reactor.inbox;
    this.#outbox = loop.reactor.outbox;
  }

  /** Bytes that the kernel has not taken yet. */
  get buffered(): number {
    return this.readyState === CLOSED ? 0 : this.#outbox.buffered(this.handle);
  }

  receive(index: number): void {
    switch (this.#inbox.kind(index)) {
      case layout.MESSAGE:
        return this.#onMessage(index);
      case layout.PING:
        return this.#onPing(index);
      case layout.CLOSE:
        return this.#onClose(index);
      case layout.QUIET:
        return void this.ping(NO_BYTES);
      case layout.DRAIN:
        return this.#onDrain();
      case layout.VIOLATION:
        return this.#onViolation(index);
      case layout.END:
        return this.#finish();
      case layout.CLOSED:
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
  sendText(text: string, compress?: boolean): SendStatus {
    if (this.#compresses(text.length, compress)) {
      return this.#sendFrame(OPCODE_TEXT, UTF8_ENCODER.encode(text), true);
    }
    const buffered = this.#outbox.buffered(this.handle);
    // Near the limit the number of bytes matters, and not just that of characters.
    if (buffered + 3 * text.length > this.#maxQueueBytes) {
      return this.#sendFrame(OPCODE_TEXT, UTF8_ENCODER.encode(text));
    }
    if (this.readyState !== OPEN) return "dropped";
    writeTextFrame(this.#outbox, this.handle, text);
    return this.#staged(buffered + text.length);
  }

  /** Stages a binary message. */
  sendBytes(bytes: Uint8Array, compress?: boolean): SendStatus {
    const deflates = this.#compresses(bytes.length, compress);
    return this.#sendFrame(OPCODE_BINARY, bytes, deflates);
  }

  /** Stages a ping. */
  ping(payload: Uint8Array): SendStatus {
    return this.#sendFrame(OPCODE_PING, payload);
  }

  /** Begins the closing handshake. */
  close(code: number, reason: string): void {
    if (this.readyState !== OPEN) return;
    this.readyState = CLOSING;
    writeCloseFrame(this.#outbox, this.handle, code, reason);
    this.#command(layout.CMD_DEADLINE, this.#host.closeTimeout);
  }

  /** Closes without a handshake. */
  terminate(): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSING;
    this.#command(layout.CMD_TERMINATE, 0);
  }

  /** Counts a handler's promise as outstanding until it settles. */
  watch(promise: Promise<unknown>): void {
    const settled = (): void => this.#loop.settled();
    this.#loop.promised();
    promise.then(settled, settled);
  }

  #compresses(length: number, asked: boolean | undefined): boolean {
    const deflater = this.#deflater;
    return deflater !== null && length > 0 &&
      (asked ?? length >= deflater.threshold);
  }

  #sendFrame(
    opcode: number,
    bytes: Uint8Array,
    compress: boolean = false,
  ): SendStatus {
    const total = this.#outbox.buffered(this.handle) + bytes.length;
    if (this.readyState !== OPEN || total > this.#maxQueueBytes) {
      return "dropped";
    }
    if (compress && this.#deflater!.write(this.#outbox, opcode, bytes)) {
      return this.#staged(this.#outbox.buffered(this.handle));
    }
    writeFrame(this.#outbox, this.handle, opcode, bytes);
    return this.#staged(total);
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
    if ((flags & WHOLE) !== WHOLE) return this.#onPiece(index, flags);
    if ((flags & layout.TEXT) !== 0) {
      this.#host.message(this.socket, inbox.text(index));
    } else {
      const block = inbox.block(index);
      this.#host.message(this.socket, inbox.view(index));
      inbox.returned(block);
    }
  }

  #onPiece(index: number, flags: number): void {
    const assembler = this.#assembler ??= new Assembler();
    assembler.push(this.#inbox.borrow(index), this.#inbox.total(index));
    if ((flags & layout.LAST) === 0) return;
    this.#assembler = null;
    const isText = (flags & layout.TEXT) !== 0;
    this.#host.message(
      this.socket,
      isText ? assembler.takeText() : assembler.takeBytes(),
    );
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
  }

  #onDrain(): void {
    if (this.readyState !== OPEN) return;
    if (this.#pong !== null) {
      writeFrame(this.#outbox, this.handle, OPCODE_PONG, this.#pong);
    }
    this.#pong = null;
    if (!this.#queued) return;
    this.#queued = false;
    this.#host.drain(this.socket);
  }

  // Answers with the peer's own code, unless this is its answer to ours.
  #onClose(index: number): void {
    const code = this.#inbox.code(index);
    this.#closeCode = code;
    this.#closeReason = UTF8.decode(this.#inbox.borrow(index));
    this.#answer(code === NO_STATUS ? null : code, "");
  }

  #onViolation(index: number): void {
    this.#closeCode = this.#inbox.code(index);
    const violation = this.#inbox.aux(index);
    this.#closeReason = violationText(violation);
    this.#loop.tally.refused(violation);
    this.#answer(this.#closeCode, this.#closeReason);
  }

  #answer(code: number | null, reason: string): void {
    if (this.readyState === OPEN) {
      writeCloseFrame(this.#outbox, this.handle, code, reason);
    }
    this.#finish();
  }

  // Nothing more can be said or heard. What is left, sending the rest and waiting for the peer's FIN, is C's.
  #finish(): void {
    this.#command(layout.CMD_FINISH, 0);
    this.#tellClosed("");
  }

  #tellClosed(reason: string): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#host.close(this.socket, this.#closeCode, this.#closeReason || reason);
  }

  #command(op: number, argument: number): void {
    this.#outbox.command(this.handle, op, argument);
    this.#loop.kick();
  }
}
