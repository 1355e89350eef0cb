// SPDX-License-Identifier: Apache-2.0
// Tests of messages of 0 bytes to 16 MiB, text and binary, compressed and not:
// byte for byte, sent and received, cut where it could matter.

import { deflateRawSync, inflateRawSync } from "node:zlib";
import { assert, assertEquals } from "@std/assert";
import { prepare, type WebSocketOptions } from "../mod.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  pattern,
  type TcpServer,
  testBackends,
  until,
} from "./testing.ts";
import { BINARY, frame, serveRoute, TEXT, WsClient } from "./ws_client.ts";

const MIB = 1 << 20;
const RSV1 = 4;
const TAIL = Uint8Array.of(0, 0, 0xff, 0xff);
const BLOCK = 16 * 1024;
const SMALL = [0, 1, 2, 125, 126, 127];
const SIZES = [...SMALL, 65535, 65536, MIB, 16 * MIB];
const FIELDS = { "Sec-WebSocket-Extensions": "permessage-deflate" };
const OPTIONS: WebSocketOptions = {
  maxMessageBytes: 16 * MIB,
  maxQueueBytes: 20 * MIB,
  compression: { threshold: 0, level: 1, maxRatio: 0 },
};
const ENGINE = { maxQueueBytes: 20 * MIB };

const UTF8 = new TextEncoder();
const CHARACTERS = ["a", "\u00e9", "\u20ac", "\u{1f600}", "\ufeff", "\0"];

interface Message {
  what: string;
  data: string | Uint8Array<ArrayBuffer>;
  bytes: Uint8Array<ArrayBuffer>;
  compressed: boolean;
}

/** A text of so many bytes in which characters of every length are in every place. */
function textOf(length: number): string {
  const unit = CHARACTERS.join("");
  const unitBytes = UTF8.encode(unit).length;
  const count = Math.floor(length / unitBytes);
  return unit.repeat(count) + "z".repeat(length - count * unitBytes);
}

/** One message of each kind. */
function messagesOf(length: number): Message[] {
  const text = textOf(length);
  // As compressible as it is long: noise of few letters.
  const letters = pattern(length).map((byte) => 97 + byte % 7);
  const kinds: [what: string, data: Message["data"], compressed: boolean][] = [
    ["binary", pattern(length), false],
    ["text", text, false],
    ["compressed binary", letters, true],
    ["compressed text", text, true],
  ];
  return kinds.map(([what, data, compressed]) => ({
    what: `${what} of ${length}`,
    data,
    bytes: typeof data === "string" ? UTF8.encode(data) : data,
    compressed,
  }));
}

/** The frame that a client sends. */
function frameOf(
  { data, bytes, compressed }: Message,
): Uint8Array<ArrayBuffer> {
  const opcode = typeof data === "string" ? TEXT : BINARY;
  if (!compressed) return frame({ opcode, payload: bytes });
  const flushed = deflateRawSync(bytes, { finishFlush: 2, level: 1 });
  const payload = new Uint8Array(flushed.subarray(0, -4));
  return frame({ opcode, rsv: RSV1, payload });
}

function assertSame(
  got: string | Uint8Array,
  { what, data }: Message,
): void {
  if (typeof got === "string") assert(got === data, what);
  else if (typeof data === "string") throw new Error(`${what}: is no text`);
  else assertSameBytes(got, data, what);
}

// --- sent

testBackends(
  "messages of every size and kind are sent byte for byte",
  async (t) => {
    const queue: (() => void)[] = [];
    const server = serveRoute(
      t,
      {
        message: () => queue.shift()!(),
        open: (socket) => {
          socket.subscribe("all");
          for (const size of SIZES) {
            for (const { data, compressed: compress } of messagesOf(size)) {
              queue.push(() => void socket.send(data, { compress }));
              if (size > MIB) continue;
              queue.push(
                () => void socket.send(prepare(data), { compress }),
                () => void server.publish("all", data, { compress }),
              );
            }
          }
        },
      },
      OPTIONS,
      ENGINE,
    );
    const client = t.using(await WsClient.open(server, { fields: FIELDS }));
    for (const size of SIZES) {
      for (const { what, data, bytes, compressed } of messagesOf(size)) {
        for (const way of ["send", "prepare", "publish"]) {
          if (size > MIB && way !== "send") continue;
          await client.text("next");
          // Its length is in the shortest form, and there is no mask: frame() sees to that.
          const { fin, rsv, opcode, payload } = await client.frame();
          const wanted = typeof data === "string" ? TEXT : BINARY;
          assertEquals([fin, opcode], [true, wanted], `${what} by ${way}`);
          assert(
            rsv === 0 || (rsv === RSV1 && compressed),
            `${what} by ${way}`,
          );
          assert(
            rsv === RSV1 || !compressed || size < 125,
            `${what} by ${way}`,
          );
          const whole = rsv === 0
            ? payload
            : inflateRawSync(concat([payload, TAIL]), { finishFlush: 2 });
          assertSameBytes(whole, bytes, `${what} by ${way}`);
        }
      }
    }
  },
);

