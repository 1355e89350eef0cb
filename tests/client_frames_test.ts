// SPDX-License-Identifier: Apache-2.0
// Tests of the frames of a client against a raw server: that all it sends is
// masked, each with a key of its own, and what it makes of a server's frames.

import { assert, assertEquals } from "@std/assert";
import { prepare } from "../mod.ts";
import { Client } from "./client_testing.ts";
import { RawServer } from "./raw_ws_server.ts";
import {
  assertSameBytes,
  concat,
  pattern,
  sleep,
  testBackends,
  turn,
  until,
} from "./testing.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  CONTINUATION,
  frame,
  type FrameInit,
  PING,
  PONG,
  TEXT,
} from "./ws_client.ts";

const SIZES = [0, 1, 2, 3, 4, 5, 15, 16, 17, 125, 126, 127, 4096, 65535, 65536];
// What goes in pieces, and what does not fit into the outbox.
const LONG = [65537, 131_071, 200_003, 1 << 20, (1 << 20) + 13, 3_000_001];

testBackends("a client masks messages of every length", async (t) => {
  const server = t.using(new RawServer());
  const client = new Client(t, server.url, { maxQueueBytes: 1 << 26 });
  const peer = await server.open();
  await client.socket.opened;
  for (const size of [...SIZES, ...LONG]) {
    const bytes = pattern(size);
    const before = bytes.slice();
    assert(client.socket.send(bytes) !== "dropped");
    // The application's bytes are its own from here on.
    assertSameBytes(bytes, before, "bytes that were sent");
    bytes.fill(0);
    const got = await peer.frame();
    assertEquals([got.opcode, got.fin, got.rsv], [BINARY, true, 0]);
    assertSameBytes(got.payload, before, `${size} bytes`);
    if (size > 15) assert(differ(got.wire, before), "the payload is plain");
  }
});

testBackends("a client masks texts of every length", async (t) => {
  const server = t.using(new RawServer());
  const client = new Client(t, server.url, { maxQueueBytes: 1 << 26 });
  const peer = await server.open();
  await client.socket.opened;
  for (const unit of ["a", "ä", "€", "😀"]) {
    for (const size of [0, 1, 30, 41, 42, 62, 63, 124, 125, 126, 40_000]) {
      const text = unit.repeat(size);
      client.socket.send(text);
      const got = await peer.frame();
      assertEquals([got.opcode, got.fin], [TEXT, true]);
      assertEquals(new TextDecoder().decode(got.payload), text);
    }
  }
});

testBackends("a client masks everything else that it sends", async (t) => {
  const server = t.using(new RawServer());
  const client = new Client(t, server.url);
  const peer = await server.open();
  const { socket } = client;
  await socket.opened;
  const text = new TextEncoder();
  socket.sendFragment("ab", false);
  socket.ping(text.encode("ping"));
  socket.sendFragment("cd", true);
  socket.pong(text.encode("pong"));
  socket.sendJson({ a: 1 });
  socket.send(prepare("prepared"));
  socket.send(prepare(pattern(70_000)));
  await peer.send({ opcode: PING, payload: "are you there" });
  const want: [opcode: number, fin: boolean, payload: string | Uint8Array][] = [
    [TEXT, false, "ab"],
    [PING, true, "ping"],
    [CONTINUATION, true, "cd"],
    [PONG, true, "pong"],
    [TEXT, true, '{"a":1}'],
    [TEXT, true, "prepared"],
    [BINARY, true, pattern(70_000)],
    [PONG, true, "are you there"],
  ];
  for (const [opcode, fin, payload] of want) {
    const got = await peer.frame();
    assertEquals([got.opcode, got.fin], [opcode, fin]);
    const bytes = typeof payload === "string" ? text.encode(payload) : payload;
    assertSameBytes(got.payload, bytes, "payload");
  }
  socket.close(4000, "enough");
  assertEquals(await peer.closeFrame(), { code: 4000, reason: "enough" });
});

