// SPDX-License-Identifier: Apache-2.0
// socket_connection.ts - one connection that carries plain bytes: records to callbacks, bytes to the outbox; made
// by raw_socket.ts, called by poll_loop.ts and, through socket.ts, by the application.

import { errnoError, type Inbox, layout, type Outbox } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { PollLoop } from "./poll_loop.ts";
import type { Socket } from "./socket.ts";
import type { SocketHost } from "./socket_host.ts";
import { thrownError } from "./thrown.ts";
import type { SendStatus } from "./ws_socket.ts";

// The life of a connection, as far as this side decides it.
const OPEN = 1;
const ENDED = 2; // no more is written; the peer may go on
const CLOSING = 3; // no more is read either
const CLOSED = 4;

// No turn has this number.
const NEVER = -1;

const UTF8 = new TextEncoder();

/** State of a connection whose bytes are the application's. */
export class SocketConnection<Data> implements Connection {
  readonly handle: number;
  /** What the application holds of it. */
  socket!: Socket<Data>;
  readonly #host: SocketHost<Data>;
  readonly #maxQueueBytes: number;
  readonly #loop: PollLoop;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #upgradeTurn: number;
  #state = OPEN;
  #paused = false;
  // What had arrived when the application paused: copies of bytes, and whether the peer's FIN came behind them.
  readonly #held: Uint8Array<ArrayBuffer>[] = [];
  #endHeld = false;
  #delivering = false;
  // C knows the connection no more, and nothing may be staged for it.
  #gone = false;
  // write() said so, and drain has not followed yet.
  #queued = false;
  #failure: Error | null = null;

  /** `upgraded`: the connection has been one of HTTP until this turn. */
  constructor(
    handle: number,
    loop: PollLoop,
    host: SocketHost<Data>,
    upgraded: boolean,
  ) {
    this.handle = handle;
    this.#host = host;
    this.#maxQueueBytes = Math.min(host.maxQueueBytes, loop.maxQueueBytes);
    this.#loop = loop;
    this.#inbox = loop.reactor.inbox;
    this.#outbox = loop.reactor.outbox;
    this.#upgradeTurn = upgraded ? loop.turn : NEVER;
  }

  /** Bytes that the kernel has not taken yet. */
  get buffered(): number {
    return this.#gone ? 0 : this.#outbox.buffered(this.handle);
  }

  /** Whether bytes are still accepted. */
  get writable(): boolean {
    return this.#state === OPEN && !this.#gone;
  }

  receive(index: number): void {
    switch (this.#inbox.kind(index)) {
      case layout.DATA:
        return this.#onData(index);
      case layout.DRAIN:
        return this.#onDrain();
      case layout.END:
        return this.#onEnd();
      case layout.CLOSED:
        return this.#onClosed(this.#inbox.code(index));
    }
  }

  drain(): void {
    if (this.#state < CLOSING) this.#host.shutdown(this.socket);
  }

  lost(): void {
    this.#gone = true;
    this.#tellClosed(new Deno.errors.Interrupted("The server was closed"));
  }

  /** Stages bytes. */
  writeBytes(bytes: Uint8Array): SendStatus {
    const total = this.buffered + bytes.length;
    if (!this.writable || total > this.#maxQueueBytes) return "dropped";
    this.#outbox.write(this.handle, bytes, 0);
    return this.#staged(total);
  }

  /** Stages text as UTF-8. */
  writeText(text: string): SendStatus {
    // Near the limit the number of bytes matters, and not just that of characters.
    if (this.buffered + 3 * text.length > this.#maxQueueBytes) {
      return this.writeBytes(UTF8.encode(text));
    }
    if (!this.writable) return "dropped";
    this.#outbox.writeText(this.handle, text, 0);
    return this.#staged(this.buffered);
  }

  /** Ends this side's direction once all is sent. */
  end(): void {
    if (this.#state !== OPEN) return;
    this.#state = ENDED;
    this.#command(layout.CMD_END);
  }

  /** Closes once all is sent. */
  close(): void {
    if (this.#state >= CLOSING) return;
    this.#leave(layout.CMD_FINISH);
  }

  /** Cuts the connection. */
  terminate(): void {
    if (this.#state === CLOSED) return;
    this.#leave(layout.CMD_TERMINATE);
  }

  /** Cuts the connection because a callback has thrown; `close` is told so. */
  fail(error: unknown): void {
    this.#failure ??= thrownError(error);
    this.terminate();
  }

  pause(): void {
    if (this.#paused || this.#state >= CLOSING) return;
    this.#paused = true;
    this.#command(layout.CMD_PAUSE);
  }

  resume(): void {
    if (!this.#paused || this.#state >= CLOSING) return;
    this.#paused = false;
    if (!this.#delivering) this.#deliver();
  }

  /** Counts a callback's promise as outstanding until it settles. */
  watch(promise: Promise<unknown>): void {
    const settled = (): void => this.#loop.settled();
    this.#loop.promised();
    promise.then(settled, settled);
  }

  #staged(buffered: number): SendStatus {
    this.#loop.kick();
    if (buffered < this.#host.highWatermark) return "sent";
    this.#outbox.wantDrain(this.handle);
    this.#queued = true;
    return "queued";
  }

  // Gives what was held to the application, which may pause again at any point.
  #deliver(): void {
    this.#delivering = true;
    while (this.#held.length > 0 && this.#reads()) {
      this.#host.data(this.socket, this.#held.shift()!);
    }
    this.#delivering = false;
    if (this.#endHeld && this.#reads()) {
      this.#endHeld = false;
      this.#host.end(this.socket);
    }
    if (this.#paused) return;
    if (this.#state < CLOSING) this.#command(layout.CMD_RESUME);
    if (this.#gone) this.#tellClosed(null);
  }

  #reads(): boolean {
    return !this.#paused && this.#state < CLOSING;
  }

  #onData(index: number): void {
    if (this.#state >= CLOSING) return;
    const inbox = this.#inbox;
    if (this.#paused) return void this.#held.push(inbox.borrow(index).slice());
    const block = inbox.block(index);
    this.#host.data(this.socket, inbox.view(index));
    inbox.returned(block);
  }

  #onDrain(): void {
    if (!this.#queued || this.#state !== OPEN) return;
    if (this.buffered >= this.#host.highWatermark) {
      // It had fallen, and more was written since.
      this.#outbox.wantDrain(this.handle);
      return;
    }
    this.#queued = false;
    this.#host.drain(this.socket);
  }

  #onEnd(): void {
    // It came together with the head, for the request. C tells it again to who has taken over.
    if (this.#loop.turn === this.#upgradeTurn) return;
    if (this.#paused) this.#endHeld = true;
    else if (this.#state < CLOSING) this.#host.end(this.socket);
  }

  // An orderly end is told behind the last bytes; an error does not wait for them.
  #onClosed(errno: number): void {
    this.#gone = true;
    if (errno !== 0) {
      this.#tellClosed(errnoError(errno, "go on with the connection"));
    } else if (!this.#paused || this.#state === CLOSING) {
      this.#tellClosed(null);
    }
  }

  #leave(op: number): void {
    this.#state = CLOSING;
    this.#command(op);
    if (this.#gone) this.#tellClosed(null);
  }

  #tellClosed(error: Error | null): void {
    if (this.#state === CLOSED) return;
    this.#state = CLOSED;
    this.#host.close(this.socket, this.#failure ?? error);
  }

  #command(op: number): void {
    if (this.#gone) return;
    this.#outbox.command(this.handle, op);
    this.#loop.kick();
  }
}
