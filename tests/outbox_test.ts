// SPDX-License-Identifier: Apache-2.0
// Tests of ffi/outbox.ts: what it stages, and what a real reactor makes of it.

import { assert, assertEquals } from "@std/assert";
import { layout } from "../ffi/mod.ts";
import { type BareReactor, testReactors } from "./bare_reactor.ts";
import { FakeWire } from "./fake_wire.ts";
import type { RawClient } from "./raw_client.ts";
import { assertSameBytes, concat, latin1, pattern } from "./testing.ts";

const OUTBOX_BYTES = 65536;
// The least that C allows.
const SMALL = { outboxBytes: OUTBOX_BYTES, ringEntries: 8 };
const COMMANDS = 4 * SMALL.ringEntries;

Deno.test("Outbox.commit() joins what follows one another", () => {
  const wire = new FakeWire();
  const { outbox } = wire;
  outbox.write(1, latin1("one"), 1);
  outbox.writeText(1, "two", 0);
  outbox.write(1, latin1("three"), 1);
  assertEquals(outbox.count, 1);
  outbox.write(2, latin1("other"), 0);
  outbox.write(1, latin1("four"), 0);
  assertEquals(outbox.count, 3);
  wire.flush();
  assertEquals(
    wire.commands.map(({ handle, count, bytes }) => [
      handle,
      count,
      new TextDecoder().decode(bytes),
    ]),
    [[1, 2, "onetwothree"], [2, 0, "other"], [1, 0, "four"]],
  );
});

Deno.test("Outbox.commit() does not join across a command", () => {
  const wire = new FakeWire();
  wire.outbox.write(1, latin1("one"), 0);
  wire.outbox.command(1, layout.CMD_IDLE, 77);
  wire.outbox.write(1, latin1("two"), 0);
  wire.flush();
  assertEquals(wire.commands.map(({ op, offset }) => [op, offset]), [
    [layout.CMD_SEND, 0],
    [layout.CMD_IDLE, 77],
    [layout.CMD_SEND, 3],
  ]);
});

Deno.test("Outbox.commit() joins across a flush to no old command", () => {
  const wire = new FakeWire();
  wire.outbox.write(1, latin1("one"), 0);
  wire.flush();
  wire.outbox.write(1, latin1("two"), 0);
  assertEquals(new TextDecoder().decode(wire.bytes()), "onetwo");
  assertEquals(wire.commands.length, 2);
});

Deno.test("Outbox.share() stages one range for several", () => {
  const wire = new FakeWire();
  const { outbox } = wire;
  outbox.write(1, latin1("own"), 0);
  const first = outbox.place(latin1("first"));
  for (const handle of [1, 2, 3]) outbox.share(handle, first, 5);
  const second = outbox.place(latin1("second"));
  for (const handle of [3, 2]) outbox.share(handle, second, 6);
  outbox.write(2, latin1("more"), 0);
  wire.flush();
  assertEquals(
    wire.commands.map(({ handle, bytes }) => [
      handle,
      new TextDecoder().decode(bytes),
    ]),
    [[1, "ownfirst"], [2, "first"], [3, "firstsecond"], [2, "secondmore"]],
  );
});

Deno.test("Outbox.share() goes on where commands do not suffice", () => {
  const wire = new FakeWire({ commands: 4 });
  const start = wire.outbox.place(latin1("all"));
  for (let handle = 1; handle <= 10; handle++) {
    wire.outbox.share(handle, start, 3);
  }
  wire.flush();
  // The bytes are still needed, and what was staged may still be joined.
  assertEquals([wire.flushes, wire.clearances], [3, 0]);
  assertEquals(
    wire.commands.map(({ bytes }) => new TextDecoder().decode(bytes)),
    Array(10).fill("all"),
  );
});

