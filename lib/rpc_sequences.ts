// SPDX-License-Identifier: Apache-2.0
// rpc_sequences.ts - which numbers of requests are taken, and by whom; used by rpc_client.ts.

/** The highest number; 0 and negative ones have other uses. */
const LAST = 0x7fff;

/** The most owners that may be waiting at a time: the other half is for those that were given up. */
export const MOST_OWNERS = 0x4000;

/**
 * Numbers from 1 to 32767, given out in turn. One whose owner was given up stays taken, since the answer may still come
 * and must not be taken for that of another; when too many have never come the oldest one is free again.
 *
 * @typeParam Owner Who has a number.
 */
export class Sequences<Owner> {
  readonly #owners = new Map<number, Owner>();
  readonly #abandoned = new Set<number>();
  #last = 0;

  /** Numbers whose owners wait. */
  get size(): number {
    return this.#owners.size - this.#abandoned.size;
  }

  /** All who have a number. */
  owners(): Iterable<Owner> {
    return this.#owners.values();
  }

  /** Gives the next free number out. There must be less than `MOST_OWNERS` who wait. */
  add(owner: Owner): number {
    if (this.#abandoned.size > LAST - MOST_OWNERS) this.#forgetOldest();
    do this.#last = this.#last % LAST + 1; while (
      this.#owners.has(this.#last)
    );
    this.#owners.set(this.#last, owner);
    return this.#last;
  }

  /** Who has the number. */
  get(sequence: number): Owner | undefined {
    return this.#owners.get(sequence);
  }

  /** The answer has come. */
  free(sequence: number): void {
    this.#owners.delete(sequence);
    this.#abandoned.delete(sequence);
  }

  /** Nobody waits for the answer any more. */
  abandon(sequence: number): void {
    if (this.#owners.has(sequence)) this.#abandoned.add(sequence);
  }

  /** Frees all numbers. Returns those who still waited. */
  clear(): Owner[] {
    for (const sequence of this.#abandoned) this.#owners.delete(sequence);
    const waiting = [...this.#owners.values()];
    this.#owners.clear();
    this.#abandoned.clear();
    return waiting;
  }

  #forgetOldest(): void {
    const [oldest] = this.#abandoned;
    if (oldest !== undefined) this.free(oldest);
  }
}
