// SPDX-License-Identifier: Apache-2.0
// Tests of permessage-deflate (RFC 7692) on the wire, with frames made by node:zlib.

import { deflateRawSync, inflateRawSync } from "node:zlib";
import { assert, assertEquals } from "@std/assert";
import type { WebSocketCompression } from "../mod.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  pattern,
  testBackends,
  turn,
} from "./testing.ts";
import {
  BINARY,
  CONTINUATION,
  ECHO,
  PING,
  PONG,
  serveRoute,
  TEXT,
  WsClient,
} from "./ws_client.ts";

const RSV1 = 4;
const TAIL = Uint8Array.of(0, 0, 0xff, 0xff);
const EVERYTHING: WebSocketCompression = { threshold: 0, maxRatio: 0 };
const UTF8 = new TextEncoder();

/** A payload as RFC 7692 section 7.2.1 has it. */
function deflated(bytes: Uint8Array | string): Uint8Array<ArrayBuffer> {
  const flushed = deflateRawSync(bytes, { finishFlush: 2 }); // Z_SYNC_FLUSH
  return new Uint8Array(flushed.subarray(0, -4));
}

function inflated(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(
    inflateRawSync(concat([payload, TAIL]), { finishFlush: 2 }),
  );
}

async function connect(
  t: Context,
  compression: boolean | WebSocketCompression = EVERYTHING,
  offer: string = "permessage-deflate",
  maxMessageBytes: number = 1 << 20,
): Promise<WsClient> {
  const server = serveRoute(t, ECHO, { compression, maxMessageBytes });
  const fields = { "Sec-WebSocket-Extensions": offer };
  return t.using(await WsClient.open(server, { fields }));
}

/** Alike enough to shrink, and unlike enough to be compared. */
function compressible(length: number): Uint8Array<ArrayBuffer> {
  return pattern(length).map((byte) => 97 + byte % 7);
}

testBackends("a compressed message is echoed compressed", async (t) => {
  const client = await connect(t);
  const text = "Grüße, Grüße, Grüße, Grüße, Grüße".repeat(4);
  await client.send({ opcode: TEXT, rsv: RSV1, payload: deflated(text) });
  const frame = await client.frame();
  assertEquals([frame.opcode, frame.rsv, frame.fin], [TEXT, RSV1, true]);
  assert(frame.payload.length < 60, `${frame.payload.length} bytes`);
  assertEquals(new TextDecoder().decode(inflated(frame.payload)), text);
});

testBackends("messages of every size and kind come back", async (t) => {
  const client = await connect(t);
  for (
    const length of [0, 1, 2, 5, 125, 126, 1000, 16383, 16384, 16385, 65535]
      .concat(65536, 100_000, 1 << 20)
  ) {
    for (const bytes of [compressible(length), pattern(length)]) {
      const payload = deflated(bytes);
      await client.send({ opcode: BINARY, rsv: RSV1, payload });
      const frame = await client.frame();
      const back = frame.rsv === RSV1 ? inflated(frame.payload) : frame.payload;
      assert(frame.payload.length <= length, "Compressing made it longer");
      assertSameBytes(back, bytes, `${length} bytes`);
    }
  }
});

testBackends(
  "a compressed message may come byte by byte, in fragments, with control frames between",
  async (t) => {
    const client = await connect(t);
    const text = "fragments ".repeat(50);
    const payload = deflated(text);
    for (const [at, byte] of payload.entries()) {
      await client.send({
        opcode: at === 0 ? TEXT : CONTINUATION,
        rsv: at === 0 ? RSV1 : 0,
        payload: Uint8Array.of(byte),
        fin: false,
      });
      await client.send({ opcode: PING, payload: `${at}` });
      assertEquals((await client.frame()).opcode, PONG);
    }
    await client.send({ opcode: CONTINUATION });
    const frame = await client.frame();
    assertEquals(new TextDecoder().decode(inflated(frame.payload)), text);
  },
);

testBackends("compressed and plain messages may alternate", async (t) => {
  const client = await connect(t, { threshold: 10 });
  await client.text("short");
  assertEquals(await client.readText(), "short");
  await client.send({ opcode: TEXT, rsv: RSV1, payload: deflated("brief") });
  assertEquals(await client.readText(), "brief");
  const long = "a long message, a long message";
  await client.text(long);
  const frame = await client.frame();
  assertEquals(frame.rsv, RSV1);
  assertEquals(new TextDecoder().decode(inflated(frame.payload)), long);
});

testBackends("exactly maxMessageBytes inflate", async (t) => {
  const client = await connect(t, true, undefined, 1000);
  const bytes = new Uint8Array(1000);
  await client.send({ opcode: BINARY, rsv: RSV1, payload: deflated(bytes) });
  assertSameBytes(await client.readBinary(), bytes, "message");
});

testBackends("a bomb is refused, and takes no memory", async (t) => {
  const messages: number[] = [];
  const server = serveRoute(t, {
    message: (_, message): void => void messages.push(message.length),
  }, { compression: true, maxMessageBytes: 1 << 30 });
  const bomb = deflated(new Uint8Array(64 << 20));
  assert(bomb.length < 70_000, "Not a bomb");
  const before = server.statistics().blocksFree;
  for (let round = 0; round < 5; round++) {
    const client = t.using(
      await WsClient.open(server, {
        fields: { "Sec-WebSocket-Extensions": "permessage-deflate" },
      }),
    );
    await client.send({ opcode: BINARY, rsv: RSV1, payload: bomb });
    const { code, reason } = await client.readClose();
    assertEquals(code, 1009);
    assertEquals(reason, "compressed message expands too far");
    client.close();
  }
  assertEquals(messages, []);
  while (server.statistics().connections > 0) await turn();
  assert(server.statistics().blocksFree >= before - 8, "blocks are lost");
  assert(server.statistics().deflateBytes < 100_000);
});

