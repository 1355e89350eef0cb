// SPDX-License-Identifier: Apache-2.0
// Tests of lib/stress/load.ts and lane.ts with a clock that passes when it is told to, and connections that are none:
// how many messages there are, when, and from when on their latency counts.

import { assert, assertEquals } from "@std/assert";
import type { Clock } from "../lib/stress/clock.ts";
import type { Lane, Protocol, Wire } from "../lib/stress/lane.ts";
import { Load } from "../lib/stress/load.ts";
import {
  type Plan,
  planOf,
  sharesOf,
  type StressOptions,
} from "../lib/stress/options.ts";

/** Time that passes when it is told to. */
class FakeClock implements Clock {
  #now = 1000;
  readonly #timers = new Set<{ at: number; call: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.#now + ms, call };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Lets so many milliseconds pass; timers come `late` by so many. */
  pass(ms: number, late = 0): void {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, Math.min(next.at + late, end));
      next.call();
    }
    this.#now = end;
  }

  get idle(): boolean {
    return this.#timers.size === 0;
  }
}

/** A connection that remembers what it was asked for. */
class FakeWire implements Wire {
  readonly lane: Lane;
  readonly sent: number[] = [];
  closed = false;
  takes = true;

  constructor(lane: Lane) {
    this.lane = lane;
  }

  send(number: number): boolean {
    this.sent.push(number);
    return this.takes;
  }

  close(): void {
    this.closed = true;
    this.lane.ended({ kind: "closed", message: "by us" });
  }

  cut(): void {
    this.closed = true;
  }
}

class FakeProtocol implements Protocol {
  readonly reconnects: boolean;
  readonly wires: FakeWire[] = [];

  constructor(reconnects = false) {
    this.reconnects = reconnects;
  }

  connect(lane: Lane): FakeWire {
    const wire = new FakeWire(lane);
    this.wires.push(wire);
    return wire;
  }

  get sent(): number {
    return this.wires.reduce((sum, { sent }) => sum + sent.length, 0);
  }
}

interface Bench {
  clock: FakeClock;
  protocol: FakeProtocol;
  load: Load;
  wire: FakeWire;
}

function plan(options: Partial<StressOptions>): Plan {
  return planOf({ kind: "ws", url: "ws://localhost/", ...options });
}

/** A load whose connections stand. */
function standing(
  options: Partial<StressOptions>,
  protocol: FakeProtocol = new FakeProtocol(),
): Bench {
  const clock = new FakeClock();
  const load = new Load(plan(options), protocol, clock);
  load.connect();
  for (const { lane } of protocol.wires) lane.opened();
  load.begin();
  return { clock, protocol, load, wire: protocol.wires[0]! };
}

async function over({ load, clock }: Bench): Promise<void> {
  await load.done;
  assert(clock.idle, "timers are left");
  load.recorder.destroy();
}

Deno.test("a rate is as many messages as it says, whatever the timers do", async () => {
  for (const late of [0, 0.7, 5, 150]) {
    const bench = standing({
      connections: 7,
      rate: 300,
      hold: 2000,
      pipeline: 100,
      timeout: 60_000,
    });
    const { clock, protocol } = bench;
    clock.pass(2000, late);
    clock.pass(1, 0);
    assertEquals(protocol.sent, 600, `timers late by ${late} ms`);
    for (const { lane, sent } of [...protocol.wires]) {
      while (lane.inFlight > 0) lane.answered(1, null);
      assert(sent.length === 85 || sent.length === 86, `${sent.length}`);
    }
    await over(bench);
    assertEquals(bench.load.recorder.counts.answered, 600);
    assertEquals(bench.load.recorder.errorCount, 0);
  }
});

