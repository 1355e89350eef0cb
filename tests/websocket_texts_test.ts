// SPDX-License-Identifier: Apache-2.0
// Tests of many short texts that are sent in one turn, and so are encoded together.

import { assertEquals } from "@std/assert";
import type { EngineOptions, ServerWebSocket } from "../mod.ts";
import { testBackends } from "./testing.ts";
import { BINARY, PING, serveRoute, TEXT, WsClient } from "./ws_client.ts";

const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const utf8Length = (text: string): number =>
  new TextEncoder().encode(text).length;

const LENGTHS = [0, 1, 12, 13, 125, 126, 127, 511, 512, 513];
const ASCII = LENGTHS.map((length) => "x".repeat(length));
// Two halves of a character are no character, even when they are sent one after the other.
const OTHERS = [
  "ü",
  "€".repeat(42),
  "\ud83d",
  "\ude00",
  "a\0",
  "x".repeat(124) + "é",
];

// Texts that a server sends in one callback, as a client receives them.
for (
  const [name, sent] of [
    ["ASCII", ASCII],
    ["other characters", [...ASCII, ...OTHERS, ...ASCII]],
    ["a single one", ["alone"]],
    ["more than wait together", Array(400).fill("y".repeat(100))],
    ["more than the outbox holds", Array(5000).fill("€".repeat(100))],
  ] as [string, string[]][]
) {
  testBackends(`short texts: ${name}`, async (t) => {
    let socket: ServerWebSocket<undefined> | undefined;
    const server = serveRoute(t, {
      message(it): void {
        socket = it;
        for (const text of sent) it.send(text);
        const { sentMessages, sentBytes } = it.statistics();
        assertEquals(sentMessages, sent.length);
        assertEquals(sentBytes, sent.reduce((n, s) => n + utf8Length(s), 0));
      },
    });
    const client = t.using(await WsClient.open(server));
    await client.text("go");
    for (const text of sent) {
      assertEquals(
        await client.readText(),
        decode(new TextEncoder().encode(text)),
      );
    }
    assertEquals(socket!.statistics().sentMessages, sent.length);
  });
}

testBackends("short texts keep their place among all else", async (t) => {
  const server = serveRoute(t, {
    message(it): void {
      it.send("one");
      it.send(Uint8Array.of(1));
      it.send("two");
      it.ping(Uint8Array.of(2));
      it.send("three");
      it.sendFragment("fo", false);
      it.sendFragment("ur", true);
      it.send("five");
      it.close(1000, "six");
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  const frames: unknown[] = [];
  for (let i = 0; i < 9; i++) {
    const { opcode, payload } = await client.frame();
    frames.push([opcode, decode(payload)]);
  }
  assertEquals(frames.slice(0, 8), [
    [TEXT, "one"],
    [BINARY, "\x01"],
    [TEXT, "two"],
    [PING, "\x02"],
    [TEXT, "three"],
    [TEXT, "fo"],
    [0, "ur"],
    [TEXT, "five"],
  ]);
});

testBackends("short texts count as bytes at once", async (t) => {
  const counted: number[] = [];
  const statuses: string[] = [];
  const server = serveRoute(t, {
    message(it): void {
      it.send("ab");
      counted.push(it.bufferedAmount);
      it.send("ü");
      counted.push(it.bufferedAmount);
      for (let i = 0; i < 12; i++) statuses.push(it.send("€".repeat(100)));
      counted.push(it.bufferedAmount);
    },
  }, { highWatermark: 1000, lowWatermark: 100 });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  for (let i = 0; i < 14; i++) await client.readText();
  assertEquals(counted, [4, 8, 8 + 12 * 304]);
  assertEquals(statuses.slice(0, 3), ["sent", "sent", "sent"]);
  assertEquals(statuses.slice(3), Array(9).fill("queued"));
});

testBackends(
  "short texts of a server that has closed stay nowhere",
  async (t) => {
    const stop = new AbortController();
    let gone: ServerWebSocket<undefined> | undefined;
    const first = serveRoute(
      t,
      {
        message(it): void {
          gone = it;
          it.send("of the first");
          it.send("server");
          stop.abort();
        },
      },
      {},
      { signal: stop.signal } as EngineOptions,
    );
    using one = await WsClient.open(first);
    await one.text("go");
    await first.finished;
    // It has the memory of the first one, which must not be written to any more.
    const second = serveRoute(t, {
      message(it): void {
        it.send(new TextEncoder().encode("of the second server"));
        gone!.statistics();
        gone!.send("too late");
      },
    });
    const other = t.using(await WsClient.open(second));
    await other.text("go");
    assertEquals(decode((await other.frame()).payload), "of the second server");
  },
);
