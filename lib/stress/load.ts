// SPDX-License-Identifier: Apache-2.0
// load.ts - the load of one thread: opens its connections, keeps them busy for as long as it shall, and closes them;
// made by crew.ts and worker.ts.

import { type Clock, systemClock } from "./clock.ts";
import { Lane, type LaneHost, type Protocol } from "./lane.ts";
import type { Plan } from "./options.ts";
import { type Counts, Recorder } from "./recorder.ts";

/** How it goes. */
export interface Snapshot {
  phase: "connecting" | "load" | "closing";
  /** Milliseconds of the hold that have passed. */
  elapsed: number;
  /** Answers that came within the hold; a few more may follow. */
  answeredInTime: number;
  open: number;
  errors: number;
  counts: Counts;
  /** Latencies so far, in microseconds. */
  p50: number;
  p99: number;
}

// Timers come up to this much late, which is no fault of the server. What is later counts from when it was due.
const TIMER_SLACK_MS = 2;
// Sums of fractions may miss the end of the hold by so much, and a message that is due just then is one too many.
const ROUNDING_MS = 0.001;
// Messages that are due at a time are sent in lots, so that the first ones leave and answers are read meanwhile.
const LOT = 1024;
const SWEEP_MS = 250;
const CLOSE_MS = 6000;

/** One share of the load. */
export class Load implements LaneHost {
  readonly recorder = new Recorder();
  readonly pipeline: number;
  readonly isClosedLoop: boolean;
  readonly verifies: boolean;
  isRunning: boolean;
  isClosing = false;
  /** Resolves when no connection is in the making any more. */
  readonly standing: Promise<void>;
  /** Resolves when all is over and all connections are closed. */
  readonly done: Promise<void>;
  /** Called when the hold is over, before connections are closed. */
  onHoldEnd: () => void = () => {};
  readonly #plan: Plan;
  readonly #clock: Clock;
  readonly #lanes: Lane[];
  readonly #standing = Promise.withResolvers<void>();
  readonly #done = Promise.withResolvers<void>();
  readonly #timers = new Map<string, () => void>();
  // Lanes that have begun to connect, that know what came of it, and that are over.
  #begun = 0;
  #settled = 0;
  #ended = 0;
  #pending = 0;
  // From when on the schedule, the hold, and connecting count.
  #origin = 0;
  #heldFrom = 0;
  #connectFrom = 0;
  #heldUntil = Infinity;
  // The next message of the schedule, and where it ends.
  #slot = 0;
  #lastSlot = Infinity;
  // Messages that a closed loop may still send.
  #quota = Infinity;
  #isStopping = false;
  #answeredInTime = 0;

