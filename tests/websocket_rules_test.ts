// SPDX-License-Identifier: Apache-2.0
// Tests of the rules of RFC 6455 that a peer can break, each with its close
// code, of the closing handshake, and of backpressure.

import { assert, assertEquals } from "@std/assert";
import type { SendStatus, ServerWebSocket } from "../mod.ts";
import { concat, pattern, testBackends, turn, until } from "./testing.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  CONTINUATION,
  frame,
  PING,
  PONG,
  serveRoute,
  TEXT,
  WsClient,
} from "./ws_client.ts";

type Close = [code: number, reason: string];

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const LIMIT = 1000;

/** A frame's head alone, declaring more than follows. */
function declaring(opcode: number, declared: bigint): Uint8Array {
  return frame({ opcode, declared });
}

const START = frame({ opcode: TEXT, payload: "start", fin: false });

const VIOLATIONS: { what: string; code: number; sent: Uint8Array }[] = [
  {
    what: "W1 text without a mask",
    code: 1002,
    sent: frame({ opcode: TEXT, payload: "x", masked: false }),
  },
  {
    what: "W1 ping without a mask",
    code: 1002,
    sent: frame({ opcode: PING, masked: false }),
  },
  ...[1, 2, 3, 4, 7].map((rsv) => ({
    what: `W3 reserved bits ${rsv}`,
    code: 1002,
    sent: frame({ opcode: TEXT, payload: "x", rsv }),
  })),
  {
    what: "W3 reserved bit on a control frame",
    code: 1002,
    sent: frame({ opcode: PING, rsv: 4 }),
  },
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => ({
    what: `W4 opcode ${opcode}`,
    code: 1002,
    sent: frame({ opcode, payload: "x" }),
  })),
  {
    what: "W5 125 in two bytes",
    code: 1002,
    sent: frame({ opcode: BINARY, payload: pattern(125), lengthBytes: 3 }),
  },
  {
    what: "W5 1 in eight bytes",
    code: 1002,
    sent: frame({ opcode: BINARY, payload: "x", lengthBytes: 9 }),
  },
  {
    what: "W5 65535 in eight bytes",
    code: 1002,
    sent: frame({ opcode: BINARY, payload: pattern(65535), lengthBytes: 9 }),
  },
  {
    what: "W5 top bit of the length",
    code: 1002,
    sent: declaring(BINARY, 2n ** 63n),
  },
  ...[CLOSE, PING, PONG].flatMap((opcode) => [
    {
      what: `W6 control frame ${opcode} of 126 bytes`,
      code: 1002,
      sent: frame({ opcode, payload: pattern(126) }),
    },
    {
      what: `W6 control frame ${opcode} in fragments`,
      code: 1002,
      sent: frame({ opcode, fin: false }),
    },
  ]),
  ...[TEXT, BINARY].map((opcode) => ({
    what: `W7 message ${opcode} inside another`,
    code: 1002,
    sent: concat([START, frame({ opcode, payload: "x" })]),
  })),
  {
    what: "W8 continuation without a start",
    code: 1002,
    sent: frame({ opcode: CONTINUATION, payload: "x" }),
  },
  {
    what: "W8 continuation after the end",
    code: 1002,
    sent: concat([
      START,
      frame({ opcode: CONTINUATION, payload: "x" }),
      frame({ opcode: CONTINUATION, payload: "x" }),
    ]),
  },
  ...[
    [0x80],
    [0xc0, 0xaf],
    [0xe0, 0x80, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf8, 0x88, 0x80, 0x80, 0x80],
    [0xff],
    [0x61, 0xe2, 0x82],
  ].map((values) => ({
    what: `W9 text ${values.map((v) => v.toString(16)).join(" ")}`,
    code: 1007,
    sent: frame({ opcode: TEXT, payload: Uint8Array.from(values) }),
  })),
  {
    what: "W9 invalid UTF-8 split over fragments",
    code: 1007,
    sent: concat([
      frame({ opcode: TEXT, payload: bytes(0x61, 0xe2), fin: false }),
      frame({ opcode: CONTINUATION, payload: bytes(0x82), fin: false }),
      frame({ opcode: CONTINUATION, payload: bytes(0x28) }),
    ]),
  },
  {
    what: "W9 fragments that end inside a character",
    code: 1007,
    sent: concat([
      frame({ opcode: TEXT, payload: bytes(0x61, 0xe2), fin: false }),
      frame({ opcode: CONTINUATION, payload: bytes(0x82) }),
    ]),
  },
  {
    what: "W9 fails before the message is complete",
    code: 1007,
    sent: frame({ opcode: TEXT, payload: bytes(0xff), fin: false }),
  },
  {
    what: "W10 close payload of one byte",
    code: 1002,
    sent: frame({ opcode: CLOSE, payload: bytes(3) }),
  },
  {
    what: "W10 close reason is not UTF-8",
    code: 1007,
    sent: frame({
      opcode: CLOSE,
      payload: concat([closePayload(1000), bytes(0xff, 0xfe)]),
    }),
  },
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535].map(
    (code) => ({
      what: `W11 close code ${code}`,
      code: 1002,
      sent: frame({ opcode: CLOSE, payload: closePayload(code) }),
    }),
  ),
  {
    what: "W18 message too large, as declared",
    code: 1009,
    sent: declaring(BINARY, BigInt(LIMIT + 1)),
  },
  {
    what: "W18 huge length, as declared",
    code: 1009,
    sent: declaring(BINARY, 2n ** 63n - 1n),
  },
  {
    what: "W18 fragments too large together",
    code: 1009,
    sent: concat([
      frame({ opcode: BINARY, payload: pattern(LIMIT), fin: false }),
      frame({ opcode: CONTINUATION, payload: "x" }),
    ]),
  },
  {
    what: "W18 lengths that overflow together",
    code: 1009,
    sent: concat([
      frame({ opcode: BINARY, payload: "x", fin: false }),
      declaring(CONTINUATION, 2n ** 63n - 1n),
    ]),
  },
  {
    what: "W19 endless empty fragments",
    code: 1008,
    sent: concat([
      START,
      ...new Array(1100).fill(frame({ opcode: CONTINUATION, fin: false })),
    ]),
  },
];

