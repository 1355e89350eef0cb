// SPDX-License-Identifier: Apache-2.0
// rpc_deadlines.ts - many deadlines, one timer: setting a timer for each call costs as much as the call; used by
// rpc_client.ts and rpc_peer.ts.

/** Something that has to be done by a time. */
export interface Due {
  /** As of `performance.now()`; Infinity for never. */
  readonly deadline: number;
}

/**
 * Watches the deadlines of items that somebody else keeps. The timer is set for the earliest of them and not touched
 * when an item is done before; it finds out when it fires.
 *
 * @typeParam Item What has a deadline.
 */
export class Deadlines<Item extends Due> {
  readonly #items: () => Iterable<Item>;
  readonly #expire: (item: Item) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #at = Infinity;

  /** `items` are those that are not done; `expire` is called with those that are late. */
  constructor(items: () => Iterable<Item>, expire: (item: Item) => void) {
    this.#items = items;
    this.#expire = expire;
  }

  /** An item has come, or many. */
  watch({ deadline }: Due): void {
    if (deadline >= this.#at) return;
    this.#set(deadline);
  }

  /** There are no items any more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#at = Infinity;
  }

  #set(at: number): void {
    clearTimeout(this.#timer);
    this.#at = at;
    if (at === Infinity) return;
    // Not early: a fraction of a millisecond would be cut off.
    const delay = Math.ceil(at - performance.now());
    this.#timer = setTimeout(() => this.#look(), Math.max(0, delay));
  }

  #look(): void {
    const now = performance.now();
    let next = Infinity;
    const late: Item[] = [];
    for (const item of this.#items()) {
      if (item.deadline <= now) late.push(item);
      else next = Math.min(next, item.deadline);
    }
    this.#set(next);
    for (const item of late) this.#expire(item);
  }
}
