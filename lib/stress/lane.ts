// SPDX-License-Identifier: Apache-2.0
// lane.ts - one connection of the load: what is in flight on it, since when, and what comes next; made by load.ts,
// driven by it and by the *_wire.ts.

import type { Failure, Recorder } from "./recorder.ts";

/** A connection as its protocol has it. */
export interface Wire {
  /** Sends a message; false when it is not accepted. */
  send(number: number): boolean;
  /** Ends it in order; the lane is told when that is done. */
  close(): void;
  /** Ends it at once; the lane is told of that too. */
  cut(): void;
}

/** Makes connections of one protocol. */
export interface Protocol {
  /** Whether a connection that has ended is made anew. */
  readonly reconnects: boolean;
  /** Begins to connect. The lane is told what becomes of it, after this has returned. Throws without permission. */
  connect(lane: Lane): Wire;
}

/** What a lane asks of the load that it belongs to. */
export interface LaneHost {
  readonly recorder: Recorder;
  /** Messages that may be in flight on a lane. */
  readonly pipeline: number;
  /** Whether the next message follows from an answer, and not from the schedule. */
  readonly isClosedLoop: boolean;
  /** Whether an answer that no message waits for is an error, and not something that the server may send. */
  readonly verifies: boolean;
  /** Whether the load has begun. */
  readonly isRunning: boolean;
  /** Whether connections end because we end them. */
  readonly isClosing: boolean;
  now(): number;
  /** When a lane's message of a round of the schedule is due. */
  dueAt(lane: Lane, round: number): number;
  /** Takes one of the messages of a closed loop; false when there is none left. */
  take(): boolean;
  /** A lane stands for the first time, or never will. */
  settledConnecting(lane: Lane): void;
  /** So many more messages have no answer yet. */
  pending(change: number): void;
  /** A lane has ended for good. */
  ended(lane: Lane): void;
}

const TOO_MANY = {
  kind: "answer too many",
  message: "An answer came that no message was waiting for",
};

type State = "new" | "connecting" | "standing" | "gone";

/** One connection. */
export class Lane {
  /** Its number among all connections of all workers. */
  readonly index: number;
  readonly #host: LaneHost;
  readonly #protocol: Protocol;
  // When each message in flight was sent or due, by its number.
  readonly #stamps: Float64Array;
  #wire!: Wire;
  #state: State = "new";
  #since = 0;
  #stood = false;
  // Messages that were sent, and those that need no answer any more; their numbers go up by one.
  #sent = 0;
  #done = 0;
  // Rounds of the schedule that have come, and those whose messages were sent.
  #due = 0;
  #round = 0;

  constructor(index: number, host: LaneHost, protocol: Protocol) {
    this.index = index;
    this.#host = host;
    this.#protocol = protocol;
    this.#stamps = new Float64Array(host.pipeline);
  }

  /** Whether it is connected. */
  get isStanding(): boolean {
    return this.#state === "standing";
  }

  /** Messages that were sent and have no answer yet. */
  get inFlight(): number {
    return this.#sent - this.#done;
  }

  /** Since when the oldest of them is; Infinity when there is none. */
  get oldest(): number {
    if (this.inFlight === 0) return Infinity;
    return this.#stamps[this.#done % this.#stamps.length]!;
  }

  /** Begins to connect. */
  connect(): void {
    this.#since = this.#host.now();
    // Throws where the program may not connect: then there is no wire to be closed.
    this.#wire = this.#protocol.connect(this);
    this.#state = "connecting";
  }