Deno.test("Outbox.file() leaves room for a short range behind its head", () => {
  const wire = new FakeWire();
  const { outbox } = wire;
  outbox.write(1, latin1("head"), 0);
  assertEquals(outbox.file(1, 7, 2 ** 33 + 1, 16384, 1), true);
  assertEquals(outbox.file(1, 8, 0, 16385, 1), false);
  const range = (at: number): number[] => {
    const view = new DataView(outbox.bytes.buffer, at, layout.FILE_RANGE_BYTES);
    return [
      Number(view.getBigUint64(layout.FILE_RANGE_START, true)),
      Number(view.getBigUint64(layout.FILE_RANGE_LENGTH, true)),
      view.getUint32(layout.FILE_RANGE_FD, true),
    ];
  };
  wire.flush();
  const [head, short, long] = wire.commands;
  assertEquals([head!.op, head!.bytes.length], [layout.CMD_SEND, 4]);
  assertEquals([short!.op, short!.offset], [layout.CMD_FILE, 4 + 16384]);
  assertEquals(range(short!.offset), [2 ** 33 + 1, 16384, 7]);
  assertEquals([long!.op, long!.count, long!.bytes.length], [
    layout.CMD_FILE,
    1,
    0,
  ]);
  assertEquals(range(long!.offset), [0, 16385, 8]);
});

Deno.test("Outbox.commit() counts responses up to 16 bits", () => {
  const wire = new FakeWire();
  for (let i = 0; i < 65_535 + 10; i++) {
    wire.outbox.write(1, new Uint8Array(1), 1);
  }
  wire.flush();
  assertEquals(wire.commands.map(({ count }) => count), [65_535, 10]);
});

Deno.test("Outbox.room() flushes when the rest is too small", () => {
  const wire = new FakeWire({ outboxBytes: 100 });
  const { outbox } = wire;
  outbox.write(1, pattern(60), 0);
  assertEquals([outbox.room(40), wire.flushes], [60, 0]);
  assertEquals([outbox.room(41), wire.flushes], [0, 1]);
  assertEquals(wire.clearances, 1);
  outbox.write(1, pattern(100), 0);
  assertEquals([outbox.position, wire.flushes], [100, 1]);
  assertEquals([outbox.room(0), wire.flushes], [100, 1]);
  assertEquals([outbox.room(1), wire.flushes], [0, 2]);
  assertSameBytes(wire.bytes(), concat([pattern(60), pattern(100)]), "all");
});

Deno.test("Outbox.write() stages any number of bytes behind any other", () => {
  for (const length of [0, 1, 99, 100, 101, 199, 200, 201, 1000]) {
    for (const used of [0, 1, 50, 99, 100]) {
      const wire = new FakeWire({ outboxBytes: 100 });
      wire.outbox.write(2, pattern(used), 0);
      wire.outbox.write(1, pattern(length), 1);
      assertSameBytes(wire.bytes(1), pattern(length), `${length}`);
      assertSameBytes(wire.bytes(2), pattern(used), `${used} before`);
      // They end with the last of the pieces.
      assertEquals(wire.responses(), 1);
      const sends = wire.commands.filter(({ handle }) => handle === 1);
      assertEquals(sends.at(-1)!.count, 1);
    }
  }
});

Deno.test("Outbox.write() copies of many bytes what the socket does not take", () => {
  const length = 64 * 1024;
  for (const takes of [0, 1, length - 1, length]) {
    const wire = new FakeWire();
    const { outbox } = wire;
    wire.takes = takes;
    outbox.writeText(1, "head", 0);
    outbox.writeText(2, "other", 0);
    outbox.write(1, pattern(length), 1);
    // What others have staged is still in use.
    assertEquals(outbox.position, "headother".length + length - takes);
    outbox.write(1, pattern(length - 1), 1);
    assertEquals(outbox.position, "headother".length + 2 * length - takes - 1);
    const all = [latin1("head"), pattern(length), pattern(length - 1)];
    assertSameBytes(wire.bytes(1), concat(all), `${takes} taken`);
    assertEquals(wire.responses(1), 2);
  }
});

Deno.test("Outbox.writeText() measures bytes, not characters", () => {
  const UTF8 = new TextEncoder();
  for (const unit of ["a", "ü", "€", "😀", "\ud800"]) {
    for (const count of [0, 1, 33, 34, 50, 100, 101, 333]) {
      for (const used of [0, 1, 99, 100]) {
        const wire = new FakeWire({ outboxBytes: 100 });
        wire.outbox.write(2, pattern(used), 0);
        wire.outbox.writeText(1, unit.repeat(count), 1);
        const expected = UTF8.encode(unit.repeat(count));
        assertSameBytes(wire.bytes(1), expected, `${count} ${unit}`);
        assertEquals(wire.responses(), 1);
      }
    }
  }
});

