// SPDX-License-Identifier: Apache-2.0
// Tests of compressed messages for many sockets: prepared and published ones,
// to sockets that have agreed on different things, and to slow ones.

import { inflateRawSync } from "node:zlib";
import { assert, assertEquals } from "@std/assert";
import {
  type EngineOptions,
  prepare,
  type PreparedMessage,
  type Sendable,
  type SendOptions,
  type ServerWebSocket,
  type SlowConsumerPolicy,
  type WebSocketHandlers,
  type WebSocketOptions,
} from "../mod.ts";
import { deflatedFrameOf, frameOf } from "../lib/ws_prepared.ts";
import { type ClientOptions, NpmClient } from "./npm_ws_client.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  pattern,
  type TcpServer,
  testBackends,
  until,
} from "./testing.ts";
import { BINARY, type Frame, serveRoute, TEXT, WsClient } from "./ws_client.ts";

const RSV1 = 4;
const TAIL = Uint8Array.of(0, 0, 0xff, 0xff);
const TAKEOVER = { serverContextTakeover: true, threshold: 100 };

const NO_TAKEOVER = "permessage-deflate; server_no_context_takeover";
const OFFERS = {
  nothing: "",
  noTakeover: NO_TAKEOVER,
  smallWindow: `${NO_TAKEOVER}; server_max_window_bits=10`,
  takeover: "permessage-deflate",
};

function inflated(frame: Frame): Uint8Array<ArrayBuffer> {
  assertEquals(frame.rsv, RSV1);
  return new Uint8Array(
    inflateRawSync(concat([frame.payload, TAIL]), { finishFlush: 2 }),
  );
}

function prices(number: number): string {
  return JSON.stringify({ number, prices: Array(100).fill("1.2345") });
}

interface Room {
  server: TcpServer;
  sockets: ServerWebSocket<undefined>[];
}

function openRoom(
  t: Context,
  options: WebSocketOptions = {},
  engine: EngineOptions = {},
): Room {
  const sockets: ServerWebSocket<undefined>[] = [];
  const server = serveRoute(
    t,
    {
      open(socket): void {
        sockets.push(socket);
        socket.subscribe("prices");
      },
    },
    { compression: TAKEOVER, ...options },
    engine,
  );
  return { server, sockets };
}

async function join(
  t: Context,
  room: Room,
  offer: string,
): Promise<WsClient> {
  const fields: Record<string, string> = offer === ""
    ? {}
    : { "Sec-WebSocket-Extensions": offer };
  return t.using(await WsClient.open(room.server, { fields }));
}

// --- with an independent client

const KINDS: [what: string, ClientOptions | boolean][] = [
  ["no compression", false],
  ["no server context takeover", { serverNoContextTakeover: true }],
  ["a smaller window", {
    serverNoContextTakeover: true,
    serverMaxWindowBits: 10,
  }],
  ["server context takeover", true],
];

const MESSAGES: (string | Uint8Array<ArrayBuffer>)[] = [
  prices(1),
  "short",
  prices(2),
  "",
  pattern(5000),
  prices(2),
  pattern(300_000),
  "Grüße ".repeat(60_000),
  pattern(200_000).map((byte) => byte & 3),
  prices(3),
];

async function joinAll(t: Context, room: Room): Promise<NpmClient[]> {
  const clients: NpmClient[] = [];
  for (const [, options] of [...KINDS, ...KINDS]) {
    clients.push(t.using(await NpmClient.connect(room.server, options)));
  }
  await until(() => room.sockets.length === clients.length, "the sockets");
  return clients;
}

async function expectMessage(
  client: NpmClient,
  expected: string | Uint8Array,
  what: string,
): Promise<void> {
  const message = await client.message();
  if (typeof message === "string" || typeof expected === "string") {
    assertEquals(message, expected, what);
  } else {
    assertSameBytes(message, expected, what);
  }
}

function nameOf(index: number, message: number): string {
  return `message ${message} for ${KINDS[index % KINDS.length]![0]}`;
}

for (const prepared of [false, true]) {
  testBackends(
    `npm:ws understands ${
      prepared ? "prepared messages that are " : "what is "
    }published, whatever it has agreed on`,
    async (t) => {
      const room = openRoom(t);
      const clients = await joinAll(t, room);
      // Each one's own messages between them change what may be referred to.
      for (const [at, message] of MESSAGES.entries()) {
        const sent = prepared ? prepare(message) : message;
        assertEquals(room.server.publish("prices", sent), clients.length);
        for (const [number, socket] of room.sockets.entries()) {
          socket.send(prices(at + number));
        }
      }
      for (const [number, client] of clients.entries()) {
        for (const [at, message] of MESSAGES.entries()) {
          await expectMessage(client, message, nameOf(number, at));
          await expectMessage(client, prices(at + number), "its own");
        }
        await client.end();
      }
    },
  );
}

