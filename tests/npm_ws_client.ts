// SPDX-License-Identifier: Apache-2.0
// npm_ws_client.ts - npm:ws, an independent WebSocket client, for tests.

import type { Buffer } from "node:buffer";
import { WebSocket } from "ws";
import { deadline, type TcpServer, until } from "./testing.ts";

/** What it is told of permessage-deflate. */
export interface ClientOptions {
  serverNoContextTakeover?: boolean;
  clientNoContextTakeover?: boolean;
  serverMaxWindowBits?: number;
  clientMaxWindowBits?: number;
  threshold?: number;
}

/** What the tests use of the package, which has no types. */
interface Socket {
  readonly extensions: string;
  once(event: "open" | "error" | "close", listener: () => void): void;
  on(
    event: "message",
    listener: (data: Buffer, isBinary: boolean) => void,
  ): void;
  send(data: Uint8Array | string): void;
  close(): void;
  terminate(): void;
}

/** A connection after the opening handshake. */
export class NpmClient implements Disposable {
  readonly #socket: Socket;
  readonly #messages: (Uint8Array<ArrayBuffer> | string)[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("message", (data, isBinary) => {
      const bytes = new Uint8Array(data);
      this.#messages.push(isBinary ? bytes : new TextDecoder().decode(bytes));
    });
  }

  static async connect(
    server: TcpServer,
    perMessageDeflate: ClientOptions | boolean,
  ): Promise<NpmClient> {
    const socket: Socket = new WebSocket(
      `ws://127.0.0.1:${server.addr.port}/`,
      { perMessageDeflate, maxPayload: 1 << 26 },
    );
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.once("open", resolve);
    socket.once("error", () => reject(new Error("Cannot connect")));
    const client = new NpmClient(socket);
    await deadline(promise, "the handshake");
    return client;
  }

  /** What was agreed on. */
  get extensions(): string {
    return this.#socket.extensions;
  }

  send(data: Uint8Array | string): void {
    this.#socket.send(data);
  }

  /** The next message. */
  async message(): Promise<Uint8Array<ArrayBuffer> | string> {
    await until(() => this.#messages.length > 0, "a message");
    return this.#messages.shift()!;
  }

  /** Closes with a handshake. */
  async end(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.once("close", resolve);
    this.#socket.close();
    await deadline(promise, "the end");
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }
}
