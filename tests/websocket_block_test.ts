// SPDX-License-Identifier: Apache-2.0
// Tests of the buffers behind binary messages: they show no bytes of another
// connection, and may be transferred away.

import { assert, assertEquals } from "@std/assert";
import { websocket } from "../mod.ts";
import { RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  deadline,
  fromLatin1,
  latin1,
  pattern,
  type TcpServer,
  testBackends,
  turn,
} from "./testing.ts";
import { BINARY, CONTINUATION, frame, TEXT, WsClient } from "./ws_client.ts";

const TRANSFERS = 10_000;

function transferred(message: Uint8Array<ArrayBuffer>): ArrayBuffer {
  return structuredClone(message.buffer, { transfer: [message.buffer] });
}

interface Taker {
  server: TcpServer;
  /** What was taken away, and what it held then. */
  taken: { buffer: ArrayBuffer; then: ArrayBuffer }[];
}

/** An echo that transfers the buffer of every message away. */
function taker(t: Context, keep: number): Taker {
  const taken: Taker["taken"] = [];
  const route = websocket({
    message(socket, message): void {
      if (typeof message === "string") return void socket.send(message);
      const copy = message.slice();
      const buffer = transferred(message);
      if (taken.length < keep) taken.push({ buffer, then: buffer.slice() });
      socket.send(copy);
    },
  });
  return { server: t.serve((request) => route.upgrade(request)), taken };
}

testBackends("a transferred buffer harms nobody", async (t) => {
  const { server, taken } = taker(t, Infinity);
  const clients = await Promise.all(
    Array.from({ length: 8 }, () => WsClient.open(server)),
  );
  for (const client of clients) t.using(client);
  for (let round = 0; round < 20; round++) {
    for (const [i, client] of clients.entries()) {
      const payload = pattern(100 + round, i * 100 + round);
      await client.raw.write(concat([
        frame({ opcode: BINARY, payload }),
        frame({ opcode: TEXT, payload: `text ${i}` }),
        frame({ opcode: BINARY, payload }),
      ]));
    }
    for (const [i, client] of clients.entries()) {
      const payload = pattern(100 + round, i * 100 + round);
      assertSameBytes(await client.readBinary(), payload, "first");
      assertEquals(await client.readText(), `text ${i}`);
      assertSameBytes(await client.readBinary(), payload, "second");
    }
  }
  assert(server.statistics().blocksLost > 0);
  // What was taken is one connection's block, into which nobody writes again.
  for (const { buffer, then } of taken) {
    assertSameBytes(
      new Uint8Array(buffer),
      new Uint8Array(then),
      "a block taken away",
    );
  }
  for (const { buffer } of taken) new Uint8Array(buffer).fill(0xee);
  await clients[0]!.text("alive");
  assertEquals(await clients[0]!.readText(), "alive");
});

testBackends("empty messages in pieces may be transferred away", async (t) => {
  const { server } = taker(t, 0);
  for (let round = 0; round < 2; round++) {
    const client = t.using(await WsClient.open(server));
    for (const payload of ["", "ab"]) {
      await client.send({ opcode: BINARY, payload, fin: false });
      await client.send({ opcode: CONTINUATION, payload });
      assertEquals(fromLatin1(await client.readBinary()), payload + payload);
    }
  }
});

testBackends("10,000 transferred buffers are survived", async (t) => {
  const { server, taken } = taker(t, 100);
  const clients = await Promise.all(
    Array.from({ length: 4 }, () => WsClient.open(server)),
  );
  for (const client of clients) t.using(client);
  const batch = 50;
  const rounds = TRANSFERS / batch / clients.length;
  for (let round = 0; round < rounds; round++) {
    const payloads = clients.map((_, i) => pattern(64 + round, i + 1));
    await Promise.all(clients.map((client, i) =>
      client.raw.write(
        concat(
          new Array(batch).fill(
            frame({ opcode: BINARY, payload: payloads[i]! }),
          ),
        ),
      )
    ));
    for (const [i, client] of clients.entries()) {
      for (let n = 0; n < batch; n++) {
        assertSameBytes(await client.readBinary(), payloads[i]!, "an echo");
      }
    }
  }
  const statistics = server.statistics();
  assertEquals(statistics.blocksLost, 16);
  assertEquals(statistics.exhausted, 0);
  assertEquals(taken.length, 100);
  for (const { buffer, then } of taken) {
    assertSameBytes(
      new Uint8Array(buffer),
      new Uint8Array(then),
      "a block taken away",
    );
  }
  // It still serves, old connections and new ones.
  const late = t.using(await WsClient.open(server));
  for (const client of [...clients, late]) {
    await client.binary(pattern(5000));
    assertSameBytes(await client.readBinary(), pattern(5000), "the last echo");
  }
});

testBackends("a transferred buffer outlives its server", async (t) => {
  const { server, taken } = taker(t, Infinity);
  const client = t.using(await WsClient.open(server));
  for (let i = 0; i < 3; i++) {
    await client.binary(pattern(2000, i + 1));
    await client.readBinary();
  }
  client.close();
  await server.shutdown({ timeout: 1 });
  const next = taker(t, 0);
  const clients = await Promise.all(
    Array.from({ length: 50 }, () => WsClient.open(next.server)),
  );
  for (const other of clients) t.using(other);
  for (const other of clients) await other.text("S".repeat(4000));
  for (const other of clients) await other.readText();
  for (const { buffer, then } of taken) {
    assertSameBytes(
      new Uint8Array(buffer),
      new Uint8Array(then),
      "a block taken away",
    );
  }
});

// --- what a block shows

/** Text in which every few bytes name their connection. */
function tagged(tag: string, length: number): string {
  return `<${tag}>`.repeat(Math.ceil(length / (tag.length + 2)))
    .slice(0, length);
}