Deno.test("Outbox flushes when the commands are full", () => {
  const wire = new FakeWire({ commands: 4 });
  const parts = Array.from({ length: 23 }, (_, i) => pattern(10, i));
  for (const [i, part] of parts.entries()) {
    wire.outbox.write(1 + i % 2, part, 1);
    if (i % 3 === 0) wire.outbox.command(3, layout.CMD_IDLE, i);
  }
  for (const handle of [1, 2]) {
    const expected = parts.filter((_, i) => 1 + i % 2 === handle);
    assertSameBytes(wire.bytes(handle), concat(expected), `${handle}`);
    assertEquals(wire.responses(handle), expected.length);
  }
  assertEquals(
    wire.commands.filter(({ handle }) => handle === 3)
      .map(({ offset }) => offset),
    [0, 3, 6, 9, 12, 15, 18, 21],
  );
  assert(wire.flushes >= 7);
});

Deno.test("Outbox.buffered() counts what is staged for a live handle", () => {
  const wire = new FakeWire();
  const handle = 5 << layout.SLOT_BITS | 3;
  wire.open(handle);
  assertEquals(wire.outbox.buffered(handle), 0);
  wire.outbox.write(handle, pattern(10), 0);
  wire.outbox.writeText(handle, "€", 0);
  assertEquals(wire.outbox.buffered(handle), 13);
  assertEquals(wire.outbox.buffered(4 << layout.SLOT_BITS | 3), 0);
  assertEquals(wire.outbox.buffered(2), 0);
  wire.flush();
  assertEquals(wire.outbox.buffered(handle), 0);
});

// --- with a reactor

async function opened(
  bare: BareReactor,
): Promise<{ client: RawClient; handle: number }> {
  const client = await bare.connect();
  const index = await bare.record(layout.OPEN);
  return { client, handle: bare.reactor.inbox.handle(index) };
}

testReactors("Outbox sends what is longer than it", async (bare) => {
  const { outbox } = bare.reactor;
  assertEquals(outbox.bytes.length, OUTBOX_BYTES);
  const { client, handle } = await opened(bare);
  const lengths = [0, 1, -1, 0, 1, OUTBOX_BYTES, 10 * OUTBOX_BYTES + 5]
    .map((more, i) => i < 2 ? more : OUTBOX_BYTES + more);
  for (const length of lengths) {
    for (const used of [0, 1, OUTBOX_BYTES - 1, OUTBOX_BYTES]) {
      outbox.write(handle, pattern(used), 0);
      outbox.write(handle, pattern(length, 7), 0);
      const all = concat([pattern(used), pattern(length, 7)]);
      const got = await bare.during(client.exactly(all.length));
      assertSameBytes(got, all, `${length} behind ${used}`);
    }
  }
}, SMALL);

testReactors("Outbox sends text that is longer than it", async (bare) => {
  const { client, handle } = await opened(bare);
  for (const count of [21_845, 21_846, 65_536, 100_000]) {
    const expected = new TextEncoder().encode("€".repeat(count));
    bare.reactor.outbox.writeText(handle, "€".repeat(count), 0);
    const got = await bare.during(client.exactly(expected.length));
    assertSameBytes(got, expected, `${count} characters`);
  }
}, SMALL);

testReactors("Outbox carries out more commands than it holds", async (bare) => {
  const { outbox } = bare.reactor;
  const all = [await opened(bare), await opened(bare), await opened(bare)];
  const sent: Uint8Array[][] = all.map(() => []);
  for (let round = 0; round < 10 * COMMANDS; round++) {
    const which = round % all.length;
    const bytes = pattern(1 + round % 300, round);
    sent[which]!.push(bytes);
    outbox.write(all[which]!.handle, bytes, 0);
    outbox.command(all[which]!.handle, layout.CMD_IDLE, 60_000);
    assert(outbox.count <= COMMANDS);
  }
  for (const [which, { client }] of all.entries()) {
    const expected = concat(sent[which]!);
    const got = await bare.during(client.exactly(expected.length));
    assertSameBytes(got, expected, `connection ${which}`);
  }
}, SMALL);

