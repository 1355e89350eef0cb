// SPDX-License-Identifier: Apache-2.0
// socket.ts - what the application holds of a connection that carries plain bytes, and the callbacks that it
// gives for it; made over a socket_connection.ts.

import type { KeepAlive, SocketTuning } from "../ffi/mod.ts";
import { toBytes } from "./bytes.ts";
import { requireInteger } from "./route_options.ts";
import { idOf, nextSocket } from "./socket_id.ts";
import { tuningOf } from "./socket_options.ts";
import type { SocketReader } from "./socket_reader.ts";
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
   * Bytes arrived, in pieces as the network cut them. The view is valid until this returns: `retain()` it to keep it.
   */
  data?(
    socket: Socket<Data>,
    chunk: Uint8Array<ArrayBuffer>,
  ): void | Promise<void>;
  /**
   * In place of `data`, for protocols whose messages do not end where the network cuts: bytes arrived, behind those
   * that were left the last time. What the callback does not read is kept, up to `maxUnreadBytes`, beyond which the
   * connection is cut. After `resume()` it is called again for what is unread, also when nothing new has come.
   */
  read?(socket: Socket<Data>, reader: SocketReader): void | Promise<void>;
  /** After a `write()` that returned `"queued"`: the queue has fallen to the low watermark. */
  drain?(socket: Socket<Data>): void | Promise<void>;
  /**
   * The peer sends no more, and all it sent has been given to `data`. Writing is still possible; `end()` or
   * `close()` has to follow. Without this callback the socket is ended at once.
   */
  end?(socket: Socket<Data>): void | Promise<void>;
  /**
   * Not a byte went either way for as long as the idle timeout says. The socket goes on, and this is called again
   * after as long, unless the callback closes it. Without this callback the socket is closed.
   */
  timeout?(socket: Socket<Data>): void | Promise<void>;
  /**
   * The connection has failed: just before `close` is called with the same error. Where there is no such callback,
   * what other callbacks have thrown is logged.
   */
  error?(socket: Socket<Data>, error: Error): void | Promise<void>;
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
   * Milliseconds without a byte in either direction after which the connection is closed, or `timeout` is called; 0
   * means never. A paused socket does not count as idle.
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
   * `highWatermark`.
   *
   * @default {highWatermark / 4}
   */
  lowWatermark?: number;
  /**
   * Bytes waiting to be sent beyond which `write()` returns `"dropped"`; at most the server's `maxQueueBytes`, and
   * at most 64 MiB with `connect()` and `adopt()`.
   *
   * @default {16777216}
   */
  maxQueueBytes?: number;
  /**
   * Bytes that a `read` callback may leave unread; more cut the connection.
   *
   * @default {1048576}
   */
  maxUnreadBytes?: number;
}

/** What has gone over a socket. */
export interface SocketCounters {
  /** Bytes that have arrived. */
  receivedBytes: number;
  /** Bytes that were written and that the kernel has taken. */
  sentBytes: number;
  /** Bytes that were written and that it has not taken yet. */
  bufferedAmount: number;
}

/** What a socket stands on: a socket_connection.ts, or what it has in place of one while it connects. */
export interface SocketGround {
  readonly buffered: number;
  readonly writable: boolean;
  readonly unread: number;
  readonly localAddress: Deno.Addr | null;
  counters(): SocketCounters;
  writeBytes(bytes: Uint8Array): SendStatus;
  writeText(text: string): SendStatus;
  flushed(): Promise<void>;
  end(): void;
  close(): void;
  terminate(): void;
  fail(error: unknown): boolean;
  pause(): void;
  resume(): void;
  setTimeout(ms: number): void;
  tune(tuning: SocketTuning): void;
  ref(): void;
  unref(): void;
  watch(promise: Promise<unknown>): void;
}

/** Has a socket stand on something else. For connect.ts. */
export let stand: (
  socket: Socket<unknown>,
  ground: SocketGround,
  remoteAddr: Deno.Addr,
) => void;

/** Has the loop know that a callback of a socket is not done yet. For socket_host.ts. */
export let watch: (socket: Socket<unknown>, promise: Promise<unknown>) => void;

/** Cuts a socket because a callback has thrown; returns whether that is to be logged. For socket_host.ts. */
export let fail: (socket: Socket<unknown>, error: unknown) => boolean;

