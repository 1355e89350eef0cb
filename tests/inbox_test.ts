// SPDX-License-Identifier: Apache-2.0
// Tests of ffi/inbox.ts over a real reactor.

import { assert, assertEquals, assertNotStrictEquals } from "@std/assert";
import { layout } from "../ffi/mod.ts";
import { type BareReactor, testReactors } from "./bare_reactor.ts";
import { get, type RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  concat,
  fromLatin1,
  latin1,
  pattern,
} from "./testing.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  frame,
  handshake,
  PING,
  PONG,
  TEXT,
} from "./ws_client.ts";

const WHOLE = layout.FIRST | layout.LAST;

testReactors("Inbox tells of a connection's life", async (bare) => {
  const { inbox } = bare.reactor;
  const client = await bare.connect();
  const opened = await bare.record(layout.OPEN);
  const handle = inbox.handle(opened);
  assert(handle !== 0);
  assertEquals(inbox.code(opened), bare.listener);
  assertEquals(
    bare.reactor.peerAddress(handle),
    `127.0.0.1 ${client.localPort}`,
  );
  await client.closeWrite();
  const ended = await bare.record(layout.END);
  assertEquals(inbox.handle(ended), handle);
  bare.reactor.outbox.command(handle, layout.CMD_FINISH);
  const closed = await bare.record(layout.CLOSED);
  assertEquals([inbox.handle(closed), inbox.code(closed)], [handle, 0]);
  assertEquals(bare.reactor.peerAddress(handle), "");
});

testReactors("Inbox.headsAscii() gives heads side by side", async (bare) => {
  const { inbox } = bare.reactor;
  const client = await bare.connect();
  await client.write(get("/one") + get("/second") + get("/3"));
  const found = await bare.find((index) => {
    if (inbox.kind(index) !== layout.HEAD) return undefined;
    const heads = [index, index + 1, index + 2];
    return {
      kinds: heads.map((i) => inbox.kind(i)),
      texts: heads.map((i) => inbox.headsAscii(i, i)),
      all: inbox.headsAscii(index, index + 2),
      starts: heads.map((i) => inbox.start(i) - inbox.start(index)),
      lengths: heads.map((i) => inbox.length(i)),
      aux: heads.map((i) => inbox.aux(i)),
      flags: inbox.flags(index),
      total: inbox.total(index),
    };
  });
  const texts = ["/one", "/second", "/3"].map((target) =>
    get(target).replace("Host", "host")
  );
  assertEquals(found.kinds, new Array(3).fill(layout.HEAD));
  assertEquals(found.texts, texts);
  assertEquals(found.all, texts.join(""));
  const lengths = texts.map((text) => text.length);
  assertEquals(found.lengths, lengths);
  assertEquals(found.starts, [0, lengths[0]!, lengths[0]! + lengths[1]!]);
  assertEquals(found.aux, [4 << 8 | 3, 7 << 8 | 3, 2 << 8 | 3]);
  assertEquals([found.flags, found.total], [layout.KEEP_ALIVE, 0]);
});

testReactors(
  "Inbox.headsLatin1() has a character for each byte",
  async (bare) => {
    const { inbox } = bare.reactor;
    const client = await bare.connect();
    const value = fromLatin1(
      Uint8Array.from({ length: 128 }, (_, i) => i + 128),
    );
    await client.write(get("/", `X: ${value}\r\n`));
    const head = await bare.record(layout.HEAD);
    assertEquals(
      inbox.flags(head),
      layout.KEEP_ALIVE | layout.NON_ASCII,
    );
    assert(inbox.headsLatin1(head, head).endsWith(`x: ${value}\r\n\r\n`));
  },
);

