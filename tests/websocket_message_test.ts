// SPDX-License-Identifier: Apache-2.0
// Tests of WebSocket messages: every size and shape, cut anywhere, byte for
// byte.

import { assert, assertEquals } from "@std/assert";
import {
  assertSameBytes,
  concat,
  latin1,
  pattern,
  testBackends,
} from "./testing.ts";
import {
  BINARY,
  CONTINUATION,
  ECHO,
  frame,
  PING,
  PONG,
  serveRoute,
  TEXT,
  WsClient,
} from "./ws_client.ts";

function sizes(): number[] {
  const all = new Set([0, 1, 2, 3, 124, 125, 126, 127, 128, 65534, 65535]);
  for (
    const prime of [7, 31, 97, 1009, 10007, 16381, 30011, 100_003, 700_001]
  ) {
    all.add(prime);
  }
  for (let power = 2; power <= 20; power++) {
    for (const more of [-1, 0, 1]) all.add(2 ** power + more);
  }
  // Around the blocks that C receives into.
  for (const more of [-272, -256, -16, -14, -10, -8, -4]) all.add(16384 + more);
  return [...all].sort((a, b) => a - b);
}

const MAX = { maxMessageBytes: 2 ** 20 + 1 };

testBackends("binary messages of every size come back", async (t) => {
  const server = serveRoute(t, ECHO, MAX);
  const client = t.using(await WsClient.open(server));
  for (const size of sizes()) {
    const payload = pattern(size);
    const [back] = await Promise.all([
      client.readBinary(),
      client.binary(payload),
    ]);
    assertSameBytes(back, payload, `binary of ${size}`);
  }
});

testBackends("text messages of every size come back", async (t) => {
  const server = serveRoute(t, ECHO, MAX);
  const client = t.using(await WsClient.open(server));
  const letters = ["a", "é", "€", "😀", "\ufeff"];
  for (const size of sizes()) {
    const letter = letters[size % letters.length]!;
    const bytes = new TextEncoder().encode(letter).length;
    const count = Math.floor(size / bytes);
    const payload = letter.repeat(count) + "x".repeat(size - count * bytes);
    const [back] = await Promise.all([
      client.readText(),
      client.text(payload),
    ]);
    assert(back === payload, `text of ${size}`);
  }
});

testBackends("many messages in one write come back in order", async (t) => {
  const server = serveRoute(t, ECHO);
  const client = t.using(await WsClient.open(server));
  const frames = Array.from(
    { length: 2000 },
    (_, i) =>
      frame({
        opcode: i % 2 === 0 ? TEXT : BINARY,
        payload: i % 2 === 0 ? `text ${i}` : pattern(i % 300, i),
      }),
  );
  const written = client.raw.write(concat(frames));
  for (let i = 0; i < 2000; i++) {
    if (i % 2 === 0) assertEquals(await client.readText(), `text ${i}`);
    else {
      assertSameBytes(await client.readBinary(), pattern(i % 300, i), `${i}`);
    }
  }
  await written;
});

testBackends("fragments become one message, pings between", async (t) => {
  const server = serveRoute(t, ECHO);
  const client = t.using(await WsClient.open(server));
  const euro = new TextEncoder().encode("€");
  await client.raw.write(concat([
    frame({ opcode: TEXT, payload: euro.subarray(0, 1), fin: false }),
    frame({ opcode: PING, payload: "between" }),
    frame({ opcode: CONTINUATION, payload: euro.subarray(1, 2), fin: false }),
    frame({ opcode: CONTINUATION, payload: "", fin: false }),
    frame({ opcode: PONG, payload: "nobody asked" }),
    frame({ opcode: CONTINUATION, payload: euro.subarray(2), fin: true }),
  ]));
  const pong = await client.frame();
  assertEquals([pong.opcode, new TextDecoder().decode(pong.payload)], [
    PONG,
    "between",
  ]);
  assertEquals(await client.readText(), "€");
  const parts = [pattern(70_000, 1), pattern(0), pattern(33, 2), pattern(1, 3)];
  for (const [i, payload] of parts.entries()) {
    await client.send({
      opcode: i === 0 ? BINARY : CONTINUATION,
      payload,
      fin: i === parts.length - 1,
    });
  }
  assertSameBytes(await client.readBinary(), concat(parts), "fragments");
});

testBackends("a binary message is only borrowed, .slice() keeps", async (t) => {
  const kept: Uint8Array[] = [];
  const server = serveRoute(t, {
    message(socket, message): void {
      if (typeof message !== "string") kept.push(message.slice());
      socket.send("ok");
    },
  });
  const client = t.using(await WsClient.open(server));
  for (let i = 0; i < 50; i++) {
    await client.binary(pattern(1000, i));
    await client.readText();
  }
  for (const [i, bytes] of kept.entries()) {
    assertSameBytes(bytes, pattern(1000, i), `message ${i}`);
  }
});

testBackends("send() copies: the bytes may change afterwards", async (t) => {
  const server = serveRoute(t, {
    message(socket): void {
      const bytes = new Uint8Array(100).fill(1);
      socket.send(bytes);
      bytes.fill(2);
      socket.send(bytes.buffer);
      bytes.fill(3);
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.readBinary())[0], 1);
  assertEquals((await client.readBinary())[99], 2);
});

testBackends("ping() and pong", async (t) => {
  const server = serveRoute(t, {
    message: (socket) => void socket.ping(latin1("from server")),
  });
  const client = t.using(await WsClient.open(server));
  for (const size of [0, 1, 124, 125]) {
    await client.send({ opcode: PING, payload: pattern(size) });
    const pong = await client.frame();
    assertEquals(pong.opcode, PONG);
    assertSameBytes(pong.payload, pattern(size), "pong");
  }
  await client.text("ping me");
  const ping = await client.frame();
  assertEquals(ping.opcode, PING);
  assertSameBytes(ping.payload, latin1("from server"), "ping");
  await client.send({ opcode: PONG, payload: ping.payload });
  await client.text("again");
  assertEquals((await client.frame()).opcode, PING);
});