testBackends(
  "keys do not repeat, and no bit of them is constant",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url);
    const peer = await server.open();
    await client.socket.opened;
    const message = prepare("the same message each time");
    const count = 3000;
    const keys: number[] = [];
    for (let i = 0; i < count; i++) client.socket.send(message);
    for (let i = 0; i < count; i++) keys.push((await peer.frame()).key);
    // Of 3,000 keys two are alike once in a thousand runs, three never.
    assert(new Set(keys).size >= count - 1, "keys repeat");
    for (let bit = 0; bit < 32; bit++) {
      const ones = keys.filter((key) => (key >>> bit & 1) === 1).length;
      // Nine standard deviations.
      assert(
        Math.abs(ones - count / 2) < 250,
        `bit ${bit}: ${ones} of ${count}`,
      );
    }
    // Nor does a key tell the next one.
    const steps = keys.slice(1).map((key, at) => key - keys[at]! | 0);
    assert(new Set(steps).size >= count - 3, "keys follow one another");
  },
);

const BROKEN: [name: string, frames: FrameInit[], code: number, why: string][] =
  [
    [
      "a masked text",
      [{ opcode: TEXT, payload: "x", masked: true }],
      1002,
      "frame of a server masked",
    ],
    [
      "a masked ping",
      [{ opcode: PING, masked: true }],
      1002,
      "frame of a server masked",
    ],
    [
      "a reserved bit",
      [{ opcode: TEXT, rsv: 4 }],
      1002,
      "reserved bits set",
    ],
    ["an unknown opcode", [{ opcode: 3 }], 1002, "unknown opcode"],
    [
      "text that is not UTF-8",
      [{ opcode: TEXT, payload: Uint8Array.of(0xc0, 0x80) }],
      1007,
      "text is not UTF-8",
    ],
    [
      "a message that is too large",
      [{ opcode: BINARY, declared: 1001n, lengthBytes: 3 }],
      1009,
      "message too large",
    ],
    [
      "too many fragments",
      [
        { opcode: TEXT, fin: false },
        { opcode: CONTINUATION, fin: false },
        { opcode: CONTINUATION, fin: false },
        { opcode: CONTINUATION, fin: false },
      ],
      1008,
      "too many fragments",
    ],
    [
      "a close code that must not travel",
      [{ opcode: CLOSE, payload: closePayload(1006) }],
      1002,
      "invalid close code",
    ],
  ];

for (const [name, frames, code, why] of BROKEN) {
  testBackends(`a client refuses ${name}`, async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url, {
      maxMessageBytes: 1000,
      maxFragments: 3,
    });
    const peer = await server.open();
    await client.socket.opened;
    await peer.send({ opcode: TEXT, payload: "before" });
    for (const each of frames) await peer.send(each);
    assertEquals(await peer.closeFrame(), { code, reason: why });
    assertEquals(await peer.raw.rest(), "");
    peer.raw.close();
    assertEquals(await client.end(), { code, reason: why });
    assertEquals(client.messages, ["before"]);
  });
}

testBackends(
  "a client hears of a server's frames however they are cut",
  async (t) => {
    const server = t.using(new RawServer());
    const all = concat([
      frame({ opcode: TEXT, payload: "Grüße", masked: false }),
      frame({ opcode: BINARY, payload: pattern(300), masked: false }),
      frame({ opcode: TEXT, payload: "a", fin: false, masked: false }),
      frame({ opcode: PING, payload: "!", masked: false }),
      frame({ opcode: CONTINUATION, payload: "b", masked: false }),
      frame({ opcode: PONG, payload: "?", masked: false }),
      frame({
        opcode: CLOSE,
        payload: closePayload(4001, "bye"),
        masked: false,
      }),
    ]);
    for (let cut = 1; cut < all.length; cut++) {
      const client = new Client(t, server.url);
      const peer = await server.open();
      await client.socket.opened;
      await peer.raw.write(all.slice(0, cut));
      await turn();
      await peer.raw.write(all.slice(cut));
      assertEquals((await peer.frame()).opcode, PONG);
      assertEquals(await peer.closeFrame(), { code: 4001, reason: "" });
      peer.raw.close();
      assertEquals(await client.end(), { code: 4001, reason: "bye" });
      assertEquals(client.messages, ["Grüße", pattern(300), "ab"]);
      assertEquals([client.pings, client.pongs], [["!"], ["?"]]);
    }
  },
);