testReactors("Inbox.flags() tell what a head says", async (bare) => {
  const { inbox } = bare.reactor;
  const cases: [request: string, flags: number][] = [
    [get("/"), layout.KEEP_ALIVE],
    [get("/", "Connection: close\r\n"), 0],
    ["GET / HTTP/1.0\r\n\r\n", layout.HTTP_1_0],
    [
      get("/", "Content-Length: 1\r\n"),
      layout.KEEP_ALIVE | layout.HAS_BODY,
    ],
    [
      get("/", "Transfer-Encoding: chunked\r\n"),
      layout.KEEP_ALIVE | layout.HAS_BODY | layout.CHUNKED,
    ],
    [
      get("/", "Content-Length: 1\r\nExpect: 100-continue\r\n"),
      layout.KEEP_ALIVE | layout.HAS_BODY | layout.EXPECT,
    ],
    [handshake(), layout.KEEP_ALIVE | layout.UPGRADE],
    // Nothing is held for an upgrade that has a body.
    [
      handshake().replace("\r\n", "\r\nContent-Length: 1\r\n"),
      layout.KEEP_ALIVE | layout.HAS_BODY,
    ],
  ];
  for (const [request, flags] of cases) {
    const client = await bare.connect();
    await client.write(request);
    assertEquals(inbox.flags(await bare.record(layout.HEAD)), flags, request);
    client.close();
  }
});

testReactors("Inbox.total() goes beyond 32 bits", async (bare) => {
  const { inbox } = bare.reactor;
  const lengths = [1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7];
  for (const length of lengths) {
    const client = await bare.connect();
    await client.write(get("/", `Content-Length: ${length}\r\n`));
    assertEquals(inbox.total(await bare.record(layout.HEAD)), length);
    client.close();
  }
}, { maxBodyBytes: 0 });

testReactors(
  "Inbox.borrow() and view() show the bytes of a body",
  async (bare) => {
    const { inbox } = bare.reactor;
    const client = await bare.connect();
    const body = pattern(1000);
    await client.write(
      concat([latin1(get("/", "Content-Length: 1000\r\n")), body]),
    );
    const pieces: Uint8Array[] = [];
    await bare.find((index) => {
      if (inbox.kind(index) !== layout.BODY) return undefined;
      const view = inbox.view(index);
      assertEquals(view, inbox.borrow(index));
      assertEquals(view.byteOffset, inbox.start(index));
      assertEquals(view.length, inbox.length(index));
      assertEquals(view.buffer.byteLength, layout.BLOCK_BYTES);
      assertNotStrictEquals(view.buffer, inbox.borrow(index).buffer);
      pieces.push(view.slice());
      return (inbox.flags(index) & layout.LAST) !== 0 ? true : undefined;
    });
    assertSameBytes(concat(pieces), body, "the body");
  },
);

testReactors("Inbox tells of violations", async (bare) => {
  const { inbox } = bare.reactor;
  const client = await bare.connect();
  await client.write("GET / HTTP/9.9\r\n\r\n");
  const index = await bare.record(layout.VIOLATION);
  assertEquals(inbox.code(index), 505);
  assertEquals(inbox.aux(index), layout.UNSUPPORTED_VERSION);
});

// --- messages

async function upgraded(
  bare: BareReactor,
): Promise<{ client: RawClient; handle: number }> {
  const { inbox, outbox } = bare.reactor;
  const client = await bare.connect();
  await client.write(handshake());
  const handle = inbox.handle(await bare.record(layout.HEAD));
  outbox.command(handle, layout.CMD_WEBSOCKET, 1 << 20);
  return { client, handle };
}

testReactors("Inbox.text() decodes UTF-8 and keeps a mark", async (bare) => {
  const { inbox } = bare.reactor;
  const { client } = await upgraded(bare);
  for (const text of ["", "a", "\ufeffaü€😀\0", "x".repeat(5000)]) {
    await client.write(frame({ opcode: TEXT, payload: text }));
    const index = await bare.record(layout.MESSAGE);
    const ascii = text.startsWith("\ufeff") ? 0 : layout.ASCII;
    assertEquals(inbox.flags(index), WHOLE | layout.TEXT | ascii);
    assertEquals(inbox.text(index), text);
    assertEquals(inbox.total(index), inbox.length(index));
  }
});

