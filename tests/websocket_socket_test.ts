// SPDX-License-Identifier: Apache-2.0
// Tests of what a WebSocket offers beside echo: pings and pongs that are told
// of, errors, drops, the ways to send, and what a socket knows of itself.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { prepare, type ServerWebSocket, websocket } from "../mod.ts";
import {
  assertSameBytes,
  pattern,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";
import {
  BINARY,
  CONTINUATION,
  PING,
  PONG,
  serveRoute,
  TEXT,
  WsClient,
} from "./ws_client.ts";

const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

// --- callbacks

testBackends("ping is told, and answered before", async (t) => {
  const told: string[] = [];
  const server = serveRoute(t, {
    ping(socket, payload): void {
      told.push(decode(payload));
      socket.send("heard");
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: PING, payload: "one" });
  const pong = await client.frame();
  assertEquals([pong.opcode, decode(pong.payload)], [PONG, "one"]);
  assertEquals(await client.readText(), "heard");
  assertEquals(told, ["one"]);
});

testBackends("pong is told, asked for or not", async (t) => {
  const told: string[] = [];
  const server = serveRoute(t, {
    pong: (_socket, payload) => void told.push(decode(payload)),
    message: (socket) => void socket.ping(Uint8Array.of(65, 66)),
  });
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: PONG, payload: "by itself" });
  await client.text("go");
  const ping = await client.frame();
  assertEquals([ping.opcode, decode(ping.payload)], [PING, "AB"]);
  await client.send({ opcode: PONG, payload: ping.payload });
  await until(() => told.length === 2, "pongs");
  assertEquals(told, ["by itself", "AB"]);
});

testBackends("error is told of what a callback throws", async (t) => {
  const told: string[] = [];
  const server = serveRoute(t, {
    message(_socket, message): Promise<void> {
      if (message === "later") return Promise.reject(new Error("rejected"));
      throw new Error("thrown");
    },
    error(socket, error): void {
      told.push(`${(error as Error).message} ${socket.readyState}`);
    },
  });
  const logged = await withoutErrors(async () => {
    for (const message of ["now", "later"]) {
      const client = t.using(await WsClient.open(server));
      await client.text(message);
      assertEquals((await client.closeFrame()).code, 1011);
    }
  });
  assertEquals(told, ["thrown 1", "rejected 1"]);
  assertEquals(logged, []);
});

testBackends("an error handler that throws is logged", async (t) => {
  const server = serveRoute(t, {
    message(): void {
      throw new Error("first");
    },
    error(_socket, error): void {
      if ((error as Error).message === "first") throw new Error("second");
    },
  });
  const logged = await withoutErrors(async () => {
    const client = t.using(await WsClient.open(server));
    await client.text("go");
    assertEquals((await client.closeFrame()).code, 1011);
  });
  assertEquals(logged.map(([, error]) => (error as Error).message), ["second"]);
});

testBackends("a violation is told by close alone", async (t) => {
  const told: unknown[] = [];
  const server = serveRoute(t, {
    error: (_socket, error) => void told.push(error),
    close: (_socket, code, reason) => void told.push([code, reason]),
  });
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: 3 });
  assertEquals((await client.readClose()).code, 1002);
  assertEquals(told, [[1002, "unknown opcode"]]);
});

testBackends("dropped is told of each message, and counted", async (t) => {
  const told: unknown[] = [];
  const statuses: string[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      statuses.push(socket.send("x".repeat(1001)));
      statuses.push(socket.send(pattern(1001)));
      statuses.push(socket.send(prepare("y".repeat(1001))));
      statuses.push(socket.send("fits"));
      socket.sendJson(socket.statistics());
    },
    dropped(socket, message): void {
      told.push([typeof message, message.length]);
      // Told of this one would be endless.
      socket.send(new Uint8Array(5000));
    },
  }, { maxQueueBytes: 1000 });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals(await client.readText(), "fits");
  const { droppedMessages, sentMessages, sentBytes } = JSON.parse(
    await client.readText(),
  );
  assertEquals([droppedMessages, sentMessages, sentBytes], [6, 1, 4]);
  assertEquals(statuses, ["dropped", "dropped", "dropped", "sent"]);
  assertEquals(told, [["string", 1001], ["object", 1001], ["string", 1001]]);
});

testBackends("dropped is not told when the socket is closing", async (t) => {
  let told = 0;
  const statuses: string[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      socket.close();
      statuses.push(socket.send("late"), socket.sendFragment("late", true));
    },
    dropped: () => void told++,
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.closeFrame()).code, 1000);
  assertEquals(statuses, ["dropped", "dropped"]);
  assertEquals(told, 0);
});

