// SPDX-License-Identifier: Apache-2.0
// soak_good.ts - clients of a soak that keep to the rules: every answer is checked byte by byte.

import { assert, assertEquals } from "@std/assert";
import { get, RawClient } from "./raw_client.ts";
import {
  BROKEN_BYTES,
  bytesFor,
  FIXED_BYTES,
  type Load,
  UPLOAD_BYTES,
  type Visit,
} from "./soak_load.ts";
import { assertSameBytes, concat, latin1, sleep } from "./testing.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  PING,
  PONG,
  WsClient,
} from "./ws_client.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Ask = (client: RawClient, visit: Visit) => Promise<void>;

async function plain(client: RawClient): Promise<void> {
  const { status, text } = await client.request(get("/plain"));
  assertEquals([status, text], [200, "plain"]);
}

async function json(client: RawClient, { random }: Visit): Promise<void> {
  const n = random.from(0, 1e6);
  const { field, text } = await client.request(get(`/json?n=${n}`));
  assertEquals(JSON.parse(text), { n, text: "ä".repeat(20) });
  assertEquals(field("content-type"), "application/json");
}

async function head(client: RawClient, { random }: Visit): Promise<void> {
  const bytes = random.size(FIXED_BYTES);
  const { field } = await client.request(
    `HEAD /fixed?bytes=${bytes} HTTP/1.1\r\nHost: test\r\n\r\n`,
  );
  assertEquals(field("content-length"), String(bytes));
}

async function fixed(client: RawClient, { random }: Visit): Promise<void> {
  const bytes = random.size(FIXED_BYTES);
  const { body, field } = await client.request(get(`/fixed?bytes=${bytes}`));
  assertEquals(field("x-kind"), "fixed");
  assertSameBytes(body, bytesFor(bytes), "/fixed");
}

async function stream(client: RawClient, { random }: Visit): Promise<void> {
  const bytes = random.size(FIXED_BYTES);
  const size = random.from(1 + (bytes >> 6), 32_768);
  const target = `/stream?bytes=${bytes}&size=${size}`;
  const { body } = await client.request(get(target));
  assertSameBytes(body, bytesFor(bytes), target);
}

async function pipeline(client: RawClient, { random }: Visit): Promise<void> {
  const asked = Array.from(
    { length: random.from(2, 24) },
    () => random.pick(["/plain", "/late?ms=1", "/json?n=1", "/fixed?bytes=99"]),
  );
  await client.write(asked.map((target) => get(target)).join(""));
  for (const target of asked) {
    const { text, body } = await client.response();
    if (target === "/plain") assertEquals(text, "plain");
    else if (target.startsWith("/late")) assertEquals(text, "late");
    else if (target.startsWith("/json")) assertEquals(JSON.parse(text).n, 1);
    else assertSameBytes(body, bytesFor(99), target);
  }
}

async function fails(client: RawClient, { random }: Visit): Promise<void> {
  const target = random.pick(["/throw", "/reject"]);
  const { status, text } = await client.request(get(target));
  assertEquals([status, text], [500, "failed"]);
}

async function late(client: RawClient, { random }: Visit): Promise<void> {
  const { text } = await client.request(get(`/late?ms=${random.from(1, 50)}`));
  assertEquals(text, "late");
}

/** An upload of any framing, sent while the answer may already come. */
async function upload(client: RawClient, { random }: Visit): Promise<void> {
  const body = bytesFor(random.size(UPLOAD_BYTES));
  const target = random.pick(["/echo", "/pipe"]);
  const chunked = random.fraction() < 0.5;
  const framing = chunked
    ? "Transfer-Encoding: chunked\r\n"
    : `Content-Length: ${body.length}\r\n`;
  const start = `POST ${target} HTTP/1.1\r\nHost: test\r\n${framing}`;
  const sent = chunked ? inChunks(body, random.from(1, 20), random) : body;
  const expects = random.fraction() < 0.1 && body.length > 0;
  const [answer] = await Promise.all([
    (async () => {
      const first = await client.response();
      if (first.status !== 100) return first;
      await client.write(sent);
      return await client.response();
    })(),
    expects
      ? client.write(`${start}Expect: 100-continue\r\n\r\n`)
      : client.write(concat([latin1(`${start}\r\n`), sent])),
  ]);
  assertEquals(answer.status, 200);
  assertSameBytes(answer.body, body, target);
}