testBackends(
  "npm:ws understands one prepared message that is sent again and again",
  async (t) => {
    const room = openRoom(t);
    const clients = await joinAll(t, room);
    const all = MESSAGES.map((message) => prepare(message));
    for (let round = 0; round < 3; round++) {
      for (const message of all) {
        for (const socket of room.sockets) socket.send(message);
      }
    }
    for (const [number, client] of clients.entries()) {
      for (let round = 0; round < 3; round++) {
        for (const [at, message] of MESSAGES.entries()) {
          await expectMessage(client, message, nameOf(number, at));
        }
      }
      await client.end();
    }
  },
);

// --- frames

testBackends("a subscriber is sent the frame it can read", async (t) => {
  const room = openRoom(t);
  const nothing = await join(t, room, OFFERS.nothing);
  const first = await join(t, room, OFFERS.noTakeover);
  const second = await join(t, room, OFFERS.noTakeover);
  const small = await join(t, room, OFFERS.smallWindow);
  const takeover = await join(t, room, OFFERS.takeover);
  const lengths: number[] = [];
  for (let round = 0; round < 2; round++) {
    assertEquals(room.server.publish("prices", prices(1)), 5);
    assertEquals(await nothing.readText(), prices(1));
    const shared = await first.frame();
    assertEquals(new TextDecoder().decode(inflated(shared)), prices(1));
    assertSameBytes((await second.frame()).payload, shared.payload, "second");
    inflated(await small.frame());
    const own = await takeover.frame();
    assertEquals([own.opcode, own.rsv], [TEXT, RSV1]);
    lengths.push(own.payload.length);
  }
  assert(lengths[1]! < 15, `The second one has ${lengths[1]} bytes`);
});

testBackends(
  "a prepared message is compressed as soon as there is memory for it",
  async (t) => {
    const room = openRoom(t, {
      compression: {
        serverContextTakeover: true,
        clientContextTakeover: true,
        threshold: 0,
      },
    }, { maxDeflateBytes: 450_000 });
    const { server, sockets } = room;
    const greedy = await join(t, room, OFFERS.takeover);
    const modest = await join(t, room, OFFERS.noTakeover);
    const message = prepare(prices(1));
    sockets[1]!.send(message);
    assertEquals((await modest.frame()).rsv, 0);
    greedy.close();
    await until(
      () => server.statistics().connections === 1,
      "the end of the first",
    );
    sockets[1]!.send(message);
    const frame = await modest.frame();
    assertEquals(new TextDecoder().decode(inflated(frame)), prices(1));
  },
);

interface Case {
  what: string;
  message: string | Uint8Array;
  options?: SendOptions;
  compressed: boolean;
}

const CASES: Case[] = [
  { what: "99 bytes", message: "a".repeat(99), compressed: false },
  { what: "100 bytes", message: "a".repeat(100), compressed: true },
  { what: "99 characters", message: "ü".repeat(99), compressed: false },
  { what: "binary", message: new Uint8Array(100), compressed: true },
  { what: "noise", message: pattern(1000), compressed: false },
  {
    what: "99 bytes, as asked",
    message: "a".repeat(99),
    options: { compress: true },
    compressed: true,
  },
  {
    what: "1000 bytes, not as asked",
    message: "a".repeat(1000),
    options: { compress: false },
    compressed: false,
  },
  {
    what: "nothing, although asked",
    message: "",
    options: { compress: true },
    compressed: false,
  },
];

type Send = (room: Room, message: Sendable, options?: SendOptions) => unknown;

const WAYS: [string, Send][] = [
  ["send()", ({ sockets }, ...given) => sockets[0]!.send(...given)],
  [
    "send() of a prepared message",
    ({ sockets }, message, options) =>
      sockets[0]!.send(prepare(message as string), options),
  ],
  [
    "publish() of a server",
    ({ server }, ...given) => server.publish("prices", ...given),
  ],
  [
    "publish() of a socket",
    ({ sockets }, message, options) =>
      sockets[0]!.publish("prices", message, { ...options, self: true }),
  ],
];

for (const [way, send] of WAYS) {
  for (const offer of [OFFERS.noTakeover, OFFERS.takeover]) {
    testBackends(
      `${way} compresses what it should, after "${offer}"`,
      async (t) => {
        const room = openRoom(t);
        const client = await join(t, room, offer);
        for (const { what, message, options, compressed } of CASES) {
          send(room, message, options);
          const { rsv, opcode } = await client.frame();
          assertEquals(rsv, compressed ? RSV1 : 0, what);
          assertEquals(opcode, typeof message === "string" ? TEXT : BINARY);
        }
      },
    );
  }
}

testBackends("fragments are sent as they are", async (t) => {
  const room = openRoom(t);
  const client = await join(t, room, OFFERS.takeover);
  const [socket] = room.sockets;
  socket!.sendFragment("a".repeat(1000), false);
  // Waits for the end of the message, and is compressed then.
  assertEquals(room.server.publish("prices", "b".repeat(1000)), 1);
  socket!.sendFragment("a", true);
  for (const length of [1000, 1]) {
    const { rsv, payload } = await client.frame();
    assertEquals([rsv, payload.length], [0, length]);
  }
  const text = new TextDecoder().decode(inflated(await client.frame()));
  assertEquals(text, "b".repeat(1000));
});

