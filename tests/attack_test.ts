// SPDX-License-Identifier: Apache-2.0
// attack_test.ts - clients that are slow, endless or absurd on purpose: each is
// refused with a clear answer, and another client is served meanwhile.

import { assert, assertEquals } from "@std/assert";
import { get, RawClient } from "./raw_client.ts";
import { ResettableSocket } from "./libc.ts";
import {
  type Context,
  latin1,
  type TcpServer,
  testBackends,
  turn,
  until,
} from "./testing.ts";

const LINE = "GET / HTTP/1.1\r\n";
const HOST = "Host: test\r\n";
const POST = "POST /upload HTTP/1.1\r\nHost: test\r\n";
const CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n";

/** Another client gets its answer, whatever is going on. */
async function othersAreServed(server: TcpServer): Promise<void> {
  using client = await RawClient.connect(server);
  assertEquals((await client.request(get("/other"))).text, "/other");
}

/** Answers with the path; reads a body. */
async function echoPath(request: Request): Promise<Response> {
  await request.text();
  return new Response(new URL(request.url).pathname);
}

/** Writes piece after piece until the server answers, and returns its answer. */
async function trickle(
  client: RawClient,
  pieces: Iterable<string>,
): Promise<{ status: number; text: string }> {
  let answered = false;
  const answer = client.response().finally(() => answered = true);
  for (const piece of pieces) {
    if (answered) break;
    await client.write(piece).catch(() => {});
    await turn();
  }
  return await answer;
}

function* endless(piece: string): Generator<string> {
  for (;;) yield piece;
}

testBackends("slowloris: a head byte by byte has one deadline", async (t) => {
  const server = t.serve(echoPath, { headTimeout: 300 });
  const client = t.using(await RawClient.connect(server));
  await client.write(`${LINE}${HOST}X: `);
  const [{ status, text }] = await Promise.all([
    trickle(client, endless("a")),
    othersAreServed(server),
  ]);
  assertEquals([status, text], [408, "request head took too long"]);
  assertEquals(server.statistics().headTimeouts, 1);
  assertEquals(server.statistics().refusals, { [text]: 1 });
});

testBackends("a body byte by byte is read", async (t) => {
  const server = t.serve(async (request) => new Response(await request.text()));
  const client = t.using(await RawClient.connect(server));
  const body = "one byte at a time";
  await client.write(`${POST}Content-Length: ${body.length}\r\n\r\n`);
  assertEquals((await trickle(client, body)).text, body);
  const chunks = Array.from(body, (byte) => [..."1\r\n", byte, ..."\r\n"]);
  await client.write(CHUNKED);
  const answer = await trickle(client, [...chunks.flat(), ..."0\r\n\r\n"]);
  assertEquals(answer.text, body);
});

testBackends("a body below the minimum rate is refused", async (t) => {
  const server = t.serve(echoPath, { minBodyRate: 1 << 20, rateGrace: 300 });
  for (const head of [`${POST}Content-Length: 99999\r\n\r\n`, CHUNKED]) {
    const client = t.using(await RawClient.connect(server));
    await client.write(head);
    const piece = head === CHUNKED ? "1\r\nx\r\n" : "x";
    const [{ status, text }] = await Promise.all([
      trickle(client, endless(piece)),
      othersAreServed(server),
    ]);
    assertEquals([status, text], [408, "request body came too slowly"]);
  }
  assertEquals(server.statistics().slowBodies, 2);
});

testBackends("a reader that never reads is cut off", async (t) => {
  const piece = new Uint8Array(65536);
  let produced = 0;
  const before = Deno.memoryUsage().rss;
  const server = t.serve((request) => {
    if (!request.url.endsWith("/large")) return echoPath(request);
    return new Response(
      new ReadableStream({
        pull(controller): void {
          controller.enqueue(piece);
          produced += piece.length;
          if (produced >= 100 << 20) controller.close();
        },
      }),
    );
  }, { stallTimeout: 500 });
  const socket = t.using(
    new ResettableSocket(server.addr.port, { receiveBytes: 4096 }),
  );
  socket.send(latin1(get("/large")));
  await until(() => produced > 1 << 20, "the response");
  await othersAreServed(server);
  await until(() => server.statistics().stallTimeouts === 1, "the cut");
  assert(produced < 20 << 20, `${produced} bytes were made for nobody`);
  const grown = Deno.memoryUsage().rss - before;
  assert(grown < 64 << 20, `Grown by ${grown}`);
  await othersAreServed(server);
});

// What is sent over and over, and where it stops being looked at.
const ENDLESS: [what: string, start: string, piece: string, status: number][] =
  [
    ["CRLF", "", "\r\n", 400],
    ["CRLF after a request", get("/other"), "\r\n", 400],
    ["LF", "", "\n", 400],
    ["blanks", "", " ", 400],
    ["NUL", "", "\0", 400],
    ["method", "", "A", 400],
    ["target", "GET /", "a", 414],
    ["version", "GET / HTTP/", "1", 400],
    ["field name", LINE + HOST, "a", 431],
    ["field value", `${LINE}${HOST}X: `, "a", 431],
    ["blanks before a value", `${LINE}${HOST}X:`, " ", 431],
    ["fields", LINE + HOST, "X: y\r\n", 431],
    ["chunk size of zeros", CHUNKED, "0", 400],
    ["chunk extension", CHUNKED + "5;a=", "a", 400],
    ["quoted chunk extension", CHUNKED + '5;a="', "a", 400],
    ["chunk extensions", CHUNKED + "5", ";a=b", 400],
    ["chunks with extensions", CHUNKED, "1;a=b\r\nx\r\n", 400],
    ["trailer", CHUNKED + "0\r\nX: ", "a", 400],
    ["trailers", CHUNKED + "0\r\n", "X: y\r\n", 400],
    ["chunks", CHUNKED, "1\r\nx\r\n", 413],
  ];

