// SPDX-License-Identifier: Apache-2.0
// Tests of topics: subscriptions, what is published to whom, in which order,
// and what a slow subscriber means to the others.

import { assertEquals, assertThrows } from "@std/assert";
import {
  prepare,
  type ServerWebSocket,
  websocket,
  type WebSocketHandlers,
  type WebSocketOptions,
} from "../mod.ts";
import {
  assertSameBytes,
  type Context,
  pattern,
  type TcpServer,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";
import { CLOSE, closePayload, WsClient } from "./ws_client.ts";

type Subscriber = ServerWebSocket<string>;

interface Room {
  server: TcpServer;
  /** The sockets, in the order in which they were opened. */
  sockets: Subscriber[];
  changes: string[];
  /** Connects a client whose socket is subscribed to the topics. */
  join(...topics: string[]): Promise<WsClient>;
}

function openRoom(
  t: Context,
  handlers: WebSocketHandlers<string> = {},
  options: WebSocketOptions = {},
  engine: Parameters<Context["serve"]>[1] = {},
): Room {
  const sockets: Subscriber[] = [];
  const changes: string[] = [];
  const route = websocket<string>({
    open: (socket) => void sockets.push(socket),
    ...handlers,
  }, options);
  const server = t.serve(
    (request) => route.upgrade(request, { data: request.url }),
    {
      onTopic: (topic, change) => void changes.push(`${change} ${topic}`),
      ...engine,
    },
  );
  const join = async (...topics: string[]): Promise<WsClient> => {
    const client = t.using(await WsClient.open(server));
    for (const topic of topics) sockets.at(-1)!.subscribe(topic);
    return client;
  };
  return { server, sockets, changes, join };
}

// --- subscriptions

testBackends(
  "subscribe() and unsubscribe() say whether they did",
  async (t) => {
    const { server, sockets, changes, join } = openRoom(t);
    await join();
    const socket = sockets[0]!;
    assertEquals([socket.subscribe("a"), socket.subscribe("a")], [true, false]);
    assertEquals(socket.subscribe("b/c"), true);
    assertEquals(socket.subscriptions, ["a", "b/c"]);
    assertEquals([socket.isSubscribed("a"), socket.isSubscribed("b")], [
      true,
      false,
    ]);
    assertEquals(server.subscriberCount("a"), 1);
    assertEquals([socket.unsubscribe("a"), socket.unsubscribe("a")], [
      true,
      false,
    ]);
    assertEquals(server.subscriberCount("a"), 0);
    assertEquals(socket.subscriptions, ["b/c"]);
    assertEquals(changes, ["first a", "first b/c", "last a"]);
  },
);

testBackends("onTopic hears of first and last subscribers alone", async (t) => {
  const { server, sockets, changes, join } = openRoom(t);
  const one = await join("a", "b");
  const two = await join("a");
  assertEquals(changes, ["first a", "first b"]);
  sockets[0]!.unsubscribe("a");
  assertEquals(changes.length, 2);
  await one.send({ opcode: CLOSE, payload: closePayload(1000) });
  await until(() => changes.length === 3, "the end of b");
  two.close();
  await until(() => changes.length === 4, "the end of a");
  assertEquals(changes.slice(2), ["last b", "last a"]);
  assertEquals(server.subscriberCount("a"), 0);
});

testBackends("an onTopic that throws harms nobody", async (t) => {
  const { sockets, server, join } = openRoom(t, {}, {}, {
    onTopic: (_topic, change) => {
      if (change === "first") throw new Error("no");
    },
  });
  await join();
  const logged = await withoutErrors(() => {
    sockets[0]!.subscribe("a");
    return Promise.resolve();
  });
  assertEquals(logged.length, 1);
  assertEquals(server.subscriberCount("a"), 1);
});

testBackends(
  "close sees the subscriptions, and they end with it",
  async (t) => {
    const seen: unknown[] = [];
    const { server, sockets, join } = openRoom(t, {
      close(socket): void {
        seen.push(socket.subscriptions, socket.publish("a", "left"));
        seen.push(socket.subscribe("b"));
      },
    });
    const leaving = await join("a", "x");
    const staying = await join("a");
    await leaving.send({ opcode: CLOSE, payload: closePayload(1000) });
    assertEquals(await staying.readText(), "left");
    assertEquals(seen, [["a", "x"], 1, false]);
    assertEquals(sockets[0]!.subscriptions, []);
    assertEquals(server.subscriberCount("a"), 1);
    assertEquals(server.subscriberCount("x"), 0);
  },
);

// --- publishing

testBackends("publish() reaches the subscribers of that topic", async (t) => {
  const { server, join } = openRoom(t);
  const clients = [await join("a"), await join("a", "b"), await join("b")];
  assertEquals(server.publish("a", "to a"), 2);
  assertEquals(server.publish("b", Uint8Array.of(1, 2)), 2);
  assertEquals(server.publish("none", "lost"), 0);
  assertEquals(server.publish("a", prepare("prepared")), 2);
  assertEquals(await clients[0]!.readText(), "to a");
  assertEquals(await clients[0]!.readText(), "prepared");
  assertEquals(await clients[1]!.readText(), "to a");
  assertEquals(await clients[1]!.readBinary(), Uint8Array.of(1, 2));
  assertEquals(await clients[1]!.readText(), "prepared");
  assertEquals(await clients[2]!.readBinary(), Uint8Array.of(1, 2));
});

testBackends("a socket's own message comes back only when asked", async (t) => {
  const { sockets, join } = openRoom(t);
  const own = await join("a");
  const other = await join("a");
  const [socket] = sockets;
  assertEquals(socket!.publish("a", "to others"), 1);
  assertEquals(socket!.publish("a", "to all", { self: true }), 2);
  assertEquals(await own.readText(), "to all");
  assertEquals(await other.readText(), "to others");
  assertEquals(await other.readText(), "to all");
  const { sentMessages, sentBytes } = socket!.statistics();
  assertEquals([sentMessages, sentBytes], [1, 6]);
});

testBackends("order is kept between published and sent messages", async (t) => {
  const { server, sockets, join } = openRoom(t);
  const clients = [await join("a"), await join("a"), await join("a")];
  const expected: string[] = [];
  for (let at = 0; at < 500; at++) {
    server.publish("a", `published ${at}`);
    for (const socket of sockets) socket.send(`sent ${at}`);
    expected.push(`published ${at}`, `sent ${at}`);
  }
  for (const client of clients) {
    for (const text of expected) assertEquals(await client.readText(), text);
  }
});

testBackends("more is published in a turn than fits the outbox", async (t) => {
  const { server, sockets, join } = openRoom(t);
  const clients = [await join("a"), await join("a"), await join("a")];
  const lengths = [0, 1, 125, 126, 50_000, 65_526, 65_535, 65_536, 300_000];
  for (let round = 0; round < 5; round++) {
    for (const length of lengths) {
      assertEquals(server.publish("a", pattern(length)), 3);
      sockets[1]!.send(pattern(40_000, round));
    }
  }
  for (const [which, client] of clients.entries()) {
    for (let round = 0; round < 5; round++) {
      for (const length of lengths) {
        assertSameBytes(await client.readBinary(), pattern(length), `${which}`);
        if (which !== 1) continue;
        assertSameBytes(
          await client.readBinary(),
          pattern(40_000, round),
          "own",
        );
      }
    }
  }
});

testBackends("there are more subscribers than commands", async (t) => {
  const { server, sockets, join } = openRoom(t, {}, {}, { ring: 8 });
  const clients: WsClient[] = [];
  for (let count = 0; count < 50; count++) clients.push(await join("a"));
  assertEquals(sockets.length, 50);
  for (let at = 0; at < 5; at++) {
    assertEquals(server.publish("a", pattern(1000, at)), 50);
  }
  for (const client of clients) {
    for (let at = 0; at < 5; at++) {
      assertSameBytes(await client.readBinary(), pattern(1000, at), `${at}`);
    }
  }
});

// --- wildcards

testBackends("wildcards match one level, or all that follow", async (t) => {
  const { server, join } = openRoom(t);
  await join("a/*");
  await join("a/#");
  await join("a/b/*");
  await join("#");
  await join("*");
  await join("a/b", "a/*", "a/#");
  const counts = {
    "a": 2, // # and *
    "a/b": 4, // a/*, a/#, # and the last one, once
    "a/b/c": 4, // a/#, a/b/*, # and the last one
    "b": 2,
    "b/c": 1,
    "a/": 4,
    "a/*": 2,
    "none/*": 0,
  };
  for (const [topic, count] of Object.entries(counts)) {
    assertEquals(server.subscriberCount(topic), count, topic);
  }
});

testBackends("who matches several times is sent one message", async (t) => {
  const { server, sockets, join } = openRoom(t);
  const client = await join("a/b", "a/*", "a/#", "#");
  assertEquals(server.publish("a/b", "once"), 1);
  sockets[0]!.unsubscribe("a/b");
  assertEquals(server.publish("a/b", "by pattern"), 1);
  for (const topic of ["a/*", "a/#", "#"]) sockets[0]!.unsubscribe(topic);
  assertEquals(server.publish("a/b", "never"), 0);
  sockets[0]!.send("end");
  assertEquals(await client.readText(), "once");
  assertEquals(await client.readText(), "by pattern");
  assertEquals(await client.readText(), "end");
});

testBackends("topics that cannot be are refused", async (t) => {
  const { server, sockets, join } = openRoom(t);
  await join();
  const socket = sockets[0]!;
  for (const topic of ["", "a/#/b", "*/a", 17 as unknown as string]) {
    assertThrows(() => socket.subscribe(topic), TypeError, "Cannot subscribe");
  }
  for (const topic of ["", "a/#", "*"]) {
    assertThrows(() => server.publish(topic, "x"), TypeError, "Cannot publish");
  }
  // Part of a name, and no level of its own.
  assertEquals(socket.subscribe("a*/#b"), true);
  assertEquals(server.publish("a*/#b", "x"), 1);
});

// --- slow subscribers

testBackends(
  "a slow subscriber is dropped from, and the others are not",
  async (t) => {
    const dropped: string[] = [];
    const { server, sockets, join } = openRoom(t, {
      dropped(socket, message): void {
        dropped.push(String(message));
        // Writes over what lies in the outbox for everybody.
        socket.ping(pattern(100));
        for (const each of sockets.slice(1)) each.send("aside");
      },
    }, { maxQueueBytes: 10_000 });
    await join("a");
    const others = [await join("a"), await join("a")];
    const slow = sockets[0]!;
    assertEquals(slow.send(new Uint8Array(9_900)), "sent");
    assertEquals(server.publish("a", "x".repeat(1000)), 2);
    assertEquals(dropped, ["x".repeat(1000)]);
    assertEquals(server.publish("a", "short"), 3);
    assertEquals(slow.statistics().droppedMessages, 1);
    for (const client of others) {
      assertEquals(await client.readText(), "x".repeat(1000));
      assertEquals(await client.readText(), "aside");
      assertEquals(await client.readText(), "short");
    }
  },
);

testBackends("published messages are coalesced by their key", async (t) => {
  const { server, join } = openRoom(t, {}, {
    slowConsumer: "coalesce",
    highWatermark: 1000,
  });
  const client = await join("price");
  server.publish("price", "x".repeat(1000));
  for (let price = 0; price < 10; price++) {
    server.publish("price", `eur ${price}`, { key: "eur" });
    server.publish("price", `usd ${price}`, { key: "usd" });
  }
  assertEquals((await client.readText()).length, 1000);
  assertEquals(await client.readText(), "eur 9");
  assertEquals(await client.readText(), "usd 9");
});

testBackends(
  "what is published amid fragments comes behind them",
  async (t) => {
    for (const slowConsumer of ["drop-newest", "coalesce"] as const) {
      const { server, sockets, join } = openRoom(t, {}, { slowConsumer });
      const client = await join("a");
      const socket = sockets[0]!;
      socket.sendFragment("be", false);
      assertEquals(server.publish("a", "one"), 1);
      assertEquals(server.publish("a", pattern(100_000)), 1);
      socket.sendFragment("gin", true);
      socket.send("two");
      assertEquals((await client.frame()).fin, false);
      assertEquals((await client.frame()).fin, true);
      assertEquals(await client.readText(), "one");
      assertSameBytes(await client.readBinary(), pattern(100_000), "long");
      assertEquals(await client.readText(), "two");
    }
  },
);

testBackends("a closing socket is published nothing", async (t) => {
  const { server, sockets, join } = openRoom(t);
  const client = await join("a");
  sockets[0]!.close();
  assertEquals(server.publish("a", "late"), 0);
  assertEquals(sockets[0]!.statistics().droppedMessages, 0);
  assertEquals((await client.closeFrame()).code, 1000);
});
