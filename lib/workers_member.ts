// SPDX-License-Identifier: Apache-2.0
// workers_member.ts - one worker, as its supervisor sees it: its thread, its place in the crew, its end; made by
// workers_server.ts.

import type { Worker } from "node:worker_threads";
import type {
  Crew,
  MemoryStatistics,
  ReactorCounters,
  WorkerReport,
} from "../ffi/mod.ts";
import type { ShutdownOptions, ShutdownReport } from "./listening_server.ts";
import { TIMER_MAX_MS } from "./route_options.ts";
import type { MailInit, MailNote } from "./worker_mail.ts";
import { Tally, TALLY_BYTES } from "./statistics.ts";
import { startThread, type ThreadModule, unmarked } from "./thread.ts";
import { errorOf } from "./thrown_text.ts";
import type { SharedExecutor, WorkerCalls } from "./workers_executor.ts";
import { Gate } from "./workers_gate.ts";
import type { WorkerListenOptions } from "./workers_options.ts";
import type { WorkerPlacement } from "./workers_placement.ts";
import type { WorkerInit, WorkerMessage } from "./workers_thread.ts";

/** What a worker has told when it began to serve. */
export type Ready = Extract<WorkerMessage, { millrace: "ready" }>;

/** What a worker is to be. */
export interface MemberInit {
  crew: Crew;
  executor: SharedExecutor;
  place: number;
  slot: number;
  placement: WorkerPlacement | null;
  mail: MailInit;
  module: URL;
  listen: WorkerListenOptions;
  startTimeout: number;
  /** Told of what else it says. */
  hear: (note: MailNote) => void;
}

const BOOTSTRAP: ThreadModule = {
  url: new URL("./workers_thread.ts", import.meta.url),
  load: () => import("./workers_thread.ts"),
};
// For a worker to say that it has left, when its own deadline has passed.
const LATE_MS = 2000;

/** A worker. */
export class Member {
  readonly place: number;
  readonly slot: number;
  /** The number of its mailbox. */
  readonly mailPlace: number;
  readonly tally: Tally;
  /** Resolves when it serves; rejects when it will not. */
  readonly ready: Promise<Ready>;
  /** Resolves when its JavaScript has ended, with what it threw. */
  readonly ended: Promise<Error | null>;
  state: "starting" | "serving" | "leaving" = "starting";
  stalled = false;
  /** It has served, or does. */
  served = false;
  /** It could not start. */
  failed = false;
  /** Why it runs elsewhere than it was meant to; null when it does not, or has not told yet. */
  unbound: string | null = null;
  readonly #crew: Crew;
  readonly #gate = new Gate();
  readonly #thread: Worker;
  readonly #calls: WorkerCalls;
  readonly #hearNote: (note: MailNote) => void;
  #error: Error | null = null;
  #left: ((report: ShutdownReport) => void) | null = null;
  #leaving: Promise<ShutdownReport> | null = null;

  constructor(init: MemberInit) {
    const { crew, executor, place, slot, placement, mail } = init;
    const { module, listen } = init;
    this.place = place;
    this.mailPlace = mail.place;
    this.#hearNote = init.hear;
    this.slot = slot;
    this.#crew = crew;
    const counts = new SharedArrayBuffer(TALLY_BYTES);
    this.tally = new Tally(counts);
    const mark = crypto.randomUUID();
    const workerData: WorkerInit = {
      crew: crew.address,
      gate: this.#gate.memory,
      place,
      slot,
      mark,
      placement,
      counts,
      executor: executor.figures,
      mail,
      module: module.href,
      listen,
    };
    this.#thread = startThread(BOOTSTRAP, workerData);
    this.#calls = executor.join((answer) => this.#thread.postMessage(answer));
    const { promise, resolve, reject } = Promise.withResolvers<Ready>();
    this.ready = promise;
    // Whoever starts a worker waits for that; nobody else has to.
    promise.catch(() => {});
    this.#thread.on("message", (data: unknown) => {
      const message = unmarked<WorkerMessage>(mark, data);
      if (message !== null) this.#hear(message, resolve, reject);
    });
    this.#thread.on("error", (error: Error) => this.#error ??= error);
    const late = setTimeout(() => {
      const time = `startTimeout, ${init.startTimeout} milliseconds`;
      reject(
        this.#error ??= new Deno.errors.TimedOut(
          `Worker ${slot} did not serve ${module} within ${time}`,
        ),
      );
    }, init.startTimeout);
    this.ended = new Promise((settle) =>
      this.#thread.on("exit", () => {
        clearTimeout(late);
        this.#calls.end();
        const error = this.#error;
        reject(new Error(`Worker ${slot} has ended`, { cause: error }));
        settle(error);
      })
    );
    promise.then(() => clearTimeout(late), () => clearTimeout(late));
  }

  /** How it is. */
  report(): WorkerReport {
    return this.#crew.worker(this.place);
  }

  /** Whether its thread, whose JavaScript has ended, may still touch the crew. */
  get lingers(): boolean {
    return this.#gate.shut() && this.report().state !== "gone";
  }

  /** What its reactors have counted. */
  counters(): ReactorCounters {
    return this.#crew.counters(this.place);
  }

  /** What they have for their connections. */
  memory(): MemoryStatistics[] {
    return this.#crew.memory(this.place);
  }

  /** Has it serve what it has, and end. Further calls wait for the first one. */
  leave(options: Required<ShutdownOptions>): Promise<ShutdownReport> {
    return this.#leaving ??= this.#leave(options);
  }

  /** Ends it, with all its connections. */
  async end(): Promise<void> {
    this.state = "leaving";
    this.#calls.end();
    await this.#thread.terminate();
    await this.ended;
  }

  /** Has it tell its application of topics that have ended with another worker. */
  tellTopics(): void {
    this.#thread.postMessage({ millrace: "topics" });
  }

  ref(): void {
    this.#thread.ref();
  }

  unref(): void {
    this.#thread.unref();
  }

  #hear(
    message: WorkerMessage,
    resolve: (ready: Ready) => void,
    reject: (error: Error) => void,
  ): void {
    if (message.millrace === "ready") {
      if (this.state === "starting") this.state = "serving";
      this.served = true;
      this.unbound = message.unbound;
      resolve(message);
    } else if (message.millrace === "failed") {
      reject(this.#error ??= errorOf(message.error));
    } else if (message.millrace === "left") {
      this.#left?.(message.report);
    } else if (
      message.millrace === "topics" || message.millrace === "message"
    ) {
      this.#hearNote(message);
    } else {
      this.#calls.hear(message);
    }
  }

  async #leave(options: Required<ShutdownOptions>): Promise<ShutdownReport> {
    this.state = "leaving";
    const { promise, resolve } = Promise.withResolvers<ShutdownReport>();
    this.#left = resolve;
    this.#thread.postMessage({ millrace: "leave", ...options });
    const late = options.timeout === 0 ? undefined : setTimeout(
      () => resolve(this.#cut()),
      Math.min(options.timeout + LATE_MS, TIMER_MAX_MS),
    );
    this.ended.then(() => resolve(this.#cut()));
    const report = await promise;
    clearTimeout(late);
    await this.end();
    return report;
  }

  // It has not said what it had.
  #cut(): ShutdownReport {
    const { connections } = this.report();
    return { connections, requests: 0, forced: connections };
  }
}
