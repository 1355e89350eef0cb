// SPDX-License-Identifier: Apache-2.0
// standard_websocket.ts - a WebSocket as the standard of the web has it, over a socket of ws_route.ts; made by
// upgrade_websocket.ts.
//
// Its prototype is WebSocket.prototype with all that looks at a client's connection overridden: so it is an
// `instanceof WebSocket`, and onopen and its like are those of Deno.

import { type Close, StandardSender } from "./standard_sender.ts";
import type { MessageBatch } from "./ws_batch.ts";
import type { WebSocketHandlers } from "./websocket.ts";
import { REASON_BYTES } from "./ws_base_socket.ts";
import { GOING_AWAY, isSendable } from "./ws_codes.ts";
import { CLOSED, CLOSING, CONNECTING, OPEN } from "./ws_connection.ts";
import { type ServerWebSocket, wasClean } from "./ws_socket.ts";

/** Callbacks of the route of all these sockets. */
export let HANDLERS: WebSocketHandlers<StandardWebSocket>;

/** A socket will not open, for this reason. */
export let refused: (socket: StandardWebSocket, why: string) => void;

const TIMED_OUT = "ETIMEDOUT";
const NO_PONG = "No response from ping frame.";
const CODE_MAX = 0xffff;

const UTF8 = new TextEncoder();

const Base = EventTarget as unknown as new () => WebSocket;

/** One end of a connection that was upgraded. */
export class StandardWebSocket extends Base {
  readonly #protocol: string;
  #binaryType: BinaryType = "arraybuffer";
  #state = CONNECTING;
  // Null until it is open.
  #socket: ServerWebSocket<StandardWebSocket> | null = null;
  #sender: StandardSender | null = null;
  // close() came before the socket was open.
  #early: Close | null = null;

  static {
    Object.setPrototypeOf(this.prototype, WebSocket.prototype);
    this.prototype.constructor = WebSocket;
    HANDLERS = {
      open: (socket) => socket.data.#open(socket),
      messages: (socket, batch) => socket.data.#deliver(batch),
      close: (socket, code, reason) =>
        socket.data.#close(code, reason, wasClean(socket)),
    };
    refused = (socket, why) => queueMicrotask(() => socket.#fail(why));
  }

  constructor(protocol: string) {
    super();
    this.#protocol = protocol;
  }

  override get readyState(): number {
    // The server may have begun to close it.
    return this.#state === OPEN && this.#socket!.readyState === CLOSING
      ? CLOSING
      : this.#state;
  }

  override get binaryType(): BinaryType {
    return this.#binaryType;
  }

  override set binaryType(value: BinaryType) {
    const type = `${value}`;
    if (type === "blob" || type === "arraybuffer") this.#binaryType = type;
  }

  override get bufferedAmount(): number {
    return this.#state === OPEN ? this.#sender!.buffered : 0;
  }

  override get protocol(): string {
    return this.#protocol;
  }

  override get extensions(): string {
    return "";
  }

  // As with Deno: that of the request is not the client's, and only a client's socket has one.
  override get url(): string {
    return "";
  }

  override send(
    ...args: [data?: string | ArrayBufferLike | Blob | ArrayBufferView]
  ): void {
    const what = "Failed to execute 'send' on 'WebSocket'";
    if (args.length === 0) {
      throw new TypeError(`${what}: 1 argument required, but only 0 present`);
    }
    const message = sendable(args[0], what);
    if (this.#state === CONNECTING) {
      throw new DOMException("'readyState' not OPEN", "InvalidStateError");
    }
    if (this.#state === OPEN) this.#sender!.send(message);
  }

  override close(code?: number, reason?: string): void {
    const close = checkedClose(code, reason);
    if (this.#state === OPEN) this.#sender!.close(close);
    else if (this.#state === CONNECTING) this.#early = close;
    else return;
    this.#state = CLOSING;
  }

  // Never within the call of the handler, which may still add listeners.
  async #open(socket: ServerWebSocket<StandardWebSocket>): Promise<void> {
    this.#socket = socket;
    this.#sender = new StandardSender(socket, (error) => this.#fault(error));
    await null;
    if (this.#early !== null) return this.#sender.close(this.#early);
    this.#state = OPEN;
    this.dispatchEvent(new Event("open"));
  }

  // Promise reactions of the listeners run between two messages, as where each one is awaited.
  async #deliver(batch: MessageBatch): Promise<void> {
    const messages = Array.from(
      batch,
      (message) => typeof message === "string" ? message : message.slice(),
    );
    for (const message of messages) {
      if (this.#state !== OPEN) return;
      const data = typeof message === "string"
        ? message
        : this.#binaryType === "blob"
        ? new Blob([message])
        : message.buffer;
      this.dispatchEvent(new MessageEvent("message", { data }));
      await null;
    }
  }

  #close(code: number, reason: string, isClean: boolean): void {
    this.#sender!.abandon();
    const wasOpen = this.#state === OPEN;
    if (isClean || !wasOpen) {
      this.#state = CLOSED;
      const how = isClean ? { wasClean: true, code, reason } : {};
      this.dispatchEvent(new CloseEvent("close", how));
    } else if (reason === TIMED_OUT) {
      this.#state = CLOSED;
      this.dispatchEvent(new ErrorEvent("error", { message: NO_PONG }));
      const how = { code: GOING_AWAY, reason: NO_PONG };
      this.dispatchEvent(new CloseEvent("close", how));
    } else {
      this.#fail(reason || "Unexpected EOF");
    }
  }

  #fail(message: string): void {
    this.#state = CLOSED;
    this.#fault(new Error(message));
    this.dispatchEvent(new CloseEvent("close"));
  }

  #fault(error: Error): void {
    const { message } = error;
    this.dispatchEvent(new ErrorEvent("error", { message, error }));
  }
}

/** What can be sent of what was given: strings, bytes that may still change, and blobs. */
function sendable(data: unknown, what: string): string | Uint8Array | Blob {
  if (data instanceof Blob) return data;
  if (data instanceof SharedArrayBuffer) {
    throw new TypeError(`${what}: Argument 1 is not an ArrayBuffer`);
  }
  if (data instanceof ArrayBuffer) return viewOf(data, 0, data.byteLength);
  if (!ArrayBuffer.isView(data)) return `${data}`;
  const { buffer, byteOffset, byteLength } = data;
  if (buffer instanceof ArrayBuffer) {
    return viewOf(buffer, byteOffset, byteLength);
  }
  throw new TypeError(
    `${what}: Argument 1 is a view on a SharedArrayBuffer, which is not allowed`,
  );
}

// A buffer that was transferred away has no bytes, and no view can be made of it.
function viewOf(
  buffer: ArrayBuffer,
  offset: number,
  length: number,
): Uint8Array {
  return length === 0
    ? new Uint8Array()
    : new Uint8Array(buffer, offset, length);
}

function checkedClose(code: unknown, reason: unknown): Close {
  const close: Close = {};
  if (code !== undefined) {
    const number = Number(code) || 0;
    close.code = Math.round(Math.min(Math.max(number, 0), CODE_MAX));
  }
  if (reason !== undefined) close.reason = `${reason}`.toWellFormed();
  if (close.code !== undefined && !isSendable(close.code)) {
    throw new DOMException(
      `The close code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999: received ${close.code}`,
      "InvalidAccessError",
    );
  }
  if (UTF8.encode(close.reason).length > REASON_BYTES) {
    throw new DOMException(
      `The close reason may not be longer than ${REASON_BYTES} bytes`,
      "SyntaxError",
    );
  }
  return close;
}
