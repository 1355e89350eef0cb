// SPDX-License-Identifier: Apache-2.0
// ws_socket.ts - one WebSocket connection on the server's side; made by websocket.ts, called by poll_loop.ts and
// by the application.

import { errnoName, type Inbox, layout, type Outbox } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { PollLoop } from "./poll_loop.ts";
import { violationText } from "./violations.ts";
import { Assembler } from "./ws_assembler.ts";
import {
  OPCODE_BINARY,
  OPCODE_PING,
  OPCODE_PONG,
  writeCloseFrame,
  writeFrame,
  writeTextFrame,
} from "./ws_encoder.ts";

/**
 * What became of a message given to `send()`:
 * - `"sent"`: accepted, and less than the high watermark waits to be sent;
 * - `"queued"`: accepted, but the peer is slow: wait for `drain` before sending more;
 * - `"dropped"`: not accepted; the socket is closed or closing, or its queue is full.
 */
export type SendStatus = "sent" | "queued" | "dropped";

/** A received message: text as a string, binary as bytes. */
export type Message = string | Uint8Array<ArrayBuffer>;

/** What a socket asks of its route. */
export interface SocketHost<Data> {
  readonly highWatermark: number;
  readonly maxQueueBytes: number;
  readonly idleTimeout: number;
  readonly closeTimeout: number;
  open(socket: ServerWebSocket<Data>): void;
  message(socket: ServerWebSocket<Data>, message: Message): void;
  drain(socket: ServerWebSocket<Data>): void;
  close(socket: ServerWebSocket<Data>, code: number, reason: string): void;
}

const NO_STATUS = 1005; // RFC 6455 section 7.1.5: a close frame without a code
const ABNORMAL = 1006; // the connection ended without a close frame
const GOING_AWAY = 1001;
const REASON_BYTES = 123;
const CONTROL_BYTES = 125;

const UTF8 = new TextDecoder();

