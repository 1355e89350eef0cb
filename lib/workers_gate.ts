// SPDX-License-Identifier: Apache-2.0
// workers_gate.ts - whether a worker may still enter the crew, whose memory its supervisor frees; between
// workers_member.ts and workers_thread.ts.

const OPEN = 0;
const ENTERED = 1;
const SHUT = 2;

/**
 * The runtime tells that a worker has ended while its thread may still run what it was about to. Either the worker has
 * entered before, and its thread is waited for, or it does not get in any more.
 */
export class Gate {
  /** What its other side, in another thread, is made of. */
  readonly memory: SharedArrayBuffer;
  readonly #state: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.memory = memory;
    this.#state = new Int32Array(memory);
  }

  /** The worker enters; false when it may not any more. */
  enter(): boolean {
    return Atomics.compareExchange(this.#state, 0, OPEN, ENTERED) === OPEN;
  }

  /** The worker has failed to, and will not try again. */
  leave(): void {
    Atomics.store(this.#state, 0, SHUT);
  }

  /** The supervisor lets nobody in from here on; true when the worker has entered before. */
  shut(): boolean {
    return Atomics.compareExchange(this.#state, 0, OPEN, SHUT) === ENTERED;
  }
}