Deno.test("a prepared message is compressed once for each shape", () => {
  const calls: number[] = [];
  const deflater = (shape: number, frame: Uint8Array<ArrayBuffer> | null) => ({
    shape,
    encode(): Uint8Array<ArrayBuffer> | null {
      calls.push(shape);
      return frame;
    },
  });
  const message: PreparedMessage = prepare("hello");
  const one = deflater(1, new Uint8Array(1));
  const two = deflater(2, null);
  for (let round = 0; round < 3; round++) {
    assertEquals(deflatedFrameOf(message, one).length, 1);
    // What does not become shorter is tried once, too.
    assert(deflatedFrameOf(message, two) === frameOf(message));
  }
  assertEquals(calls, [1, 2]);
});

// --- slow peers

const SIZE = 1000;
// As in websocket_slow_test.ts, but compressed to next to nothing: messages of
// noise fill the queue.
const LIMITS = { highWatermark: 6500, maxQueueBytes: 11_000 };

function numbered(number: number): string {
  return String(number).padEnd(SIZE, ".");
}

type Handler = NonNullable<WebSocketHandlers<undefined>["message"]>;

const SLOW: [SlowConsumerPolicy, Handler, number[]][] = [
  ["drop-oldest", (socket) => {
    for (let at = 0; at < 10; at++) socket.send(numbered(at));
  }, [7, 8, 9]],
  ["coalesce", (socket) => {
    socket.send(numbered(0), { key: "a" });
    socket.send(numbered(1), { key: "b", compress: false });
    socket.send(prepare(numbered(2)), { key: "a" });
    socket.publish("numbers", numbered(3), { key: "b", self: true });
    socket.send(numbered(4), { compress: false });
  }, [2, 3, 4]],
];

for (const [slowConsumer, send, expected] of SLOW) {
  for (const kind of KINDS) {
    testBackends(
      `what ${slowConsumer} gives up is never referred to, after ${kind[0]}`,
      async (t) => {
        let sent = 0;
        const server = serveRoute(t, {
          message(socket, message): void {
            socket.subscribe("numbers");
            for (let at = 0; at < 7; at++) socket.send(pattern(SIZE, at));
            send(socket, message);
            sent = socket.statistics().sentMessages;
          },
          drain: (socket) => void socket.send("end"),
        }, {
          ...LIMITS,
          slowConsumer,
          compression: { serverContextTakeover: true, threshold: 0 },
        });
        const client = t.using(await NpmClient.connect(server, kind[1]));
        client.send("go");
        for (let at = 0; at < 7; at++) {
          await expectMessage(client, pattern(SIZE, at), "noise");
        }
        for (const number of expected) {
          await expectMessage(client, numbered(number), `number ${number}`);
        }
        assertEquals(await client.message(), "end");
        assertEquals(sent, 7);
        await client.end();
      },
    );
  }
}

// --- reception

const TEXTS = [prices(1), "short", "Grüße ".repeat(20_000), "", prices(2)];

// The long text inflates to far more than its length.
const CLIENT_TAKEOVER = { clientContextTakeover: true, maxRatio: 0 };

async function sendTexts(server: TcpServer): Promise<void> {
  using client = await NpmClient.connect(server, { threshold: 0 });
  for (const text of TEXTS) client.send(text);
  await client.message();
  await client.end();
}

testBackends("compressed messages come in fragments", async (t) => {
  const got: string[] = [];
  let text = "";
  const server = serveRoute(t, {
    fragment(socket, chunk, fin): void {
      text += chunk;
      if (!fin) return;
      got.push(text);
      text = "";
      if (got.length === TEXTS.length) socket.send("done");
    },
  }, { compression: CLIENT_TAKEOVER });
  await sendTexts(server);
  assertEquals(got, TEXTS);
});

testBackends("compressed messages come in batches", async (t) => {
  const got: string[] = [];
  const server = serveRoute(t, {
    messages(socket, batch): void {
      for (const message of batch) got.push(String(message));
      if (got.length === TEXTS.length) socket.send("done");
    },
  }, { compression: CLIENT_TAKEOVER, debug: true });
  await sendTexts(server);
  assertEquals(got, TEXTS);
});

testBackends("compressed messages wait for resume()", async (t) => {
  const got: string[] = [];
  const server = serveRoute(t, {
    message(socket, message): void {
      got.push(String(message));
      socket.pause();
      setTimeout(() => {
        if (got.length === TEXTS.length) socket.send("done");
        socket.resume();
      }, 0);
    },
  }, { compression: CLIENT_TAKEOVER });
  await sendTexts(server);
  assertEquals(got, TEXTS);
});