function inChunks(body: Bytes, count: number, random: Visit["random"]): Bytes {
  const parts: Uint8Array[] = [];
  const most = 1 + Math.ceil(2 * body.length / count);
  for (let at = 0; at < body.length;) {
    const piece = body.subarray(at, at + random.from(1, most));
    at += piece.length;
    const extension = random.fraction() < 0.1 ? ";name=value" : "";
    parts.push(latin1(`${piece.length.toString(16)}${extension}\r\n`));
    parts.push(piece, latin1("\r\n"));
  }
  const trailer = random.fraction() < 0.1 ? "X-Sum: 1\r\n" : "";
  parts.push(latin1(`0\r\n${trailer}\r\n`));
  return concat(parts);
}

// Little enough of the body is left for the connection to be kept.
async function ignored(client: RawClient, { random }: Visit): Promise<void> {
  const body = bytesFor(random.size(60_000));
  const start = `POST /ignore HTTP/1.1\r\nHost: test\r\n` +
    `Content-Length: ${body.length}\r\n\r\n`;
  await client.write(concat([latin1(start), body]));
  assertEquals((await client.response()).text, "ignored");
}

const ASKS: readonly Ask[] = [
  plain,
  plain,
  plain,
  json,
  head,
  fixed,
  stream,
  pipeline,
  fails,
  late,
  upload,
  upload,
  ignored,
];

/** One connection for many requests. */
async function keepAlive(visit: Visit): Promise<void> {
  const { random } = visit;
  using client = await RawClient.connect(visit);
  for (let count = random.from(1, 40); count > 0; count--) {
    await random.pick(ASKS)(client, visit);
    visit.answered();
    await sleep(random.size(visit.pauseMs));
  }
  if (random.fraction() < 0.5) return;
  await client.closeWrite();
  assertEquals(await client.rest(), "", "Bytes after the last answer");
}

/** A connection for each request, closed by either side. */
async function oneRequest(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  const way = visit.random.from(0, 2);
  if (way === 0) {
    const { field } = await client.request(
      get("/plain", "Connection: close\r\n"),
    );
    assertEquals(field("connection"), "close");
    assertEquals(await client.rest(), "");
  } else if (way === 1) {
    await client.write("GET /plain HTTP/1.0\r\n\r\n");
    assert((await client.rest()).endsWith("plain"));
  } else {
    await client.write(get("/plain"));
    await client.closeWrite();
    assert((await client.rest()).endsWith("plain"));
  }
  visit.answered();
}

/** A body that breaks off shows by its framing. */
async function broken(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  await client.write(get(`/break?bytes=${BROKEN_BYTES}`));
  const { text } = await client.ending();
  assert(text.startsWith("HTTP/1.1 200 "), text.slice(0, 100));
  assert(!text.endsWith("\r\n0\r\n\r\n"), "A broken body looks whole");
  visit.answered();
}

/** Events in order, until one of both sides has enough. */
async function events(visit: Visit): Promise<void> {
  const { random } = visit;
  using client = await RawClient.connect(visit);
  const count = random.from(1, 30);
  const leaveAfter = random.from(1, 40);
  const ms = random.from(0, 20);
  await client.write(get(`/events?count=${count}&ms=${ms}`));
  await client.through("\r\n\r\n");
  for (let id = 1; id <= Math.min(count, leaveAfter); id++) {
    await client.through(`data:event ${id}\n`);
  }
  visit.answered();
  if (leaveAfter >= count) await client.through("\r\n0\r\n\r\n");
}

/** Messages that come back, then one of the ways to leave. */
async function socket(visit: Visit): Promise<void> {
  const { random } = visit;
  using client = await WsClient.open(visit, { target: "/ws" });
  for (let count = random.from(0, 30); count > 0; count--) {
    const payload = bytesFor(random.size(40_000));
    if (random.fraction() < 0.2) {
      await client.send({ opcode: PING, payload: payload.subarray(0, 99) });
      assertEquals((await client.frame()).opcode, PONG);
    } else if (random.fraction() < 0.5) {
      const text = "ö".repeat(payload.length >> 1);
      await client.text(text);
      assertEquals(await client.readText() === text, true, "Text differs");
    } else {
      await client.send({ opcode: BINARY, payload });
      assertSameBytes(await client.readBinary(), payload, "message");
    }
    visit.answered();
    await sleep(random.size(visit.pauseMs));
  }
  if (random.fraction() < 0.4) return;
  await client.send({ opcode: CLOSE, payload: closePayload(1000) });
  assertEquals((await client.readClose()).code, 1000);
}

/** Loads whose every answer is known. */
export const GOOD_LOADS: readonly Load[] = [
  { name: "keep-alive", workers: 10, pauseMs: 30, visit: keepAlive },
  { name: "one request", workers: 2, pauseMs: 20, visit: oneRequest },
  { name: "broken body", workers: 1, pauseMs: 100, visit: broken },
  { name: "events", workers: 4, pauseMs: 50, visit: events },
  { name: "web socket", workers: 4, pauseMs: 50, visit: socket },
];
