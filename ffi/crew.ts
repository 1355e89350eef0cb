// SPDX-License-Identifier: Apache-2.0
// crew.ts - workers that share their listeners, as an object; used by lib/workers_server.ts and lib/workers_thread.ts.

import { type ReactorCounters, readCounters } from "./counters.ts";
import { unwrap } from "./errno.ts";
import * as layout from "./layout.ts";
import { library } from "./library.ts";
import { type MemoryStatistics, readMemory } from "./memory.ts";

/** Who serves a connection: whom the kernel chooses, or who has the fewest. */
export type Balance = "reuseport" | "least";

/** How a worker is. */
export interface WorkerReport {
  state: "none" | "runs" | "gone";
  /** Milliseconds since its last turn. */
  quiet: number;
  connections: number;
  /** Listeners that it has opened. */
  listeners: number;
}

const BALANCES = {
  reuseport: layout.BALANCE_PORT,
  least: layout.BALANCE_LEAST,
};
// A crew listens on so many addresses.
const REACTORS_MAX = 16;
const STATES = ["none", "runs", "gone"] as const;

/** Struct mr_crew. All threads of the process may use it. */
export class Crew {
  /** Workers over a crew's life that have a number of their own. */
  static readonly places: number = layout.CREW_PLACES;
  readonly #shim = library();
  readonly #pointer: Deno.PointerObject;

  private constructor(pointer: bigint) {
    this.#pointer = Deno.UnsafePointer.create(pointer)!;
  }

  /** Opens one for so many workers at a time. */
  static open(slots: number, balance: Balance): Crew {
    const out = new BigUint64Array(1);
    unwrap(
      library().mr_crew_open(slots, BALANCES[balance], out),
      "make a crew of workers",
    );
    return new Crew(out[0]!);
  }

  /** That of another thread, by its `address`. */
  static at(address: bigint): Crew {
    return new Crew(address);
  }

  /** What names it in other threads. */
  get address(): bigint {
    return Deno.UnsafePointer.value(this.#pointer);
  }

  /** Makes this thread a worker, in a place that nobody has had since it was forgotten. */
  enter(place: number, slot: number): void {
    const answer = this.#shim.mr_crew_enter(this.#pointer, place, slot);
    unwrap(answer, "become a worker");
  }

  /** How the worker in a place is. */
  worker(place: number): WorkerReport {
    const out = new Uint32Array(layout.WORKER_REPORT_BYTES / 4);
    const answer = this.#shim.mr_crew_worker(this.#pointer, place, out);
    unwrap(answer, "look at a worker");
    const word = (offset: number): number => out[offset >> 2]!;
    return {
      state: STATES[word(layout.WORKER_REPORT_STATE)]!,
      quiet: word(layout.WORKER_REPORT_QUIET),
      connections: word(layout.WORKER_REPORT_CONNECTIONS),
      listeners: word(layout.WORKER_REPORT_LISTENERS),
    };
  }

  /** What the reactors of a worker have counted, until it is forgotten. */
  counters(place: number): ReactorCounters {
    const out = new Uint8Array(layout.CONTROL_BYTES);
    const answer = this.#shim.mr_crew_counters(this.#pointer, place, out);
    unwrap(answer, "count");
    const view = new DataView(out.buffer);
    return readCounters(
      view.getUint32(layout.CONTROL_CONNECTIONS, true),
      (offset) => Number(view.getBigUint64(offset, true)),
    );
  }

  /** The memory of each of its reactors that listens. */
  memory(place: number): MemoryStatistics[] {
    const { MEMORY_BYTES } = layout;
    const out = new Uint8Array(REACTORS_MAX * MEMORY_BYTES);
    const count = unwrap(
      this.#shim.mr_crew_memory(this.#pointer, place, out, REACTORS_MAX),
      "look at the memory of a worker",
    );
    return Array.from(
      { length: count },
      (_, i) => readMemory(new DataView(out.buffer, i * MEMORY_BYTES)),
    );
  }

  /** Has a sleeping worker take a turn. */
  wake(place: number): void {
    this.#shim.mr_crew_wake(this.#pointer, place);
  }

  /** Frees the place of a worker that is gone. */
  forget(place: number): void {
    unwrap(this.#shim.mr_crew_forget(this.#pointer, place), "forget a worker");
  }

  /** Gives what waits at the sockets of a slot to others, and closes them until somebody has the slot again. */
  vacate(slot: number): number {
    const answer = this.#shim.mr_crew_vacate(this.#pointer, slot);
    return unwrap(answer, "close the sockets of a worker");
  }

  /** Closes listeners that no worker uses any more, but for those whose last one has died. */
  trim(): void {
    this.#shim.mr_crew_trim(this.#pointer);
  }

  /** Has listeners be closed for good once the workers close theirs. */
  drain(): void {
    this.#shim.mr_crew_drain(this.#pointer);
  }

  /** Frees it, once; false while a worker is not gone yet. */
  close(): boolean {
    return this.#shim.mr_crew_close(this.#pointer) === 0;
  }
}
