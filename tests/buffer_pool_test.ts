// SPDX-License-Identifier: Apache-2.0
// Tests of bytes that outlive their callback, and of buffers of a pool.

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BufferPool,
  type HttpServer,
  listen,
  retain,
  type RetainedBytes,
  websocket,
  type WebSocketHandlers,
} from "../mod.ts";
import { RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  deadline,
  pattern,
  testBackends,
  until,
} from "./testing.ts";
import { BINARY, CONTINUATION, frame, WsClient } from "./ws_client.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const MIB = 2 ** 20;
const BLOCK_BYTES = 16384;
const RELEASED = "they were released";
const RETURNED = "until their callback returned";

/** Serves a route with room for so many bytes that arrive. */
function serveWith(
  t: Context,
  handlers: WebSocketHandlers<undefined>,
  options: { bufferBytes?: number; debug?: boolean } = {},
): HttpServer<Deno.NetAddr> {
  const { debug = false, ...engine } = options;
  const route = websocket(handlers, { debug });
  return t.serve((request) => route.upgrade(request), engine);
}

/** Sends messages, each in a turn of its own, so that each may lie where the one before it was. */
async function sendInTurns(
  client: WsClient,
  count: number,
  length: number,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    await client.binary(pattern(length, i + 1));
    await client.readText();
  }
}

function assertPatterns(kept: RetainedBytes[], length: number): void {
  for (const [i, { bytes }] of kept.entries()) {
    assertSameBytes(bytes, pattern(length, i + 1), `message ${i}`);
  }
}

function releaseAll(kept: RetainedBytes[]): void {
  for (const bytes of kept.splice(0)) bytes.release();
}

for (const debug of [false, true]) {
  testBackends(
    `messages that are retained outlive their turn, debug ${debug}`,
    async (t) => {
      const kept: RetainedBytes[] = [];
      const server = serveWith(t, {
        message(socket, message): void {
          kept.push(retain(message as Bytes));
          socket.send("ok");
        },
      }, { debug });
      const client = t.using(await WsClient.open(server));
      await sendInTurns(client, 30, 3000);
      assertPatterns(kept, 3000);
      for (const { bytes } of kept) {
        assertEquals(bytes.buffer.byteLength, BLOCK_BYTES, "not copied");
      }
      await until(() => server.statistics().blocksRetained === 30, "counted");
      releaseAll(kept);
      assertEquals(server.statistics().blocksRetained, 0);
    },
  );
}

testBackends("messages of a batch and chunks can be retained", async (t) => {
  const kept: RetainedBytes[] = [];
  const server = serveWith(t, {
    messages(_, batch): void {
      for (const message of batch) kept.push(retain(message as Bytes));
    },
  });
  const client = t.using(await WsClient.open(server));
  const payloads = Array.from({ length: 40 }, (_, i) => pattern(700, i + 1));
  for (const payload of payloads) {
    await client.raw.write(frame({ opcode: BINARY, payload }));
  }
  await until(() => kept.length === payloads.length, "all messages");
  assertPatterns(kept, 700);
  releaseAll(kept);
  const where = { hostname: "127.0.0.1", port: 0, backend: t.backend };
  const raw = t.closing(listen(where, {
    data: (_, chunk) => void kept.push(retain(chunk)),
  }));
  const sender = t.using(await RawClient.connect(raw));
  const all = pattern(MIB);
  await sender.write(all);
  const length = (): number =>
    kept.reduce((sum, { bytes }) => sum + bytes.length, 0);
  await until(() => length() === all.length, "all bytes");
  assertSameBytes(concat(kept.map(({ bytes }) => bytes)), all, "the chunks");
  releaseAll(kept);
  await until(() => raw.statistics().blocksRetained === 0, "all released");
});

testBackends("beyond the bound messages are copied", async (t) => {
  const pool = new BufferPool({ maxBytes: 8 * MIB });
  const kept: RetainedBytes[] = [];
  const server = serveWith(t, {
    message(socket, message): void {
      kept.push(retain(message as Bytes, pool));
      socket.send("ok");
    },
  }, { bufferBytes: 8 * MIB });
  const client = t.using(await WsClient.open(server));
  const blocks = 8 * MIB / BLOCK_BYTES / 8;
  await sendInTurns(client, blocks + 20, 10_000);
  assertPatterns(kept, 10_000);
  assertEquals(server.statistics().retainOverflows, 20);
  const usage = (): number[] =>
    pool.statistics().map(({ used, buffers }) => used + buffers);
  assertEquals(usage(), [20 * BLOCK_BYTES + 20]);
  releaseAll(kept);
  assertEquals(usage(), [0]);
  // The block of the next one is kept again.
  await sendInTurns(client, 1, 10_000);
  assertEquals(usage(), [0]);
  assertPatterns(kept, 10_000);
  releaseAll(kept);
});