  constructor(plan: Plan, protocol: Protocol, clock: Clock = systemClock) {
    this.#plan = plan;
    this.#clock = clock;
    this.pipeline = plan.pipeline;
    this.isClosedLoop = plan.period === null;
    this.verifies = plan.verify;
    this.standing = this.#standing.promise;
    this.done = this.#done.promise;
    // With a ramp the load grows with the connections; else it begins when all of them stand.
    this.isRunning = this.#hasRamp;
    this.#lanes = Array.from(
      { length: plan.connections },
      (_, at) => new Lane(plan.first + at, this, protocol),
    );
  }

  now(): number {
    return this.#clock.now();
  }

  /** Milliseconds of the hold that have passed. */
  get elapsed(): number {
    if (this.#heldFrom === 0) return 0;
    const ms = Math.min(this.now(), this.#heldUntil) - this.#heldFrom;
    return Number(ms.toFixed(3));
  }

  /** Begins to connect. */
  connect(): void {
    this.#connectFrom = this.#origin = this.now();
    if (this.isRunning) this.#pump();
    this.#sweep();
    this.#connectMore();
  }

  /** Begins the hold: from here on all counts. */
  begin(): void {
    if (this.#isStopping) return;
    const { hold, requests } = this.#plan;
    const now = this.now();
    this.#heldFrom = now;
    if (this.isRunning) this.recorder.restart(this.#inFlight);
    else this.#origin = now;
    if (this.isClosedLoop) this.#quota = requests;
    else this.#lastSlot = this.#slot + requests;
    this.isRunning = true;
    this.#later("hold", hold, () => this.#stop());
    // The schedule ends by its own reckoning, so that late timers change nothing about how many messages there are.
    this.#heldUntil = now + hold;
    if (this.#ended === this.#lanes.length) return this.#stop();
    for (const lane of this.#lanes) lane.begin();
    this.#pump();
  }

  /** Ends the load early: what is in flight is waited for, what is due and was not sent is given up. */
  stop(): void {
    if (this.#isStopping) {
      for (const lane of this.#lanes) lane.forget();
      return;
    }
    this.#heldUntil = Math.min(this.#heldUntil, this.now());
    for (const lane of this.#lanes) lane.forget();
    this.#stop();
  }

  snapshot(): Snapshot {
    const { latency, counts, errorCount } = this.recorder;
    return {
      phase: this.#phase,
      elapsed: this.elapsed,
      answeredInTime: this.#isStopping ? this.#answeredInTime : counts.answered,
      open: this.#countOpen(),
      errors: errorCount,
      counts: { ...counts },
      p50: latency.getValueAtPercentile(50),
      p99: latency.getValueAtPercentile(99),
    };
  }

  dueAt(lane: Lane, round: number): number {
    const { period, total } = this.#plan;
    return this.#origin + (lane.index / total + round) * period!;
  }

  take(): boolean {
    if (this.#isStopping || this.#quota === 0) return false;
    this.#quota--;
    return true;
  }

  settledConnecting(lane: Lane): void {
    this.#settled++;
    if (this.#settled === this.#lanes.length) this.#standing.resolve();
    if (this.isRunning) lane.begin();
    this.#connectMore();
  }

  pending(change: number): void {
    this.#pending += change;
    if (change < 0 && this.#pending === 0) this.#maybeOver();
  }

  ended(): void {
    this.#ended++;
    if (this.#ended < this.#lanes.length) return;
    if (this.isClosing) this.#finish();
    else if (this.#heldFrom > 0) this.#stop();
  }

  get #hasRamp(): boolean {
    return this.#plan.ramp !== Infinity;
  }

  get #inFlight(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.inFlight, 0);
  }

  get #phase(): Snapshot["phase"] {
    if (this.#isStopping) return "closing";
    return this.#heldFrom === 0 ? "connecting" : "load";
  }

  #countOpen(): number {
    let open = 0;
    for (const lane of this.#lanes) if (lane.isStanding) open++;
    return open;
  }

  // As many as the ramp says, and not too many at a time.
  #connectMore(): void {
    if (this.#isStopping) return;
    const { ramp, atOnce } = this.#plan;
    const count = this.#lanes.length;
    const seconds = (this.now() - this.#connectFrom) / 1000;
    const due = this.#hasRamp ? Math.floor(ramp * seconds) + 1 : count;
    const most = Math.min(count, due, this.#settled + atOnce);
    while (this.#begun < most) this.#lanes[this.#begun++]!.connect();
    if (this.#begun === count || this.#begun < due) return;
    const wait = this.#begun / ramp * 1000 - seconds * 1000;
    this.#later("connect", Math.max(wait, 1), () => this.#connectMore());
  }

  // Goes on as the schedule says.
  #pump(): void {
    const next = this.#sendDue(LOT);
    if (next === Infinity) return this.#maybeOver();
    this.#later("pump", Math.max(next - this.now(), 0), () => this.#pump());
  }

  // Sends what is due, at most so many messages; returns when the next one is.
  #sendDue(lot: number): number {
    const { period, connections } = this.#plan;
    if (period === null || period === Infinity) return Infinity;
    const now = this.now();
    const end = this.#slot + lot;
    for (; this.#slot < this.#lastSlot; this.#slot++) {
      const lane = this.#lanes[this.#slot % connections]!;
      const round = Math.floor(this.#slot / connections);
      const due = this.dueAt(lane, round);
      if (due > this.#heldUntil - ROUNDING_MS) return Infinity;
      if (due > now || this.#slot === end) return due;
      lane.due(round, now - due <= TIMER_SLACK_MS ? now : due);
    }
    return Infinity;
  }

  // With a number of messages the load is over once all of them are answered.
  #maybeOver(): void {
    if (this.#pending > 0) return;
    const isSent = this.#quota === 0 || this.#slot >= this.#lastSlot;
    if (isSent) this.#stop();
    else if (this.#isStopping) this.#close();
  }

  // The hold is over: nothing more is sent but what is due.
  #stop(): void {
    if (this.#isStopping) return;
    this.#sendDue(Infinity);
    this.#isStopping = true;
    this.#heldUntil = Math.min(this.#heldUntil, this.now());
    this.#answeredInTime = this.recorder.counts.answered;
    this.onHoldEnd();
    this.#cancel("hold");
    this.#cancel("pump");
    this.#cancel("connect");
    if (this.#pending === 0) this.#close();
  }

  #close(): void {
    if (this.isClosing) return;
    this.isClosing = true;
    this.#standing.resolve();
    this.#cancel("sweep");
    if (this.#ended === this.#lanes.length) return this.#finish();
    this.#later("close", CLOSE_MS, () => {
      for (const lane of this.#lanes) lane.cut();
      this.#finish();
    });
    for (const lane of this.#lanes) lane.close();
  }

  #finish(): void {
    this.#cancel("close");
    this.#done.resolve();
  }

  // Gives up what has had no answer for too long.
  #sweep(): void {
    const { timeout } = this.#plan;
    const oldest = this.now() - timeout;
    for (const lane of this.#lanes) {
      if (!lane.isStanding || lane.oldest >= oldest) continue;
      lane.giveUp({
        kind: "no answer in time",
        message: `No answer within ${timeout} ms on connection ${lane.index}`,
      });
    }
    if (!this.isClosing) this.#later("sweep", SWEEP_MS, () => this.#sweep());
  }

  #later(name: string, ms: number, call: () => void): void {
    this.#cancel(name);
    this.#timers.set(name, this.#clock.after(ms, call));
  }

  #cancel(name: string): void {
    this.#timers.get(name)?.();
    this.#timers.delete(name);
  }
}