testBackends(
  "a client leaves the end of the connection to the server",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url);
    const peer = await server.open();
    await client.socket.opened;
    client.socket.close(1000, "");
    assertEquals(client.socket.readyState, 2);
    assertEquals(client.socket.send("late"), "dropped");
    assertEquals(await peer.closeFrame(), { code: 1000, reason: "" });
    await peer.send({ opcode: CLOSE, payload: closePayload(1000) });
    // Neither FIN nor the callback comes before the server has ended.
    let ended = false;
    const rest = peer.raw.rest().then(() => ended = true);
    await sleep(50);
    assertEquals([ended, client.closes.length], [false, 0]);
    await peer.raw.closeWrite();
    await rest;
    assertEquals(await client.end(), { code: 1000, reason: "" });
  },
);

testBackends(
  "a client does not wait for ever for a close frame, nor for the end",
  async (t) => {
    const server = t.using(new RawServer());
    for (const answers of [false, true]) {
      const client = new Client(t, server.url, { closeTimeout: 200 });
      const peer = await server.open();
      await client.socket.opened;
      client.socket.close();
      await peer.closeFrame();
      if (answers) {
        await peer.send({ opcode: CLOSE, payload: closePayload(1000) });
      }
      const { code } = (await client.end())!;
      assertEquals(code, answers ? 1000 : 1006);
    }
  },
);

testBackends(
  "a client that is paused does not wait for ever either",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url, { closeTimeout: 200 }, {
      message: (socket) => socket.pause(),
    });
    const peer = await server.open();
    await client.socket.opened;
    await peer.raw.write(concat([
      frame({ opcode: TEXT, payload: "x", masked: false }),
      frame({ opcode: CLOSE, payload: closePayload(4000), masked: false }),
    ]));
    assertEquals(await peer.closeFrame(), { code: 4000, reason: "" });
    assertEquals((await client.end())!.code, 4000);
  },
);

testBackends(
  "a client asks a quiet server with a ping, and leaves it then",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url, { idleTimeout: 300 });
    const peer = await server.open();
    await client.socket.opened;
    assertEquals((await peer.frame()).opcode, PING);
    await peer.send({ opcode: PONG });
    assertEquals((await peer.frame()).opcode, PING);
    assertEquals(await client.end(), { code: 1006, reason: "ETIMEDOUT" });
  },
);

testBackends("a client that is terminated resets the connection", async (t) => {
  const server = t.using(new RawServer());
  const client = new Client(t, server.url);
  const peer = await server.open();
  await client.socket.opened;
  client.socket.terminate();
  assertEquals(await client.end(), { code: 1006, reason: "" });
  assertEquals(await peer.raw.ending(), { text: "", reset: true });
  assertEquals(client.socket.send("x"), "dropped");
  assertEquals(client.socket.statistics().droppedMessages, 1);
});

testBackends(
  "a client waits for a slow server, and is told when it goes on",
  async (t) => {
    const server = t.using(new RawServer());
    let drains = 0;
    const client = new Client(t, server.url, {
      highWatermark: 1 << 20,
      maxQueueBytes: 8 << 20,
    }, { drain: () => void drains++ });
    const peer = await server.open();
    const { socket } = client;
    await socket.opened;
    const piece = pattern(1 << 18);
    let count = 0;
    let status = socket.send(piece);
    for (; status === "sent"; count++) status = socket.send(piece);
    assertEquals(status, "queued");
    while (socket.send(piece) !== "dropped") count++;
    assert(socket.bufferedAmount > 1 << 20);
    assertEquals(drains, 0);
    for (let i = 0; i <= count; i++) {
      assertSameBytes((await peer.frame()).payload, piece, `message ${i}`);
    }
    await until(() => drains > 0, "drain");
    assertEquals(socket.statistics().sentMessages, count + 1);
    assertEquals(socket.statistics().droppedMessages, 1);
  },
);

function differ(a: Uint8Array, b: Uint8Array): boolean {
  return a.some((byte, at) => byte !== b[at]);
}
