// SPDX-License-Identifier: Apache-2.0
// socket_opening.ts - what a socket stands on while it connects: what is written waits, and what else is asked for;
// made by connect.ts.

import type { SocketTuning } from "../ffi/mod.ts";
import type { SocketCounters, SocketGround } from "./socket.ts";
import type { SendStatus } from "./ws_socket.ts";

/** How much may wait. */
export interface OpeningLimits {
  highWatermark: number;
  maxQueueBytes: number;
}

const UTF8 = new TextEncoder();

/** A connection that does not stand yet. */
export class SocketOpening implements SocketGround {
  readonly localAddress: null = null;
  readonly unread: number = 0;
  /** Whether the application was told to wait for `drain`. */
  queued = false;
  readonly #limits: OpeningLimits;
  readonly #giveUp: (error: Error) => void;
  readonly #later: ((ground: SocketGround) => void)[] = [];
  readonly #waiting: ((error: Error) => void)[] = [];
  #bytes = 0;
  #ended = false;
  #error: Error | null = null;

  /** `giveUp` ends the attempt, for this reason. */
  constructor(limits: OpeningLimits, giveUp: (error: Error) => void) {
    this.#limits = limits;
    this.#giveUp = giveUp;
  }

  get buffered(): number {
    return this.#bytes;
  }

  get writable(): boolean {
    return !this.#ended && this.#error === null;
  }

  /** The connection stands: does there what was asked for here, in order. */
  replay(ground: SocketGround): void {
    for (const action of this.#later) action(ground);
  }

  /** It never will. */
  failed(error: Error): void {
    this.#error = error;
    this.#later.length = this.#bytes = 0;
    for (const reject of this.#waiting) reject(error);
  }

  counters(): SocketCounters {
    return { receivedBytes: 0, sentBytes: 0, bufferedAmount: this.#bytes };
  }

  writeText(text: string): SendStatus {
    return this.writeBytes(UTF8.encode(text));
  }

  writeBytes(bytes: Uint8Array): SendStatus {
    const total = this.#bytes + bytes.length;
    if (!this.writable || total > this.#limits.maxQueueBytes) return "dropped";
    const copy = bytes.slice();
    this.#do((ground) => void ground.writeBytes(copy));
    this.#bytes = total;
    if (total < this.#limits.highWatermark) return "sent";
    this.queued = true;
    return "queued";
  }

  flushed(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {}); // that nobody waits for it any more is no unhandled rejection
    if (this.#error !== null) reject(this.#error);
    this.#waiting.push(reject);
    this.#do((ground) => void ground.flushed().then(resolve, reject));
    return promise;
  }

  end(): void {
    this.#ended = true;
    this.#do((ground) => ground.end());
  }

  close(): void {
    this.#ended = true;
    this.#do((ground) => ground.close());
  }

  terminate(): void {
    this.#ended = true;
    this.fail(new Deno.errors.Interrupted("The socket was terminated"));
  }

  fail(error: unknown): boolean {
    if (this.#error === null) this.#giveUp(error as Error);
    return true;
  }

  pause(): void {
    this.#do((ground) => ground.pause());
  }

  resume(): void {
    this.#do((ground) => ground.resume());
  }

  setTimeout(ms: number): void {
    this.#do((ground) => ground.setTimeout(ms));
  }

  tune(tuning: SocketTuning): void {
    this.#do((ground) => ground.tune(tuning));
  }

  ref(): void {
    this.#do((ground) => ground.ref());
  }

  unref(): void {
    this.#do((ground) => ground.unref());
  }

  watch(): void {}

  #do(action: (ground: SocketGround) => void): void {
    if (this.#error === null) this.#later.push(action);
  }
}