/** Tags in a text, whole ones. */
function tagsIn(bytes: Uint8Array): Set<string> {
  return new Set(
    Array.from(fromLatin1(bytes).matchAll(/<(\w+)>/g), (found) => found[1]!),
  );
}

interface Watch {
  server: TcpServer;
  strangers: string[];
  messages: number;
}

function watcher(t: Context): Watch {
  const route = websocket<string>({
    message(socket, message): void {
      if (typeof message === "string") return void socket.send(message);
      watch.messages++;
      for (const tag of tagsIn(new Uint8Array(message.buffer))) {
        if (tag !== socket.data) {
          watch.strangers.push(`${socket.data} saw ${tag}`);
        }
      }
      socket.send(message);
    },
  });
  const server = t.serve(async (request) => {
    const tag = new URL(request.url).pathname.slice(1);
    if (tag.startsWith("ws")) return route.upgrade(request, { data: tag });
    await request.text();
    return new Response(tagged(tag, 300_000), {
      headers: { "x-tag": tagged(tag, 1000) },
    });
  });
  const watch: Watch = { server, strangers: [], messages: 0 };
  return watch;
}

function tagHead(tag: string, length: number): string {
  return `POST /${tag} HTTP/1.1\r\nHost: t\r\nX-Tag: ${tagged(tag, 3000)}\r\n` +
    `Content-Length: ${length}\r\n\r\n${tagged(tag, length)}`;
}

async function httpRounds(server: TcpServer, tag: string): Promise<void> {
  using client = await RawClient.connect(server);
  for (let round = 0; round < 20; round++) {
    const [response] = await Promise.all([
      client.response(),
      client.write(tagHead(tag, round * 700)),
    ]);
    assertEquals(response.status, 200);
  }
}

const SIZES = [1, 3, 100, 300, 2000, 9000, 15_000, 16_000, 20_000];

async function wsRounds(server: TcpServer, tag: string): Promise<void> {
  using client = await WsClient.open(server, { target: `/${tag}` });
  for (let round = 0; round < 60; round++) {
    const payload = latin1(tagged(tag, SIZES[round % SIZES.length]!));
    const bytes = frame({
      opcode: BINARY,
      payload,
      // A mask that changes nothing: bytes show their tag before C unmasks them.
      mask: new Uint8Array(4),
    });
    const cut = round % 7 === 0 ? bytes.length >> 1 : bytes.length;
    await client.raw.write(bytes.subarray(0, cut));
    if (cut < bytes.length) await turn();
    await client.raw.write(bytes.subarray(cut));
    assertSameBytes(await client.readBinary(), payload, tag);
  }
}

testBackends("message.buffer shows no other connection", async (t) => {
  const watch = watcher(t);
  for (let wave = 0; wave < 4; wave++) {
    await deadline(
      Promise.all(
        Array.from(
          { length: 12 },
          (_, i) =>
            i % 2 === 0
              ? httpRounds(watch.server, `http${wave}x${i}`)
              : wsRounds(watch.server, `ws${wave}x${i}`),
        ),
      ),
      "a wave",
    );
  }
  assert(watch.messages > 500, `${watch.messages} messages`);
  assertEquals(watch.strangers.slice(0, 5), []);
});

// Such a frame came in while the connection still spoke HTTP.
for (const length of [50, 2000]) {
  testBackends(
    `message.buffer shows no other behind a handshake, ${length} bytes`,
    async (t) => {
      const watch = watcher(t);
      for (let round = 0; round < 40; round++) {
        await Promise.all(
          Array.from(
            { length: 8 },
            (_, i) => httpOnce(watch.server, `http${round}x${i}`),
          ),
        );
        const tag = `ws${round}`;
        const payload = latin1(tagged(tag, length));
        // With the handshake, in one write.
        using client = await WsClient.open(watch.server, {
          target: `/${tag}`,
          first: frame({ opcode: BINARY, payload }),
        });
        assertSameBytes(await client.readBinary(), payload, tag);
      }
      assertEquals(watch.messages, 40);
      assertEquals(watch.strangers.slice(0, 5), []);
    },
  );
}

async function httpOnce(server: TcpServer, tag: string): Promise<void> {
  using client = await RawClient.connect(server);
  const [response] = await Promise.all([
    client.response(),
    client.write(tagHead(tag, 8000)),
  ]);
  assertEquals(response.status, 200);
}

testBackends("message.buffer shows no unsent output of others", async (t) => {
  const watch = watcher(t);
  for (let round = 0; round < 2; round++) {
    const slow = await Promise.all(
      Array.from({ length: 4 }, () => RawClient.connect(watch.server)),
    );
    for (const [i, client] of slow.entries()) {
      t.using(client);
      for (let n = 0; n < 20; n++) {
        await client.write(tagHead(`out${round}x${i}`, 0));
      }
    }
    await wsRounds(watch.server, `ws${round}a`);
    for (const client of slow) client.close();
    await wsRounds(watch.server, `ws${round}b`);
  }
  assertEquals(watch.strangers.slice(0, 5), []);
});

testBackends("a copy is all that a handler gets after many", async (t) => {
  const sizes: number[] = [];
  const route = websocket({
    message(socket, message): void {
      const bytes = message as Uint8Array<ArrayBuffer>;
      sizes.push(bytes.buffer.byteLength);
      transferred(bytes);
      socket.send("ok");
    },
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await WsClient.open(server));
  for (let i = 0; i < 40; i++) {
    await client.binary(pattern(10));
    assertEquals(await client.readText(), "ok");
  }
  assertEquals(sizes.slice(0, 16), new Array(16).fill(16384));
  assertEquals(sizes.slice(16), new Array(24).fill(10));
});
