// SPDX-License-Identifier: Apache-2.0
// ws_base_socket.ts - what the application holds of a WebSocket connection, of either side: sending, closing, flow;
// extended by ws_socket.ts and ws_client_socket.ts.

import { toBytes } from "./bytes.ts";
import { idOf, nextSocket } from "./socket_id.ts";
import { isSendable } from "./ws_codes.ts";
import { CLOSED, CLOSING, OPEN } from "./ws_connection.ts";
import { PreparedMessage } from "./ws_prepared.ts";
import type {
  Sendable,
  SendOptions,
  SendStatus,
  SocketStatistics,
} from "./ws_socket.ts";

/** The sending side of what a socket stands on. */
export interface SocketSender {
  readonly buffered: number;
  sendText(text: string, options?: SendOptions): SendStatus;
  sendBytes(bytes: Uint8Array, options?: SendOptions): SendStatus;
  sendPrepared(message: PreparedMessage, options?: SendOptions): SendStatus;
  sendFragment(chunk: string | Uint8Array, fin: boolean): SendStatus;
  ping(payload: Uint8Array): SendStatus;
  pong(payload: Uint8Array): SendStatus;
}

/** What a socket stands on: a ws_connection.ts, or what a client has in place of one. */
export interface SocketGround {
  readonly readyState: number;
  readonly outbound: SocketSender;
  statistics(): SocketStatistics;
  close(code: number, reason: string): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  watch(promise: Promise<unknown>): void;
}

/** Longest reason of a close frame. */
export const REASON_BYTES = 123;
const CONTROL_BYTES = 125;

const NO_BYTES = new Uint8Array(0);
const SEND = "send the message";

const UTF8 = new TextEncoder();

/** Has the loop know that a handler of a socket is not done yet. For ws_callbacks.ts. */
export let watch: (socket: BaseWebSocket, promise: Promise<unknown>) => void;

/** Has a socket stand on something else. For ws_client_session.ts. */
export let stand: (socket: BaseWebSocket, ground: SocketGround) => void;

