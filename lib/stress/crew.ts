// SPDX-License-Identifier: Apache-2.0
// crew.ts - all threads of a load: begins and ends their shares together, and adds up how they go; used by ../stress.ts.

import type { Worker } from "node:worker_threads";
import { startThread, type ThreadModule } from "../thread.ts";
import { type Hand, LocalHand, type Share } from "./hand.ts";
import type { Snapshot } from "./load.ts";
import { type Plan, sharesOf, type StressProgress } from "./options.ts";
import type { News, Order } from "./worker.ts";

const WORKER: ThreadModule = {
  url: new URL("./worker.ts", import.meta.url),
  load: () => import("./worker.ts"),
};

/** Those who bear a load. */
export class Crew {
  readonly #hands: Hand[];

  private constructor(hands: Hand[]) {
    this.#hands = hands;
  }

  /** So many threads for a plan; one alone is the calling one. */
  static async of(plan: Plan, workers: number): Promise<Crew> {
    if (workers === 1) return new Crew([await LocalHand.of(plan)]);
    return new Crew(
      sharesOf(plan, workers).map((share) => new WorkerHand(share)),
    );
  }

  /** Runs the load to its end. */
  async run(): Promise<Share[]> {
    const hands = this.#hands;
    try {
      for (const hand of hands) hand.connect();
      await Promise.all(hands.map(({ standing }) => standing));
      for (const hand of hands) hand.begin();
      return await Promise.all(hands.map(({ share }) => share));
    } catch (error) {
      // Without the one that has failed the others would wait for ever, or go on for nobody.
      this.stop();
      throw error;
    }
  }

  /** Ends the load early. */
  stop(): void {
    for (const hand of this.#hands) hand.stop();
  }

  /** How it goes. */
  progress(): StressProgress {
    const snapshots = this.#hands.map(({ snapshot }) => snapshot)
      .filter((snapshot) => snapshot !== null);
    const sum = (of: (snapshot: Snapshot) => number): number =>
      snapshots.reduce((total, snapshot) => total + of(snapshot), 0);
    const most = (of: (snapshot: Snapshot) => number): number =>
      Math.max(0, ...snapshots.map(of));
    return {
      phase: snapshots[0]?.phase ?? "connecting",
      elapsed: most(({ elapsed }) => elapsed),
      open: sum(({ open }) => open),
      sent: sum(({ counts }) => counts.sent),
      answered: sum(({ counts }) => counts.answered),
      errors: sum(({ errors }) => errors),
      p50: most(({ p50 }) => p50),
      p99: most(({ p99 }) => p99),
    };
  }
}

/** On a thread of its own. */
class WorkerHand implements Hand {
  readonly standing: Promise<void>;
  readonly share: Promise<Share>;
  snapshot: Snapshot | null = null;
  readonly #worker: Worker;

  constructor(plan: Plan) {
    const standing = Promise.withResolvers<void>();
    const share = Promise.withResolvers<Share>();
    this.standing = standing.promise;
    this.share = share.promise;
    // Who waits for one of the two is told of the failure.
    share.promise.catch(() => {});
    let isDone = false;
    this.#worker = startThread(WORKER, plan);
    this.#worker.on("message", (news: News) => {
      isDone = "share" in news;
      if ("standing" in news) standing.resolve();
      else if ("snapshot" in news) this.snapshot = news.snapshot;
      else void this.#worker.terminate().then(() => share.resolve(news.share));
    });
    const fail = (error: Error): void => {
      standing.reject(error);
      share.reject(error);
    };
    this.#worker.on("error", fail);
    this.#worker.on("exit", () => {
      if (!isDone) fail(new Error("A worker of the load has ended too early"));
    });
  }

  connect(): void {
    this.#post("connect");
  }

  begin(): void {
    this.#post("begin");
  }

  stop(): void {
    this.#post("stop");
  }

  #post(order: Order): void {
    this.#worker.postMessage(order);
  }
}
