// SPDX-License-Identifier: Apache-2.0
// ring_worker.ts - the other end of a ring; started by ring_test.ts.

import { parentPort } from "node:worker_threads";
import { Ring } from "../lib/ring.ts";

/** What a worker is to do. */
export type Task =
  | { kind: "push"; buffer: SharedArrayBuffer; id: number; count: number }
  | { kind: "echo"; from: SharedArrayBuffer; to: SharedArrayBuffer };

/** A message says in its first bytes who has sent it and which it is, and in all others what follows from that. */
export function message(id: number, index: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(5 + (index * 7 + id) % 90).fill(index + id);
  bytes.set([id, index, index >> 8, index >> 16, index >> 24]);
  return bytes;
}

/** Pushes, and waits for room where there is none. */
export async function pushAll(
  ring: Ring,
  bytes: Uint8Array,
): Promise<boolean> {
  while (!ring.push(bytes)) {
    if (!await ring.room(bytes.length)) return false;
  }
  return true;
}

async function run(task: Task): Promise<void> {
  if (task.kind === "push") {
    const ring = Ring.over(task.buffer);
    for (let index = 0; index < task.count; index++) {
      await pushAll(ring, message(task.id, index));
    }
  } else {
    const to = Ring.over(task.to);
    for await (const bytes of Ring.over(task.from)) await pushAll(to, bytes);
    to.close();
  }
}

parentPort?.once("message", async (task: Task) => {
  await run(task);
  parentPort!.postMessage("done");
});
