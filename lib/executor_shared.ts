// SPDX-License-Identifier: Apache-2.0
// executor_shared.ts - an executor in a worker of a server, whose calls run in the pool that all workers share; used by
// executor.ts, set up by workers_thread.ts, answered by workers_executor.ts.

import {
  type Call,
  ExecutorBusyError,
  type ExecutorRunOptions,
  type ExecutorStatistics,
  Figures,
  requireMaximum,
  type Runner,
} from "./executor_options.ts";
import { errorOf, type ThrownText } from "./thrown_text.ts";

/** What a worker asks of the thread that has the pool. */
export type ExecutorRequest =
  | {
    millrace: "run";
    /** That of no other call of this worker. */
    id: number;
    call: Call;
    transfer: ArrayBuffer[];
  }
  | { millrace: "cancel"; id: number }
  | { millrace: "resize"; maximum: number };

/** What came of a call that was not cancelled. */
export type ExecutorAnswer =
  & { millrace: "ran"; id: number }
  & ({ value: unknown } | { error: ThrownText; busy: boolean });

/** How it is asked; throws for what cannot be cloned. */
type Ask = (request: ExecutorRequest, transfer?: ArrayBuffer[]) => void;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly signal: AbortSignal | undefined;
  readonly onAbort: () => void;
}

/** This worker's end of the way to the pool. */
class Link {
  readonly figures: Figures;
  readonly ask: Ask;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor(figures: SharedArrayBuffer, ask: Ask) {
    this.figures = new Figures(figures);
    this.ask = ask;
    // For the reason that executor_worker.ts has.
    globalThis.addEventListener("message", (event) => {
      const { data } = event as MessageEvent<unknown>;
      if (isAnswer(data)) this.#settle(data);
    });
  }

  /** Sends a call; returns its number. Throws when its arguments cannot be cloned. */
  send(call: Call, transfer: ArrayBuffer[], waiting: Waiting): number {
    const id = this.#nextId++;
    this.ask({ millrace: "run", id, call, transfer }, transfer);
    this.#waiting.set(id, waiting);
    return id;
  }

  /** Rejects a call that is not done; does nothing about others. */
  cancel(id: number, reason: unknown): void {
    const waiting = this.#take(id);
    if (waiting === null) return;
    this.ask({ millrace: "cancel", id });
    waiting.reject(reason);
  }

  #settle(answer: ExecutorAnswer): void {
    const waiting = this.#take(answer.id);
    if (waiting === null) return;
    if ("value" in answer) {
      waiting.resolve(answer.value);
    } else {
      const { message } = answer.error;
      waiting.reject(
        answer.busy ? new ExecutorBusyError(message) : errorOf(answer.error),
      );
    }
  }

  #take(id: number): Waiting | null {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return null;
    this.#waiting.delete(id);
    waiting.signal?.removeEventListener("abort", waiting.onAbort);
    return waiting;
  }
}

class SharedRunner implements Runner {
  readonly #link: Link;
  readonly #calls = new Set<number>();
  #closed = false;

  constructor(link: Link) {
    this.#link = link;
  }

  async run(
    call: Call,
    { signal, transfer = [] }: ExecutorRunOptions,
  ): Promise<unknown> {
    if (this.#closed) {
      throw new TypeError("Cannot run the function: the executor is closed");
    }
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const onAbort = (): void => this.#link.cancel(id, signal!.reason);
    const waiting: Waiting = { resolve, reject, signal, onAbort };
    const id = this.#link.send(call, transfer, waiting);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#calls.add(id);
    try {
      return await promise;
    } finally {
      this.#calls.delete(id);
    }
  }

  resize(maximum: number): void {
    requireMaximum("resize the executor", maximum);
    this.#link.ask({ millrace: "resize", maximum });
  }

  statistics(): ExecutorStatistics {
    return this.#link.figures.read();
  }

  close(): Promise<void> {
    this.#closed = true;
    const error = new Deno.errors.Interrupted("The executor was closed");
    for (const id of this.#calls) this.#link.cancel(id, error);
    return Promise.resolve();
  }
}

let link: Link | null = null;

/** Has executors that are made in this isolate from here on share the pool which has these figures. */
export function shareExecutor(figures: SharedArrayBuffer, ask: Ask): void {
  link = new Link(figures, ask);
}

/** Null in an isolate that is no worker of a server. */
export function sharedRunner(): Runner | null {
  return link === null ? null : new SharedRunner(link);
}

// The application may have messages of its own.
function isAnswer(message: unknown): message is ExecutorAnswer {
  return typeof message === "object" && message !== null &&
    (message as Partial<ExecutorAnswer>).millrace === "ran";
}
