// SPDX-License-Identifier: Apache-2.0
// hand.ts - one thread's share of the load, on this thread; used by crew.ts, and by worker.ts on another one.

import process from "node:process";
import { Load, type Snapshot } from "./load.ts";
import type { Plan } from "./options.ts";
import { protocolOf } from "./protocols.ts";
import { encodeHistogram, type StressError } from "./recorder.ts";

/** What came of a share; can be posted. */
export interface Share {
  snapshot: Snapshot;
  /** Histograms, encoded. */
  latency: string;
  connecting: string;
  errors: StressError[];
  /** Milliseconds of the processor that the thread has used during the hold. */
  busy: number;
}

/** Who bears a share of the load. */
export interface Hand {
  /** Begins to connect. */
  connect(): void;
  /** Resolves when no connection is in the making any more. Rejects when the thread has failed. */
  readonly standing: Promise<void>;
  /** Begins the hold. */
  begin(): void;
  /** Ends it early. */
  stop(): void;
  /** How it goes; as of half a second ago where it is on another thread. */
  readonly snapshot: Snapshot | null;
  /** Resolves in the end. */
  readonly share: Promise<Share>;
}

/** On this thread. */
export class LocalHand implements Hand {
  readonly standing: Promise<void>;
  readonly share: Promise<Share>;
  readonly #load: Load;
  #busyBefore = 0;
  // At the end of the hold, before connections are closed.
  #busy = 0;

  private constructor(load: Load) {
    this.#load = load;
    this.standing = load.standing;
    load.onHoldEnd = (): void => {
      this.#busy = threadMilliseconds() - this.#busyBefore;
    };
    this.share = load.done.then(() => this.#result());
  }

  /** For a plan. */
  static async of(plan: Plan): Promise<LocalHand> {
    return new LocalHand(new Load(plan, await protocolOf(plan)));
  }

  connect(): void {
    this.#load.connect();
  }

  begin(): void {
    this.#busyBefore = threadMilliseconds();
    this.#load.begin();
  }

  stop(): void {
    this.#load.stop();
  }

  get snapshot(): Snapshot {
    return this.#load.snapshot();
  }

  #result(): Share {
    const { recorder } = this.#load;
    const share = {
      snapshot: this.#load.snapshot(),
      latency: encodeHistogram(recorder.latency),
      connecting: encodeHistogram(recorder.connecting),
      errors: recorder.errors,
      busy: this.#busy,
    };
    recorder.destroy();
    return share;
  }
}

function threadMilliseconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
