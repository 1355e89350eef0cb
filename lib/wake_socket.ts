// SPDX-License-Identifier: Apache-2.0
// wake_socket.ts - one end of a socket pair whose other end is C's: how the event loop sleeps until there is
// work, and how the poll loop yields fairly; used by poll_loop.ts.

import { Socket } from "node:net";

/**
 * Calls back whenever C has sent a byte. Sleeping on it is sleeping in the runtime's own epoll, so that timers,
 * fetches and files of the application go on as if no poll loop were there.
 */
export class WakeSocket {
  readonly #socket: Socket;
  readonly #closed: Promise<void>;

  constructor(fd: number, onWake: () => void) {
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#closed = new Promise((resolve) =>
      this.#socket.once("close", () => resolve())
    );
    this.#socket.on("data", onWake);
    // The other end goes first when the reactor is closed; there is nothing left to be told then.
    this.#socket.on("error", () => {});
  }

  /** Keeps the process alive while waiting. */
  ref(): void {
    this.#socket.ref();
  }

  /** Lets the process end while waiting. */
  unref(): void {
    this.#socket.unref();
  }

  /** Resolves when the descriptor is closed. */
  close(): Promise<void> {
    this.#socket.destroy();
    return this.#closed;
  }
}
