// SPDX-License-Identifier: Apache-2.0
// mailbox_worker.ts - an isolate that reads a mailbox and answers what it reads;
// started by mailbox_test.ts.

import process from "node:process";
import { parentPort } from "node:worker_threads";
import { type BackendName, Mailboxes } from "../ffi/mod.ts";
import type { MailboxesAddress } from "../ffi/mod.ts";
import { resolveOptions } from "../lib/options.ts";
import { PollLoop } from "../lib/poll_loop.ts";

/** What a worker is told first. */
export interface Start {
  address: MailboxesAddress;
  mailbox: number;
  backend: BackendName;
}

/** The tag of a message at which a worker leaves without closing anything. */
export const VANISH = 0xffff_ffff;

function start({ address, mailbox, backend }: Start): void {
  const mailboxes = Mailboxes.at(address);
  const loop = new PollLoop({
    ...resolveOptions({ backend, maxConnections: 16, bufferBytes: 8 << 20 }),
  }, () => {
    throw new Error("Nobody can connect");
  });
  loop.onPosted = (index): void => {
    const { inbox } = loop.reactor;
    if (inbox.aux(index) === VANISH) return process.exit();
    const bytes = loop.reactor.posted(index);
    mailboxes.post(inbox.total(index), bytes, inbox.aux(index), mailbox);
  };
  loop.reactor.openMailbox(mailboxes, mailbox);
  parentPort!.postMessage("reading");
}

parentPort?.once("message", start);
