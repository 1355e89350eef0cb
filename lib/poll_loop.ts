// SPDX-License-Identifier: Apache-2.0
// poll_loop.ts - turns of the reactor between those of Deno's event loop; opened by http_server.ts and client_loop.ts,
// drives the connections.
//
// A turn polls once and lets every connection that has news handle it. Between turns the loop yields:
//   - with setImmediate while only the network is busy, the cheapest way;
//   - through the wake socket every millisecond, and every 100 µs while a promise of a handler is outstanding:
//     the runtime looks at its own I/O only when it parks, and would starve a handler's fetch otherwise;
//   - by sleeping on the wake socket once there is nothing to do, after `spin` microseconds of looking again.

import {
  type ConnectAddress,
  layout,
  Reactor,
  type ReactorOptions,
} from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import { sharing } from "./sharing.ts";
import { Tally } from "./statistics.ts";
import { Topics } from "./topics.ts";
import { Texts } from "./ws_texts.ts";
import { WakeSocket } from "./wake_socket.ts";

/** Options of a loop beside those of its reactor. */
export interface PollLoopOptions extends ReactorOptions {
  /** Microseconds for which to look for work before sleeping. */
  spin: number;
}

/** Makes the object for an accepted connection. */
export type Accept = (handle: number, listener: number) => Connection;

const YIELD_EVERY_MS = 1;
const YIELD_WITH_PROMISES_MS = 0.1;

// The runtime listens to the wake socket anew only in the second pass of its loop after a wake-up. A byte that is
// sent before is read at once, and the runtime does not park.
const TURNS_TO_LISTEN = 2;

// While turns are small, several fit between two yields: a yield costs as much as a request. Callbacks of the
// application, promise reactions among them, wait for no more records than these.
const RECORDS_BEFORE_YIELD = 64;

// Sleeping costs some five microseconds of CPU, so that a few looks are cheaper when work is about to come.
const LOOKS_BEFORE_SLEEP = 2;

// What will run the next turn.
const TURNING = 0; // we are in one
const IMMEDIATE = 1;
const YIELDED = 2; // a byte on its way through the wake socket
const ASLEEP = 3; // the next event
const STOPPED = 4;

/** Drives one reactor. */
export class PollLoop {
  readonly reactor: Reactor;
  /** What its connections count. */
  readonly tally: Tally = new Tally(sharing()?.counts);
  /** What its WebSockets are subscribed to. */
  readonly topics: Topics;
  /** What its WebSockets send, as far as it is short text. */
  readonly texts: Texts;
  /** Number of this turn. */
  turn = 0;
  /** Number of records in this turn's inbox. */
  records = 0;
  /** Records before this one are done: a connection may take in several at once. */
  taken = 0;
  /** Told of each record of a message from another thread; see `Reactor.openMailbox`. */
  onPosted: ((index: number) => void) | null = null;
  /** Called once, before what this turn has staged is sent. */
  beforePoll: (() => void) | null = null;
  /** Bytes that may wait for one peer. */
  readonly maxQueueBytes: number;
  readonly #accept: Accept;
  readonly #onClosed: ((handle: number) => void) | null;
  readonly #spinMs: number;
  readonly #wake: WakeSocket;
  readonly #connections: (Connection | null)[] = [];
  readonly #turn = (): void => this.#run();
  #state = TURNING;
  #now = Date.now();
  #promises = 0;
  #lastYield = 0;
  #turnsAwake = 0;
  #referenced = true;
  #idleSince = 0;
  #looks = 0;
  #onEmpty: (() => void) | null = null;
  #onTurned: (() => void) | null = null;
  #closing: PromiseWithResolvers<void> | null = null;

  /** `onClosed` is told of each handle when it is gone; not when the loop closes. */
  constructor(
    options: PollLoopOptions,
    accept: Accept,
    onClosed: ((handle: number) => void) | null = null,
  ) {
    this.reactor = new Reactor({ ...options, memoryNode: nodeOf(options) });
    this.topics = new Topics(this.reactor.outbox);
    this.texts = new Texts(this.reactor.outbox);
    this.maxQueueBytes = options.maxQueueBytes;
    this.#accept = accept;
    this.#onClosed = onClosed;
    this.#spinMs = options.spin / 1000;
    this.#wake = new WakeSocket(this.reactor.wakeSocket(), () => this.#woken());
    this.#schedule();
  }

