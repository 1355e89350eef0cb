// SPDX-License-Identifier: Apache-2.0
// socket_host.ts - the callbacks that sockets share, called so that none of them can harm another socket; made by
// raw_socket.ts and listen.ts, called by socket_connection.ts.

import {
  fail,
  type Socket,
  type SocketHandlers,
  type SocketOptions,
  watch,
} from "./socket.ts";
import type { SocketReader } from "./socket_reader.ts";

/** The callbacks and limits of some sockets. */
export class SocketHost<Data> {
  readonly idleTimeout: number;
  readonly highWatermark: number;
  readonly maxQueueBytes: number;
  readonly maxUnreadBytes: number;
  /** Whether bytes are given to `read`, and not to `data`. */
  readonly reads: boolean;
  /** Whether the application is told of a socket that is quiet, and not just deprived of it. */
  readonly tellsTimeout: boolean;
  /** Whether the application is told of errors by a callback of their own. */
  readonly tellsErrors: boolean;
  readonly #handlers: SocketHandlers<Data>;
  readonly #makeData: ((remoteAddr: Deno.Addr) => Data) | undefined;

  constructor(
    handlers: SocketHandlers<Data>,
    options: Required<SocketOptions>,
    makeData?: (remoteAddr: Deno.Addr) => Data,
  ) {
    this.idleTimeout = options.idleTimeout;
    this.highWatermark = options.highWatermark;
    this.maxQueueBytes = options.maxQueueBytes;
    this.maxUnreadBytes = options.maxUnreadBytes;
    this.reads = handlers.read !== undefined;
    this.tellsTimeout = handlers.timeout !== undefined;
    this.tellsErrors = handlers.error !== undefined;
    this.#handlers = handlers;
    this.#makeData = makeData;
  }

  open(socket: Socket<Data>): void {
    this.#call(socket, () => {
      if (this.#makeData) socket.data = this.#makeData(socket.remoteAddr);
      return this.#handlers.open?.(socket);
    });
  }

  // The hot path of a byte stream: no closure, and no promise unless the callback made one.
  data(socket: Socket<Data>, chunk: Uint8Array<ArrayBuffer>): void {
    try {
      const result = this.#handlers.data?.(socket, chunk);
      if (result !== undefined) this.#await(socket, result);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  read(socket: Socket<Data>, reader: SocketReader): void {
    try {
      const result = this.#handlers.read?.(socket, reader);
      if (result !== undefined) this.#await(socket, result);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  drain(socket: Socket<Data>): void {
    this.#call(socket, () => this.#handlers.drain?.(socket));
  }

  // Who does not care about half-open connections shall not collect them.
  end(socket: Socket<Data>): void {
    if (this.#handlers.end === undefined) socket.end();
    else this.#call(socket, () => this.#handlers.end!(socket));
  }

  timeout(socket: Socket<Data>): void {
    this.#call(socket, () => this.#handlers.timeout?.(socket));
  }

  close(socket: Socket<Data>, error: Error | null): void {
    if (error !== null) {
      this.#call(socket, () => this.#handlers.error?.(socket, error));
    }
    this.#call(socket, () => this.#handlers.close?.(socket, error));
  }

  shutdown(socket: Socket<Data>): void {
    this.#call(socket, () => this.#handlers.shutdown?.(socket));
  }

  #call(socket: Socket<Data>, callback: () => void | Promise<void>): void {
    try {
      const result = callback();
      if (result !== undefined) this.#await(socket, result);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  #await(socket: Socket<Data>, result: Promise<void>): void {
    watch(
      socket,
      Promise.resolve(result).catch((error) => this.#fail(socket, error)),
    );
  }

  #fail(socket: Socket<Data>, error: unknown): void {
    if (!fail(socket, error)) return;
    console.error("Exception in a socket's callback", error);
  }
}