for (const { what, code, sent } of VIOLATIONS) {
  testBackends(`a violation closes with ${code}: ${what}`, async (t) => {
    const closes: Close[] = [];
    const messages: unknown[] = [];
    const server = serveRoute(t, {
      message: (_socket, message) => void messages.push(message),
      close: (_socket, ...close) => void closes.push(close),
    }, { maxMessageBytes: what.startsWith("W5") ? 1 << 20 : LIMIT });
    const client = t.using(await WsClient.open(server));
    // What follows must not be looked at.
    await client.raw.write(
      concat([sent, frame({ opcode: TEXT, payload: "after" })]),
    );
    const close = await client.readClose();
    assertEquals(close.code, code, close.reason);
    client.close();
    await until(() => closes.length > 0, "close");
    assertEquals(closes.map(([given]) => given), [code]);
    assert(!messages.includes("after"), "went on after the violation");
  });
}

const LEGAL = [
  1000,
  1001,
  1002,
  1003,
  1007,
  1008,
  1010,
  1011,
  1014,
  3000,
  4999,
];

testBackends("a close frame is answered with its own code", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    close: (_socket, ...close) => void closes.push(close),
  });
  for (const code of LEGAL) {
    const client = t.using(await WsClient.open(server));
    await client.send({
      opcode: CLOSE,
      payload: closePayload(code, "bye, bye €"),
    });
    assertEquals((await client.readClose()).code, code);
    client.close();
  }
  await until(() => closes.length === LEGAL.length, "close");
  assertEquals(closes, LEGAL.map((code): Close => [code, "bye, bye €"]));
});