  /** Milliseconds since the epoch, as of this turn; a promise that settles between turns may do so after a long sleep. */
  get now(): number {
    return this.#state === ASLEEP ? Date.now() : this.#now;
  }

  /** Whether it is closed, or closes at the end of its turn. */
  get isClosed(): boolean {
    return this.#closing !== null;
  }

  /** All live connections. */
  *connections(): Generator<Connection> {
    for (const connection of this.#connections) {
      if (connection) yield connection;
    }
  }

  /** Whether a record of this kind follows among those of the same connection, which are side by side. */
  isFollowed(index: number, kind: number): boolean {
    const { inbox } = this.reactor;
    const handle = inbox.handle(index);
    for (let next = index + 1; next < this.records; next++) {
      if (inbox.handle(next) !== handle) return false;
      if (inbox.kind(next) === kind) return true;
    }
    return false;
  }

  /** Begins to connect; what `make` returns is told by CONNECTED or CLOSED how that has gone. */
  connect(
    address: ConnectAddress,
    make: (handle: number) => Connection,
  ): void {
    const handle = this.reactor.connect(address);
    this.#place(handle & layout.SLOT_MASK, make(handle));
    this.kick();
  }

  /** Takes over a socket that is connected; what `make` returns hears of all that becomes of it. */
  adopt(fd: number, make: (handle: number) => Connection): void {
    const handle = this.reactor.adopt(fd);
    this.#place(handle & layout.SLOT_MASK, make(handle));
    this.kick();
  }

  /** Another object takes over a handle: that of the protocol of an upgrade. */
  replace(connection: Connection): void {
    this.#connections[connection.handle & layout.SLOT_MASK] = connection;
  }

  /** Something was staged: makes sure that a turn will send it. */
  kick(): void {
    if (this.#state === ASLEEP) this.#schedule();
  }

  /** A handler has returned a promise; `settled()` has to follow. */
  promised(): void {
    this.#promises++;
  }

  /** A handler's promise has settled, and what it led to is staged. */
  settled(): void {
    this.#promises--;
    this.kick();
  }

  /** Keeps the process alive. */
  ref(): void {
    this.#referenced = true;
    this.#wake.ref();
  }

  /** Lets the process end although the loop could still get work. */
  unref(): void {
    this.#referenced = false;
    this.#wake.unref();
  }

  /** Resolves when no listener and no connection is left. */
  empty(): Promise<void> {
    return new Promise((resolve) => {
      this.#onEmpty = resolve;
      this.kick();
    });
  }

  /** Resolves at the end of the next turn: what has arrived before is then in the hands of its connection. */
  turned(): Promise<void> {
    return new Promise((resolve) => {
      this.#onTurned = resolve;
      this.kick();
    });
  }

  /** Closes every connection at once and gives everything back. */
  close(): Promise<void> {
    if (this.#closing !== null) return this.#closing.promise;
    this.#closing = Promise.withResolvers();
    const lost = [...this.connections()];
    this.#connections.length = 0;
    for (const connection of lost) connection.lost();
    // In the middle of a turn, records and bytes of the reactor are still in use.
    if (this.#state !== TURNING) this.#stop();
    return this.#closing.promise;
  }

  #stop(): void {
    this.#prepare();
    this.#state = STOPPED;
    this.#wake.close().then(this.#closing!.resolve);
    this.reactor.close();
    this.#onEmpty?.();
    this.#onTurned?.();
  }

  #run(): void {
    if (this.#state === STOPPED) return;
    this.#state = TURNING;
    this.#now = Date.now();
    let worked = false;
    try {
      worked = this.#turns();
    } catch (error) {
      console.error("The poll loop has failed, its server is closed", error);
      void this.close();
    }
    if (this.#closing !== null) return this.#stop();
    if (this.#onEmpty !== null && this.#isEmpty()) this.#onEmpty();
    this.#onTurned?.();
    this.#rest(worked);
  }

  // Returns whether the last turn found something to do.
  #turns(): boolean {
    let handled = 0;
    let count: number;
    do {
      count = this.#pollOnce();
      handled += count;
    } while (
      count > 0 && handled < RECORDS_BEFORE_YIELD && this.#promises === 0 &&
      this.#closing === null
    );
    return count > 0;
  }

  #pollOnce(): number {
    if (this.beforePoll !== null) this.#prepare();
    const count = this.reactor.poll();
    this.turn++;
    this.records = count;
    this.taken = 0;
    this.#dispatch(count);
    return count;
  }

  #prepare(): void {
    const prepare = this.beforePoll;
    this.beforePoll = null;
    prepare?.();
  }

  #dispatch(count: number): void {
    const { inbox } = this.reactor;
    const connections = this.#connections;
    for (
      let index = 0;
      index < count;
      index = this.taken > index ? this.taken : index + 1
    ) {
      const handle = inbox.handle(index);
      const slot = handle & layout.SLOT_MASK;
      if (inbox.kind(index) === layout.OPEN) {
        this.#open(slot, handle, inbox.code(index));
        continue;
      }
      const connection = connections[slot];
      if (!connection || connection.handle !== handle) {
        if (inbox.kind(index) === layout.POSTED) this.#hear(index);
        if (this.#closing !== null) return;
        continue;
      }
      this.#deliver(connection, index);
      if (this.#closing !== null) return;
      if (inbox.kind(index) !== layout.CLOSED) continue;
      connections[slot] = null;
      this.#onClosed?.(handle);
    }
  }

  // Whatever goes wrong here is this connection's affair: the loop and the others go on.
  #deliver(connection: Connection, index: number): void {
    try {
      connection.receive(index);
    } catch (error) {
      console.error("Exception in a connection", error);
      this.reactor.outbox.command(connection.handle, layout.CMD_TERMINATE);
    }
  }

  #hear(index: number): void {
    try {
      this.onPosted?.(index);
    } catch (error) {
      console.error("Exception in what hears messages of other threads", error);
    }
  }

