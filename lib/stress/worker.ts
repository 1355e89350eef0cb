// SPDX-License-Identifier: Apache-2.0
// worker.ts - what runs in the threads of crew.ts: one share of the load.

import { parentPort, workerData } from "node:worker_threads";
import { LocalHand, type Share } from "./hand.ts";
import type { Snapshot } from "./load.ts";
import type { Plan } from "./options.ts";

/** What is posted to a worker. */
export type Order = "connect" | "begin" | "stop";

/** What a worker posts. */
export type News =
  | { standing: true }
  | { snapshot: Snapshot }
  | { share: Share };

/** How often it tells how it goes. */
const TELL_MS = 500;

async function work(plan: Plan): Promise<void> {
  const port = parentPort!;
  const tell = (news: News): void => port.postMessage(news);
  const making = LocalHand.of(plan);
  // From the beginning on: an order that nobody listens for is lost.
  port.on("message", (order: Order) => {
    void making.then((hand) => hand[order]());
  });
  const hand = await making;
  const timer = setInterval(() => tell({ snapshot: hand.snapshot }), TELL_MS);
  void hand.standing.then(() => tell({ standing: true }));
  const share = await hand.share;
  clearInterval(timer);
  tell({ share });
}

await work(workerData as Plan);
