// SPDX-License-Identifier: Apache-2.0
// thread.ts - starts a module of Millrace on a thread of its own, wherever Millrace was imported from; used by
// executor_pool.ts, workers_member.ts and stress/crew.ts.

import { Worker } from "node:worker_threads";
import { whileUnpinned } from "./pinned.ts";

/** A module that runs on threads. */
export interface ThreadModule {
  url: URL;
  /** Imports it. Is never called: it has `deno cache` and `deno compile` see that the module belongs to the program. */
  load(): Promise<unknown>;
}

/**
 * What a thread of Millrace says to who started it, among messages of the application: its `workerData` has the mark,
 * which those do not bear.
 */
export type Marked<Message> = [mark: string, message: Message];

/** The message of one that bears the mark; null for all else. */
export function unmarked<Message>(mark: string, data: unknown): Message | null {
  return Array.isArray(data) && data[0] === mark ? data[1] as Message : null;
}

/** Starts a thread, with what the module is to find as its `workerData`. It may run wherever the process may. */
export function startThread(
  { url }: ThreadModule,
  workerData?: unknown,
): Worker {
  return whileUnpinned(() => new Worker(entryOf(url), { workerData }));
}

// `node:worker_threads` takes no module of the web, as all of JSR are, but one that imports such a module.
function entryOf(url: URL): URL {
  if (url.protocol === "file:") return url;
  const source = `import ${JSON.stringify(url.href)}`;
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
}