  #open(slot: number, handle: number, listener: number): void {
    this.#place(slot, this.#accept(handle, listener));
  }

  // Filled from the front, so that the array stays without holes.
  #place(slot: number, connection: Connection): void {
    while (this.#connections.length < slot) this.#connections.push(null);
    this.#connections[slot] = connection;
  }

  #isEmpty(): boolean {
    return this.reactor.listeners === 0 && this.reactor.connections === 0;
  }

  #rest(worked: boolean): void {
    if (worked || this.reactor.outbox.isPending) {
      this.#looks = 0;
      this.#yield();
    } else if (this.#looksAgain()) {
      this.#schedule();
    } else if (this.reactor.arm()) {
      this.#looks = 0;
      this.#state = ASLEEP;
    } else {
      // There is work without records: a file on its way out, during which the runtime must not starve.
      this.#yield();
    }
  }

  #looksAgain(): boolean {
    const now = performance.now();
    if (this.#looks++ === 0) this.#idleSince = now;
    // Whoever waits for the runtime's I/O is not to wait for our looking around.
    if (this.#promises > 0) return false;
    return this.#looks <= LOOKS_BEFORE_SLEEP ||
      now - this.#idleSince < this.#spinMs;
  }

  #yield(): void {
    const now = performance.now();
    const interval = this.#promises > 0
      ? YIELD_WITH_PROMISES_MS
      : YIELD_EVERY_MS;
    if (
      this.#turnsAwake++ < TURNS_TO_LISTEN || now - this.#lastYield < interval
    ) {
      this.#schedule();
      return;
    }
    this.#lastYield = now;
    this.#state = YIELDED;
    this.reactor.wake();
  }

  #schedule(): void {
    this.#state = IMMEDIATE;
    // Never unreferenced: the runtime would not run it while it sleeps. A turn without work ends in sleep, where
    // the wake socket says whether the process may end.
    setImmediate(this.#turn);
  }

  #woken(): void {
    // In the other states a turn is coming anyway; the byte is one that was overtaken.
    if (this.#state !== ASLEEP && this.#state !== YIELDED) return;
    this.#turnsAwake = 0;
    this.#run();
  }
}

// That of this thread's worker, unless another one is asked for.
function nodeOf({ memoryNode }: PollLoopOptions): number {
  return memoryNode === -1 ? sharing()?.memoryNode ?? -1 : memoryNode;
}
