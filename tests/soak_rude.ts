// SPDX-License-Identifier: Apache-2.0
// soak_rude.ts - clients of a soak that leave in every state, and those that talk nonsense.

import { assert } from "@std/assert";
import { ResettableSocket } from "./libc.ts";
import { get, post, RawClient } from "./raw_client.ts";
import type { Load, Visit } from "./soak_load.ts";
import { latin1, pattern, sleep } from "./testing.ts";
import { frame, handshake, TEXT } from "./ws_client.ts";

/** What a client has sent when it leaves: something for each state that the server may be in. */
const BEGINNINGS: readonly string[] = [
  "",
  "GE",
  "GET /plain HTTP/1.1\r\nHost: te",
  get("/plain"),
  get("/plain") + get("/late?ms=20") + get("/plain") + "GET /pl",
  get("/late?ms=20"),
  get("/never"),
  get("/plain") + get("/never") + get("/plain"),
  get("/endless"),
  get("/stream?bytes=500000&size=5000"),
  get("/fixed?bytes=500000").repeat(6),
  get("/break?bytes=30000"),
  get("/events?count=1000&ms=5"),
  "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nsome",
  "POST /pipe HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" +
  "400\r\nsome",
  "POST /first HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nsome",
  "POST /ignore HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nsome",
  "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n" +
  "Expect: 100-continue\r\n\r\n",
  post("/pipe", "x".repeat(100_000)),
  handshake("/ws"),
  handshake("/ws") + text(frame({ opcode: TEXT, payload: "x".repeat(9999) })),
  handshake("/ws") + text(frame({ opcode: TEXT, payload: "half" })).slice(0, 5),
];

// Who asks for it behind a FIN and reads on gets all of it.
const FINITE = BEGINNINGS.filter((text) => !text.includes("/endless"));

function text(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** RST, whatever is on its way. */
async function reset({ addr, random }: Visit): Promise<void> {
  using client = new ResettableSocket(addr.port);
  client.send(latin1(random.pick(BEGINNINGS)));
  await sleep(random.size(50));
  client.reset();
}

/** FIN from a client that reads nothing of what there is. */
async function leave(visit: Visit): Promise<void> {
  const { random } = visit;
  using client = await RawClient.connect(visit);
  await client.write(random.pick(BEGINNINGS));
  await sleep(random.size(50));
}

/** FIN from a client that still reads: it must get an end. */
async function halfClose(visit: Visit): Promise<void> {
  const { random } = visit;
  using client = await RawClient.connect(visit);
  const beginning = random.pick(FINITE);
  await client.write(beginning);
  await sleep(random.size(20));
  await client.closeWrite();
  const { text } = await endingAfter(client, beginning);
  assert(
    text === "" || text.startsWith("HTTP/1.1 "),
    `${beginning.slice(0, 99)} gave ${text.slice(0, 99)}`,
  );
}

/** Requests that mutations make bad ones of. None of their targets may wait for an abort. */
const SEEDS: readonly string[] = [
  get("/plain"),
  get("/plain", "Connection: close\r\nAccept: */*\r\nCookie: a=b; c=d\r\n"),
  post("/echo", "hello, world"),
  "POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" +
  "5\r\nhello\r\n7;a=b\r\n, world\r\n0\r\nX-Sum: 1\r\n\r\n",
  "GET http://[::1]:80/plain?x=%41 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
  "OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n",
  handshake("/ws") + text(frame({ opcode: TEXT, payload: "hello" })),
];

const PIECES: readonly string[] = [
  "\r\n",
  "\n",
  "\r",
  "\0",
  " ",
  "\t",
  ":",
  ";",
  "\x7f",
  "\xff",
  "-1",
  "4294967296",
  "18446744073709551616",
  "Content-Length: 5\r\n",
  "Transfer-Encoding: gzip, chunked\r\n",
  "Host: other\r\n",
  " HTTP/2.0",
  "A".repeat(20_000),
];

function mutate(text: string, { random }: Visit): string {
  const at = random.from(0, text.length);
  const to = Math.min(text.length, at + random.size(20));
  switch (random.from(0, 4)) {
    case 0: // another byte
      return text.slice(0, at) + String.fromCharCode(random.from(0, 255)) +
        text.slice(at + 1);
    case 1: // something put in
      return text.slice(0, at) + random.pick(PIECES) + text.slice(at);
    case 2: // something left out
      return text.slice(0, at) + text.slice(to);
    case 3: // something twice
      return text.slice(0, to) + text.slice(at);
    default: // the end left out
      return text.slice(0, at);
  }
}

/** Nonsense is answered or the connection closed, at the latest when a timeout has passed. */
async function malformed(visit: Visit): Promise<void> {
  const { random } = visit;
  let text = random.pick(SEEDS);
  for (let count = random.from(1, 3); count > 0; count--) {
    text = mutate(text, visit);
  }
  if (random.fraction() < 0.05) text = String.fromCharCode(...pattern(500));
  using client = await RawClient.connect(visit);
  try {
    const cut = random.from(0, text.length);
    await client.write(text.slice(0, cut));
    await sleep(random.size(5));
    await client.write(text.slice(cut));
    // One in ten leaves the end to the server.
    if (random.fraction() < 0.9) await client.closeWrite();
  } catch (error) {
    // The server may have refused the first half, and waited long enough.
    if (!isGone(error)) throw error;
  }
  const { text: answer } = await endingAfter(client, text);
  assert(
    answer === "" || answer.startsWith("HTTP/1.1 "),
    `${Deno.inspect(text)} gave ${Deno.inspect(answer.slice(0, 99))}`,
  );
}

/** Everything up to the end; says after what there was none. */
async function endingAfter(
  client: RawClient,
  sent: string,
): Promise<{ text: string }> {
  try {
    return await client.ending();
  } catch (error) {
    throw new Error(`${error} after ${Deno.inspect(sent.slice(0, 300))}`);
  }
}

/** Whether a write failed because the server has closed. */
export function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.NotConnected;
}

/** Loads that the server has to survive. */
export const RUDE_LOADS: readonly Load[] = [
  { name: "reset", workers: 3, pauseMs: 30, visit: reset },
  { name: "leave", workers: 3, pauseMs: 30, visit: leave },
  { name: "half-close", workers: 3, pauseMs: 30, visit: halfClose },
  { name: "malformed", workers: 3, pauseMs: 20, visit: malformed },
];
