// SPDX-License-Identifier: Apache-2.0
// Tests of messages that a handler is given all at once.

import { assertEquals, assertThrows } from "@std/assert";
import type { MessageBatch } from "../mod.ts";
import { concat, testBackends, turn, until } from "./testing.ts";
import {
  BINARY,
  CONTINUATION,
  frame,
  PING,
  serveRoute,
  TEXT,
  texts,
  WsClient,
} from "./ws_client.ts";

testBackends("messages are given all at once", async (t) => {
  const batches: unknown[][] = [];
  let kept: MessageBatch | undefined;
  const server = serveRoute(t, {
    messages(socket, batch): void {
      kept = batch;
      batches.push(
        [...batch].map((it) => typeof it === "string" ? it : it.slice()),
      );
      assertEquals(batch.length, batches.at(-1)!.length);
      assertThrows(() => batch.text(batch.length), RangeError, "the batch has");
      assertThrows(() => batch.bytes(-1), RangeError);
      assertThrows(() => batch.at(0.5), RangeError);
      if (batch.isText(batch.length - 1)) socket.send(String(batches.length));
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(concat([
    texts("a", "\u20ac"),
    frame({ opcode: BINARY, payload: Uint8Array.of(1, 2) }),
    texts("b"),
  ]));
  await until(() => batches.flat().length === 4, "messages");
  assertEquals(batches.flat(), ["a", "\u20ac", Uint8Array.of(1, 2), "b"]);
  // One write to the loopback is one read.
  assertEquals(batches.length, 1);
  assertEquals(kept!.length, 0);
  assertThrows(() => kept!.text(0), RangeError, "until its handler returned");
  assertEquals(await client.readText(), "1");
});

testBackends("a batch has text and bytes of every message", async (t) => {
  const seen: unknown[] = [];
  const server = serveRoute(t, {
    messages(_socket, batch): void {
      for (let at = 0; at < batch.length; at++) {
        seen.push([batch.isText(at), batch.text(at), batch.bytes(at).slice()]);
      }
    },
  });
  const client = t.using(await WsClient.open(server));
  const euro = new TextEncoder().encode("\u20ac");
  const long = "x".repeat(50_000);
  await client.raw.write(concat([
    texts("\u20ac"),
    frame({ opcode: BINARY, payload: euro }),
    frame({ opcode: TEXT, payload: "\u20ac", fin: false }),
    frame({ opcode: CONTINUATION, payload: "" }),
    texts(long),
  ]));
  await until(() => seen.length === 4, "messages");
  assertEquals(seen.slice(0, 3), [
    [true, "\u20ac", euro],
    [false, "\u20ac", euro],
    [true, "\u20ac", euro],
  ]);
  assertEquals((seen[3] as unknown[])[1], long);
});

testBackends(
  "batches wait for the one before on an ordered route",
  async (t) => {
    const seen: string[] = [];
    const server = serveRoute(t, {
      async messages(_socket, batch): Promise<void> {
        const all = [...batch].join("");
        seen.push(`begin ${all}`);
        await turn();
        await turn();
        seen.push(`end ${all}`);
      },
    }, { ordered: true });
    const client = t.using(await WsClient.open(server));
    await client.raw.write(
      concat([texts("a"), frame({ opcode: PING }), texts("b", "c")]),
    );
    await until(() => seen.length === 4, "batches");
    assertEquals(seen, ["begin a", "end a", "begin bc", "end bc"]);
  },
);

testBackends(
  "a batch keeps byte order marks, whole or in pieces",
  async (t) => {
    const seen: string[] = [];
    const server = serveRoute(t, {
      messages(_socket, batch): void {
        for (let at = 0; at < batch.length; at++) seen.push(batch.text(at));
      },
    });
    const client = t.using(await WsClient.open(server));
    const payload = new TextEncoder().encode("\ufeffa");
    await client.raw.write(concat([
      frame({ opcode: BINARY, payload }),
      frame({ opcode: BINARY, payload, fin: false }),
      frame({ opcode: CONTINUATION, payload }),
    ]));
    await until(() => seen.length === 2, "the messages");
    assertEquals(seen, ["\ufeffa", "\ufeffa\ufeffa"]);
  },
);

testBackends("a batch ends where maxMessagesPerSecond does", async (t) => {
  const seen: string[] = [];
  const server = serveRoute(t, {
    messages: (_socket, batch) => void seen.push([...batch].join("")),
  }, { maxMessagesPerSecond: 2 });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(texts("a", "b", "c", "d"));
  assertEquals((await client.closeFrame()).code, 1008);
  assertEquals(seen.join(""), "ab");
});
