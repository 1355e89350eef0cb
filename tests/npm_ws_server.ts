// SPDX-License-Identifier: Apache-2.0
// npm_ws_server.ts - npm:ws, an independent WebSocket server, for tests of the
// client.

import type { Buffer } from "node:buffer";
import { WebSocketServer } from "ws";
import type { ClientOptions } from "./npm_ws_client.ts";
import { deadline } from "./testing.ts";

/** What the tests use of the package, which has no types. */
export interface NpmSocket {
  readonly extensions: string;
  readonly protocol: string;
  on(
    event: "message",
    listener: (data: Buffer, isBinary: boolean) => void,
  ): void;
  on(event: "ping" | "pong", listener: (data: Buffer) => void): void;
  on(event: "close", listener: (code: number, reason: Buffer) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  send(
    data: Uint8Array | string,
    options?: { binary?: boolean; fin?: boolean; compress?: boolean },
  ): void;
  ping(data?: string): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
}

interface Server {
  readonly clients: Set<NpmSocket>;
  address(): { port: number };
  on(event: "connection", listener: (socket: NpmSocket) => void): void;
  once(event: "listening", listener: () => void): void;
  close(callback: () => void): void;
}

/** A server on a free port of 127.0.0.1. */
export class NpmServer {
  /** Errors of its sockets: what the client did wrong. */
  readonly errors: Error[] = [];
  readonly #server: Server;

  private constructor(server: Server, serve: (socket: NpmSocket) => void) {
    this.#server = server;
    server.on("connection", (socket) => {
      socket.on("error", (error) => this.errors.push(error));
      serve(socket);
    });
  }

  static async listen(
    perMessageDeflate: ClientOptions | boolean,
    serve: (socket: NpmSocket) => void,
    more: object = {},
  ): Promise<NpmServer> {
    const server: Server = new WebSocketServer({
      host: "127.0.0.1",
      port: 0,
      perMessageDeflate,
      maxPayload: 1 << 26,
      ...more,
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    server.once("listening", resolve);
    const own = new NpmServer(server, serve);
    await deadline(promise, "listening");
    return own;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#server.address().port}/`;
  }

  async close(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(resolve);
    await deadline(promise, "the end of the server");
  }
}

/** Sends every message back as it came. */
export function echo(socket: NpmSocket): void {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
}
