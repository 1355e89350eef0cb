// SPDX-License-Identifier: Apache-2.0
// Tests of lib/body_writer.ts, into an outbox of the test.

import {
  assert,
  assertEquals,
  assertIsError,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { type BodySink, BodyWriter } from "../lib/body_writer.ts";
import { FakeWire } from "./fake_wire.ts";
import {
  assertSameBytes,
  concat,
  fromLatin1,
  latin1,
  pattern,
} from "./testing.ts";

const PIECE = 256 * 1024;

/** A sink with room for as many pieces as it is told. */
class Sink implements BodySink {
  readonly handle = 1;
  readonly wire = new FakeWire();
  readonly outbox = this.wire.outbox;
  room = Infinity;
  stagings = 0;
  #resolve: (() => void) | null = null;

  get waiting(): boolean {
    return this.#resolve !== null;
  }

  writable(): Promise<void> | undefined {
    if (--this.room > 0) return undefined;
    return new Promise((resolve) => this.#resolve = resolve);
  }

  staged(): void {
    this.stagings++;
  }

  drain(room: number = Infinity): void {
    this.room = room;
    const resolve = this.#resolve;
    this.#resolve = null;
    resolve?.();
  }
}

/** A stream of these chunks that notes why it was cancelled. */
function source(
  chunks: unknown[],
  reasons: unknown[] = [],
  end: boolean = true,
): ReadableStream<Uint8Array> {
  let next = 0;
  return new ReadableStream({
    pull(controller): void | Promise<void> {
      if (next < chunks.length) {
        controller.enqueue(chunks[next++] as Uint8Array);
      } else if (end) controller.close();
      else return new Promise(() => {});
    },
    cancel: (reason) => void reasons.push(reason),
  }, { highWaterMark: 0 });
}

/** What a chunked body says, and the sizes of its chunks. */
function dechunk(text: string): { sizes: number[]; body: string } {
  const sizes: number[] = [];
  let body = "";
  for (let at = 0;;) {
    const end = text.indexOf("\r\n", at);
    const size = parseInt(text.slice(at, end), 16);
    assertEquals(text.slice(at, end), size.toString(16));
    sizes.push(size);
    at = end + 2 + size;
    body += text.slice(end + 2, at);
    assertEquals(text.slice(at, at + 2), "\r\n");
    at += 2;
    if (size > 0) continue;
    assertEquals(at, text.length, "bytes behind the last chunk");
    return { sizes, body };
  }
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}

for (const length of [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7]) {
  Deno.test(`BodyWriter.run() sends ${length} bytes`, async () => {
    const sink = new Sink();
    const writer = new BodyWriter(sink, pattern(length), length, false);
    assertEquals(await writer.run(), true);
    assertSameBytes(sink.wire.bytes(), pattern(length), "the body");
    assertEquals(sink.wire.responses(), 1);
    assert(sink.stagings >= Math.ceil(length / PIECE));
  });
}

Deno.test("BodyWriter.run() chunks a stream of unknown length", async () => {
  const sink = new Sink();
  const lengths = [1, 9, 10, 15, 16, 255, 256, 4096, PIECE, PIECE + 1];
  const chunks = lengths.map((length) => pattern(length));
  assert(await new BodyWriter(sink, source(chunks), null, true).run());
  const { sizes, body } = dechunk(sink.wire.text());
  assertEquals(sizes, [...lengths.slice(0, -1), PIECE, 1, 0]);
  assert(body === fromLatin1(concat(chunks)));
  assertEquals(sink.wire.responses(), 1);
});

Deno.test("BodyWriter.run() does not take an empty chunk for the last", async () => {
  const sink = new Sink();
  const none = new Uint8Array(0);
  const chunks = [none, latin1("a"), none, none, latin1("b"), none];
  assert(await new BodyWriter(sink, source(chunks), null, true).run());
  assertEquals(sink.wire.text(), "1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
});

Deno.test("BodyWriter.run() sends an empty stream", async () => {
  for (
    const [length, chunked, text] of [
      [null, true, "0\r\n\r\n"],
      [null, false, ""],
      [0, false, ""],
    ] as const
  ) {
    const sink = new Sink();
    assert(await new BodyWriter(sink, source([]), length, chunked).run());
    assertEquals(sink.wire.text(), text);
    assertEquals(sink.wire.responses(), 1);
  }
});

Deno.test("BodyWriter.run() sends a stream as it is when not chunked", async () => {
  for (const length of [null, 6]) {
    const sink = new Sink();
    const chunks = [latin1("one"), latin1("two")];
    assert(await new BodyWriter(sink, source(chunks), length, false).run());
    assertEquals(sink.wire.text(), "onetwo");
  }
});

Deno.test("BodyWriter.run() throws for a stream that is too long", async () => {
  for (const chunks of [["onetwo!"], ["one", "two", "!"]]) {
    const sink = new Sink();
    const reasons: unknown[] = [];
    const stream = source(chunks.map(latin1), reasons, false);
    const error = await assertRejects(
      () => new BodyWriter(sink, stream, 6, false).run(),
      RangeError,
      "longer than its content-length",
    );
    assertEquals(reasons, [error]);
    assertEquals(sink.wire.responses(), 0);
    assert(!sink.wire.text().includes("!"));
  }
});

Deno.test("BodyWriter.run() throws for a stream that is too short", async () => {
  const sink = new Sink();
  const stream = source([latin1("short")]);
  await assertRejects(
    () => new BodyWriter(sink, stream, 6, false).run(),
    RangeError,
    "shorter than its content-length",
  );
  assertEquals(sink.wire.responses(), 0);
});

Deno.test("BodyWriter.run() throws for chunks that are no Uint8Array", async () => {
  for (
    const bad of ["text", null, 1, [1], new ArrayBuffer(1), new Uint16Array(1)]
  ) {
    const sink = new Sink();
    const reasons: unknown[] = [];
    const stream = source([latin1("good"), bad], reasons, false);
    const error = await assertRejects(
      () => new BodyWriter(sink, stream, null, true).run(),
      TypeError,
      "not a Uint8Array",
    );
    assertEquals(reasons, [error]);
    assertEquals(sink.wire.text(), "4\r\ngood\r\n");
    assertEquals(sink.wire.responses(), 0);
  }
});

Deno.test("BodyWriter.run() throws what the stream threw", async () => {
  const failure = new Error("source broke");
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.error(failure),
  });
  const caught = await new BodyWriter(new Sink(), stream, null, true).run()
    .catch((error) => error);
  assertStrictEquals(caught, failure);
});

Deno.test("BodyWriter.run() waits for its peer after each piece", async () => {
  const sink = new Sink();
  sink.room = 2;
  const body = pattern(4 * PIECE);
  const running = new BodyWriter(sink, body, body.length, false).run();
  await settle();
  assert(sink.waiting);
  assertEquals(sink.wire.bytes().length, 2 * PIECE);
  sink.drain(1);
  await settle();
  assertEquals(sink.wire.bytes().length, 3 * PIECE);
  sink.drain();
  assertEquals(await running, true);
  assertSameBytes(sink.wire.bytes(), body, "the body");
});

Deno.test("BodyWriter.run() does not pull while its peer is slow", async () => {
  const sink = new Sink();
  sink.room = 1;
  let pulls = 0;
  const stream = new ReadableStream<Uint8Array>({
    pull(controller): void {
      pulls++;
      controller.enqueue(latin1("x"));
    },
  }, { highWaterMark: 0 });
  const writer = new BodyWriter(sink, stream, null, true);
  const running = writer.run();
  await settle();
  assertEquals(pulls, 1);
  sink.drain(2);
  await settle();
  assertEquals(pulls, 3);
  writer.cancel();
  sink.drain();
  assertEquals(await running, false);
});

Deno.test("BodyWriter.cancel() tells a stream that is being waited for", async () => {
  const sink = new Sink();
  const reasons: unknown[] = [];
  const stream = source([latin1("a")], reasons, false);
  const writer = new BodyWriter(sink, stream, null, true);
  const running = writer.run();
  await settle();
  writer.cancel();
  assertEquals(await running, false);
  assertIsError(reasons[0], DOMException, "The peer has disconnected");
  assertEquals(reasons.length, 1);
  assertEquals(sink.wire.text(), "1\r\na\r\n");
  assertEquals(sink.wire.responses(), 0);
});

Deno.test("BodyWriter.cancel() ends bytes that wait", async () => {
  const sink = new Sink();
  sink.room = 1;
  const writer = new BodyWriter(sink, pattern(3 * PIECE), 3 * PIECE, false);
  const running = writer.run();
  await settle();
  writer.cancel();
  sink.drain();
  assertEquals(await running, false);
  assertEquals(sink.wire.bytes().length, PIECE);
  assertEquals(sink.wire.responses(), 0);
});

Deno.test("BodyWriter.cancel() survives a stream whose cancel throws", async () => {
  const stream = new ReadableStream<Uint8Array>({
    cancel(): void {
      throw new Error("will not");
    },
  });
  const writer = new BodyWriter(new Sink(), stream, null, true);
  const running = writer.run();
  writer.cancel();
  assertEquals(await running, false);
});
