// SPDX-License-Identifier: Apache-2.0
// ws_socket.ts - what the application holds of a WebSocket connection; made by websocket.ts over a
// ws_connection.ts.

import { toBytes } from "./bytes.ts";
import {
  CLOSED,
  CLOSING,
  OPEN,
  type WebSocketConnection,
} from "./ws_connection.ts";
import { idOf, nextSocket } from "./socket_id.ts";
import type { Outbound } from "./ws_outbound.ts";
import { PreparedMessage } from "./ws_prepared.ts";

/**
 * What became of what was given to `send()` or `write()`:
 * - `"sent"`: accepted, and less than the high watermark waits to be sent;
 * - `"queued"`: accepted, but the peer is slow: wait for `drain` before sending more;
 * - `"dropped"`: not accepted; the socket is closed or closing, or its queue is full.
 */
export type SendStatus = "sent" | "queued" | "dropped";

/** A received message: text as a string, binary as bytes. */
export type Message = string | Uint8Array<ArrayBuffer>;

/** A message to be sent: a string as text, bytes as binary. Bytes are copied before the call returns. */
export type Sendable = string | Uint8Array | ArrayBuffer | PreparedMessage;

/** How a message is to be sent. */
export interface SendOptions {
  /**
   * What the message is about. On a route whose `slowConsumer` is `"coalesce"` it takes the place of one with the same
   * key that still waits.
   */
  key?: string;
  /**
   * Whether to compress it where that was agreed on and makes it shorter. Unless given, the route's threshold decides.
   */
  compress?: boolean;
}

/** How a message is to be published by a socket. */
export interface PublishOptions extends SendOptions {
  /**
   * Whether the socket itself is sent the message too, if it is subscribed.
   *
   * @default {false}
   */
  self?: boolean;
}

/** What a socket has counted since it was opened. Bytes are those of messages, without frames. */
export interface SocketStatistics {
  /** Messages that have arrived. */
  receivedMessages: number;
  /** Bytes of messages that have arrived. */
  receivedBytes: number;
  /** Messages that were accepted for sending. */
  sentMessages: number;
  /** Their bytes. */
  sentBytes: number;
  /** Messages that were not accepted, or were given up before the peer took them. */
  droppedMessages: number;
}

const REASON_BYTES = 123;
const CONTROL_BYTES = 125;

const NO_BYTES = new Uint8Array(0);
const SEND = "send the message";

const UTF8 = new TextEncoder();

/** Has the loop know that a handler of a socket is not done yet. For ws_route.ts. */
export let watch: (
  socket: ServerWebSocket<unknown>,
  promise: Promise<unknown>,
) => void;

/**
 * One WebSocket connection. The same object is given to every callback of its route from `open` to `close`.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export class ServerWebSocket<Data = unknown> {
  /** Value of `readyState` while messages can be sent. */
  static readonly OPEN: number = OPEN;
  /** Value of `readyState` once one side has begun to close. */
  static readonly CLOSING: number = CLOSING;
  /** Value of `readyState` once the connection is gone. */
  static readonly CLOSED: number = CLOSED;

  /** What was given to `upgrade()`; the application's to read and write. */
  data: Data;
  /** The peer's address. */
  readonly remoteAddr: Deno.Addr;
  /** URL of the request that was upgraded. */
  readonly url: string;
  /** The negotiated subprotocol, or "". */
  readonly protocol: string;
  readonly #connection: WebSocketConnection<Data>;
  readonly #outbound: Outbound<Data>;
  readonly #number = nextSocket();

  static {
    watch = (socket, promise) => socket.#connection.watch(promise);
  }

  /** Made by `WebSocketRoute.upgrade()`. */
  constructor(
    connection: WebSocketConnection<Data>,
    data: Data,
    remoteAddr: Deno.Addr,
    request: { url: string; protocol: string },
  ) {
    this.data = data;
    this.remoteAddr = remoteAddr;
    this.url = request.url;
    this.protocol = request.protocol;
    this.#connection = connection;
    this.#outbound = connection.outbound;
  }

  /** A text that no other socket of the process has. */
  get id(): string {
    return idOf(this.#number);
  }

  /** The peer's IP address; "" for a Unix socket. */
  get remoteAddress(): string {
    return "hostname" in this.remoteAddr ? this.remoteAddr.hostname : "";
  }

  /** The peer's port; 0 for a Unix socket. */
  get remotePort(): number {
    return "port" in this.remoteAddr ? this.remoteAddr.port : 0;
  }

  /** One of `OPEN`, `CLOSING` and `CLOSED`. */
  get readyState(): number {
    return this.#connection.readyState;
  }

  /** Bytes that were accepted for sending and that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#outbound.buffered;
  }

  /** A copy of the socket's counters. */
  statistics(): SocketStatistics {
    return this.#connection.statistics();
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
    this.#connection.close(code, String(reason));
  }

  /**
   * Has the socket be sent what is published to a topic. Levels of a topic are separated by "/"; in place of the last
   * one `*` stands for any one level, and `#` for all that follow: `prices/*` and `prices/#` both match `prices/eur`,
   * the latter `prices/eur/usd` too, and neither `prices`. It ends with the connection.
   *
   * @param topic The topic.
   * @returns False when it was subscribed to the topic already, or is not open.
   */
  subscribe(topic: string): boolean {
    return this.#connection.subscribe(topic);
  }

  /**
   * Ends a subscription.
   *
   * @param topic The topic, as it was subscribed to.
   * @returns False when there was none.
   */
  unsubscribe(topic: string): boolean {
    return this.#connection.unsubscribe(topic);
  }

  /**
   * Whether the socket is subscribed to a topic, by that name.
   *
   * @param topic The topic, as it was subscribed to.
   * @returns Whether it is.
   */
  isSubscribed(topic: string): boolean {
    return this.#connection.topics.has(topic);
  }

  /** The topics that it is subscribed to, in the order of subscription; the callback `close` still sees them. */
  get subscriptions(): string[] {
    return [...this.#connection.topics];
  }

  /**
   * Sends a message to all sockets of the server that are subscribed to a topic, whatever their route, but not to this
   * one unless asked to. It need not be subscribed itself. A slow subscriber delays no other one: what becomes of its
   * message is up to `slowConsumer` of its route.
   *
   * @param topic The topic, without a wildcard.
   * @param message The message; encoded once.
   * @param options How it is to be sent.
   * @returns How many sockets accepted it.
   */
  publish(
    topic: string,
    message: Sendable,
    options?: PublishOptions,
  ): number {
    return this.#connection.publish(topic, message, options);
  }

  /**
   * Holds the peer up: no message is delivered until `resume()`, and nothing is read from the connection, so that
   * neither pings nor the peer's close are noticed either.
   */
  pause(): void {
    this.#connection.pause();
  }

  /** Goes on after `pause()`, with the messages that had arrived by then. */
  resume(): void {
    this.#connection.resume();
  }

  /** Closes the connection at once, without a closing handshake; the peer sees 1006. */
  terminate(): void {
    this.#connection.terminate();
  }
}

// RFC 6455 section 7.4: the others are reserved, or only ever reported locally.
function isSendable(code: number): boolean {
  return Number.isInteger(code) &&
    (code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 ||
      code >= 3000 && code <= 4999);
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
