// SPDX-License-Identifier: Apache-2.0
// Tests of rings: as one isolate sees them, and between workers.

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Ring } from "../lib/ring.ts";
import { message, pushAll, type Task } from "./ring_worker.ts";
import { assertSameBytes, deadline, pattern } from "./testing.ts";

/** Runs a worker's task; resolves with the number of messages that it has pushed. */
async function work(task: Task): Promise<number> {
  const worker = new Worker(new URL("ring_worker.ts", import.meta.url));
  worker.postMessage(task);
  try {
    const [pushed] = await deadline(once(worker, "message"), "the task");
    return pushed as number;
  } finally {
    await worker.terminate();
  }
}

Deno.test("what goes in comes out, at every place and of every length", () => {
  const ring = new Ring({ bytes: 128 });
  const held: Uint8Array[] = [];
  let pushed = 0;
  for (let round = 0; round < 5000; round++) {
    const next = pattern(round * 13 % 125, round);
    if (ring.push(next)) {
      held.push(next);
      pushed++;
    } else {
      const size = (bytes: Uint8Array): number => (bytes.length + 7) & ~3;
      const used = held.reduce((sum, bytes) => sum + size(bytes), 0);
      assert(used + size(next) > 128, "refused with room left");
    }
    if (round % 3 === 0) continue;
    const got = ring.shift();
    if (got === null) assertEquals(held.length, 0);
    else assertSameBytes(got, held.shift()!, `round ${round}`);
  }
  assert(pushed > 1000);
});

Deno.test("positions pass 2 ** 31 and 2 ** 32", () => {
  const ring = new Ring({ bytes: 64 });
  // As after four gigabytes: words 32 and 64 are head and tail.
  for (const near of [2 ** 31 - 64, 2 ** 32 - 64]) {
    const words = new Int32Array(ring.buffer);
    words[32] = words[64] = near | 0;
    for (let index = 0; index < 20; index++) {
      assert(ring.push(pattern(20, index)) && ring.push(pattern(30, index)));
      assert(!ring.push(pattern(20)), "full");
      assertSameBytes(ring.shift()!, pattern(20, index), "first");
      assertSameBytes(ring.shift()!, pattern(30, index), "second");
      assertEquals(ring.shift(), null);
    }
  }
});

Deno.test("a message may be empty, and as long as the ring", () => {
  const ring = new Ring({ bytes: 100 });
  assert(ring.push(new Uint8Array(0)));
  assertEquals(ring.shift(), new Uint8Array(0));
  assert(ring.push(pattern(124)));
  assert(!ring.push(new Uint8Array(0)));
  assertEquals(ring.shift(), pattern(124));
  assertThrows(
    () => ring.push(new Uint8Array(125)),
    RangeError,
    "Cannot push a message of 125 bytes: the ring has 128",
  );
});

Deno.test("what was shifted is not written over", () => {
  const ring = new Ring({ bytes: 64 });
  ring.push(pattern(40, 1));
  const first = ring.shift()!;
  ring.push(pattern(40, 2));
  assertEquals(first, pattern(40, 1));
});

Deno.test("a reader that waits is woken by a message and by the end", async () => {
  const ring = new Ring();
  const other = Ring.over(ring.buffer);
  const waiting = ring.wait();
  other.push(pattern(3));
  assertEquals(await waiting, true);
  assertEquals(await ring.wait(), true);
  ring.shift();
  const ending = ring.wait();
  other.close();
  assertEquals(await ending, false);
  assert(ring.isClosed && !ring.push(pattern(1)));
});

Deno.test("each message that was taken in before the end is heard", async () => {
  const ring = new Ring({ bytes: 1024 });
  // They push until the ring is closed under them.
  const workers = [0, 1, 2].map((id) =>
    work({ kind: "push", buffer: ring.buffer, id, count: Infinity })
  );
  const heard = [0, 0, 0];
  for await (const bytes of ring) {
    heard[bytes[0]!]!++;
    if (heard.every((count) => count > 100)) ring.close();
  }
  assertEquals(await Promise.all(workers), heard);
});

Deno.test("writers that wait are all woken by room, and by the end", async () => {
  const ring = new Ring({ bytes: 64 });
  ring.push(pattern(60));
  const waiting = [ring.room(10), Ring.over(ring.buffer).room(20)];
  ring.shift();
  assertEquals(await Promise.all(waiting), [true, true]);
  ring.push(pattern(60));
  const ending = [ring.room(10), ring.room(20)];
  ring.close();
  assertEquals(await Promise.all(ending), [false, false]);
  assertEquals(await ring.wait(), true, "what it holds is still there");
  assertEquals(ring.shift(), pattern(60));
  assertEquals(await ring.wait(), false);
});

Deno.test("three workers push, and every message comes once, in order", async () => {
  const ring = new Ring({ bytes: 1024 });
  const count = 3000;
  const workers = [0, 1, 2].map((id) =>
    work({ kind: "push", buffer: ring.buffer, id, count })
  );
  const all = Promise.all(workers).then(() => ring.close());
  const next = [0, 0, 0];
  for await (const bytes of ring) {
    const id = bytes[0]!;
    assertSameBytes(bytes, message(id, next[id]!), `message of ${id}`);
    next[id]!++;
  }
  await all;
  assertEquals(next, [count, count, count]);
});

Deno.test("a worker sleeps and is woken for each message", async () => {
  const there = new Ring();
  const back = new Ring();
  const echo = work({ kind: "echo", from: there.buffer, to: back.buffer });
  for (let index = 0; index < 300; index++) {
    assert(await pushAll(there, message(1, index)));
    assert(await deadline(back.wait(), "the echo"));
    assertSameBytes(back.shift()!, message(1, index), "the echo");
  }
  there.close();
  assertEquals(await deadline(back.wait(), "the end"), false);
  await echo;
});

Deno.test("memory that something else has written to is no message", () => {
  for (const word of [-1, -(2 ** 31), 62, 2 ** 31 - 1]) {
    const ring = new Ring({ bytes: 64 });
    assert(ring.push(pattern(3)));
    new Int32Array(ring.buffer)[640 / 4] = word;
    assertThrows(() => ring.shift(), Error, "Cannot shift");
  }
  const ring = new Ring({ bytes: 64 });
  new Int32Array(ring.buffer)[640 / 4] = 61;
  assertEquals(ring.shift()?.length, 60, "the longest message");
});

Deno.test("misuse throws and says why", async () => {
  for (const bytes of [0, 63, -1, NaN, 2 ** 30 + 1]) {
    assertThrows(
      () => new Ring({ bytes }),
      RangeError,
      `Cannot make a ring: "bytes" must be from 64 to 1073741824, is ${bytes}`,
    );
  }
  for (const length of [0, 640, 1000]) {
    assertThrows(
      () => Ring.over(new SharedArrayBuffer(length)),
      TypeError,
      "Cannot open a ring: the buffer is not that of a ring",
    );
  }
  const odd = new SharedArrayBuffer(640 + 100);
  new Int32Array(odd)[0] = new Int32Array(new Ring().buffer)[0]!;
  assertThrows(() => Ring.over(odd), TypeError);
  assertThrows(
    () => new Ring().push("text" as unknown as Uint8Array),
    TypeError,
    "Cannot push: the message must be a Uint8Array",
  );
  await assertRejects(() => new Ring().room(2 ** 17), RangeError);
  await assertRejects(() => new Ring().room(-1), RangeError);
});
