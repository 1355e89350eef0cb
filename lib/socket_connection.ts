// SPDX-License-Identifier: Apache-2.0
// socket_connection.ts - one connection that carries plain bytes: records to callbacks, bytes to the outbox; made
// by raw_socket.ts, socket_server.ts and connect.ts, called by poll_loop.ts and, through socket.ts, by the application.

import {
  errnoError,
  type Inbox,
  layout,
  type Outbox,
  type SocketTuning,
} from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { PollLoop } from "./poll_loop.ts";
import { SentQueue } from "./sent_queue.ts";
import type { Socket, SocketCounters, SocketGround } from "./socket.ts";
import type { SocketHost } from "./socket_host.ts";
import { feed, keep, refusalOf, SocketReader } from "./socket_reader.ts";
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

/** Whose connections may each keep the process alive or not: a client_loop.ts. */
export interface Keeper {
  ref(handle: number): void;
  unref(handle: number): void;
}

/** State of a connection whose bytes are the application's. */
export class SocketConnection<Data> implements Connection, SocketGround {
  readonly handle: number;
  /** What the application holds of it. */
  socket!: Socket<Data>;
  readonly #host: SocketHost<Data>;
  readonly #maxQueueBytes: number;
  readonly #loop: PollLoop;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #upgradeTurn: number;
  readonly #keeper: Keeper | null;
  #state = OPEN;
  #paused = false;
  // What had arrived when the application paused: copies of bytes, and whether the peer's FIN came behind them.
  readonly #held: Uint8Array<ArrayBuffer>[] = [];
  #endHeld = false;
  // A callback for bytes is running, or runs over those that were held.
  #delivering = false;
  // C was told to pause, and not to resume yet.
  #halted = false;
  #reader: SocketReader | null = null;
  #sent: SentQueue | null = null;
  // C knows the connection no more, and nothing may be staged for it.
  #gone = false;
  // write() said so, and drain has not followed yet.
  #queued = false;
  #failure: Error | null = null;
  #received = 0;
  #written = 0;
  // Bytes that the kernel had not taken when the connection went.
  #unsent = 0;
  #lost: Error | null = null;

  /** `upgraded`: the connection has been one of HTTP until this turn. */
  constructor(
    handle: number,
    loop: PollLoop,
    host: SocketHost<Data>,
    upgraded: boolean,
    keeper: Keeper | null = null,
  ) {
    this.handle = handle;
    this.#host = host;
    this.#maxQueueBytes = Math.min(host.maxQueueBytes, loop.maxQueueBytes);
    this.#loop = loop;
    this.#inbox = loop.reactor.inbox;
    this.#outbox = loop.reactor.outbox;
    this.#keeper = keeper;
    this.#upgradeTurn = upgraded ? loop.turn : NEVER;
  }

  /** Bytes that the kernel has not taken yet. */
  get buffered(): number {
    return this.#gone ? 0 : this.#outbox.buffered(this.handle);
  }

  /** Whether bytes are still accepted. */
  get writable(): boolean {
    // C may know it no more, and the record that says so be still to come in this turn.
    return this.#state === OPEN && !this.#gone &&
      this.#outbox.isLive(this.handle);
  }

  /** Whether the application was told to wait for `drain`. */
  get queued(): boolean {
    return this.#queued;
  }

  /** Bytes that `read` has left. */
  get unread(): number {
    return this.#reader?.available ?? 0;
  }

  /** Our own address; null when the connection is gone. */
  get localAddress(): Deno.Addr | null {
    return this.#gone ? null : this.#loop.reactor.localAddress(this.handle);
  }