/**
 * One WebSocket connection. The same object is given to every callback of its route from `open` to `close`.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export class ServerWebSocket<Data = unknown> implements Connection {
  /** Value of `readyState` while messages can be sent. */
  static readonly OPEN = 1;
  /** Value of `readyState` once one side has begun to close. */
  static readonly CLOSING = 2;
  /** Value of `readyState` once the connection is gone. */
  static readonly CLOSED = 3;

  /** What was given to `upgrade()`; the application's to read and write. */
  data: Data;
  /** Names the connection within its server. */
  readonly handle: number;
  /** The peer's address. */
  readonly remoteAddr: Deno.Addr;
  /** The negotiated subprotocol, or "". */
  readonly protocol: string;
  readonly #host: SocketHost<Data>;
  readonly #loop: PollLoop;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  #readyState = ServerWebSocket.OPEN;
  #assembler: Assembler | null = null;
  #closeCode = ABNORMAL;
  #closeReason = "";
  #pong: Uint8Array | null = null;

  /** Made by `WebSocketRoute.upgrade()`. */
  constructor(
    handle: number,
    loop: PollLoop,
    host: SocketHost<Data>,
    data: Data,
    remoteAddr: Deno.Addr,
    protocol: string,
  ) {
    this.data = data;
    this.handle = handle;
    this.remoteAddr = remoteAddr;
    this.protocol = protocol;
    this.#host = host;
    this.#loop = loop;
    this.#inbox = loop.reactor.inbox;
    this.#outbox = loop.reactor.outbox;
  }

  /** One of `OPEN`, `CLOSING` and `CLOSED`. */
  get readyState(): number {
    return this.#readyState;
  }

  /** Bytes that were accepted for sending and that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#readyState === ServerWebSocket.CLOSED
      ? 0
      : this.#outbox.buffered(this.handle);
  }

  /**
   * Sends a message: a string as text, bytes as binary. Bytes are copied before this returns.
   *
   * @param message The message.
   * @returns What became of it.
   */
  send(message: string | Uint8Array | ArrayBuffer): SendStatus {
    if (typeof message === "string") return this.#sendText(message);
    return this.#sendBytes(
      message instanceof Uint8Array ? message : toBytes(message),
    );
  }

  /**
   * Sends a ping; the peer answers with a pong of the same payload.
   *
   * @param payload At most 125 bytes.
   * @returns What became of it.
   */
  ping(payload: Uint8Array = new Uint8Array(0)): SendStatus {
    if (payload.length > CONTROL_BYTES) {
      throw new RangeError(
        `Cannot send a ping of ${payload.length} bytes: 125 is the most`,
      );
    }
    const before = this.#admit(payload.length);
    if (before < 0) return "dropped";
    writeFrame(this.#outbox, this.handle, OPCODE_PING, payload);
    return this.#staged(before + payload.length);
  }

  /**
   * Begins the closing handshake. `close` is called back when the connection is gone.
   *
   * @param code 1000 to 1003, 1007 to 1014, or 3000 to 4999.
   * @param reason Text of at most 123 bytes in UTF-8.
   */
  close(code = 1000, reason = ""): void {
    if (!isSendable(code)) {
      throw new RangeError(
        `Cannot close with code ${code}: it must not be sent`,
      );
    }
    if (new TextEncoder().encode(reason).length > REASON_BYTES) {
      throw new SyntaxError(
        "Cannot close: the reason is longer than 123 bytes",
      );
    }
    if (this.#readyState !== ServerWebSocket.OPEN) return;
    this.#readyState = ServerWebSocket.CLOSING;
    writeCloseFrame(this.#outbox, this.handle, code, reason);
    this.#command(layout.CMD_DEADLINE, this.#host.closeTimeout);
  }

  /** Closes the connection at once, without a closing handshake; the peer sees 1006. */
  terminate(): void {
    if (this.#readyState === ServerWebSocket.CLOSED) return;
    this.#readyState = ServerWebSocket.CLOSING;
    this.#command(layout.CMD_TERMINATE, 0);
  }

  /** Takes in one record of the inbox. For the poll loop. */
  receive(index: number): void {
    switch (this.#inbox.kind(index)) {
      case layout.MESSAGE:
        return this.#onMessage(index);
      case layout.PING:
        return this.#onPing(index);
      case layout.CLOSE:
        return this.#onClose(index);
      case layout.DRAIN:
        return this.#onDrain();
      case layout.VIOLATION:
        return this.#onViolation(index);
      case layout.END:
        return this.#finish();
      case layout.CLOSED:
        return this.#onClosed(index);
    }
  }

  /** Counts a handler's promise as outstanding until it settles. For the route. */
  watch(promise: Promise<void>): void {
    this.#loop.promised();
    promise.then(() => this.#loop.settled());
  }

  /** The server shuts down. For the poll loop. */
  drain(): void {
    this.close(GOING_AWAY, "Server shutting down");
  }

  #sendText(text: string): SendStatus {
    const before = this.#admit(text.length);
    if (before < 0) return "dropped";
    writeTextFrame(this.#outbox, this.handle, text);
    return this.#staged(before + text.length);
  }

  #sendBytes(bytes: Uint8Array): SendStatus {
    const before = this.#admit(bytes.length);
    if (before < 0) return "dropped";
    writeFrame(this.#outbox, this.handle, OPCODE_BINARY, bytes);
    return this.#staged(before + bytes.length);
  }

  // Bytes that wait already, or -1 when no more may be added.
  #admit(length: number): number {
    if (this.#readyState !== ServerWebSocket.OPEN) return -1;
    const buffered = this.#outbox.buffered(this.handle);
    // Text may take three bytes a character, and a header ten.
    return buffered + 3 * length + 10 > this.#host.maxQueueBytes
      ? -1
      : buffered;
  }

  #staged(buffered: number): SendStatus {
    this.#loop.kick();
    if (buffered < this.#host.highWatermark) return "sent";
    this.#outbox.wantDrain(this.handle);
    return "queued";
  }

  #onMessage(index: number): void {
    if (this.#readyState !== ServerWebSocket.OPEN) return;
    const inbox = this.#inbox;
    const flags = inbox.flags(index);
    const whole = layout.FIRST | layout.LAST;
    if ((flags & whole) !== whole) return this.#onPiece(index, flags);
    if ((flags & layout.TEXT) !== 0) {
      this.#host.message(this, inbox.text(index));
    } else {
      this.#host.message(this, inbox.view(index));
      this.#loop.reactor.checkBlock(inbox.block(index));
    }
  }

  #onPiece(index: number, flags: number): void {
    const assembler = this.#assembler ??= new Assembler();
    assembler.push(this.#inbox.borrow(index), this.#inbox.total(index));
    if ((flags & layout.LAST) === 0) return;
    this.#assembler = null;
    this.#host.message(
      this,
      (flags & layout.TEXT) !== 0
        ? assembler.takeText()
        : assembler.takeBytes(),
    );
  }

  // While the peer does not read, only the latest ping is worth an answer (RFC 6455 section 5.5.3).
  #onPing(index: number): void {
    if (this.#readyState !== ServerWebSocket.OPEN) return;
    const payload = this.#inbox.borrow(index);
    if (this.bufferedAmount < this.#host.highWatermark) {
      writeFrame(this.#outbox, this.handle, OPCODE_PONG, payload);
    } else {
      this.#pong = payload.slice();
      this.#outbox.wantDrain(this.handle);
    }
  }

  #onDrain(): void {
    if (this.#readyState !== ServerWebSocket.OPEN) return;
    if (this.#pong !== null) {
      writeFrame(this.#outbox, this.handle, OPCODE_PONG, this.#pong);
    }
    this.#pong = null;
    this.#host.drain(this);
  }

  // Answers with the peer's own code, unless it answers ours.
  #onClose(index: number): void {
    const code = this.#inbox.code(index);
    this.#closeCode = code;
    this.#closeReason = UTF8.decode(this.#inbox.borrow(index));
    if (this.#readyState === ServerWebSocket.OPEN) {
      writeCloseFrame(
        this.#outbox,
        this.handle,
        code === NO_STATUS ? null : code,
        "",
      );
    }
    this.#finish();
  }

  #onViolation(index: number): void {
    this.#closeCode = this.#inbox.code(index);
    this.#closeReason = violationText(this.#inbox.aux(index));
    if (this.#readyState === ServerWebSocket.OPEN) {
      writeCloseFrame(
        this.#outbox,
        this.handle,
        this.#closeCode,
        this.#closeReason,
      );
    }
    this.#finish();
  }

  #finish(): void {
    this.#readyState = ServerWebSocket.CLOSING;
    this.#command(layout.CMD_FINISH, 0);
  }

  #onClosed(index: number): void {
    this.#readyState = ServerWebSocket.CLOSED;
    const errno = this.#inbox.code(index);
    if (this.#closeReason === "" && errno !== 0) {
      this.#closeReason = errnoName(errno);
    }
    this.#host.close(this, this.#closeCode, this.#closeReason);
  }

  #command(op: number, argument: number): void {
    this.#outbox.command(this.handle, op, argument);
    this.#loop.kick();
  }
}

// RFC 6455 section 7.4: the others are reserved, or only ever reported locally.
function isSendable(code: number): boolean {
  return Number.isInteger(code) &&
    (code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 ||
      code >= 3000 && code <= 4999);
}

function toBytes(message: unknown): Uint8Array {
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  throw new TypeError(
    "Cannot send the message: it must be a string, a Uint8Array or an ArrayBuffer",
  );
}
