// SPDX-License-Identifier: Apache-2.0
// sharing.ts - whether this isolate is one of several workers, whose listeners are those of all; set by
// workers_thread.ts, asked by listening_server.ts, poll_loop.ts and worker_messages.ts.

import type { RunningServer } from "./listening_server.ts";
import type { PollLoop } from "./poll_loop.ts";
import type { WorkerMail } from "./worker_mail.ts";

/** What a worker has that shares its listeners. */
export class Sharing {
  /** Where its servers count, for other threads to see. */
  readonly counts: SharedArrayBuffer;
  /** The NUMA node from which its memory is to come; null for any. */
  readonly memoryNode: number | null;
  /** What it has to do with the other workers. */
  readonly mail: WorkerMail;
  /** The server of the module, where it has one. */
  own: RunningServer | null = null;
  readonly #servers: RunningServer[] = [];
  readonly #loops = new Map<RunningServer, PollLoop>();

  constructor(
    counts: SharedArrayBuffer,
    memoryNode: number | null,
    mail: WorkerMail,
  ) {
    this.counts = counts;
    this.memoryNode = memoryNode;
    this.mail = mail;
  }

  /** The servers that run, in the order in which they were opened. */
  get servers(): readonly RunningServer[] {
    return this.#servers;
  }

  /** The loop of the module's server, or of the first one that runs; null when there is none. */
  get main(): PollLoop | null {
    const server = this.own ?? this.#servers[0];
    return server === undefined ? null : this.#loops.get(server) ?? null;
  }

  /** A server listens. */
  opened(server: RunningServer, loop: PollLoop): void {
    this.mail.opened(loop, server.addr);
    this.#servers.push(server);
    this.#loops.set(server, loop);
    server.finished.then(() => {
      this.#servers.splice(this.#servers.indexOf(server), 1);
      this.#loops.delete(server);
      this.mail.closed(loop);
    });
  }
}

let current: Sharing | null = null;

/** Has all that listens from here on do so together with other workers. */
export function share(
  counts: SharedArrayBuffer,
  memoryNode: number | null,
  mail: WorkerMail,
): Sharing {
  return current = new Sharing(counts, memoryNode, mail);
}

/** Null in an isolate that is no worker. */
export function sharing(): Sharing | null {
  return current;
}