testReactors("Outbox.buffered() falls as the peer reads", async (bare) => {
  const { outbox } = bare.reactor;
  const { client, handle } = await opened(bare);
  const length = 12 << 20;
  outbox.write(handle, new Uint8Array(length), 0);
  bare.reactor.poll();
  const queued = outbox.buffered(handle);
  assert(queued > 0 && queued < length, `${queued} bytes`);
  outbox.write(handle, new Uint8Array(1000), 0);
  assertEquals(outbox.buffered(handle), queued + 1000);
  await bare.during(client.exactly(length + 1000));
  assertEquals(outbox.buffered(handle), 0);
}, { ...SMALL, blockCount: 2048 });

testReactors("Outbox.wantDrain() has one DRAIN follow", async (bare) => {
  const { inbox, outbox } = bare.reactor;
  const { client, handle } = await opened(bare);
  const length = 12 << 20;
  outbox.write(handle, new Uint8Array(length), 0);
  outbox.wantDrain(handle);
  const reading = client.exactly(length);
  const drained = await bare.record(layout.DRAIN);
  assertEquals(inbox.handle(drained), handle);
  assert(outbox.buffered(handle) <= 256 * 1024);
  await bare.during(reading);
  assertEquals(outbox.buffered(handle), 0);
}, { ...SMALL, blockCount: 2048 });

testReactors(
  "Outbox.command() for a stale handle does nothing",
  async (bare) => {
    const { inbox, outbox } = bare.reactor;
    const first = await opened(bare);
    outbox.command(first.handle, layout.CMD_TERMINATE);
    const closed = await bare.record(layout.CLOSED);
    assertEquals(inbox.handle(closed), first.handle);
    const second = await opened(bare);
    for (const op of [layout.CMD_TERMINATE, layout.CMD_FINISH, 99]) {
      outbox.command(first.handle, op);
      outbox.command(0, op);
      outbox.command(0xffffffff, op);
    }
    outbox.write(first.handle, latin1("nobody"), 0);
    assertEquals(outbox.buffered(first.handle), 0);
    outbox.write(second.handle, latin1("somebody"), 0);
    const got = await bare.during(second.client.exactly(8));
    assertSameBytes(got, latin1("somebody"), "what was sent");
    assertEquals(bare.reactor.connections, 1);
  },
  SMALL,
);

testReactors("Outbox.command() finishes and terminates", async (bare) => {
  const { outbox } = bare.reactor;
  const polite = await opened(bare);
  outbox.write(polite.handle, latin1("bye"), 0);
  outbox.command(polite.handle, layout.CMD_FINISH);
  const end = await bare.during(polite.client.ending());
  assertEquals(end, { text: "bye", reset: false });
  const rude = await opened(bare);
  outbox.command(rude.handle, layout.CMD_TERMINATE);
  const cut = await bare.during(rude.client.ending());
  assertEquals(cut, { text: "", reset: true });
}, SMALL);

testReactors("Outbox.timeouts() is for one connection", async (bare) => {
  const { outbox } = bare.reactor;
  const hasty = await opened(bare);
  const patient = await opened(bare);
  const head = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n";
  const none = { stallTimeout: 0, minBodyRate: 0, minSendRate: 0 };
  outbox.write(hasty.handle, latin1("before"), 0);
  outbox.timeouts(hasty.handle, { bodyTimeout: 1, ...none });
  outbox.write(hasty.handle, latin1("after"), 0);
  await hasty.client.write(head);
  await patient.client.write(head);
  const index = await bare.record(layout.VIOLATION);
  assertEquals(bare.reactor.inbox.handle(index), hasty.handle);
  assertEquals(bare.reactor.inbox.aux(index), layout.BODY_TIMEOUT);
  const got = await bare.during(hasty.client.exactly(11));
  assertSameBytes(got, latin1("beforeafter"), "what was sent");
}, SMALL);
