// SPDX-License-Identifier: Apache-2.0
// pinned.ts - what the calling thread is pinned to, for as long as it is; set by affinity.ts, and undone by thread.ts
// while it starts threads.

type Change = () => unknown;

let pin: Change | null = null;
let unpin: Change | null = null;

/** The thread was pinned; these do it again, and undo it. */
export function setPinned(again: Change, undo: Change): void {
  pin = again;
  unpin = undo;
}

/** The thread is not pinned any more. */
export function setUnpinned(): void {
  pin = unpin = null;
}

/** Calls a function that starts a thread, which would inherit what this one is pinned to. */
export function whileUnpinned<Result>(start: () => Result): Result {
  unpin?.();
  try {
    return start();
  } finally {
    pin?.();
  }
}
