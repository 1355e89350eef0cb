// SPDX-License-Identifier: Apache-2.0
// soak_random.ts - the dice of a soak: what one seed gives is always the same.

/** A reproducible source of choices. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0, below 1 (mulberry32). */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ mixed >>> 15, mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  }

  /** An integer from min to max, both included. */
  from(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  /** A size up to max of which small ones are as likely as large ones. */
  size(max: number): number {
    return Math.floor(this.fraction() ** 5 * (max + 1));
  }

  /** One of them. */
  pick<T>(choices: readonly T[]): T {
    return choices[this.from(0, choices.length - 1)]!;
  }
}
