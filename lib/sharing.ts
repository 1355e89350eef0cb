// SPDX-License-Identifier: Apache-2.0
// sharing.ts - whether this isolate is one of several workers, whose listeners are those of all; set by
// workers_thread.ts, asked by listening_server.ts and poll_loop.ts.

import type { RunningServer } from "./listening_server.ts";

/** What a worker has that shares its listeners. */
export class Sharing {
  /** Where its servers count, for other threads to see. */
  readonly counts: SharedArrayBuffer;
  /** The NUMA node from which its memory is to come; null for any. */
  readonly memoryNode: number | null;
  readonly #servers: RunningServer[] = [];

  constructor(counts: SharedArrayBuffer, memoryNode: number | null) {
    this.counts = counts;
    this.memoryNode = memoryNode;
  }

  /** The servers that run, in the order in which they were opened. */
  get servers(): readonly RunningServer[] {
    return this.#servers;
  }

  /** A server listens. */
  opened(server: RunningServer): void {
    this.#servers.push(server);
    server.finished.then(() => {
      this.#servers.splice(this.#servers.indexOf(server), 1);
    });
  }
}

let current: Sharing | null = null;

/** Has all that listens from here on do so together with other workers. */
export function share(
  counts: SharedArrayBuffer,
  memoryNode: number | null,
): Sharing {
  return current = new Sharing(counts, memoryNode);
}

/** Null in an isolate that is no worker. */
export function sharing(): Sharing | null {
  return current;
}
