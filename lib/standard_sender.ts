// SPDX-License-Identifier: Apache-2.0
// standard_sender.ts - sends messages of a standard WebSocket in order, although a Blob has to be read first; used by
// standard_websocket.ts.

import { INTERNAL_ERROR } from "./ws_codes.ts";
import { closeWithoutCode, type ServerWebSocket } from "./ws_socket.ts";

/** What a close frame says. */
export interface Close {
  code?: number;
  reason?: string;
}

type Message = string | Uint8Array | Blob;

/** The sending side of one socket. */
export class StandardSender {
  readonly #socket: ServerWebSocket<unknown>;
  readonly #onError: (error: Error) => void;
  // Behind a blob that is being read.
  #waiting: (Message | Close)[] = [];

  constructor(
    socket: ServerWebSocket<unknown>,
    onError: (error: Error) => void,
  ) {
    this.#socket = socket;
    this.#onError = onError;
  }

  /** Bytes that the kernel has not taken yet. */
  get buffered(): number {
    return this.#waiting.reduce(
      (sum, each) => sum + sizeOf(each),
      this.#socket.bufferedAmount,
    );
  }

  /** Sends a message behind the others; bytes are copied before this returns. */
  send(message: Message): void {
    if (this.#waiting.length === 0 && !(message instanceof Blob)) {
      this.#socket.send(message);
    } else {
      this.#wait(message instanceof Uint8Array ? message.slice() : message);
    }
  }

  /** Begins the closing handshake once all is sent. */
  close(close: Close): void {
    if (this.#waiting.length === 0) this.#close(close);
    else this.#wait(close);
  }

  /** Sends nothing more: the connection is gone. */
  abandon(): void {
    this.#waiting = [];
  }

  #wait(item: Message | Close): void {
    this.#waiting.push(item);
    if (this.#waiting.length === 1) void this.#send();
  }

  async #send(): Promise<void> {
    try {
      for (let item; (item = this.#waiting[0]) !== undefined;) {
        if (item instanceof Blob) {
          const bytes = new Uint8Array(await item.arrayBuffer());
          this.#socket.send(bytes);
        } else if (typeof item === "string" || item instanceof Uint8Array) {
          this.#socket.send(item);
        } else {
          this.#close(item);
        }
        this.#waiting.shift();
      }
    } catch (error) {
      this.abandon();
      this.#onError(error as Error);
      this.#socket.close(INTERNAL_ERROR, "Cannot read a Blob");
    }
  }

  // A reason cannot go without a code.
  #close({ code, reason }: Close): void {
    if (code !== undefined) this.#socket.close(code, reason);
    else if (reason) this.#socket.close(undefined, reason);
    else closeWithoutCode(this.#socket);
  }
}

function sizeOf(item: Message | Close): number {
  if (typeof item === "string") return item.length;
  if (item instanceof Uint8Array) return item.length;
  return item instanceof Blob ? item.size : 0;
}
