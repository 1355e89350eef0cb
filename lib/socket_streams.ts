// SPDX-License-Identifier: Apache-2.0
// socket_streams.ts - sockets as pairs of web streams, shaped like the connections of Deno; used by applications.

import type { Socket, SocketHandlers } from "./socket.ts";

// Bytes that wait to be read from which on the peer is held up.
const UNREAD_BYTES = 64 * 1024;

// A write is accepted whole or not at all: a long chunk goes in pieces of this size.
const PIECE_BYTES = 64 * 1024;

/** Bytes that have arrived and nobody has read. */
class Inbound {
  socket!: Socket<StreamConn>;
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];
  #bytes = 0;
  #ended = false;
  #error: Error | null = null;
  #dropped = false;
  #news: PromiseWithResolvers<void> | null = null;

  push(chunk: Uint8Array<ArrayBuffer>): void {
    if (this.#dropped) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes >= UNREAD_BYTES) this.socket.pause();
    this.#tell();
  }

  /** No more comes; the error is why, when it is not the peer's orderly end. The first one counts. */
  end(error: Error | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#tell();
  }

  /** The next bytes, once there are some, at most so many; null at the end. */
  async take(most: number = Infinity): Promise<Uint8Array<ArrayBuffer> | null> {
    while (this.#chunks.length === 0) {
      if (this.#error !== null) throw this.#error;
      if (this.#ended) return null;
      await (this.#news ??= Promise.withResolvers()).promise;
    }
    let chunk = this.#chunks.shift()!;
    if (chunk.length > most) {
      this.#chunks.unshift(chunk.subarray(most));
      chunk = chunk.subarray(0, most);
    }
    this.#bytes -= chunk.length;
    if (this.#bytes < UNREAD_BYTES) this.socket.resume();
    return chunk;
  }

  drop(): void {
    this.#dropped = true;
    this.#chunks.length = this.#bytes = 0;
    this.socket.resume();
  }

  /** Whether an error is what the reader was told of the end. */
  hasTold(error: unknown): boolean {
    return this.#error !== null && error === this.#error;
  }

  #tell(): void {
    this.#news?.resolve();
    this.#news = null;
  }
}

/** Writing that waits for the peer. */
class Outbound {
  readonly #socket: Socket<StreamConn>;
  #waiting: PromiseWithResolvers<void> | null = null;
  #writing: Promise<void> | null = null;
  #error: Error | null = null;

  constructor(socket: Socket<StreamConn>) {
    this.#socket = socket;
  }

  /** Writes all of it, behind what earlier calls have still to write. */
  write(bytes: Uint8Array): Promise<void> {
    const before = this.#writing;
    const write = (): Promise<void> => this.#write(bytes);
    const writing = before === null ? write() : before.then(write, write);
    this.#writing = writing;
    const done = (): void => {
      if (this.#writing === writing) this.#writing = null;
    };
    writing.then(done, done);
    return writing;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    let size = PIECE_BYTES;
    for (let rest = bytes; rest.length > 0;) {
      const piece = rest.subarray(0, size);
      const status = this.#socket.write(piece);
      if (status !== "dropped") rest = rest.subarray(piece.length);
      else if (!this.#socket.writable) throw this.#gone();
      // It did not fit: what is queued has to leave, and if nothing is, the queue is shorter than the piece.
      else if (this.#socket.bufferedAmount > 0) await this.flushed();
      else size = Math.ceil(piece.length / 2);
      if (status === "queued") await this.#drain();
    }
  }

  drained(): void {
    this.#waiting?.resolve();
    this.#waiting = null;
  }

  end(error: Error | null): void {
    this.#error ??= error;
    this.#waiting?.reject(this.#gone());
    this.#waiting = null;
  }

  /** Whether an error is what a writer was told of the end. */
  hasTold(error: unknown): boolean {
    return this.#error !== null && error === this.#error;
  }

  /** Waits until the kernel has all that was written. */
  async flushed(): Promise<void> {
    try {
      await this.#socket.flushed();
    } catch {
      throw this.#gone();
    }
  }

  #drain(): Promise<void> {
    if (!this.#socket.writable) return Promise.reject(this.#gone());
    return (this.#waiting ??= Promise.withResolvers()).promise;
  }

  #gone(): Error {
    return this.#error ??= new Deno.errors.BrokenPipe(
      "Cannot write: the connection has ended",
    );
  }
}

let partsOf: (conn: StreamConn) => [Inbound, Outbound];

/**
 * A socket as a pair of streams, with what else a `Deno.TcpConn` has. Backpressure works both ways: while nobody reads
 * here the peer is held up, and a write waits for a peer that is slow.
 */
export class StreamConn implements Disposable {
  /** The socket behind it, for its options and statistics. */
  readonly socket: Socket<StreamConn>;
  /** The peer's address. */
  readonly remoteAddr: Deno.Addr;
  /** Our own address. */
  readonly localAddr: Deno.Addr;
  readonly #inbound = new Inbound();
  readonly #outbound: Outbound;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | null = null;
  #writable: WritableStream<Uint8Array> | null = null;

  static {
    partsOf = (conn) => [conn.#inbound, conn.#outbound];
  }

  /** Made by the handlers of {@linkcode streams}. */
  constructor(socket: Socket<StreamConn>) {
    this.socket = socket;
    this.remoteAddr = socket.remoteAddr;
    this.localAddr = socket.localAddr ?? socket.remoteAddr;
    this.#inbound.socket = socket;
    this.#outbound = new Outbound(socket);
  }

  /**
   * What arrives, up to the peer's end: a stream of bytes, which fills buffers of the reader's own too. To cancel it
   * closes the connection for reading: what still comes is dropped.
   */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const inbound = this.#inbound;
    return this.#readable ??= new ReadableStream({
      type: "bytes",
      pull: async (controller): Promise<void> => {
        const chunk = await inbound.take();
        if (chunk !== null) return controller.enqueue(chunk);
        controller.close();
        controller.byobRequest?.respond(0);
      },
      cancel: () => inbound.drop(),
    });
  }

  /** Takes bytes. To close it ends this side's direction; to abort it cuts the connection. */
  get writable(): WritableStream<Uint8Array> {
    return this.#writable ??= new WritableStream({
      write: (chunk) => this.#outbound.write(chunk),
      close: () => this.closeWrite(),
      abort: () => this.socket.terminate(),
    });
  }

  /**
   * Reads what is there, or waits for something to come.
   *
   * @param buffer Where to.
   * @returns The number of bytes, at least one; null when the peer has ended.
   * @throws {Deno.errors.ConnectionReset} And others, when the connection has failed.
   */
  async read(buffer: Uint8Array): Promise<number | null> {
    if (buffer.length === 0) return 0;
    const chunk = await this.#inbound.take(buffer.length);
    if (chunk === null) return null;
    buffer.set(chunk);
    return chunk.length;
  }

  /**
   * Writes all of some bytes, and waits while the peer is slow.
   *
   * @param bytes What to write.
   * @returns The number of bytes.
   * @throws {Deno.errors.BrokenPipe} When the connection has ended before.
   */
  async write(bytes: Uint8Array): Promise<number> {
    await this.#outbound.write(bytes);
    return bytes.length;
  }

  /** Ends this side's direction, and waits until the kernel has all that was written. */
  async closeWrite(): Promise<void> {
    this.socket.end();
    await this.#outbound.flushed();
  }

  /** Closes the connection once all is sent. What the peer still sends is dropped. */
  close(): void {
    this.#inbound.end(new Deno.errors.Interrupted("The connection was closed"));
    this.socket.close();
  }

  /** The same as `close()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Callbacks that make a {@linkcode StreamConn} of each socket, for code that wants web streams. It is in `data` of its
 * socket.
 *
 * @example An echo
 * ```ts
 * import { listen, streams } from "@millrace/millrace";
 *
 * listen({ port: 7000 }, streams((conn) => conn.readable.pipeTo(conn.writable)));
 * ```
 *
 * @param handler Called for each connection. When it throws or rejects, the connection is cut and that is logged, unless
 * it is just what reading or writing has thrown because the connection has ended.
 * @returns The callbacks, for `listen()`, `connect()` or `rawSocket()`.
 */
export function streams(
  handler: (conn: StreamConn) => void | Promise<void> = () => {},
): SocketHandlers<StreamConn> {
  return {
    // Not awaited by the loop: this promise lasts as long as the connection.
    open(socket): void {
      socket.data = new StreamConn(socket);
      run(handler, socket.data);
    },
    data: (socket, chunk) => partsOf(socket.data)[0].push(chunk.slice()),
    end: (socket) => partsOf(socket.data)[0].end(null),
    drain: (socket) => partsOf(socket.data)[1].drained(),
    error(): void {}, // told to whoever reads or writes
    close(socket, error): void {
      if (socket.data === undefined) return; // it has never stood
      const [inbound, outbound] = partsOf(socket.data);
      inbound.end(error);
      outbound.end(error);
    },
  };
}

async function run(
  handler: (conn: StreamConn) => void | Promise<void>,
  conn: StreamConn,
): Promise<void> {
  try {
    await handler(conn);
  } catch (error) {
    conn.socket.terminate();
    // Peers shall not be able to fill logs: that one has gone is no fault of the handler.
    if (partsOf(conn).some((part) => part.hasTold(error))) return;
    console.error("Exception in the handler of a connection", error);
  }
}
