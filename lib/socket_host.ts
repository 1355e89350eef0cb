// SPDX-License-Identifier: Apache-2.0
// socket_host.ts - the callbacks that sockets share, called so that none of them can harm another socket; made by
// raw_socket.ts, called by socket_connection.ts.

import {
  fail,
  type Socket,
  type SocketHandlers,
  type SocketOptions,
  watch,
} from "./socket.ts";

/** All options of some sockets, none missing. */
export interface SocketLimits
  extends Required<Omit<SocketOptions, "lowWatermark">> {
  /** Null for that of the server. */
  lowWatermark: number | null;
}

/** The callbacks and limits of some sockets. */
export class SocketHost<Data> {
  readonly idleTimeout: number;
  readonly highWatermark: number;
  /** Null for that of the server. */
  readonly lowWatermark: number | null;
  readonly maxQueueBytes: number;
  readonly #handlers: SocketHandlers<Data>;

  constructor(
    handlers: SocketHandlers<Data>,
    options: SocketLimits,
  ) {
    this.idleTimeout = options.idleTimeout;
    this.highWatermark = options.highWatermark;
    this.lowWatermark = options.lowWatermark;
    this.maxQueueBytes = options.maxQueueBytes;
    this.#handlers = handlers;
  }

  open(socket: Socket<Data>): void {
    this.#call(socket, () => this.#handlers.open?.(socket));
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

  drain(socket: Socket<Data>): void {
    this.#call(socket, () => this.#handlers.drain?.(socket));
  }

  // Who does not care about half-open connections shall not collect them.
  end(socket: Socket<Data>): void {
    if (this.#handlers.end === undefined) socket.end();
    else this.#call(socket, () => this.#handlers.end!(socket));
  }

  close(socket: Socket<Data>, error: Error | null): void {
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
    console.error("Exception in a socket's callback", error);
    fail(socket, error);
  }
}