/**
 * One connection that carries plain bytes. The same object is given to every callback from `open` to `close`.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export class Socket<Data = unknown> {
  /** What the application keeps with the socket; its to read and write. */
  data: Data;
  #ground: SocketGround;
  #remoteAddr: Deno.Addr;
  readonly #number = nextSocket();
  #localAddr: Deno.Addr | null = null;

  static {
    watch = (socket, promise) => socket.#ground.watch(promise);
    fail = (socket, error) => socket.#ground.fail(error);
    stand = (socket, ground, remoteAddr) => {
      socket.#ground = ground;
      socket.#remoteAddr = remoteAddr;
    };
  }

  /** Made by `listen()`, `connect()`, `adopt()` and `RawSocketRoute.upgrade()`. */
  constructor(
    ground: SocketGround,
    data: Data,
    remoteAddr: Deno.Addr,
  ) {
    this.data = data;
    this.#remoteAddr = remoteAddr;
    this.#ground = ground;
  }

  /** A text that no other socket of the process has. */
  get id(): string {
    return idOf(this.#number);
  }

  /** The peer's address; while the socket connects, the name and port that it connects to. */
  get remoteAddr(): Deno.Addr {
    return this.#remoteAddr;
  }

  /** Our own address; null while the socket connects, and when nobody has asked before the connection was gone. */
  get localAddr(): Deno.Addr | null {
    return this.#localAddr ??= this.#ground.localAddress;
  }

  /** Bytes that a `read` callback has left. */
  get unreadAmount(): number {
    return this.#ground.unread;
  }

  /** Bytes that were accepted for sending and that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#ground.buffered;
  }

  /** Whether `write()` can still send: neither side has cut the connection, and this one has not ended it. */
  get writable(): boolean {
    return this.#ground.writable;
  }

  /**
   * Sends bytes, or a string as UTF-8: all or nothing. Bytes are copied before this returns.
   *
   * @param data What to send.
   * @returns What became of it.
   */
  write(data: string | Uint8Array | ArrayBuffer): SendStatus {
    if (typeof data === "string") return this.#ground.writeText(data);
    return this.#ground.writeBytes(
      toBytes(data, "write the data"),
    );
  }

  /**
   * Ends this side's direction once all is sent (FIN). What the peer still sends goes on to be given to `data`, and
   * the connection is closed when the peer has ended its direction too.
   */
  end(): void {
    this.#ground.end();
  }

  /** Closes the connection once all is sent. What the peer sends from now on is dropped. */
  close(): void {
    this.#ground.close();
  }

  /** Cuts the connection at once: what is not sent is dropped, and the peer sees a reset. */
  terminate(): void {
    this.#ground.terminate();
  }

  /**
   * Stops reading: `data` and `end` are not called before `resume()`, and what the peer sends fills the buffers of
   * the kernel and holds it up. Neither is `close` when both sides end the connection meanwhile, as it comes behind
   * them; `close()` and `terminate()` call it without them.
   */
  pause(): void {
    this.#ground.pause();
  }

  /** Reads on after `pause()`. What has arrived meanwhile is given to `data` before this returns. */
  resume(): void {
    this.#ground.resume();
  }

  /**
   * Waits until the kernel has taken all that was written so far. Bytes that it has taken are on their way to the
   * peer; that the peer has read them only the peer can say.
   *
   * @returns Resolves then; rejects with `Deno.errors.Interrupted` when the connection ends before. That it rejects
   * while nobody waits for it is no unhandled rejection.
   */
  flushed(): Promise<void> {
    return this.#ground.flushed();
  }

  /** What has gone over the socket; also after its end. */
  statistics(): SocketCounters {
    return this.#ground.counters();
  }

  /**
   * Sets the idle timeout of this socket, from now on.
   *
   * @param ms Milliseconds; 0 means never.
   * @throws {RangeError} When it is no integer from 0 to 4294967295.
   */
  setTimeout(ms: number): void {
    requireInteger("set the timeout", "ms", ms, 0, 0xffffffff);
    this.#ground.setTimeout(ms);
  }

  /**
   * Whether bytes leave at once, which is the default, or wait for others to share a packet with.
   *
   * @param on At once.
   * @throws {Deno.errors.NotSupported} When it is a Unix socket.
   */
  setNoDelay(on: boolean = true): void {
    this.#ground.tune(tuningOf("set no-delay", { noDelay: on }));
  }

  /**
   * Has the kernel look whether a silent peer is still there, and end the connection when it is not.
   *
   * @param keepAlive When to look; false: never, which is the default.
   * @throws {RangeError} When a number is out of range.
   * @throws {Deno.errors.NotSupported} When it is a Unix socket.
   */
  setKeepAlive(keepAlive: KeepAlive | false): void {
    this.#ground.tune(tuningOf("set keep-alive", { keepAlive }));
  }

  /**
   * Sets how many bytes the kernel holds for the peer, and from it. It takes twice as much memory, and has limits of
   * its own.
   *
   * @param sizes What is to be different, in bytes.
   * @throws {RangeError} When a size is out of range.
   */
  setBufferSizes(
    sizes: { sendBufferBytes?: number; receiveBufferBytes?: number },
  ): void {
    this.#ground.tune(tuningOf("set buffer sizes", sizes));
  }

  /**
   * Has a socket of `connect()` or `adopt()` keep the process alive, which is the default. Of one that a server has
   * accepted it is the server that says so for all: this call then has no effect.
   */
  ref(): void {
    this.#ground.ref();
  }

  /** Lets the process end while the socket is open; the reverse of `ref()`. */
  unref(): void {
    this.#ground.unref();
  }
}