// --- received

/** A server that compares what it gets with what is expected, and its clients. */
interface Sink {
  server: TcpServer;
  clients: WsClient[];
  /** What each client has sent, by its port. */
  expected: Map<number, Message[]>;
  wrong: unknown[];
}

async function openSink(t: Context, count: number): Promise<Sink> {
  const expected: Sink["expected"] = new Map();
  const wrong: unknown[] = [];
  const server = serveRoute(
    t,
    {
      message(socket, message): void {
        try {
          assertSame(message, expected.get(socket.remotePort!)!.shift()!);
        } catch (error) {
          wrong.push(error);
        }
      },
    },
    OPTIONS,
    ENGINE,
  );
  const clients: WsClient[] = [];
  for (let at = 0; at < count; at++) {
    clients.push(
      t.using(await WsClient.open(server, { fields: FIELDS })),
    );
  }
  return { server, clients, expected, wrong };
}

interface Delivery {
  messages: Message[];
  /** Each is sent when the server has the one before. */
  pieces: Uint8Array[];
}

/** Sends a delivery by each client, and waits for the messages. */
async function deliver(
  { server, clients, expected, wrong }: Sink,
  deliveries: readonly Delivery[],
): Promise<void> {
  for (const [at, { messages }] of deliveries.entries()) {
    expected.set(clients[at]!.raw.localPort, [...messages]);
  }
  let { receivedBytes } = server.statistics();
  for (let round = 0; round < deliveries[0]!.pieces.length; round++) {
    await Promise.all(deliveries.map(({ pieces }, at) => {
      receivedBytes += pieces[round]!.length;
      return clients[at]!.raw.write(pieces[round]!);
    }));
    await until(
      () => server.statistics().receivedBytes === receivedBytes,
      "the pieces",
    );
  }
  const all = [...expected.values()];
  await until(
    () => all.every(({ length }) => length === 0) || wrong.length > 0,
    "the messages",
  );
  assertEquals(wrong, []);
}

testBackends(
  "messages of every size and kind are received byte for byte",
  async (t) => {
    const sink = await openSink(t, 1);
    for (const size of SIZES) {
      const messages = messagesOf(size);
      const pieces = [concat(messages.map(frameOf))];
      await deliver(sink, [{ messages, pieces }]);
    }
  },
);

function range(from: number, to: number, step: number = 1): number[] {
  return Array.from(
    { length: Math.ceil((to - from) / step) },
    (_, at) => from + at * step,
  );
}

/** Every byte of a short frame; of a long one its header, and where blocks of memory end. */
function cutsOf(length: number): number[] {
  if (length < 200) return range(1, length);
  // Its header is as long as that of 65536 bytes.
  if (length > MIB + 14) return [1, 9, BLOCK];
  const blocks = range(1, Math.min(5, Math.ceil(length / BLOCK)));
  const near = length > 100_000 ? [-257, -256, -1, 0, 1] : range(-8, 8);
  const step = length > 100_000 ? 40 : 1;
  return [
    ...range(1, 16),
    ...blocks.flatMap((block) => [
      ...near.map((by) => block * BLOCK + by),
      ...range(block * BLOCK - 272, block * BLOCK - 240, step),
    ]),
    length - 1,
  ].filter((cut) => cut < length);
}

testBackends(
  "messages are received byte for byte, cut around every header",
  async (t) => {
    const sink = await openSink(t, 64);
    for (const size of SIZES) {
      const deliveries = messagesOf(size).flatMap((message) => {
        const bytes = frameOf(message);
        return cutsOf(bytes.length).map((cut) => ({
          messages: [message],
          pieces: [bytes.subarray(0, cut), bytes.subarray(cut)],
        }));
      });
      const crowd = size > MIB ? 2 : sink.clients.length;
      for (let at = 0; at < deliveries.length; at += crowd) {
        await deliver(sink, deliveries.slice(at, at + crowd));
      }
    }
  },
);

testBackends(
  "a short message may lie anywhere in what is received at once",
  async (t) => {
    const sink = await openSink(t, 16);
    const short = messagesOf(127);
    const frames = concat(short.map(frameOf));
    const deliveries = range(BLOCK - 1200, BLOCK + 20).map((size) => {
      const [filler] = messagesOf(size);
      return {
        messages: [filler!, ...short],
        pieces: [concat([frameOf(filler!), frames])],
      };
    });
    for (let at = 0; at < deliveries.length; at += sink.clients.length) {
      await deliver(sink, deliveries.slice(at, at + sink.clients.length));
    }
  },
);