/**
 * What the sockets of servers and clients have in common.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export abstract class BaseWebSocket<Data = unknown> {
  /** Value of `readyState` while messages can be sent. */
  static readonly OPEN: number = OPEN;
  /** Value of `readyState` once one side has begun to close. */
  static readonly CLOSING: number = CLOSING;
  /** Value of `readyState` once the connection is gone. */
  static readonly CLOSED: number = CLOSED;

  /** The peer's address; null before there is a connection. */
  abstract readonly remoteAddr: Deno.Addr | null;
  /** The application's to read and write. */
  data: Data;
  #ground: SocketGround;
  #outbound: SocketSender;
  readonly #number = nextSocket();

  static {
    watch = (socket, promise) => socket.#ground.watch(promise);
    stand = (socket, ground) => {
      socket.#ground = ground;
      socket.#outbound = ground.outbound;
    };
  }

  /** Made by Millrace. */
  constructor(ground: SocketGround, data: Data) {
    this.data = data;
    this.#ground = ground;
    this.#outbound = ground.outbound;
  }

  /** A text that no other socket of the process has. */
  get id(): string {
    return idOf(this.#number);
  }

  /** The peer's IP address; "" for a Unix socket, and before there is a connection. */
  get remoteAddress(): string {
    const addr = this.remoteAddr;
    return addr !== null && "hostname" in addr ? addr.hostname : "";
  }

  /** The peer's port; 0 for a Unix socket, and before there is a connection. */
  get remotePort(): number {
    const addr = this.remoteAddr;
    return addr !== null && "port" in addr ? addr.port : 0;
  }

  /** One of `OPEN`, `CLOSING` and `CLOSED`; of a client also `CONNECTING`. */
  get readyState(): number {
    return this.#ground.readyState;
  }

  /** Bytes that were accepted for sending and that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#outbound.buffered;
  }

  /** A copy of the socket's counters. */
  statistics(): SocketStatistics {
    return this.#ground.statistics();
  }

  /**
   * Sends a message: a string as text, bytes as binary. Bytes are copied before this returns.
   *
   * @param message The message.
   * @param options How it is to be sent.
   * @returns What became of it.
   * @throws {TypeError} In the midst of a message that `sendFragment()` has begun.
   */
  send(message: Sendable, options?: SendOptions): SendStatus {
    if (typeof message === "string") {
      return this.#outbound.sendText(message, options);
    }
    if (message instanceof Uint8Array) {
      return this.#outbound.sendBytes(message, options);
    }
    return message instanceof PreparedMessage
      ? this.#outbound.sendPrepared(message, options)
      : this.#outbound.sendBytes(toBytes(message, SEND), options);
  }

  /**
   * Sends a text message.
   *
   * @param text The message.
   * @param options How it is to be sent.
   * @returns What became of it.
   */
  sendText(text: string, options?: SendOptions): SendStatus {
    if (typeof text !== "string") {
      throw new TypeError("Cannot send text: it must be a string");
    }
    return this.#outbound.sendText(text, options);
  }

  /**
   * Sends a binary message.
   *
   * @param bytes The message; copied before this returns.
   * @param options How it is to be sent.
   * @returns What became of it.
   */
  sendBinary(
    bytes: Uint8Array | ArrayBuffer,
    options?: SendOptions,
  ): SendStatus {
    return this.#outbound.sendBytes(
      toBytes(bytes, SEND),
      options,
    );
  }

  /**
   * Sends a value as JSON, in a text message.
   *
   * @param value What `JSON.stringify()` takes.
   * @param options How it is to be sent.
   * @returns What became of it.
   */
  sendJson(value: unknown, options?: SendOptions): SendStatus {
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) {
      throw new TypeError(
        "Cannot send JSON: the value has no representation in it",
      );
    }
    return this.#outbound.sendText(text, options);
  }

  /**
   * Sends a piece of a message whose other pieces follow, by further calls. Until the last of them no other message
   * may be sent, while pings and `close()` may.
   *
   * When the first piece is `"dropped"`, so are the others, and the peer hears of none of them. A later one that does
   * not fit closes the socket with 1013: the peer must not take what it has for the message. Wait for `drain` after
   * `"queued"`.
   *
   * @param chunk The piece: strings make a text message, bytes a binary one. Strings must not be cut within a
   *   surrogate pair.
   * @param fin Whether it is the last one.
   * @returns What became of the piece.
   * @throws {TypeError} When strings and bytes are mixed within one message.
   */
  sendFragment(
    chunk: string | Uint8Array | ArrayBuffer,
    fin: boolean,
  ): SendStatus {
    const piece = typeof chunk === "string" ? chunk : toBytes(chunk, SEND);
    return this.#outbound.sendFragment(piece, fin);
  }

  /**
   * Calls a function that sends several messages. What is sent within one turn of the event loop leaves at one blow,
   * corked or not. A function that is corked sends to this socket alone, so that its messages lie side by side, and
   * are neither copied nor sent in several calls.
   *
   * @param fn Called at once, with the socket.
   * @returns What the function returns.
   */
  cork<Result>(fn: (socket: this) => Result): Result {
    return fn(this);
  }

  /**
   * Sends a ping; the peer answers with a pong of the same payload.
   *
   * @param payload At most 125 bytes.
   * @returns What became of it.
   */
  ping(payload: Uint8Array = NO_BYTES): SendStatus {
    return this.#outbound.ping(checkedPayload("ping", payload));
  }

  /**
   * Sends a pong that no ping has asked for, a heartbeat in one direction. Pings are answered by themselves.
   *
   * @param payload At most 125 bytes.
   * @returns What became of it.
   */
  pong(payload: Uint8Array = NO_BYTES): SendStatus {
    return this.#outbound.pong(checkedPayload("pong", payload));
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
    if (UTF8.encode(reason).length > REASON_BYTES) {
      throw new SyntaxError(
        "Cannot close: the reason is longer than 123 bytes",
      );
    }
    this.#ground.close(code, String(reason));
  }

  /**
   * Holds the peer up: no message is delivered until `resume()`, and nothing is read from the connection, so that
   * neither pings nor the peer's close are noticed either.
   */
  pause(): void {
    this.#ground.pause();
  }

  /** Goes on after `pause()`, with the messages that had arrived by then. */
  resume(): void {
    this.#ground.resume();
  }

  /** Closes the connection at once, without a closing handshake; the peer sees 1006. */
  terminate(): void {
    this.#ground.terminate();
  }
}

function checkedPayload(what: string, payload: Uint8Array): Uint8Array {
  if (!(payload instanceof Uint8Array)) {
    throw new TypeError(
      `Cannot send a ${what}: its payload must be a Uint8Array`,
    );
  }
  if (payload.length > CONTROL_BYTES) {
    throw new RangeError(
      `Cannot send a ${what} of ${payload.length} bytes: 125 is the most`,
    );
  }
  return payload;
}
