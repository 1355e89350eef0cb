// SPDX-License-Identifier: Apache-2.0
// Tests of what a client shares with the sockets of a server: callbacks, ways
// of reception and flow control, against our own server.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type ClientWebSocket,
  connectWebSocket,
  type Message,
  type ServerWebSocket,
} from "../mod.ts";
import { Client } from "./client_testing.ts";
import { RawServer } from "./raw_ws_server.ts";
import {
  assertSameBytes,
  pattern,
  sleep,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";
import { ECHO, serveRoute } from "./ws_client.ts";

testBackends("a client is given batches", async (t) => {
  const server = serveRoute(t, {
    message(socket, message): void {
      for (let i = 0; i < 100; i++) socket.send(`${message} ${i}`);
    },
  });
  const got: Message[] = [];
  let batches = 0;
  const socket = connectWebSocket(`ws://127.0.0.1:${server.addr.port}/`, {
    open: (socket) => void socket.send("a"),
    messages(_, batch): void {
      batches++;
      got.push(...batch);
    },
  }, { backend: t.backend });
  await until(() => got.length === 100, "all messages");
  assertEquals(got, Array.from({ length: 100 }, (_, i) => `a ${i}`));
  assert(batches < 100, "each message came alone");
  assertEquals(socket.statistics().receivedMessages, 100);
  assertEquals(socket.statistics().receivedBytes, got.join("").length);
  socket.close();
  await socket.finished;
});

testBackends("a client is given fragments", async (t) => {
  const server = serveRoute(t, ECHO, { maxMessageBytes: 8 << 20 });
  const bytes = pattern(3_000_000);
  const got = new Uint8Array(bytes.length);
  let length = 0;
  let pieces = 0;
  let whole = false;
  const socket = connectWebSocket(`ws://127.0.0.1:${server.addr.port}/`, {
    open: (socket) => void socket.send(bytes),
    fragment(_, chunk, fin): void {
      got.set(chunk as Uint8Array, length);
      length += chunk.length;
      pieces++;
      whole = fin;
    },
  }, { backend: t.backend, maxMessageBytes: 8 << 20 });
  await until(() => whole, "the end of the message");
  assertSameBytes(got.subarray(0, length), bytes, "the message");
  assert(pieces > 10);
  socket.close();
  await socket.finished;
});

testBackends("a client holds the server up, and goes on", async (t) => {
  const sockets: ServerWebSocket<undefined>[] = [];
  const server = serveRoute(t, { open: (socket) => void sockets.push(socket) });
  const client = new Client(t, `ws://127.0.0.1:${server.addr.port}/`);
  await client.socket.opened;
  client.socket.pause();
  const piece = pattern(1 << 16);
  let count = 0;
  while (sockets[0]!.send(piece) === "sent") {
    count++;
    await turn();
  }
  assertEquals(client.messages.length, 0);
  client.socket.resume();
  await until(() => client.messages.length === count + 1, "all messages");
  for (const message of client.messages) {
    assertSameBytes(message as Uint8Array, piece, "message");
  }
});

testBackends("an ordered client waits for its handlers", async (t) => {
  const server = serveRoute(t, {
    open(socket): void {
      for (let i = 0; i < 5; i++) socket.send(`${i}`);
    },
  });
  const told: string[] = [];
  const socket = connectWebSocket(`ws://127.0.0.1:${server.addr.port}/`, {
    async open(): Promise<void> {
      told.push("open");
      await sleep(5);
      told.push("opened");
    },
    async message(_, message): Promise<void> {
      told.push(`< ${message}`);
      await turn();
      told.push(`${message} >`);
    },
  }, { backend: t.backend, ordered: true });
  await until(() => told.length === 12, "all messages");
  assertEquals(told, [
    "open",
    "opened",
    ...["0", "1", "2", "3", "4"].flatMap((i) => [`< ${i}`, `${i} >`]),
  ]);
  socket.close();
  await socket.finished;
});

testBackends("a client overwrites bytes in debug mode", async (t) => {
  const server = serveRoute(t, ECHO);
  const kept: Uint8Array[] = [];
  const socket = connectWebSocket(`ws://127.0.0.1:${server.addr.port}/`, {
    open: (socket) => void socket.send(pattern(10)),
    message: (_, message) => void kept.push(message as Uint8Array),
  }, { backend: t.backend, debug: true });
  await until(() => kept.length === 1, "a message");
  assertEquals(kept[0], new Uint8Array(10).fill(0xdb));
  socket.close();
  await socket.finished;
});

testBackends(
  "a client gives old messages up where it is told to",
  async (t) => {
    const server = t.using(new RawServer());
    const dropped: Message[] = [];
    const client = new Client(t, server.url, {
      highWatermark: 1 << 16,
      maxQueueBytes: 1 << 17,
      slowConsumer: "drop-oldest",
    }, {
      dropped: (_, message) => void dropped.push(message as Message),
    });
    const peer = await server.open();
    await client.socket.opened;
    // The socket's buffers fill first, then the queue, then what waits.
    for (let i = 0; dropped.length < 3; i++) {
      assert(client.socket.send(`${i} `.padEnd(10_000, ".")) !== "dropped");
      if (i % 50 === 0) await turn();
    }
    const numbers: number[] = [];
    const last = client.socket.statistics();
    client.socket.close();
    const total = last.sentMessages;
    for (;;) {
      const { opcode, payload } = await peer.frame();
      if (opcode === 8) break;
      numbers.push(Number.parseInt(new TextDecoder().decode(payload)));
    }
    assert(numbers.length >= total, "accepted messages are missing");
    assertEquals(numbers, [...numbers].sort((a, b) => a - b));
    for (const message of dropped) {
      assert(!numbers.includes(Number.parseInt(message as string)));
    }
  },
);

testBackends("what callbacks throw closes their client alone", async (t) => {
  const server = serveRoute(t, ECHO);
  const url = `ws://127.0.0.1:${server.addr.port}/`;
  const good = new Client(t, url);
  await good.socket.opened;
  const closes: number[] = [];
  const bad = connectWebSocket(url, {
    open(): void {
      throw new Error("in open");
    },
    close: (_, code) => void closes.push(code),
  }, { backend: t.backend });
  const logged = await withoutErrors(() => bad.finished);
  assertEquals(String(logged[0]![1]), "Error: in open");
  assertEquals(closes, [1011]);
  good.socket.send("still here");
  assertEquals(await good.message(), "still here");
});

testBackends("a client keeps its data, and has an id of its own", async (t) => {
  const server = serveRoute(t, ECHO);
  const url = `ws://127.0.0.1:${server.addr.port}/`;
  const seen: string[] = [];
  const open = (name: string): ClientWebSocket<{ name: string }> =>
    connectWebSocket(url, {
      open: (socket) => void seen.push(socket.data.name),
    }, { data: { name }, backend: t.backend });
  const sockets = [open("a"), open("b")];
  await Promise.all(sockets.map((socket) => socket.opened));
  assertEquals(seen.sort(), ["a", "b"]);
  assert(sockets[0]!.id !== sockets[1]!.id);
  assertThrows(() => sockets[0]!.close(1005), RangeError);
  assertThrows(() => sockets[0]!.close(1000, "x".repeat(124)), SyntaxError);
  assertEquals(sockets[0]!.readyState, 1);
  for (const socket of sockets) socket.close();
  await Promise.all(sockets.map((socket) => socket.finished));
});

testBackends(
  "a client whose server shuts down is told with 1001",
  async (t) => {
    const server = serveRoute(t, ECHO);
    const client = new Client(t, `ws://127.0.0.1:${server.addr.port}/`);
    await client.socket.opened;
    const down = server.shutdown();
    assertEquals(await client.end(), {
      code: 1001,
      reason: "Server shutting down",
    });
    assertEquals((await down).forced, 0);
  },
);

testBackends("clients come and go, and the loop with them", async (t) => {
  const server = serveRoute(t, ECHO);
  const url = `ws://127.0.0.1:${server.addr.port}/`;
  const descriptors = (): number =>
    [...Deno.readDirSync("/proc/self/fd")].length;
  const once = async (): Promise<void> => {
    const client = new Client(t, url);
    await client.socket.opened;
    client.socket.send("x");
    await client.message();
    client.socket.close();
    await client.socket.finished;
  };
  await once();
  await until(() => server.statistics().connections === 0, "the end");
  const before = descriptors();
  for (let i = 0; i < 30; i++) await once();
  await until(() => server.statistics().connections === 0, "the ends");
  await until(() => descriptors() <= before, "descriptors");
});
