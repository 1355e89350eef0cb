// SPDX-License-Identifier: Apache-2.0
// soak_slow.ts - clients of a soak that are slow: those that get on are served, the others are cut by a timeout.

import { assert, assertEquals } from "@std/assert";
import { get, post, RawClient } from "./raw_client.ts";
import { bytesFor, FIXED_BYTES, type Load, type Visit } from "./soak_load.ts";
import { isGone } from "./soak_rude.ts";
import { assertSameBytes, sleep } from "./testing.ts";

/** A request in crumbs is a request. */
async function inCrumbs(visit: Visit): Promise<void> {
  const { random } = visit;
  using client = await RawClient.connect(visit);
  (client.conn as Deno.TcpConn).setNoDelay(true);
  const body = "x".repeat(random.from(1, 50));
  const request = post("/echo", body);
  // So many that they make up no timeout, however busy the machine is.
  const length = Math.ceil(request.length / random.from(2, 20));
  for (let at = 0; at < request.length; at += length) {
    await client.write(request.slice(at, at + length));
    await sleep(1);
  }
  assertEquals((await client.response()).text, body);
  visit.answered();
}

/** A client that takes its time to read, and reads on. */
async function slowReader(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  const target = visit.random.pick([
    `/fixed?bytes=${FIXED_BYTES}`,
    `/stream?bytes=${FIXED_BYTES}&size=9999`,
  ]);
  // Behind a large answer that is not read yet, this one has to wait.
  await client.write(get(target) + get("/plain"));
  await sleep(visit.random.from(0, 300));
  const { body } = await client.response();
  assertSameBytes(body, bytesFor(FIXED_BYTES), target);
  await sleep(visit.random.from(0, 300));
  assertEquals((await client.response()).text, "plain");
  visit.answered();
}

/** A head that never ends gets 408, however many bytes still come. */
async function slowloris(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  await client.write("GET /plain HTTP/1.1\r\nHost: test\r\n");
  const answer = client.ending();
  await trickle(client, "X", answer);
  expectTimeout(await answer);
}

/** A body that never comes gets 408, or breaks the answer that passes it on. */
async function noBody(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  const target = visit.random.pick(["/echo", "/pipe", "/first"]);
  await client.write(
    `POST ${target} HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n`,
  );
  const ending = await client.ending();
  if (target !== "/pipe") return expectTimeout(ending);
  assert(ending.text.startsWith("HTTP/1.1 200 "), ending.text);
  assert(!ending.text.endsWith("\r\n0\r\n\r\n"), "A cut body looks whole");
}

/** A connection that says nothing is closed without a word. */
async function silent(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  assertEquals(await client.rest(), "");
}

/** A connection that has nothing more to say is closed as well. */
async function idle(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  assertEquals((await client.request(get("/plain"))).text, "plain");
  assertEquals(await client.rest(), "");
}

/** A client that asks for much and reads nothing is cut off. */
async function neverReads(visit: Visit): Promise<void> {
  using client = await RawClient.connect(visit);
  await client.write(get("/endless"));
  await sleep(1.75 * visit.patience);
  const { reset } = await client.ending();
  assert(reset, "A client that reads nothing was not cut off");
}

async function trickle(
  client: RawClient,
  byte: string,
  until: Promise<unknown>,
): Promise<void> {
  let over = false;
  until.then(() => over = true, () => over = true);
  while (!over) {
    try {
      await client.write(byte);
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    await sleep(100);
  }
}

// What is sent after the end may reset the connection before the answer was read.
function expectTimeout(ending: { text: string; reset: boolean }): void {
  const { text, reset } = ending;
  assert(
    text.startsWith("HTTP/1.1 408 ") || reset && text === "",
    `Not the answer to a timeout: ${Deno.inspect(text.slice(0, 99))}`,
  );
}

/** Loads that take the server's time. */
export const SLOW_LOADS: readonly Load[] = [
  { name: "in crumbs", workers: 2, pauseMs: 50, visit: inCrumbs },
  { name: "slow reader", workers: 3, pauseMs: 100, visit: slowReader },
  { name: "slowloris", workers: 3, pauseMs: 200, visit: slowloris },
  { name: "no body", workers: 2, pauseMs: 200, visit: noBody },
  { name: "silent", workers: 2, pauseMs: 200, visit: silent },
  { name: "idle", workers: 2, pauseMs: 200, visit: idle },
  { name: "never reads", workers: 3, pauseMs: 200, visit: neverReads },
];
