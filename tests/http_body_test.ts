// SPDX-License-Identifier: Apache-2.0
// Tests of lib/http_body.ts: whole reads are compared with a genuine Response
// over the same bytes.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  BODY_HIGH_WATERMARK,
  type BodyFlow,
  RequestBody,
} from "../lib/http_body.ts";

class RecordedFlow implements BodyFlow {
  readonly calls: string[] = [];

  pause(): void {
    this.calls.push("pause");
  }

  resume(): void {
    this.calls.push("resume");
  }

  consume(): void {
    this.calls.push("consume");
  }
}

const encoder = new TextEncoder();

function bodyOf(length: number | null, flow = new RecordedFlow()): RequestBody {
  return new RequestBody(length, flow);
}

/** A body that has arrived in the given pieces, its length announced or not. */
function arrived(pieces: Uint8Array[], announced = true): RequestBody {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const body = bodyOf(announced ? length : null);
  for (const piece of pieces) body.push(piece);
  body.end();
  return body;
}

/** Every way to cut bytes in two, and cut into single bytes. */
function* cuts(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  for (let at = 0; at <= bytes.length; at++) {
    yield [bytes.subarray(0, at), bytes.subarray(at)];
  }
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
}

async function outcome(promise: Promise<unknown>): Promise<unknown> {
  try {
    return { value: await promise };
  } catch (error) {
    assertInstanceOf(error, Error);
    return { name: error.name, message: error.message };
  }
}

const TEXTS = [
  { description: "nothing", bytes: [] },
  { description: "ASCII", bytes: [0x61, 0x62, 0x63] },
  { description: "2 to 4 bytes a character", bytes: encoder.encode("é€😀") },
  { description: "byte order mark", bytes: [0xef, 0xbb, 0xbf, 0x61] },
  { description: "mark inside", bytes: [0x61, 0xef, 0xbb, 0xbf] },
  { description: "half a character", bytes: [0x61, 0xe2, 0x82] },
  { description: "no UTF-8", bytes: [0xff, 0xfe, 0xc0, 0x80] },
  { description: "NUL", bytes: [0x00] },
];

for (const { description, bytes } of TEXTS) {
  Deno.test(`RequestBody.text() decodes as the standard: ${description}`, async () => {
    const whole = Uint8Array.from(bytes);
    const expected = await new Response(whole).text();
    for (const pieces of cuts(whole)) {
      assertEquals(await arrived(pieces).text(), expected);
      assertEquals(await arrived(pieces, false).text(), expected);
    }
  });
}

const DOCUMENTS = ['{"a":[1,"é",null]}', "1", "", "{x", '"a', "[1,]", "\0"];

for (const text of DOCUMENTS) {
  Deno.test(`RequestBody.json() answers as the standard to ${JSON.stringify(text)}`, async () => {
    const expected = await outcome(new Response(text).json());
    const late = bodyOf(null);
    const asked = late.json();
    late.push(encoder.encode(text));
    late.end();
    assertEquals(await outcome(asked), expected);
    const early = arrived([encoder.encode(text)]);
    assertEquals(await outcome(early.json()), expected);
  });
}

Deno.test("RequestBody.bytes() gives bytes that nobody else holds", async () => {
  for (const announced of [true, false]) {
    const borrowed = Uint8Array.of(1, 2, 3, 4);
    const body = arrived([borrowed.subarray(0, 2), borrowed], announced);
    borrowed.fill(9);
    const bytes = await body.bytes();
    assertEquals(bytes, Uint8Array.of(1, 2, 1, 2, 3, 4));
    assertEquals(bytes.buffer.byteLength, 6);
  }
});

Deno.test("RequestBody.bytes() gives every empty body a buffer of its own", async () => {
  const [one, two] = [await arrived([]).bytes(), await arrived([]).bytes()];
  assertEquals(one.length, 0);
  assertNotStrictEquals(one.buffer, two.buffer);
});

Deno.test("RequestBody.arrayBuffer() has exactly the length of the body", async () => {
  for (const announced of [true, false]) {
    const pieces = [new Uint8Array(5).fill(1), new Uint8Array(3).fill(2)];
    const buffer = await arrived(pieces, announced).arrayBuffer();
    assertEquals([...new Uint8Array(buffer)], [1, 1, 1, 1, 1, 2, 2, 2]);
  }
});

