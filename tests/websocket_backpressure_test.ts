// SPDX-License-Identifier: Apache-2.0
// Tests of what waits for a peer that does not read: statuses of send(), drain,
// and limits.

import { assert, assertEquals } from "@std/assert";
import type { SendStatus, ServerWebSocket } from "../mod.ts";
import { concat, pattern, testBackends, turn, until } from "./testing.ts";
import { frame, PING, serveRoute, WsClient } from "./ws_client.ts";

const LIMIT = 1000;
const PIECE = new Uint8Array(64 * 1024);
const HIGH = 256 * 1024;
const CAP = 1024 * 1024;

testBackends("send() goes from sent over queued to dropped", async (t) => {
  const statuses: SendStatus[] = [];
  const amounts: number[] = [];
  let drains = 0;
  let socket!: ServerWebSocket<undefined>;
  const server = serveRoute(t, {
    open: (opened) => void (socket = opened),
    drain: () => void drains++,
  }, { highWatermark: HIGH, maxQueueBytes: CAP });
  const client = t.using(await WsClient.open(server));
  let accepted = 0;
  // Turns in between let the kernel take what its own buffers hold.
  for (let i = 0; i < 5000; i++) {
    const status = socket.send(PIECE);
    statuses.push(status);
    amounts.push(socket.bufferedAmount);
    if (status === "dropped") break;
    accepted++;
    if (i % 8 === 0) await turn();
  }
  assertEquals(statuses[0], "sent");
  assert(statuses.includes("queued"));
  assertEquals(statuses.at(-1), "dropped");
  assert(Math.max(...amounts) <= CAP, `${Math.max(...amounts)}`);
  assert(socket.bufferedAmount > HIGH);
  const before = drains;
  for (let i = 0; i < accepted; i++) {
    assertEquals((await client.readBinary()).length, PIECE.length);
  }
  await until(() => drains > before, "drain");
  assertEquals(drains, before + 1);
  await until(() => socket.bufferedAmount === 0, "an empty queue");
  assertEquals(socket.send("again"), "sent");
  assertEquals(await client.readText(), "again");
});

testBackends("drain comes at the low watermark of the route", async (t) => {
  const MIB = 1024 * 1024;
  const WATERMARKS: [ofRoute: number, ofServer: number][] = [
    [8 * MIB, 0],
    [0, MIB],
  ];
  for (const [lowWatermark, ofServer] of WATERMARKS) {
    const amounts: number[] = [];
    let sent = 0;
    const server = serveRoute(
      t,
      {
        open(socket): void {
          while (socket.bufferedAmount < 15 * MIB) {
            socket.send(PIECE);
            sent++;
          }
        },
        drain: (socket) => void amounts.push(socket.bufferedAmount),
      },
      { highWatermark: 10 * MIB, lowWatermark },
      { lowWatermark: ofServer },
    );
    const client = t.using(await WsClient.open(server));
    for (let left = sent; left > 0 && amounts.length === 0; left--) {
      await client.readBinary();
      await turn();
    }
    await until(() => amounts.length > 0, "drain");
    const [amount] = amounts;
    assert(amount! <= lowWatermark, `${amount}`);
    // No socket takes as much at once.
    assertEquals(amount! > 0, lowWatermark > 0, `${amount}`);
  }
});

testBackends("drain is not called without queued", async (t) => {
  let drains = 0;
  const server = serveRoute(t, {
    message: (socket, message) => void socket.send(message),
    drain: () => void drains++,
  });
  const client = t.using(await WsClient.open(server));
  for (let i = 0; i < 100; i++) {
    await client.text("x");
    await client.readText();
  }
  assertEquals(drains, 0);
});

testBackends("sending on drain delivers everything in order", async (t) => {
  const total = 400;
  const next = new Map<ServerWebSocket<undefined>, number>();
  const pump = (socket: ServerWebSocket<undefined>): void => {
    let number = next.get(socket) ?? 0;
    while (number < total) {
      const status = socket.send(pattern(20_000, number));
      assert(status !== "dropped");
      number++;
      if (status === "queued") break;
    }
    next.set(socket, number);
  };
  const server = serveRoute(t, { open: pump, drain: pump }, {
    highWatermark: HIGH,
    maxQueueBytes: CAP,
  });
  const clients = await Promise.all([
    WsClient.open(server),
    WsClient.open(server),
  ]);
  for (const client of clients) t.using(client);
  for (let number = 0; number < total; number++) {
    for (const client of clients) {
      const [got] = [await client.readBinary()];
      assertEquals(got[got.length - 1], pattern(20_000, number).at(-1));
    }
  }
});

testBackends("pings to one who does not read cost no memory", async (t) => {
  let socket!: ServerWebSocket<undefined>;
  const server = serveRoute(t, { open: (opened) => void (socket = opened) }, {
    highWatermark: HIGH,
    maxQueueBytes: CAP,
  });
  const client = t.using(await WsClient.open(server));
  while (socket.send(PIECE) !== "dropped") await turn();
  const before = socket.bufferedAmount;
  const ping = frame({ opcode: PING, payload: pattern(125) });
  await client.raw.write(concat(new Array(5000).fill(ping)));
  const { receivedBytes } = server.statistics();
  await until(
    () => server.statistics().receivedBytes >= receivedBytes,
    "the pings",
  );
  assert(socket.bufferedAmount <= before + 5000);
});

testBackends("a message of one byte beyond the limit is refused", async (t) => {
  const server = serveRoute(t, {
    message: (socket, message) => void socket.send(message),
  }, { maxMessageBytes: LIMIT });
  const client = t.using(await WsClient.open(server));
  await client.binary(pattern(LIMIT));
  assertEquals((await client.readBinary()).length, LIMIT);
  await client.binary(pattern(LIMIT + 1));
  assertEquals((await client.readClose()).code, 1009);
});
