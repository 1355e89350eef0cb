// SPDX-License-Identifier: Apache-2.0
// executor_gate.ts - what functions of executor_jobs.ts wait at.

/** Two numbers that threads share: how many have started, and whether they may end. */
export class Gate {
  readonly buffer = new SharedArrayBuffer(8);
  readonly #flags = new Int32Array(this.buffer);

  get started(): number {
    return Atomics.load(this.#flags, 0);
  }

  open(): void {
    Atomics.store(this.#flags, 1, 1);
    Atomics.notify(this.#flags, 1);
  }

  /** Nobody is left spinning in a thread of its own. */
  [Symbol.dispose](): void {
    this.open();
  }
}
