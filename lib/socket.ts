// SPDX-License-Identifier: Apache-2.0
// socket.ts - what the application holds of a connection that carries plain bytes, and the callbacks that it
// gives for it; made over a socket_connection.ts.

import { toBytes } from "./bytes.ts";
import type { SocketConnection } from "./socket_connection.ts";
import type { SendStatus } from "./ws_socket.ts";

/**
 * Callbacks of connections that carry plain bytes, made once and shared by all of them. One that throws or rejects
 * cuts its own connection and harms no other.
 *
 * @typeParam Data What the application keeps with each socket.
 */
export interface SocketHandlers<Data> {
  /** The connection is the application's. Exactly one `close` will follow. */
  open?(socket: Socket<Data>): void | Promise<void>;
  /**
   * Bytes arrived, in pieces as the network cut them. The view is valid until this returns: copy it with
   * `.slice()` to keep it.
   */
  data?(
    socket: Socket<Data>,
    chunk: Uint8Array<ArrayBuffer>,
  ): void | Promise<void>;
  /** After a `write()` that returned `"queued"`: the queue has fallen to the low watermark. */
  drain?(socket: Socket<Data>): void | Promise<void>;
  /**
   * The peer sends no more, and all it sent has been given to `data`. Writing is still possible; `end()` or
   * `close()` has to follow. Without this callback the socket is ended at once.
   */
  end?(socket: Socket<Data>): void | Promise<void>;
  /**
   * The connection is gone. The error is null when both sides have ended it or this side cut it; else it says what
   * happened: `Deno.errors.ConnectionReset`, `Deno.errors.TimedOut`, `Deno.errors.Interrupted` when the server was
   * closed, or what a callback threw.
   */
  close?(socket: Socket<Data>, error: Error | null): void | Promise<void>;
  /**
   * The server begins to shut down. It waits for the socket until its deadline, and cuts it then; this is the place
   * to end it before.
   */
  shutdown?(socket: Socket<Data>): void | Promise<void>;
}

/** Limits of connections that carry plain bytes. */
export interface SocketOptions {
  /**
   * Milliseconds without a byte in either direction after which the connection is closed; 0 means never. A paused
   * socket does not count as idle.
   *
   * @default {120000}
   */
  idleTimeout?: number;
  /**
   * Bytes waiting to be sent from which on `write()` returns `"queued"`.
   *
   * @default {1048576}
   */
  highWatermark?: number;
  /**
   * Bytes waiting to be sent at which, after a `write()` that returned `"queued"`, `drain` is called; at most
   * `highWatermark`. Unless given, it is that of the server.
   */
  lowWatermark?: number;
  /**
   * Bytes waiting to be sent beyond which `write()` returns `"dropped"`; at most the server's `maxQueueBytes`.
   *
   * @default {16777216}
   */
  maxQueueBytes?: number;
}

/** Has the loop know that a callback of a socket is not done yet. For socket_host.ts. */
export let watch: (socket: Socket<unknown>, promise: Promise<unknown>) => void;

/** Cuts a socket because a callback has thrown. For socket_host.ts. */
export let fail: (socket: Socket<unknown>, error: unknown) => void;

/**
 * One connection that carries plain bytes. The same object is given to every callback from `open` to `close`.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export class Socket<Data = unknown> {
  /** What the application keeps with the socket; its to read and write. */
  data: Data;
  /** The peer's address. */
  readonly remoteAddr: Deno.Addr;
  readonly #connection: SocketConnection<Data>;

  static {
    watch = (socket, promise) => socket.#connection.watch(promise);
    fail = (socket, error) => socket.#connection.fail(error);
  }

  /** Made by `RawSocketRoute.upgrade()`. */
  constructor(
    connection: SocketConnection<Data>,
    data: Data,
    remoteAddr: Deno.Addr,
  ) {
    this.data = data;
    this.remoteAddr = remoteAddr;
    this.#connection = connection;
  }

  /** Bytes that were accepted for sending and that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#connection.buffered;
  }

  /** Whether `write()` can still send: neither side has cut the connection, and this one has not ended it. */
  get writable(): boolean {
    return this.#connection.writable;
  }

  /**
   * Sends bytes, or a string as UTF-8: all or nothing. Bytes are copied before this returns.
   *
   * @param data What to send.
   * @returns What became of it.
   */
  write(data: string | Uint8Array | ArrayBuffer): SendStatus {
    if (typeof data === "string") return this.#connection.writeText(data);
    return this.#connection.writeBytes(
      toBytes(data, "write the data"),
    );
  }

  /**
   * Ends this side's direction once all is sent (FIN). What the peer still sends goes on to be given to `data`, and
   * the connection is closed when the peer has ended its direction too.
   */
  end(): void {
    this.#connection.end();
  }

  /** Closes the connection once all is sent. What the peer sends from now on is dropped. */
  close(): void {
    this.#connection.close();
  }

  /** Cuts the connection at once: what is not sent is dropped, and the peer sees a reset. */
  terminate(): void {
    this.#connection.terminate();
  }

  /**
   * Stops reading: `data` and `end` are not called before `resume()`, and what the peer sends fills the buffers of
   * the kernel and holds it up.
   */
  pause(): void {
    this.#connection.pause();
  }

  /** Reads on after `pause()`. What has arrived meanwhile is given to `data` before this returns. */
  resume(): void {
    this.#connection.resume();
  }
}