Deno.test("RequestBody.text() waits for the end of the body", async () => {
  const body = bodyOf(6);
  const asked = body.text();
  let resolved = false;
  asked.then(() => resolved = true);
  body.push(encoder.encode("abc"));
  await Promise.resolve();
  assert(!resolved);
  body.push(encoder.encode("def"));
  body.end();
  assertEquals(await asked, "abcdef");
});

Deno.test("RequestBody gives whoever waits nothing that was borrowed", async () => {
  const reads = {
    text: (body: RequestBody) => body.text(),
    json: (body: RequestBody) => body.json(),
    bytes: (body: RequestBody) => body.bytes(),
    arrayBuffer: (body: RequestBody) => body.arrayBuffer(),
  };
  for (const read of Object.values(reads)) {
    const borrowed = encoder.encode("[1,2]");
    const body = bodyOf(borrowed.length);
    const waiting = read(body);
    body.push(borrowed);
    borrowed.fill(0);
    body.end();
    assertEquals(await waiting, await read(arrived([encoder.encode("[1,2]")])));
  }
});

Deno.test("RequestBody.json() rejects what waits for what is no JSON", async () => {
  const body = bodyOf(1);
  const waiting = body.json();
  body.push(encoder.encode("{"));
  body.end();
  await assertRejects(() => waiting, SyntaxError);
});

Deno.test("RequestBody.used is true from the first read on", async () => {
  const body = arrived([encoder.encode("x")]);
  assert(!body.used);
  const asked = body.text();
  assert(body.used);
  await asked;
  assert(body.used);
});

Deno.test("RequestBody.text() rejects a second read as the standard does", async () => {
  const genuine = new Response("x");
  await genuine.text();
  const expected = await outcome(genuine.text());
  for (const first of ["text", "json", "bytes", "arrayBuffer"] as const) {
    const body = arrived([encoder.encode("1")]);
    await body[first]();
    assertEquals(await outcome(body.text()), expected);
    assertEquals(await outcome(body.json()), expected);
    assertEquals(await outcome(body.bytes()), expected);
    assertEquals(await outcome(body.arrayBuffer()), expected);
    assertThrows(() => body.stream(), TypeError, "Body already consumed");
    assertStrictEquals(body.takeWhole(), null);
  }
});

Deno.test("RequestBody.push() copes with more than was announced", async () => {
  const body = bodyOf(1);
  body.push(encoder.encode("ab"));
  body.push(encoder.encode("c"));
  body.end();
  assertEquals(await body.text(), "abc");
});

Deno.test("RequestBody.push() does not believe in any length that is announced", async () => {
  const body = bodyOf(Number.MAX_SAFE_INTEGER);
  const asked = body.bytes();
  body.push(Uint8Array.of(1));
  body.end();
  assertEquals(await asked, Uint8Array.of(1));
});

Deno.test("RequestBody.bytes() joins a body that outgrows every allocation", async () => {
  const piece = new Uint8Array(100_000);
  crypto.getRandomValues(piece.subarray(0, 65_536));
  const pieces = new Array<Uint8Array>(50).fill(piece);
  const expected = new Uint8Array(
    await new Blob([
      ...new Array<typeof piece>(50).fill(piece),
    ]).arrayBuffer(),
  );
  assertEquals(await arrived(pieces).bytes(), expected);
  assertEquals(await arrived(pieces, false).bytes(), expected);
});

// Failure.

Deno.test("RequestBody.fail() rejects a read that waits", async () => {
  const failure = new Deno.errors.ConnectionReset("gone");
  const body = bodyOf(3);
  const asked = body.text();
  body.push(encoder.encode("ab"));
  body.fail(failure);
  body.push(encoder.encode("c"));
  body.end();
  assertStrictEquals(await asked.catch((error: unknown) => error), failure);
});

Deno.test("RequestBody.fail() rejects a read that comes later", async () => {
  const failure = new Error("gone");
  const body = bodyOf(null);
  body.push(encoder.encode("ab"));
  body.fail(failure);
  body.end();
  assertStrictEquals(body.takeWhole(), null);
  assertStrictEquals(
    await body.json().catch((error: unknown) => error),
    failure,
  );
  await assertRejects(() => body.text(), TypeError, "Body already consumed");
});