for (const [what, start, piece, status] of ENDLESS) {
  testBackends(`endless ${what}: refused with ${status}`, async (t) => {
    const server = t.serve(echoPath, { maxBodyBytes: 20_000 });
    const client = t.using(await RawClient.connect(server));
    await client.write(start);
    if (start === get("/other")) await client.response();
    // More than any limit allows, at one blow.
    const rest = piece.repeat(Math.ceil(400_000 / piece.length));
    const sending = client.write(rest).catch(() => {});
    const response = await client.response();
    assertEquals(response.status, status, response.text);
    assertEquals(response.field("connection"), "close");
    await othersAreServed(server);
    await sending;
    assertEquals(server.statistics().refusals, { [response.text]: 1 });
  });
}

// A length, whether it is one, and whether it fits in 63 bits.
const LENGTHS: [name: string, value: bigint][] = [
  ["2^31", 2n ** 31n],
  ["2^32", 2n ** 32n],
  ["2^32 + 5", 2n ** 32n + 5n],
  ["2^53", 2n ** 53n],
  ["2^53 + 1", 2n ** 53n + 1n],
  ["2^63", 2n ** 63n],
  ["2^64 - 1", 2n ** 64n - 1n],
  ["2^64", 2n ** 64n],
  ["2^64 + 5", 2n ** 64n + 5n],
];

/** Sends five bytes of a body that says it is longer; returns what came of it. */
async function sendLong(
  t: Context,
  head: string,
  maxBodyBytes: number,
): Promise<number | "waits"> {
  let body = "";
  let outcome = "";
  const server = t.serve(async (request) => {
    if (request.method === "GET") return await echoPath(request);
    try {
      const decoder = new TextDecoder();
      for await (const piece of request.body!) body += decoder.decode(piece);
      outcome = "whole";
    } catch {
      outcome = "cut";
    }
    return new Response("read");
  }, { maxBodyBytes });
  const client = t.using(await RawClient.connect(server));
  await client.write(`${head}hello${get("/smuggled")}`);
  await othersAreServed(server);
  if (maxBodyBytes !== 0) return (await client.response()).status;
  const refusal = (): boolean =>
    Object.keys(server.statistics().refusals).length > 0;
  await until(() => body.includes("/smuggled") || refusal(), "the bytes");
  if (refusal()) return (await client.response()).status;
  assertEquals(body, `hello${get("/smuggled")}`);
  assertEquals(outcome, "");
  client.close();
  await until(() => outcome !== "", "the end");
  assertEquals(outcome, "cut");
  return "waits";
}

for (const [name, value] of LENGTHS) {
  testBackends(`Content-Length ${name} is no short one`, async (t) => {
    const head = `${POST}Content-Length: ${value}\r\n\r\n`;
    const exact = value < 2n ** 53n;
    assertEquals(await sendLong(t, head, 1000), exact ? 413 : 400);
    assertEquals(await sendLong(t, head, 0), exact ? "waits" : 400);
  });

  testBackends(`a chunk of ${name} bytes is no short one`, async (t) => {
    const head = `${CHUNKED}${value.toString(16)}\r\n`;
    const digits = value < 2n ** 64n;
    assertEquals(await sendLong(t, head, 1000), digits ? 413 : 400);
    const free = value < 2n ** 63n ? "waits" : digits ? 413 : 400;
    assertEquals(await sendLong(t, head, 0), free);
  });
}

/** Bytes that have no business in a head: controls, DEL and all above. */
const ODD_BYTES = Array.from({ length: 256 }, (_, byte) => byte)
  .filter((byte) => byte < 0x20 || byte >= 0x7f);

const TOKENS: Record<string, [before: string, token: string, after: string]> = {
  method: ["", "GET", ` / HTTP/1.1\r\n${HOST}\r\n`],
  target: ["GET ", "/path", ` HTTP/1.1\r\n${HOST}\r\n`],
  version: ["GET / ", "HTTP/1.1", `\r\n${HOST}\r\n`],
  "field name": [LINE + HOST, "X-Name", ": value\r\n\r\n"],
  "field value": [`${LINE}${HOST}X: `, "value", "\r\n\r\n"],
  Host: [`${LINE}Host: `, "test", "\r\n\r\n"],
  "Content-Length": [`${POST}Content-Length: `, "10", "\r\n\r\n0123456789"],
};

for (const [what, [before, token, after]] of Object.entries(TOKENS)) {
  testBackends(`odd bytes in ${what}`, async (t) => {
    let calls = 0;
    const server = t.serve((request) => {
      calls++;
      return echoPath(request);
    });
    for (const byte of ODD_BYTES) {
      for (const at of [0, token.length >> 1, token.length]) {
        const odd = token.slice(0, at) + String.fromCharCode(byte) +
          token.slice(at);
        using client = await RawClient.connect(server);
        const expected = isAllowed(what, byte, at, token) ? 200 : 400;
        const { status } = await client.request(before + odd + after);
        assertEquals(status, expected, `${byte} at ${at} of ${what}`);
        if (expected === 200) calls--;
      }
    }
    assertEquals(calls, 0);
    await othersAreServed(server);
  });
}

// A value may have bytes above 127 (obs-text), and tabs; around it tabs are blanks.
function isAllowed(
  what: string,
  byte: number,
  at: number,
  token: string,
): boolean {
  if (what === "field value") return byte === 9 || byte >= 0x80;
  const isValue = what === "Host" || what === "Content-Length";
  return isValue && byte === 9 && (at === 0 || at === token.length);
}