testReactors("Inbox.text() of texts side by side", async (bare) => {
  const { inbox } = bare.reactor;
  const { client } = await upgraded(bare);
  const sent = ["one", "", "a text of more than twelve", "x".repeat(600)]
    .flatMap((text) => [text, text, "ü", text, text, "x".repeat(300)]);
  const payloads = sent.map((payload) => frame({ opcode: TEXT, payload }));
  const binary = frame({ opcode: BINARY, payload: "bytes" });
  await client.write(concat([...payloads, binary, ...payloads]));
  const seen: string[] = [];
  await bare.find((index) => {
    // In any order, and more than once.
    const text = inbox.text(index);
    assertEquals(inbox.text(index), text);
    seen.push(text);
    return seen.length === 2 * sent.length + 1 ? true : undefined;
  });
  assertEquals(seen, [...sent, "bytes", ...sent]);
});

testReactors("Inbox tells of each kind of frame", async (bare) => {
  const { inbox } = bare.reactor;
  const { client, handle } = await upgraded(bare);
  await client.write(concat([
    frame({ opcode: BINARY, payload: "one" }),
    frame({ opcode: PING, payload: "two" }),
    frame({ opcode: PONG, payload: "three" }),
    frame({ opcode: CLOSE, payload: closePayload(4321, "four") }),
  ]));
  const seen: unknown[] = [];
  await bare.find((index) => {
    assertEquals(inbox.handle(index), handle);
    seen.push([inbox.kind(index), fromLatin1(inbox.borrow(index))]);
    return inbox.kind(index) === layout.CLOSE ? inbox.code(index) : undefined;
  }).then((code) => assertEquals(code, 4321));
  assertEquals(seen, [
    [layout.MESSAGE, "one"],
    [layout.PING, "two"],
    [layout.PONG, "three"],
    [layout.CLOSE, "four"],
  ]);
});

function transfer(view: Uint8Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(
    structuredClone(view.buffer, { transfer: [view.buffer] }),
  );
}

testReactors("Inbox.returned() gives up what was transferred", async (bare) => {
  const { inbox } = bare.reactor;
  const { client } = await upgraded(bare);
  const lost = (): number => bare.reactor.counters().blocksLost;
  const next = async (payload: string): Promise<number> => {
    await client.write(frame({ opcode: BINARY, payload }));
    return await bare.record(layout.MESSAGE);
  };
  let index = await next("kept");
  inbox.view(index);
  inbox.returned(inbox.block(index));
  assertEquals(lost(), 0);
  const taken: Uint8Array[] = [];
  for (let count = 1; count <= 16; count++) {
    index = await next(`taken ${count}`);
    const block = inbox.block(index);
    taken.push(transfer(inbox.view(index)));
    inbox.returned(block);
    inbox.returned(block);
    assertEquals(lost(), count);
    // The bytes of the turn are still there for Millrace.
    assertEquals(fromLatin1(inbox.borrow(index)), `taken ${count}`);
  }
  for (let count = 0; count < 100; count++) {
    index = await next("copied");
    const view = inbox.view(index);
    assertEquals(view.buffer.byteLength, 6);
    transfer(view);
    inbox.returned(inbox.block(index));
    assertEquals(lost(), 16);
  }
  for (const [i, bytes] of taken.entries()) {
    assert(fromLatin1(bytes).includes(`taken ${i + 1}`));
  }
});

testReactors(
  "Inbox.view() notices a buffer that went between two views",
  async (bare) => {
    const { inbox } = bare.reactor;
    const { client } = await upgraded(bare);
    await client.write(concat([
      frame({ opcode: BINARY, payload: "first" }),
      frame({ opcode: BINARY, payload: "second" }),
    ]));
    const found = await bare.find((index) => {
      if (inbox.kind(index) !== layout.MESSAGE) return undefined;
      if (fromLatin1(inbox.borrow(index)) !== "first") return undefined;
      // Nobody calls returned() in between.
      const taken = transfer(inbox.view(index));
      const second = inbox.view(index + 1);
      return { taken: fromLatin1(taken), second: fromLatin1(second) };
    });
    assert(found.taken.includes("first"));
    assertEquals(found.second, "second");
    assertEquals(bare.reactor.counters().blocksLost, 1);
  },
);