Deno.test("RequestBody.fail() errors a stream, read before or after", async () => {
  const failure = new Error("gone");
  for (const streamFirst of [true, false]) {
    const body = bodyOf(3);
    const early = streamFirst ? body.stream() : null;
    body.push(encoder.encode("ab"));
    body.fail(failure);
    const reader = (early ?? body.stream()).getReader();
    const error = await reader.read().catch((error: unknown) => error);
    assertStrictEquals(error, failure);
  }
});

Deno.test("RequestBody.fail() does nothing to a complete body", async () => {
  const body = arrived([encoder.encode("ab")]);
  body.fail(new Error("too late"));
  assertEquals(await body.text(), "ab");
});

// Flow.

Deno.test("BodyFlow.pause() comes once, when too much waits for nobody", () => {
  const flow = new RecordedFlow();
  const body = bodyOf(null, flow);
  body.push(new Uint8Array(BODY_HIGH_WATERMARK));
  assertEquals(flow.calls, []);
  body.push(new Uint8Array(1));
  body.push(new Uint8Array(1));
  assertEquals(flow.calls, ["pause"]);
});

Deno.test("BodyFlow.pause() never comes while the whole body is read", async () => {
  const flow = new RecordedFlow();
  const body = bodyOf(null, flow);
  const asked = body.bytes();
  for (let i = 0; i < 3; i++) body.push(new Uint8Array(BODY_HIGH_WATERMARK));
  body.end();
  assertEquals((await asked).length, 3 * BODY_HIGH_WATERMARK);
  assertEquals(flow.calls, ["consume"]);
});

Deno.test("BodyFlow.resume() follows when a paused body is read or dropped", async () => {
  const actions: ((body: RequestBody) => unknown)[] = [
    (body) => body.text(),
    (body) => body.stream().getReader().read(),
    (body) => body.cancel(),
    (body) => body.discard(),
  ];
  for (const action of actions) {
    for (const complete of [true, false]) {
      const flow = new RecordedFlow();
      const body = bodyOf(null, flow);
      body.push(new Uint8Array(BODY_HIGH_WATERMARK + 1));
      if (complete) body.end();
      const result = action(body);
      if (!complete) body.end();
      await result;
      const calls = flow.calls.filter((call) => call !== "consume");
      assertEquals(calls, ["pause", "resume"]);
    }
  }
});

Deno.test("BodyFlow.pause() and resume() follow the reader of a stream", async () => {
  const flow = new RecordedFlow();
  const body = bodyOf(null, flow);
  const reader = body.stream().getReader();
  for (let round = 1; round <= 2; round++) {
    body.push(new Uint8Array(BODY_HIGH_WATERMARK));
    body.push(new Uint8Array(1));
    assertEquals(flow.calls.filter((call) => call === "pause").length, round);
    const { value } = await reader.read();
    assertEquals(value?.length, BODY_HIGH_WATERMARK + 1);
    assertEquals(flow.calls.filter((call) => call === "resume").length, round);
  }
});

Deno.test("BodyFlow.consume() comes once, when the body is first asked for", async () => {
  const flow = new RecordedFlow();
  const body = bodyOf(2, flow);
  const reader = body.stream().getReader();
  await Promise.resolve();
  assertEquals(flow.calls, []);
  const first = reader.read();
  body.push(Uint8Array.of(1));
  await first;
  assertEquals(flow.calls, ["consume"]);
  body.push(Uint8Array.of(2));
  body.end();
  await reader.read();
  assertEquals(flow.calls, ["consume"]);
});

// Streams.

async function collect(stream: ReadableStream<Uint8Array>): Promise<number[]> {
  const all: number[] = [];
  for await (const chunk of stream) all.push(...chunk);
  return all;
}

Deno.test("RequestBody.stream() yields what came before and after it was made", async () => {
  const body = bodyOf(4);
  body.push(Uint8Array.of(1, 2));
  const collected = collect(body.stream());
  body.push(Uint8Array.of(3));
  await Promise.resolve();
  body.push(Uint8Array.of(4));
  body.end();
  assertEquals(await collected, [1, 2, 3, 4]);
});

