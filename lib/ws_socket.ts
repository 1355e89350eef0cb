// SPDX-License-Identifier: Apache-2.0
// ws_socket.ts - what the application holds of a WebSocket connection; made by websocket.ts over a
// ws_connection.ts.

import {
  CLOSED,
  CLOSING,
  OPEN,
  type WebSocketConnection,
} from "./ws_connection.ts";

/**
 * What became of what was given to `send()` or `write()`:
 * - `"sent"`: accepted, and less than the high watermark waits to be sent;
 * - `"queued"`: accepted, but the peer is slow: wait for `drain` before sending more;
 * - `"dropped"`: not accepted; the socket is closed or closing, or its queue is full.
 */
export type SendStatus = "sent" | "queued" | "dropped";

/** A received message: text as a string, binary as bytes. */
export type Message = string | Uint8Array<ArrayBuffer>;

/** How one message is sent. */
export interface SendOptions {
  /**
   * Whether to compress it where that was agreed on and makes it shorter. Unless given, the route's threshold decides.
   */
  compress?: boolean;
}

const REASON_BYTES = 123;
const CONTROL_BYTES = 125;

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
  /** The negotiated subprotocol, or "". */
  readonly protocol: string;
  readonly #connection: WebSocketConnection<Data>;

  static {
    watch = (socket, promise) => socket.#connection.watch(promise);
  }

  /** Made by `WebSocketRoute.upgrade()`. */
  constructor(
    connection: WebSocketConnection<Data>,
    data: Data,
    remoteAddr: Deno.Addr,
    protocol: string,
  ) {
    this.data = data;
    this.remoteAddr = remoteAddr;
    this.protocol = protocol;
    this.#connection = connection;
  }

  /** One of `OPEN`, `CLOSING` and `CLOSED`. */
  get readyState(): number {
    return this.#connection.readyState;
  }

  /** Bytes that were accepted for sending and that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#connection.buffered;
  }

  /**
   * Sends a message: a string as text, bytes as binary. Bytes are copied before this returns.
   *
   * @param message The message.
   * @param options Whether to compress it.
   * @returns What became of it.
   */
  send(
    message: string | Uint8Array | ArrayBuffer,
    options?: SendOptions,
  ): SendStatus {
    const compress = options?.compress;
    if (typeof message === "string") {
      return this.#connection.sendText(message, compress);
    }
    return this.#connection.sendBytes(
      message instanceof Uint8Array ? message : toBytes(message),
      compress,
    );
  }

  /**
   * Sends a ping; the peer answers with a pong of the same payload.
   *
   * @param payload At most 125 bytes.
   * @returns What became of it.
   */
  ping(payload: Uint8Array = new Uint8Array(0)): SendStatus {
    if (!(payload instanceof Uint8Array)) {
      throw new TypeError(
        "Cannot send a ping: its payload must be a Uint8Array",
      );
    }
    if (payload.length > CONTROL_BYTES) {
      throw new RangeError(
        `Cannot send a ping of ${payload.length} bytes: 125 is the most`,
      );
    }
    return this.#connection.ping(payload);
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

function toBytes(message: unknown): Uint8Array {
  if (message instanceof ArrayBuffer) return new Uint8Array(message);
  throw new TypeError(
    "Cannot send the message: it must be a string, a Uint8Array or an ArrayBuffer",
  );
}
