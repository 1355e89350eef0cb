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

async function run(task: Task): Promise<number> {
  if (task.kind === "push") return await pushMany(task);
  const to = Ring.over(task.to);
  let pushed = 0;
  for await (const bytes of Ring.over(task.from)) {
    if (await pushAll(to, bytes)) pushed++;
  }
  to.close();
  return pushed;
}

async function pushMany(
  { buffer, id, count }: Task & { kind: "push" },
): Promise<number> {
  const ring = Ring.over(buffer);
  let pushed = 0;
  while (pushed < count && await pushAll(ring, message(id, pushed))) pushed++;
  return pushed;
}

parentPort?.once("message", async (task: Task) => {
  parentPort!.postMessage(await run(task));
});