testBackends("a message in pieces is copied", async (t) => {
  const kept: RetainedBytes[] = [];
  const server = serveWith(t, {
    message: (_, message) => void kept.push(retain(message as Bytes)),
  });
  const client = t.using(await WsClient.open(server));
  for (let i = 0; i < 3; i++) {
    const payload = pattern(50_000, i + 1);
    await client.raw.write(concat([
      frame({ opcode: BINARY, payload: payload.slice(0, 9), fin: false }),
      frame({ opcode: CONTINUATION, payload: payload.slice(9) }),
    ]));
    await until(() => kept.length === i + 1, "the message");
  }
  assertPatterns(kept, 50_000);
  releaseAll(kept);
});

testBackends("bytes cannot be retained after their turn", async (t) => {
  let late: Bytes | undefined;
  const server = serveWith(t, {
    message: (_, message) => void (late = message as Bytes),
  });
  const client = t.using(await WsClient.open(server));
  await client.binary(pattern(100));
  await until(() => late !== undefined, "the message");
  await until(() => {
    try {
      retain(late!).release();
      return false;
    } catch (error) {
      assert(error instanceof TypeError && error.message.includes(RETURNED));
      return true;
    }
  }, "the next turn");
});

testBackends("retained bytes outlive their server", async (t) => {
  const kept: RetainedBytes[] = [];
  const handlers: WebSocketHandlers<undefined> = {
    message(socket, message): void {
      kept.push(retain(message as Bytes));
      socket.send("ok");
    },
  };
  const server = serveWith(t, handlers, { bufferBytes: 8 * MIB });
  await sendInTurns(t.using(await WsClient.open(server)), 5, 4000);
  await server.shutdown({ timeout: 1 });
  assertPatterns(kept, 4000);
  // One that would be given the same memory.
  const next = serveWith(t, {
    message: (socket) => void socket.send("ok"),
  }, { bufferBytes: 8 * MIB });
  await sendInTurns(t.using(await WsClient.open(next)), 50, 16_000);
  assertPatterns(kept, 4000);
  const again = retain(kept[0]!.bytes);
  releaseAll(kept);
  assertSameBytes(again.bytes, pattern(4000, 1), "retained once more");
  again.release();
  // One in their memory.
  const last = serveWith(t, handlers, { bufferBytes: 8 * MIB });
  await sendInTurns(t.using(await WsClient.open(last)), 5, 4000);
  assertPatterns(kept, 4000);
  releaseAll(kept);
});

testBackends("a retained buffer that is transferred is lost", async (t) => {
  const kept: RetainedBytes[] = [];
  const server = serveWith(t, {
    message(socket, message): void {
      kept.push(retain(message as Bytes));
      socket.send("ok");
    },
  });
  const client = t.using(await WsClient.open(server));
  await sendInTurns(client, 1, 2000);
  const { buffer, byteOffset } = kept[0]!.bytes;
  const taken = structuredClone(buffer, { transfer: [buffer] });
  assertEquals(kept[0]!.bytes.length, 0);
  releaseAll(kept);
  assertEquals(server.statistics().blocksLost, 1);
  await sendInTurns(client, 20, 2000);
  const bytes = new Uint8Array(taken, byteOffset, 2000);
  assertSameBytes(bytes, pattern(2000, 1), "what was taken away");
  releaseAll(kept);
});

// --- references

Deno.test("bytes are released as often as they are retained", () => {
  const pool = new BufferPool({ maxBytes: 2 * MIB });
  const kept = retain(pattern(100), pool);
  assertEquals(kept.retain(), kept);
  kept.release();
  assertSameBytes(kept.bytes, pattern(100), "the bytes");
  kept.release();
  const uses: (() => unknown)[] = [
    () => kept.bytes,
    () => kept.retain(),
    () => kept.release(),
  ];
  for (const use of uses) assertThrows(use, TypeError, RELEASED);
  assertEquals(pool.statistics()[0]!.buffers, 0);
});

Deno.test("retain() takes bytes alone", () => {
  const text = "bytes" as unknown as Bytes;
  assertThrows(() => retain(text), TypeError, "must be a Uint8Array");
});

// --- pools

