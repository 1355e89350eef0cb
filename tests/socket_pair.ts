// SPDX-License-Identifier: Apache-2.0
// socket_pair.ts - two plain sockets that are joined in memory, for tests that
// choose how bytes are cut.

import type { StreamSocket } from "../lib/rpc_transport.ts";
import type { SendStatus } from "../lib/ws_socket.ts";

/** Who is told of a socket. */
export interface SocketEvents {
  data(chunk: Uint8Array): void;
  drain(): void;
  end(): void;
  closed(error: Error | null): void;
}

/** One end. What is written to it arrives at the other in a later microtask, in pieces of the size that is set. */
export class PairedSocket implements StreamSocket {
  readonly remoteAddr: Deno.Addr = {
    transport: "tcp",
    hostname: "127.0.0.1",
    port: 1,
  };
  /** Bytes of each piece that the other end is given. */
  pieceBytes = Infinity;
  /** Bytes that wait from which on `write()` returns "queued". */
  highWatermark = Infinity;
  /** Takes nothing more from this end. */
  stalled = false;
  events: SocketEvents | null = null;
  other!: PairedSocket;
  paused = false;
  closed = false;
  #queue: Uint8Array[] = [];
  #queued = false;
  #scheduled = false;
  #ending = false;

  get bufferedAmount(): number {
    return this.#queue.reduce((sum, { length }) => sum + length, 0);
  }

  get writable(): boolean {
    return !this.closed && !this.#ending;
  }

  write(data: Uint8Array): SendStatus {
    if (this.closed || this.#ending) return "dropped";
    this.#queue.push(data.slice());
    this.flush();
    this.#queued = this.bufferedAmount >= this.highWatermark;
    return this.#queued ? "queued" : "sent";
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.other.flush();
  }

  close(): void {
    this.#ending = true;
    this.flush();
  }

  terminate(): void {
    this.#end(null);
    this.other.#end(new Deno.errors.ConnectionReset("reset"));
  }

  /** Has what waits arrive. */
  flush(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const { other } = this;
    while (this.#queue.length > 0 && !this.stalled && !other.paused) {
      const first = this.#queue[0]!;
      const piece = first.slice(0, this.pieceBytes);
      if (piece.length === first.length) this.#queue.shift();
      else this.#queue[0] = first.subarray(piece.length);
      if (!other.closed) other.events?.data(piece);
      // A view ends with the callback.
      piece.fill(0xdb);
    }
    if (this.#queued && this.bufferedAmount < this.highWatermark) {
      this.#queued = false;
      this.events?.drain();
    }
    if (!this.#ending || this.#queue.length > 0 || this.closed) return;
    this.#end(null);
    other.#end(null);
  }

  #end(error: Error | null): void {
    if (this.closed) return;
    this.closed = true;
    this.events?.closed(error);
  }
}

export function socketPair(): [PairedSocket, PairedSocket] {
  const pair = [new PairedSocket(), new PairedSocket()] as const;
  pair[0].other = pair[1];
  pair[1].other = pair[0];
  return [...pair];
}