testBackends(
  "others are served while a message inflates to very much",
  async (t) => {
    const server = serveRoute(t, ECHO, {
      compression: { maxRatio: 0, threshold: 1 << 30 },
      maxMessageBytes: 64 << 20,
    });
    const fields = { "Sec-WebSocket-Extensions": "permessage-deflate" };
    const greedy = t.using(await WsClient.open(server, { fields }));
    const modest = t.using(await WsClient.open(server, { fields }));
    const bytes = new Uint8Array(16 << 20);
    await greedy.send({ opcode: BINARY, rsv: RSV1, payload: deflated(bytes) });
    await modest.text("hello");
    assertEquals(await modest.readText(), "hello");
    assertSameBytes(await greedy.readBinary(), bytes, "inflated");
  },
);

testBackends(
  "with context takeover a message refers to an earlier one",
  async (t) => {
    const text = String.fromCharCode(...pattern(400).map((b) => 32 + b % 90));
    for (const serverContextTakeover of [true, false]) {
      const client = await connect(t, { threshold: 0, serverContextTakeover });
      const lengths: number[] = [];
      for (let round = 0; round < 3; round++) {
        await client.text(text);
        const frame = await client.frame();
        assertEquals(frame.rsv, RSV1);
        lengths.push(frame.payload.length);
      }
      const [first = 0, second = 0, third = 0] = lengths;
      assertEquals(second < first / 5, serverContextTakeover, `${lengths}`);
      assertEquals(third < first / 5, serverContextTakeover, `${lengths}`);
    }
  },
);

testBackends(
  "what is sent keeps to the window that was agreed on",
  async (t) => {
    // All of it comes twice, at distances that one window after the other has room for; noise does not shrink otherwise.
    for (let bits = 9; bits <= 15; bits++) {
      const offer = `permessage-deflate; server_max_window_bits=${bits}`;
      const client = await connect(t, EVERYTHING, offer);
      for (const window of [9, 10, 11, 12, 13, 14, 15]) {
        // zlib goes 262 bytes less far back than its window is long.
        const noise = pattern(2 ** window - 262);
        const payload = concat([noise, noise]);
        await client.send({ opcode: BINARY, payload });
        const frame = await client.frame();
        assertEquals(
          frame.rsv,
          window <= bits ? RSV1 : 0,
          `${window} of ${bits}`,
        );
        if (frame.rsv === RSV1) {
          assertSameBytes(inflated(frame.payload), payload, `${bits} bits`);
        }
      }
    }
  },
);

testBackends("send() compresses as it is told", async (t) => {
  const server = serveRoute(t, {
    open(socket): void {
      const text = "a".repeat(100);
      socket.send(text);
      socket.send(text, { compress: true });
      socket.send(UTF8.encode("b".repeat(200)));
      socket.send("b".repeat(200), { compress: false });
      socket.send(pattern(300), { compress: true });
      socket.send("", { compress: true });
      socket.send(new Uint8Array(new SharedArrayBuffer(300)), {});
    },
  }, { compression: { threshold: 200 } });
  const fields = { "Sec-WebSocket-Extensions": "permessage-deflate" };
  const client = t.using(await WsClient.open(server, { fields }));
  const seen: [number, number][] = [];
  for (let count = 0; count < 7; count++) {
    const { rsv, payload } = await client.frame();
    seen.push([rsv, rsv === RSV1 ? inflated(payload).length : payload.length]);
  }
  const expected = [[0, 100], [4, 100], [4, 200], [0, 200], [0, 300], [0, 0]];
  assertEquals(seen, [...expected, [4, 300]] as [number, number][]);
});

testBackends(
  "sockets beyond maxDeflateBytes get no context takeover",
  async (t) => {
    const TAKEOVER = {
      serverContextTakeover: true,
      clientContextTakeover: true,
    };
    const server = serveRoute(t, ECHO, {
      compression: { ...TAKEOVER, threshold: 0 },
    }, { maxDeflateBytes: 1 << 20 });
    const fields = { "Sec-WebSocket-Extensions": "permessage-deflate" };
    const answers: (string | null)[] = [];
    for (let count = 0; count < 4; count++) {
      const client = t.using(await WsClient.open(server, { fields }));
      answers.push(client.response.field("sec-websocket-extensions"));
      await client.text("hello hello hello hello hello");
      assertEquals((await client.frame()).rsv, RSV1);
    }
    const less =
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assertEquals(answers, [
      "permessage-deflate",
      "permessage-deflate",
      less,
      less,
    ]);
    assert(server.statistics().deflateBytes <= 1 << 20);
  },
);

testBackends(
  "the memory of a socket is given back when it has gone",
  async (t) => {
    const server = serveRoute(t, ECHO, {
      compression: { serverContextTakeover: true, clientContextTakeover: true },
    });
    const fields = { "Sec-WebSocket-Extensions": "permessage-deflate" };
    for (let count = 0; count < 3; count++) {
      const client = await WsClient.open(server, { fields });
      assertEquals(server.statistics().deflateBytes, (264 + 40) << 10);
      // In the midst of a message, too.
      await client.send({
        opcode: TEXT,
        rsv: RSV1,
        payload: deflated("abc"),
        fin: false,
      });
      client.close();
      while (server.statistics().connections > 0) await turn();
      assertEquals(server.statistics().deflateBytes, 0);
    }
  },
);
