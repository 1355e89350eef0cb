// SPDX-License-Identifier: Apache-2.0
// client_testing.ts - what tests of connectWebSocket() share: a client that
// notes what it is told.

import {
  type ClientWebSocket,
  connectWebSocket,
  type Message,
  type WebSocketClientHandlers,
  type WebSocketClientOptions,
} from "../mod.ts";
import { type Context, until } from "./testing.ts";

/** A client whose callbacks are collected; bytes are copied. */
export class Client implements Disposable {
  readonly socket: ClientWebSocket;
  readonly messages: Message[] = [];
  readonly pongs: string[] = [];
  readonly pings: string[] = [];
  readonly closes: { code: number; reason: string }[] = [];
  readonly errors: unknown[] = [];
  opens = 0;

  constructor(
    t: Pick<Context, "backend" | "using">,
    url: string,
    options: WebSocketClientOptions = {},
    handlers: WebSocketClientHandlers<undefined> = {},
  ) {
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    this.socket = connectWebSocket<undefined>(url, {
      open: () => void this.opens++,
      message: (_, message) =>
        void this.messages.push(
          typeof message === "string" ? message : message.slice(),
        ),
      ping: (_, payload) => void this.pings.push(text(payload)),
      pong: (_, payload) => void this.pongs.push(text(payload)),
      close: (_, code, reason) => void this.closes.push({ code, reason }),
      error: (_, error) => void this.errors.push(error),
      ...handlers,
    }, { backend: t.backend, ...options });
    t.using(this);
  }

  /** The next message. */
  async message(): Promise<Message> {
    await until(() => this.messages.length > 0, "a message");
    return this.messages.shift()!;
  }

  /** What the client ended with: its only close. */
  async end(): Promise<{ code: number; reason: string } | undefined> {
    await this.socket.finished;
    return this.closes[0];
  }

  /** What it failed with. */
  async failure(): Promise<Error> {
    await this.socket.finished;
    return this.errors[0] as Error;
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}
