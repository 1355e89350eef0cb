// SPDX-License-Identifier: Apache-2.0
// memory_worker.ts - a thread whose memory is to come from node 7: tells the nodes of a loop, and of one that wants
// another; started by memory_test.ts.

import { parentPort } from "node:worker_threads";
import { MailOffice } from "../lib/mail_office.ts";
import { resolveOptions } from "../lib/options.ts";
import { PollLoop } from "../lib/poll_loop.ts";
import { share } from "../lib/sharing.ts";
import { TALLY_BYTES } from "../lib/statistics.ts";
import { WorkerMail } from "../lib/worker_mail.ts";

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

const office = new MailOffice({
  workers: 1,
  messages: 2,
  bytes: 65536,
  onTopic: undefined,
});
const mail = new WorkerMail(office.take(), 0, () => {});
share(new SharedArrayBuffer(TALLY_BYTES), 7, mail);
parentPort!.postMessage([await nodeOf(-1), await nodeOf(3)]);
office.close();