testBackends("a close frame without a code is answered so", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    close: (_socket, ...close) => void closes.push(close),
  });
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: CLOSE });
  assertEquals((await client.readClose()).code, 1005);
  client.close();
  await until(() => closes.length === 1, "close");
  assertEquals(closes, [[1005, ""]]);
});

testBackends("messages before a close frame are delivered", async (t) => {
  const events: unknown[] = [];
  const server = serveRoute(t, {
    message(socket, message): void {
      events.push(message);
      socket.send(message);
    },
    close: (_socket, code) => void events.push(code),
  });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(concat([
    frame({ opcode: TEXT, payload: "one" }),
    frame({ opcode: TEXT, payload: "two" }),
    frame({ opcode: CLOSE, payload: closePayload(1000) }),
    frame({ opcode: TEXT, payload: "never" }),
  ]));
  assertEquals(await client.readText(), "one");
  assertEquals(await client.readText(), "two");
  assertEquals((await client.readClose()).code, 1000);
  client.close();
  await until(() => events.length === 3, "close");
  assertEquals(events, ["one", "two", 1000]);
});

testBackends("socket.close() sends all, then its code", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      for (let i = 0; i < 10; i++) socket.send(pattern(10_000, i));
      socket.close(4321, "reason €");
    },
    close: (_socket, ...close) => void closes.push(close),
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  for (let i = 0; i < 10; i++) {
    assertEquals((await client.readBinary()).length, 10_000);
  }
  assertEquals(await client.closeFrame(), { code: 4321, reason: "reason €" });
  await client.send({ opcode: CLOSE, payload: closePayload(4321, "echoed") });
  assertEquals(await client.raw.rest(), "");
  client.close();
  await until(() => closes.length === 1, "close");
  assertEquals(closes, [[4321, "echoed"]]);
});

testBackends("a close frame without an answer times out", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    message: (socket) => socket.close(1000),
    close: (_socket, ...close) => void closes.push(close),
  }, { closeTimeout: 300 });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.closeFrame()).code, 1000);
  await until(() => closes.length === 1, "close");
  assertEquals(closes[0]![0], 1006);
  await client.raw.ending();
});

testBackends("terminate() ends without a close frame", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    message: (socket) => socket.terminate(),
    close: (_socket, ...close) => void closes.push(close),
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.raw.ending()).text, "");
  await until(() => closes.length === 1, "close");
  assertEquals(closes[0]![0], 1006);
});

testBackends("a peer that leaves without a word is 1006", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    close: (_socket, ...close) => void closes.push(close),
  });
  const half = t.using(await WsClient.open(server));
  await half.raw.closeWrite();
  await half.raw.ending();
  half.close();
  await until(() => closes.length === 1, "close");
  const cut = await WsClient.open(server);
  await cut.raw.write(frame({ opcode: TEXT, payload: "half" }).subarray(0, 7));
  cut.close();
  await until(() => closes.length === 2, "close");
  assertEquals(closes.map(([code]) => code), [1006, 1006]);
});

testBackends("every open is followed by one close", async (t) => {
  const log = new Map<ServerWebSocket<undefined>, string[]>();
  const server = serveRoute(t, {
    open: (socket) => void log.set(socket, ["open"]),
    message: (socket, message) => {
      log.get(socket)!.push("message");
      if (message === "close") socket.close();
      if (message === "terminate") socket.terminate();
    },
    close: (socket) => void log.get(socket)!.push("close"),
  });
  for (let round = 0; round < 40; round++) {
    const client = t.using(await WsClient.open(server));
    await client.text(["x", "close", "terminate", "y"][round % 4]!);
    if (round % 3 === 0) {
      await client.send({ opcode: CLOSE, payload: closePayload(1000) })
        .catch(() => {});
    }
    client.close();
  }
  await until(() => server.statistics().connections === 0, "the connections");
  await until(
    () => [...log.values()].every((events) => events.includes("close")),
    "close",
  );
  for (const events of log.values()) {
    assertEquals(events[0], "open");
    assertEquals(events.at(-1), "close");
    assertEquals(events.filter((event) => event === "close").length, 1);
  }
});

// --- backpressure

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
