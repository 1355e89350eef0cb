// SPDX-License-Identifier: Apache-2.0
// memory_worker.ts - a thread whose memory is to come from node 7, for
// memory_test.ts: tells the nodes of a loop, and of one that wants another.

/// <reference lib="webworker" />

import { resolveOptions } from "../lib/options.ts";
import { PollLoop } from "../lib/poll_loop.ts";
import { share } from "../lib/sharing.ts";

async function nodeOf(memoryNode: number): Promise<number> {
  const loop = new PollLoop(
    resolveOptions({ memoryNode, bufferBytes: 1 << 23 }),
    () => {
      throw new Error("Nobody connects here");
    },
  );
  const memory = loop.reactor.memory();
  await loop.close();
  return memory.memoryNode;
}

self.onmessage = async ({ data }: MessageEvent<number>): Promise<void> => {
  share(new SharedArrayBuffer(data), 7);
  self.postMessage([await nodeOf(-1), await nodeOf(3)]);
};