Deno.test("an interval is that of each connection", async () => {
  const bench = standing({ connections: 4, interval: 1000, hold: 3000 });
  const { clock, protocol } = bench;
  const seen: number[] = [];
  for (let ms = 0; ms < 3000; ms += 250) {
    seen.push(protocol.sent);
    for (const { lane } of protocol.wires) {
      while (lane.inFlight > 0) lane.answered(1, null);
    }
    clock.pass(250);
  }
  // One after the other, a quarter of the interval apart.
  assertEquals(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  clock.pass(1);
  await over(bench);
});

Deno.test("the rate of all workers is that of one", async () => {
  const shares = sharesOf(plan({ connections: 5, rate: 10, hold: 1000 }), 2);
  assertEquals(shares.map(({ first, connections }) => [first, connections]), [
    [0, 2],
    [2, 3],
  ]);
  const sent: number[] = [];
  for (const share of shares) {
    const protocol = new FakeProtocol();
    const clock = new FakeClock();
    const load = new Load(share, protocol, clock);
    load.connect();
    for (const { lane } of protocol.wires) lane.opened();
    load.begin();
    clock.pass(1000);
    sent.push(protocol.sent);
    load.stop();
    for (const { lane } of protocol.wires) {
      while (lane.inFlight > 0) lane.answered(1, null);
    }
    await load.done;
    load.recorder.destroy();
  }
  assertEquals(sent, [4, 6]);
  const quotas = sharesOf(plan({ connections: 3, requests: 10 }), 3);
  assertEquals(quotas.map(({ requests }) => requests), [3, 3, 4]);
});

Deno.test("the latency of a rate contains the time that a server stalls", async () => {
  // One message every 100 ms, and one in flight: those that are due meanwhile wait, and count from when they were due.
  const bench = standing({ connections: 1, rate: 10, pipeline: 1, hold: 1000 });
  const { clock, load, wire } = bench;
  clock.pass(550); // due at 0, 100, … 500; one was sent
  assertEquals(wire.sent, [0]);
  const taken: number[] = [];
  for (let count = 0; count < 6; count++) {
    wire.lane.answered(1, null);
    taken.push(load.recorder.latency.maxValue);
  }
  assertEquals(wire.sent, [0, 1, 2, 3, 4, 5]);
  const { latency } = load.recorder;
  assertEquals(latency.totalCount, 6);
  // 550, 450, 350, 250, 150 and 50 ms.
  assert(Math.abs(latency.mean - 300_000) < 1000, `${latency.mean}`);
  assert(Math.abs(latency.getValueAtPercentile(100) - 550_000) < 1000);
  assert(Math.abs(latency.getValueAtPercentile(1) - 50_000) < 100);
  clock.pass(449);
  for (; wire.lane.inFlight > 0;) wire.lane.answered(1, null);
  clock.pass(1);
  await over(bench);
  assertEquals(load.recorder.counts.answered, 10);
});

Deno.test("messages that are due at the end are still sent and answered", async () => {
  const bench = standing({ connections: 1, rate: 10, pipeline: 1, hold: 1000 });
  const { clock, load, wire } = bench;
  clock.pass(1500);
  assertEquals(wire.sent.length, 1);
  assertEquals(wire.closed, false);
  for (let count = 0; count < 10; count++) wire.lane.answered(1, null);
  assertEquals(load.snapshot().answeredInTime, 0);
  await over(bench);
  assertEquals(wire.closed, true);
  assertEquals(load.elapsed, 1000);
  assertEquals(load.recorder.counts.answered, 10);
});

Deno.test("a timer that comes a little late is not taken for latency, one that is very late is", async () => {
  const bench = standing({ connections: 1, rate: 100, hold: 1000 });
  const { clock, load, wire } = bench;
  wire.lane.answered(1, null);
  clock.pass(11.5, 1.5); // the message of 10 ms is sent at 11.5 ms
  wire.lane.answered(1, null);
  assertEquals(load.recorder.latency.maxValue, 0);
  clock.pass(58.5, 50); // those of 20 to 70 ms are sent at 70 ms
  while (wire.lane.inFlight > 0) wire.lane.answered(1, null);
  assert(load.recorder.latency.maxValue >= 49_900);
  load.stop();
  await over(bench);
});

Deno.test("a closed loop sends the next message for each answer, and no more than it shall", async () => {
  const bench = standing({ connections: 2, pipeline: 3, requests: 10 });
  const { protocol, load } = bench;
  assertEquals(protocol.wires.map(({ sent }) => sent.length), [3, 3]);
  const [one, other] = protocol.wires;
  for (let count = 0; count < 4; count++) one!.lane.answered(1, null);
  assertEquals(protocol.sent, 10);
  while (one!.lane.inFlight > 0) one!.lane.answered(1, null);
  assertEquals(one!.closed, false);
  while (other!.lane.inFlight > 0) other!.lane.answered(1, null);
  await over(bench);
  assertEquals(load.recorder.counts.sent, 10);
  assertEquals(load.recorder.counts.answered, 10);
  assertEquals([one!.closed, other!.closed], [true, true]);
});

Deno.test("with a rate of 0 connections are only held", async () => {
  const bench = standing({ connections: 3, rate: 0, hold: 5000 });
  bench.clock.pass(4999);
  assertEquals(bench.protocol.wires.map(({ closed }) => closed), [
    false,
    false,
    false,
  ]);
  bench.clock.pass(1);
  await over(bench);
  assertEquals(bench.protocol.sent, 0);
});

Deno.test("a ramp opens so many connections a second, and counts from when all of them stand", async () => {
  const clock = new FakeClock();
  const protocol = new FakeProtocol();
  const load = new Load(
    plan({ connections: 10, ramp: 10, hold: 500 }),
    protocol,
    clock,
  );
  load.connect();
  const begun: number[] = [];
  for (let count = 0; count < 9; count++) {
    begun.push(protocol.wires.length);
    protocol.wires.at(-1)!.lane.opened();
    protocol.wires.at(-1)!.lane.answered(1, null);
    clock.pass(100);
  }
  assertEquals(begun, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assertEquals(load.recorder.counts.answered, 9);
  protocol.wires.at(-1)!.lane.opened();
  await load.standing;
  load.begin();
  assertEquals(load.recorder.counts, {
    ...load.recorder.counts,
    opened: 10,
    sent: 10, // in flight
    answered: 0,
    bytes: 0,
  });
  clock.pass(500);
  for (const { lane } of protocol.wires) lane.answered(7, null);
  await load.done;
  assertEquals(load.recorder.counts.bytes, 70);
  load.recorder.destroy();
});

Deno.test("not too many connections are in the making at a time", async () => {
  const clock = new FakeClock();
  const protocol = new FakeProtocol();
  const load = new Load(plan({ connections: 600, rate: 0 }), protocol, clock);
  load.connect();
  assertEquals(protocol.wires.length, 256);
  for (const { lane } of protocol.wires.slice(0, 100)) lane.opened();
  assertEquals(protocol.wires.length, 356);
  for (let at = 100; at < 600; at++) protocol.wires[at]!.lane.opened();
  await load.standing;
  load.begin();
  load.stop();
  await load.done;
  load.recorder.destroy();
});

Deno.test("an answer that does not come is an error, and ends its connection", async () => {
  const bench = standing({ connections: 2, timeout: 1000, requests: 2 });
  const { clock, load, protocol } = bench;
  protocol.wires[1]!.lane.answered(1, null);
  clock.pass(1300);
  await over(bench);
  assertEquals(load.recorder.errors, [{
    kind: "no answer in time",
    count: 1,
    first: "No answer within 1000 ms on connection 0",
  }]);
  const { answered, unanswered, lost } = load.recorder.counts;
  assertEquals([answered, unanswered, lost], [1, 1, 1]);
  assertEquals(protocol.wires[0]!.closed, true);
});

Deno.test("a connection that is lost is an error, and its messages are missed", async () => {
  const bench = standing({ connections: 2, rate: 20, hold: 1000 });
  const { clock, load, protocol } = bench;
  protocol.wires[0]!.lane.ended({ kind: "closed with 1006", message: "gone" });
  clock.pass(1000);
  while (protocol.wires[1]!.lane.inFlight > 0) {
    protocol.wires[1]!.lane.answered(1, null);
  }
  await over(bench);
  const { counts, errors } = load.recorder;
  assertEquals(errors.map(({ kind, count }) => [kind, count]), [
    ["closed with 1006", 1],
  ]);
  assertEquals([counts.sent, counts.unanswered, counts.missed], [11, 1, 9]);
});

Deno.test("the load ends when no connection is left, or stood at all", async () => {
  const bench = standing({ connections: 1 });
  bench.wire.lane.ended({ kind: "gone", message: "gone" });
  await over(bench);
  const clock = new FakeClock();
  const protocol = new FakeProtocol();
  const load = new Load(plan({ connections: 2 }), protocol, clock);
  load.connect();
  for (const { lane } of protocol.wires) {
    lane.ended({ kind: "connection refused", message: "nobody" });
  }
  await load.standing;
  load.begin();
  await load.done;
  assertEquals(load.recorder.counts.failed, 2);
  assertEquals(load.recorder.errorCount, 2);
  load.recorder.destroy();
});

Deno.test("a connection that is made anew is sent again what was in flight", async () => {
  const protocol = new FakeProtocol(true);
  const bench = standing(
    { connections: 1, pipeline: 2, requests: 4 },
    protocol,
  );
  const { load, wire } = bench;
  wire.lane.answered(1, null); // which sends the third
  wire.lane.reconnect(null);
  const next = protocol.wires[1]!;
  next.lane.opened();
  assertEquals([wire.sent, next.sent], [[0, 1, 2], [1, 2]]);
  for (let count = 0; count < 3; count++) next.lane.answered(1, null);
  await over(bench);
  const { opened, reconnects, sent, answered } = load.recorder.counts;
  assertEquals([opened, reconnects, sent, answered], [1, 1, 4, 4]);
  assertEquals(load.recorder.errorCount, 0);
});

Deno.test("an answer that does not come has an HTTP connection made anew, once", async () => {
  const protocol = new FakeProtocol(true);
  const bench = standing(
    { connections: 1, timeout: 1000, requests: 2 },
    protocol,
  );
  bench.clock.pass(5000); // the new connection takes its time
  assertEquals(protocol.wires.map(({ closed }) => closed), [true, false]);
  const next = protocol.wires[1]!;
  next.lane.opened();
  next.lane.answered(1, null);
  await over(bench);
  const { errors, counts } = bench.load.recorder;
  assertEquals(errors.map(({ kind, count }) => [kind, count]), [
    ["no answer in time", 1],
  ]);
  assertEquals([counts.sent, counts.answered, counts.unanswered], [2, 1, 1]);
});

Deno.test("an answer that nobody waits for is an error where answers are verified", async () => {
  for (const verify of [false, true]) {
    const bench = standing({ connections: 1, rate: 0, hold: 10, verify });
    const { load, wire } = bench;
    wire.lane.answered(1, null);
    assertEquals(load.recorder.errorCount, verify ? 1 : 0);
    assertEquals(load.recorder.counts.answered, 0);
    bench.clock.pass(10);
    // The connection is over.
    wire.lane.answered(1, null);
    wire.lane.answeredSince(0, 1, null);
    wire.lane.unanswered({ kind: "late", message: "late" });
    assertEquals(load.recorder.errorCount, verify ? 1 : 0);
    await over(bench);
  }
});

Deno.test("a message that is not accepted is an error", async () => {
  const bench = standing({ connections: 1, requests: 2 });
  bench.wire.takes = false;
  bench.wire.lane.answered(1, null);
  await over(bench);
  assertEquals(bench.load.recorder.errors.map(({ kind }) => kind), [
    "not accepted for sending",
  ]);
});

Deno.test("stop() gives up what was due, and waits for what is in flight", async () => {
  const bench = standing({
    connections: 1,
    rate: 1000,
    pipeline: 1,
    hold: 9000,
  });
  const { clock, load, wire } = bench;
  clock.pass(100);
  load.stop();
  assertEquals(wire.closed, false);
  wire.lane.answered(1, null);
  await over(bench);
  assertEquals([wire.sent.length, load.elapsed], [1, 100]);
});

Deno.test("stop() while connections are in the making ends them", async () => {
  const clock = new FakeClock();
  const protocol = new FakeProtocol();
  const load = new Load(plan({ connections: 5, ramp: 1 }), protocol, clock);
  load.connect();
  assertEquals(protocol.wires.length, 1);
  load.stop();
  await load.standing;
  load.begin();
  await load.done;
  assertEquals(load.recorder.errorCount, 0);
  assert(clock.idle);
  load.recorder.destroy();
});

Deno.test("connections that do not close are cut in the end", async () => {
  const protocol = new FakeProtocol();
  const bench = standing({ connections: 1, requests: 1 }, protocol);
  bench.wire.close = (): void => {};
  bench.wire.lane.answered(1, null);
  assertEquals(bench.wire.closed, false);
  bench.clock.pass(6000);
  await over(bench);
  assertEquals(bench.wire.closed, true);
});