  counters(): SocketCounters {
    const { buffered } = this;
    return {
      receivedBytes: this.#received,
      sentBytes: Math.max(0, this.#written - buffered - this.#unsent),
      bufferedAmount: buffered,
    };
  }

  receive(index: number): void {
    switch (this.#inbox.kind(index)) {
      case layout.DATA:
        return this.#onData(index);
      case layout.DRAIN:
        return this.#onDrain();
      case layout.SENT:
        return this.#onSent();
      case layout.QUIET:
        return this.#onQuiet();
      case layout.END:
        return this.#onEnd();
      case layout.CLOSED:
        return this.#onClosed(this.#inbox.code(index), this.#inbox.aux(index));
    }
  }

  drain(): void {
    if (this.#state < CLOSING) this.#host.shutdown(this.socket);
  }

  lost(): void {
    this.#unsent = this.buffered;
    this.#gone = true;
    this.#endSent();
    this.#tellClosed(new Deno.errors.Interrupted("The server was closed"));
  }

  /** Stages bytes. */
  writeBytes(bytes: Uint8Array): SendStatus {
    const total = this.buffered + bytes.length;
    if (!this.writable || total > this.#maxQueueBytes) return "dropped";
    this.#outbox.write(this.handle, bytes, 0);
    this.#written += bytes.length;
    return this.#staged();
  }

  /** Stages text as UTF-8. */
  writeText(text: string): SendStatus {
    // Near the limit the number of bytes matters, and not just that of characters.
    if (this.buffered + 3 * text.length > this.#maxQueueBytes) {
      return this.writeBytes(UTF8.encode(text));
    }
    if (!this.writable) return "dropped";
    this.#written += this.#outbox.writeText(this.handle, text, 0);
    return this.#staged();
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

  /** Cuts the connection because of an error. Returns whether nobody is told of it, so that it has to be logged. */
  fail(error: unknown): boolean {
    // A callback has waited for flushed(), and the peer has left: no news.
    if (this.#lost !== null && error === this.#lost) return false;
    if (this.#state === CLOSED || this.#failure !== null) return true;
    this.#failure = thrownError(error);
    this.terminate();
    if (this.#host.tellsErrors) return false;
    // Peers shall not be able to fill logs.
    const refusal = this.#reader === null ? null : refusalOf(this.#reader);
    return refusal === null || error !== refusal;
  }

  /** Cuts a connection that the application has not been told of, and never will be. */
  abandon(): void {
    this.#command(layout.CMD_TERMINATE);
    this.#state = CLOSED;
  }

  pause(): void {
    if (this.#paused || this.#state >= CLOSING) return;
    this.#paused = this.#halted = true;
    this.#command(layout.CMD_PAUSE);
  }

  resume(): void {
    if (!this.#paused || this.#state >= CLOSING) return;
    this.#paused = false;
    if (!this.#delivering) this.#deliver();
  }

  /** Resolves once the kernel has taken all that was written so far; rejects when it never will. */
  flushed(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {}); // that nobody waits for it any more is no unhandled rejection
    const sent = (error: Error | null): void =>
      error === null ? resolve() : reject(error);
    if (this.#gone) {
      sent(this.#sentError());
    } else {
      this.#sent ??= new SentQueue(() => this.#command(layout.CMD_NOTIFY));
      this.#sent.push({ sent });
    }
    return promise;
  }

  /** Another time of quiet after which the connection is closed, or `timeout` is called; 0 means never. */
  setTimeout(ms: number): void {
    this.#command(layout.CMD_IDLE, ms, Number(this.#host.tellsTimeout));
  }

  /** Sets options of the socket. Throws when the kernel refuses. */
  tune(tuning: SocketTuning): void {
    if (!this.#gone) this.#loop.reactor.tune(this.handle, tuning);
  }

  /** Keeps the process alive. */
  ref(): void {
    if (!this.#gone) this.#keeper?.ref(this.handle);
  }

  /** Lets the process end. */
  unref(): void {
    if (!this.#gone) this.#keeper?.unref(this.handle);
  }

  /** Counts a callback's promise as outstanding until it settles. */
  watch(promise: Promise<unknown>): void {
    const settled = (): void => this.#loop.settled();
    this.#loop.promised();
    promise.then(settled, settled);
  }

  // What the kernel has taken already waits no more: no drain would follow.
  #staged(): SendStatus {
    this.#loop.kick();
    if (this.buffered < this.#host.highWatermark) return "sent";
    this.#outbox.wantDrain(this.handle, this.#host.lowWatermark);
    this.#queued = true;
    return "queued";
  }

  // Gives what was held to the application, which may pause again at any point.
  #deliver(): void {
    this.#delivering = true;
    if (this.unread > 0 && this.#reads()) this.#read(this.#reader!);
    while (this.#held.length > 0 && this.#reads()) {
      this.#give(this.#held.shift()!);
    }
    this.#delivering = false;
    if (this.#endHeld && this.#reads()) {
      this.#endHeld = false;
      this.#host.end(this.socket);
    }
    if (this.#paused) return;
    this.#halted = false;
    if (this.#state < CLOSING) this.#command(layout.CMD_RESUME);
    if (this.#gone) this.#tellClosed(null);
  }

  #give(chunk: Uint8Array<ArrayBuffer>): void {
    if (!this.#host.reads) return this.#host.data(this.socket, chunk);
    this.#reader ??= new SocketReader(this.#host.maxUnreadBytes);
    feed(this.#reader, chunk);
    this.#read(this.#reader);
  }

  // While the socket is paused no more comes, and what is left will be read later.
  #read(reader: SocketReader): void {
    this.#host.read(this.socket, reader);
    keep(reader);
    const most = this.#host.maxUnreadBytes;
    if (reader.available <= most || !this.#reads()) return;
    this.fail(
      new RangeError(
        `Cannot keep ${reader.available} bytes that were not read: "maxUnreadBytes" is ${most}`,
      ),
    );
  }

  #reads(): boolean {
    return !this.#paused && this.#state < CLOSING;
  }

  #onData(index: number): void {
    if (this.#state >= CLOSING) return;
    const inbox = this.#inbox;
    this.#received += inbox.length(index);
    if (this.#paused) return void this.#held.push(inbox.borrow(index).slice());
    const block = inbox.block(index);
    this.#delivering = true;
    this.#give(inbox.view(index));
    this.#delivering = false;
    inbox.returned(block);
    // Paused and resumed within the callback.
    if (this.#halted && !this.#paused) this.#deliver();
  }

  #onSent(): void {
    // Asked about a response, before the upgrade.
    if (this.#loop.turn !== this.#upgradeTurn) this.#sent?.taken();
  }

  #onQuiet(): void {
    if (this.#state < CLOSING) this.#host.timeout(this.socket);
  }

  #onDrain(): void {
    if (!this.#queued || this.#state !== OPEN) return;
    if (this.buffered >= this.#host.highWatermark) {
      // It had fallen, and more was written since.
      this.#outbox.wantDrain(this.handle, this.#host.lowWatermark);
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
  #onClosed(errno: number, unsent: number): void {
    this.#unsent = unsent;
    this.#gone = true;
    this.#endSent();
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

  #endSent(): void {
    this.#sent?.end(this.#sentError());
  }

  #sentError(): Error | null {
    if (this.#unsent === 0) return null;
    return this.#lost ??= new Deno.errors.Interrupted(
      `The connection has ended, and ${this.#unsent} bytes were not sent`,
    );
  }

  #command(op: number, argument?: number, second?: number): void {
    if (this.#gone) return;
    this.#outbox.command(this.handle, op, argument, second);
    this.#loop.kick();
  }
}