// --- what a socket knows

testBackends("a socket knows its peer, its URL and its id", async (t) => {
  const sockets: ServerWebSocket<undefined>[] = [];
  const server = serveRoute(t, { open: (socket) => void sockets.push(socket) });
  for (const target of ["/one?a=1", "/two"]) {
    const client = t.using(await WsClient.open(server, { target }));
    const socket = sockets.at(-1)!;
    assertEquals(socket.remoteAddress, "127.0.0.1");
    assertEquals(socket.remotePort, client.raw.localPort);
    assertEquals(socket.url, `http://test${target}`);
    assertEquals(socket.id, socket.id);
  }
  assert(sockets[0]!.id !== sockets[1]!.id);
});

testBackends("statistics() counts messages and their bytes", async (t) => {
  const server = serveRoute(t, {
    message(socket, message): void {
      if (message !== "how many") return void socket.send(message);
      socket.sendJson(socket.statistics());
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.text("\u20ac");
  await client.send({ opcode: BINARY, payload: "abc", fin: false });
  await client.send({ opcode: PING, payload: "not counted" });
  await client.send({ opcode: CONTINUATION, payload: "de" });
  await client.text("how many");
  assertEquals(await client.readText(), "\u20ac");
  assertEquals((await client.frame()).opcode, PONG);
  assertEquals(decode(await client.readBinary()), "abcde");
  assertEquals(JSON.parse(await client.readText()), {
    receivedMessages: 3,
    receivedBytes: 16,
    sentMessages: 2,
    sentBytes: 8,
    droppedMessages: 0,
  });
});

// --- ways to send

testBackends(
  "sendText, sendBinary and sendJson send what they say",
  async (t) => {
    const server = serveRoute(t, {
      open(socket): void {
        socket.sendText("text");
        socket.sendBinary(Uint8Array.of(1, 2));
        socket.sendBinary(Uint8Array.of(3).buffer);
        socket.sendJson({ a: [1] });
        socket.pong(Uint8Array.of(80));
      },
    });
    const client = t.using(await WsClient.open(server));
    assertEquals(await client.readText(), "text");
    assertEquals(await client.readBinary(), Uint8Array.of(1, 2));
    assertEquals(await client.readBinary(), Uint8Array.of(3));
    assertEquals(await client.readText(), '{"a":[1]}');
    const pong = await client.frame();
    assertEquals([pong.opcode, decode(pong.payload)], [PONG, "P"]);
  },
);

testBackends("the ways to send refuse what they cannot send", async (t) => {
  let socket: ServerWebSocket<undefined>;
  const server = serveRoute(t, { open: (opened) => void (socket = opened) });
  t.using(await WsClient.open(server));
  const odd = 17 as unknown as string & Uint8Array;
  assertThrows(() => socket.sendText(odd), TypeError, "must be a string");
  assertThrows(() => socket.sendBinary(odd), TypeError, "Cannot send");
  assertThrows(() => socket.sendJson(undefined), TypeError, "JSON");
  assertThrows(() => socket.pong(new Uint8Array(126)), RangeError, "125");
  assertThrows(() => socket.sendFragment(odd, true), TypeError, "Cannot send");
  assertThrows(() => prepare(odd), TypeError, "Cannot prepare");
});

testBackends("sendFragment sends one message in pieces", async (t) => {
  const server = serveRoute(t, {
    open(socket): void {
      socket.sendFragment("one ", false);
      socket.ping(Uint8Array.of(65));
      socket.sendFragment("", false);
      socket.sendFragment("two", true);
      socket.sendFragment(pattern(70_000), false);
      socket.sendFragment(Uint8Array.of(7).buffer, true);
      socket.sendFragment("alone", true);
      socket.sendJson(socket.statistics());
    },
  });
  const client = t.using(await WsClient.open(server));
  const seen: unknown[] = [];
  for (let count = 0; count < 7; count++) {
    const { opcode, fin, payload } = await client.frame();
    seen.push([opcode, fin, payload.length]);
  }
  assertEquals(seen, [
    [TEXT, false, 4],
    [PING, true, 1],
    [CONTINUATION, false, 0],
    [CONTINUATION, true, 3],
    [BINARY, false, 70_000],
    [CONTINUATION, true, 1],
    [TEXT, true, 5],
  ]);
  const { sentMessages, sentBytes } = JSON.parse(await client.readText());
  assertEquals([sentMessages, sentBytes], [3, 70_013]);
});

testBackends("nothing is sent in the midst of fragments", async (t) => {
  const errors: string[] = [];
  const server = serveRoute(t, {
    open(socket): void {
      socket.sendFragment("a", false);
      const attempts: (() => unknown)[] = [
        () => socket.send("x"),
        () => socket.send(""),
        () => socket.send(new Uint8Array(0)),
        () => socket.send(prepare("x")),
        () => socket.sendJson(1),
        () => socket.sendFragment(new Uint8Array(1), true),
      ];
      for (const attempt of attempts) {
        errors.push(assertThrows(attempt, TypeError).message);
      }
      socket.sendFragment("b", true);
      socket.send("after");
    },
  });
  const client = t.using(await WsClient.open(server));
  assertEquals(decode((await client.frame()).payload), "a");
  assertEquals(decode((await client.frame()).payload), "b");
  assertEquals(await client.readText(), "after");
  assertEquals(errors.length, 6);
  assert(errors.slice(0, 5).every((text) => text.includes("in the midst")));
});

testBackends("close may come in the midst of fragments", async (t) => {
  const server = serveRoute(t, {
    open(socket): void {
      socket.sendFragment("a", false);
      socket.close(4000, "enough");
    },
  });
  const client = t.using(await WsClient.open(server));
  assertEquals((await client.frame()).fin, false);
  assertEquals((await client.closeFrame()).code, 4000);
});

testBackends(
  "a message whose first fragment is dropped is dropped whole",
  async (t) => {
    const statuses: string[] = [];
    let told = 0;
    const server = serveRoute(t, {
      open(socket): void {
        statuses.push(socket.sendFragment("x".repeat(1001), false));
        statuses.push(socket.sendFragment("short", false));
        assertThrows(() => socket.send("other"), TypeError, "in the midst");
        statuses.push(socket.sendFragment("end", true));
        statuses.push(socket.sendFragment("next", true));
        statuses.push(String(socket.statistics().droppedMessages));
      },
      dropped: () => void told++,
    }, { maxQueueBytes: 1000 });
    const client = t.using(await WsClient.open(server));
    assertEquals(await client.readText(), "next");
    assertEquals(statuses, ["dropped", "dropped", "dropped", "sent", "1"]);
    assertEquals(told, 1);
  },
);

testBackends(
  "a later fragment that does not fit closes with 1013",
  async (t) => {
    const statuses: string[] = [];
    const server = serveRoute(t, {
      open(socket): void {
        statuses.push(socket.sendFragment("begin", false));
        statuses.push(socket.sendFragment("x".repeat(1001), false));
        statuses.push(socket.sendFragment("end", true));
      },
    }, { maxQueueBytes: 1000 });
    const client = t.using(await WsClient.open(server));
    assertEquals(decode((await client.frame()).payload), "begin");
    assertEquals(await client.closeFrame(), { code: 1013, reason: "Too slow" });
    assertEquals(statuses, ["sent", "dropped", "dropped"]);
  },
);

testBackends("a prepared message reaches everyone, however long", async (t) => {
  const sockets: ServerWebSocket<undefined>[] = [];
  const server = serveRoute(t, { open: (socket) => void sockets.push(socket) });
  const clients: WsClient[] = [];
  for (let count = 0; count < 3; count++) {
    clients.push(t.using(await WsClient.open(server)));
  }
  const bytes = pattern(1000);
  const messages = [
    prepare("text \u20ac"),
    prepare(bytes),
    prepare(pattern(200_000)),
  ];
  bytes.fill(0);
  assertEquals(messages[0]!.message, "text \u20ac");
  assertEquals(messages.map(({ length }) => length), [8, 1000, 200_000]);
  assertSameBytes(messages[1]!.message as Uint8Array, pattern(1000), "bytes");
  for (const socket of sockets) {
    for (const message of messages) assertEquals(socket.send(message), "sent");
    assertEquals(socket.statistics().sentBytes, 201_008);
  }
  for (const client of clients) {
    assertEquals(await client.readText(), "text \u20ac");
    assertSameBytes(await client.readBinary(), pattern(1000), "short");
    assertSameBytes(await client.readBinary(), pattern(200_000), "long");
  }
});

testBackends(
  "cork() runs its function at once and returns its value",
  async (t) => {
    const route = websocket<undefined>({
      message(socket): void {
        const statuses = socket.cork((
          same,
        ) => [same.send("a"), same.send("b")]);
        socket.send(statuses.join());
      },
    });
    const server = t.serve((request) => route.upgrade(request));
    const client = t.using(await WsClient.open(server));
    await client.text("go");
    assertEquals(await client.readText(), "a");
    assertEquals(await client.readText(), "b");
    assertEquals(await client.readText(), "sent,sent");
  },
);