Deno.test("a buffer is zero, and nobody's after its release", () => {
  const pool = new BufferPool({ maxBytes: 2 * MIB });
  const dirty = (): Bytes => {
    using buffer = pool.get(1000);
    new Uint8Array(buffer.bytes.buffer).fill(7);
    return buffer.bytes;
  };
  const view = dirty();
  assertEquals([view.length, view.buffer.detached], [0, true]);
  const buffer = pool.get(600);
  assertEquals(buffer.bytes.length, 600);
  assertEquals(new Uint8Array(buffer.bytes.buffer), new Uint8Array(1024));
  buffer.release();
  dirty();
  const copy = pool.copy(pattern(600)).bytes;
  assertSameBytes(copy, pattern(600), "a copy");
  assertEquals(new Uint8Array(copy.buffer, 600), new Uint8Array(424));
});

Deno.test("buffers of all sizes come back to the pool", () => {
  const pool = new BufferPool({ maxBytes: 32 * MIB });
  const lengths = [0, 1, 64, 65, 1000, 4096, 4097, 100_000, 262_144];
  for (let round = 0; round < 3; round++) {
    const kept = lengths.map((length) => pool.copy(pattern(length, length)));
    for (const [i, { bytes }] of kept.entries()) {
      const length = lengths[i]!;
      assertSameBytes(bytes, pattern(length, length), `${length} bytes`);
    }
    assertEquals(pool.statistics()[0]!.buffers, lengths.length);
    releaseAll(kept);
  }
  const [{ allocated, free, used, buffers, fallbacks }] = pool.statistics() as [
    ReturnType<BufferPool["statistics"]>[0],
  ];
  assertEquals([free, used, buffers, fallbacks], [allocated, 0, 0, 0]);
});

Deno.test("memory that has changed its size has no other bytes", () => {
  const pool = new BufferPool({ maxBytes: 2 * MIB });
  for (const length of [64, 128, 64, 262_144, 64]) {
    const kept = Array.from(
      { length: 8 },
      (_, i) => pool.copy(pattern(length, i + 1)),
    );
    assertPatterns(kept, length);
    releaseAll(kept);
  }
});

Deno.test("a pool that is full refuses, and long buffers are not its", () => {
  const pool = new BufferPool({ maxBytes: 2 * MIB });
  const kept = Array.from({ length: 8 }, () => pool.get(262_144));
  assertThrows(() => pool.get(1), Deno.errors.Busy, '"maxBytes"');
  const long = pool.copy(pattern(262_145));
  assertSameBytes(long.bytes, pattern(262_145), "a long one");
  assertEquals(pool.statistics()[0]!.fallbacks, 1);
  const view = long.bytes;
  long.release();
  assertEquals(view.length, 0);
  kept.pop()!.release();
  kept.push(pool.get(200_000));
  releaseAll(kept);
});

Deno.test("a buffer that is transferred away stays in use", () => {
  const pool = new BufferPool({ maxBytes: 2 * MIB });
  const kept = pool.copy(pattern(64));
  const { buffer } = kept.bytes;
  const taken = structuredClone(buffer, { transfer: [buffer] });
  kept.release();
  assertEquals(pool.statistics()[0]!.buffers, 1);
  for (let i = 0; i < 3; i++) pool.get(64).bytes.fill(1);
  assertSameBytes(new Uint8Array(taken), pattern(64), "what was taken away");
});

Deno.test("a buffer that another isolate gave away is safe when that ends", async () => {
  const worker = new Worker(
    new URL("buffer_pool_worker.ts", import.meta.url),
  );
  const [taken] = await deadline(once(worker, "message"), "the buffer");
  const bytes = new Uint8Array(taken);
  assert(bytes.length === 64 && bytes.every((byte) => byte === 7));
  worker.postMessage("end");
  await deadline(once(worker, "exit"), "the end");
  // The thread ends a little later, and then nothing is left of it.
  await until(() => bytes.every((byte) => byte === 0), "its memory is gone");
  bytes.fill(1);
});

Deno.test("pools and lengths are checked", () => {
  for (const maxBytes of [0, 2 * MIB - 1, 2 ** 35, NaN, 1.5]) {
    assertThrows(() => new BufferPool({ maxBytes }), RangeError, '"maxBytes"');
  }
  const pool = new BufferPool();
  for (const length of [-1, 0.5, NaN, 2 ** 32]) {
    assertThrows(() => pool.get(length), RangeError, '"length"');
  }
  assertEquals(pool.statistics(), []);
});