  /** The wire stands. */
  opened(): void {
    const host = this.#host;
    if (this.#state !== "connecting") return;
    this.#state = "standing";
    if (host.isClosing) return this.#wire.close();
    if (this.#stood) return this.#resume();
    this.#stood = true;
    host.recorder.connected(host.now() - this.#since);
    // What was due before it stood was never to be sent on it.
    this.#round = this.#due;
    host.settledConnecting(this);
  }

  /** The load begins. */
  begin(): void {
    if (this.#state === "standing") this.#fill();
  }

  /** The message of a round is due; `stamp` is from when on its latency counts, if it leaves at once. */
  due(round: number, stamp: number): void {
    const { recorder } = this.#host;
    this.#due = round + 1;
    if (this.#state === "gone") recorder.counts.missed++;
    if (!this.#stood || this.#state === "gone") return;
    this.#host.pending(1);
    if (this.#round < round || !this.#hasRoom) return;
    this.#round++;
    this.#send(stamp);
  }

  /** Number of the oldest message in flight. */
  get next(): number {
    return this.#done;
  }

  /** From when on the latency counts of a message in flight. */
  stampOf(number: number): number {
    return this.#stamps[number % this.#stamps.length]!;
  }

  /** The answer to the oldest message in flight has come, with what is wrong with it. */
  answered(bytes: number, failure: Failure | null): void {
    if (this.inFlight === 0) {
      if (this.#host.verifies) this.note(TOO_MANY);
      return;
    }
    this.answeredSince(this.stampOf(this.#done), bytes, failure);
  }

  /** The answer to a message has come whose latency counts from then on. */
  answeredSince(stamp: number, bytes: number, failure: Failure | null): void {
    const { recorder, isClosing } = this.#host;
    // It comes too late: the connection was given up.
    if (this.#state !== "standing" || isClosing) return;
    recorder.answer(this.#host.now() - stamp, bytes);
    if (failure !== null) recorder.error(failure);
    this.#settle();
  }

  /** A message will have no answer. */
  unanswered(failure: Failure): void {
    if (this.#state !== "standing" || this.#host.isClosing) return;
    this.#host.recorder.counts.unanswered++;
    this.note(failure);
    this.#settle();
  }

  /** Something is wrong that does not end the connection. */
  note(failure: Failure): void {
    if (!this.#host.isClosing) this.#host.recorder.error(failure);
  }

  /** An answer is late: what is wrong is counted, and the connection ends. */
  giveUp(failure: Failure): void {
    const wire = this.#wire;
    if (this.#protocol.reconnects) this.reconnect(failure);
    else this.ended(failure);
    wire.cut();
  }

  /** The connection has ended, and with it the lane. */
  ended(failure: Failure): void {
    if (this.#state === "gone") return;
    this.#state = "gone";
    const { counts } = this.#host.recorder;
    this.note(failure);
    if (!this.#host.isClosing) {
      if (this.#stood) counts.lost++;
      else counts.failed++;
    }
    this.#abandon();
    const waiting = this.#due - this.#round;
    if (this.#stood && waiting > 0) {
      counts.missed += waiting;
      this.#host.pending(-waiting);
    }
    this.#host.ended(this);
    if (!this.#stood) this.#host.settledConnecting(this);
  }

  /** The connection has ended, and is made anew; messages in flight are lost with it when something is wrong. */
  reconnect(failure: Failure | null): void {
    if (this.#state !== "standing") return;
    if (failure !== null) {
      this.note(failure);
      this.#abandon();
    }
    if (this.#host.isClosing) return this.#end();
    this.#host.recorder.counts.reconnects++;
    this.connect();
  }

  /** Ends it in order. */
  close(): void {
    const state = this.#state;
    if (state === "new" || state === "connecting") this.#end();
    if (state === "connecting" || state === "standing") this.#wire.close();
  }

  /** Ends it at once. */
  cut(): void {
    if (this.#state !== "gone") this.#wire.cut();
  }

  /** Forgets what was due and is not sent. */
  forget(): void {
    const waiting = this.#due - this.#round;
    if (!this.#stood || this.#state === "gone" || waiting <= 0) return;
    this.#round = this.#due;
    this.#host.pending(-waiting);
  }

  get #hasRoom(): boolean {
    return this.#state === "standing" && this.inFlight < this.#stamps.length;
  }

  #end(): void {
    this.#state = "gone";
    this.#host.ended(this);
  }

  #settle(): void {
    this.#done++;
    this.#host.pending(-1);
    this.#fill();
  }

  // Sends what may be sent.
  #fill(): void {
    const host = this.#host;
    if (host.isClosedLoop) {
      while (this.#hasRoom && host.isRunning && host.take()) {
        host.pending(1);
        this.#send(host.now());
      }
    } else {
      while (this.#hasRoom && this.#round < this.#due) {
        this.#send(host.dueAt(this, this.#round++));
      }
    }
  }

  #send(stamp: number): void {
    const number = this.#sent++;
    this.#stamps[number % this.#stamps.length] = stamp;
    this.#host.recorder.counts.sent++;
    this.#write(number);
  }

  #write(number: number): void {
    if (this.#wire.send(number)) return;
    this.giveUp({
      kind: "not accepted for sending",
      message: "The connection takes no more messages: its queue is full",
    });
  }

  // A connection that was made anew is sent again what was in flight.
  #resume(): void {
    for (let number = this.#done; number < this.#sent; number++) {
      this.#write(number);
      if (this.#state !== "standing") return;
    }
    this.#fill();
  }

  #abandon(): void {
    const lost = this.inFlight;
    this.#host.recorder.counts.unanswered += lost;
    this.#done = this.#sent;
    this.#host.pending(-lost);
  }
}