Deno.test("RequestBody.stream() hands a piece to the reader that waits", async () => {
  const body = bodyOf(null);
  const reader = body.stream().getReader();
  const borrowed = Uint8Array.of(7);
  for (let i = 0; i < 3; i++) {
    const read = reader.read();
    body.push(borrowed);
    assertEquals((await read).value, Uint8Array.of(7));
  }
  assertEquals(borrowed, Uint8Array.of(7));
  const last = reader.read();
  body.end();
  assert((await last).done);
  await reader.closed;
});

Deno.test("RequestBody.stream() serves readers that bring their own buffer", async () => {
  const body = bodyOf(3);
  const reader = body.stream().getReader({ mode: "byob" });
  body.push(Uint8Array.of(1, 2, 3));
  body.end();
  const first = await reader.read(new Uint8Array(2));
  assertEquals(first.value, Uint8Array.of(1, 2));
  const second = await reader.read(new Uint8Array(2));
  assertEquals(second.value, Uint8Array.of(3));
  assert((await reader.read(new Uint8Array(2))).done);
});

Deno.test("RequestBody.stream() ends at once for an empty body", async () => {
  assertEquals(await collect(arrived([]).stream()), []);
});

Deno.test("RequestBody.cancel() follows when a stream is cancelled", async () => {
  const flow = new RecordedFlow();
  const body = bodyOf(null, flow);
  const stream = body.stream();
  body.push(new Uint8Array(BODY_HIGH_WATERMARK + 1));
  await stream.cancel();
  body.push(new Uint8Array(BODY_HIGH_WATERMARK + 1));
  body.end();
  assertEquals(flow.calls, ["pause", "resume"]);
});

Deno.test("RequestBody.takeWhole() is null until the body is complete", () => {
  const body = bodyOf(2);
  body.push(Uint8Array.of(1));
  assertStrictEquals(body.takeWhole(), null);
  body.push(new Uint8Array(0));
  assert(!body.used);
  body.push(Uint8Array.of(2));
  body.end();
  assertEquals(body.takeWhole(), Uint8Array.of(1, 2));
  assert(body.used);
});

// After the answer.

Deno.test("RequestBody.discard() drops what is there and what follows", async () => {
  const flow = new RecordedFlow();
  const body = bodyOf(null, flow);
  body.push(Uint8Array.of(1));
  body.discard();
  body.push(new Uint8Array(2 * BODY_HIGH_WATERMARK));
  body.end();
  assertEquals(flow.calls, []);
  assert(!body.used);
  assertStrictEquals(body.takeWhole(), null);
  await assertRejects(() => body.text(), TypeError, "Request closed");
  assertThrows(() => body.stream(), TypeError, "Request closed");
});

Deno.test("RequestBody.discard() rejects whoever still reads", async () => {
  const whole = bodyOf(3);
  const text = whole.text();
  whole.discard();
  await assertRejects(() => text, Deno.errors.BadResource);

  const streamed = bodyOf(3);
  const reader = streamed.stream().getReader();
  const read = reader.read();
  streamed.discard();
  await assertRejects(() => read, Deno.errors.BadResource);
});

Deno.test("RequestBody.discard() leaves alone what was read to its end", async () => {
  const body = bodyOf(1);
  const reader = body.stream().getReader();
  body.push(Uint8Array.of(1));
  body.end();
  await reader.read();
  assert((await reader.read()).done);
  body.discard();
  await reader.closed;

  const whole = arrived([encoder.encode("x")]);
  const text = whole.text();
  whole.discard();
  assertEquals(await text, "x");
});

Deno.test("RequestBody.lengthOf() knows the stream that was shown, and no other", () => {
  const [known, unknown] = [bodyOf(3), bodyOf(null)];
  const stream = known.stream();
  assertEquals(known.lengthOf(stream), null);
  known.show(stream);
  assertEquals(known.lengthOf(stream), 3);
  assertEquals(known.lengthOf(new ReadableStream()), null);
  unknown.show(stream);
  assertEquals(unknown.lengthOf(stream), null);
});
