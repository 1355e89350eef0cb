// SPDX-License-Identifier: Apache-2.0
// pressure_test.ts - a server whose memory is taken by peers that do not read: others are served all the same, and
// everything comes back when they are gone.

import { assert, assertEquals } from "@std/assert";
import { get, RawClient } from "./raw_client.ts";
import { testBackends } from "./testing.ts";

const GREEDY = 24;
const ANSWER = new Uint8Array(1 << 20);

testBackends("peers that do not read take no one else's memory", async (t) => {
  const server = t.serve(
    (request) =>
      new Response(request.url.endsWith("/small") ? "small" : ANSWER),
    {
      bufferBytes: 8 << 20,
      highWatermark: 1 << 20,
    },
  );
  const greedy: RawClient[] = [];
  for (let count = 0; count < GREEDY; count++) {
    const client = t.using(await RawClient.connect(server));
    // Far more than the socket takes, in one turn.
    await client.write(get("/large").repeat(12));
    greedy.push(client);
    const other = t.using(await RawClient.connect(server));
    assertEquals((await other.request(get("/small"))).text, "small");
    other.close();
  }
  const { starved, exhausted } = server.statistics();
  assert(starved + exhausted > 0, "There was no pressure");
  for (const client of greedy) client.close();
  const last = t.using(await RawClient.connect(server));
  const { body } = await last.request(get("/large"));
  assertEquals(body.length, ANSWER.length);
  last.close();
  const report = await server.shutdown({ timeout: 5000 });
  assertEquals(report.forced, 0, "Connections that are gone are still held");
});

testBackends("pipelined answers wait for their reader", async (t) => {
  let answered = 0;
  const server = t.serve(() => {
    answered++;
    return new Response(ANSWER);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/").repeat(60));
  const other = t.using(await RawClient.connect(server));
  assertEquals((await other.request(get("/"))).body.length, ANSWER.length);
  // What the sockets hold and one watermark more; the last one was the other client's.
  assert(answered < 40, `${answered} answers were made at once`);
  for (let count = 0; count < 60; count++) {
    assertEquals((await client.response()).body.length, ANSWER.length);
  }
  assertEquals(answered, 61);
});
