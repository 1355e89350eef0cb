// SPDX-License-Identifier: Apache-2.0
// Tests of the option `slowConsumer`. What a handler sends within one turn
// waits in the outbox, so that every limit is met exactly.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  prepare,
  type ServerWebSocket,
  websocket,
  type WebSocketHandlers,
  type WebSocketOptions,
} from "../mod.ts";
import { type Context, testBackends, until } from "./testing.ts";
import { serveRoute, WsClient } from "./ws_client.ts";

const SIZE = 1000;
// Seven messages go to C, and beyond them there is room for three.
const LIMITS = { highWatermark: 6500, maxQueueBytes: 11_000 };

function numbered(number: number): string {
  return String(number).padEnd(SIZE, ".");
}

/** Numbers of the messages that the client is sent, up to "end". */
async function readNumbers(client: WsClient): Promise<number[]> {
  const numbers: number[] = [];
  for (;;) {
    const text = await client.readText();
    if (text === "end") return numbers;
    assertEquals(text.length, SIZE);
    numbers.push(parseInt(text));
  }
}

interface Slow {
  client: WsClient;
  dropped: number[];
  statuses: string[];
}

async function slowRoute(
  t: Context,
  options: WebSocketOptions,
  send: (socket: ServerWebSocket<undefined>, statuses: string[]) => void,
  handlers: WebSocketHandlers<undefined> = {},
): Promise<Slow> {
  const dropped: number[] = [];
  const statuses: string[] = [];
  const server = serveRoute(t, {
    message: (socket) => send(socket, statuses),
    drain: (socket) => void socket.send("end"),
    dropped: (_socket, message) => void dropped.push(parseInt(String(message))),
    ...handlers,
  }, { ...LIMITS, ...options });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  return { client, dropped, statuses };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}

testBackends("drop-newest accepts no more than maxQueueBytes", async (t) => {
  const { client, dropped, statuses } = await slowRoute(
    t,
    {},
    (socket, all) => {
      for (const at of range(0, 20)) all.push(socket.send(numbered(at)));
    },
  );
  assertEquals(await readNumbers(client), range(0, 10));
  assertEquals(dropped, range(10, 20));
  assertEquals(statuses.slice(9), ["queued", ...Array(10).fill("dropped")]);
});

testBackends("drop-oldest gives up what waits for longest", async (t) => {
  let buffered = 0;
  const { client, dropped, statuses } = await slowRoute(
    t,
    { slowConsumer: "drop-oldest" },
    (socket, all) => {
      for (const at of range(0, 20)) {
        all.push(socket.send(numbered(at)));
        buffered = Math.max(buffered, socket.bufferedAmount);
      }
      assertEquals(socket.statistics().droppedMessages, 10);
    },
  );
  assertEquals(await readNumbers(client), [...range(0, 7), ...range(17, 20)]);
  assertEquals(dropped, range(7, 17));
  assertEquals(statuses, [
    ...Array(6).fill("sent"),
    ...Array(14).fill("queued"),
  ]);
  assert(buffered <= LIMITS.maxQueueBytes, String(buffered));
});

testBackends("coalesce gives up what has the same key first", async (t) => {
  const { client, dropped } = await slowRoute(
    t,
    { slowConsumer: "coalesce" },
    (socket) => {
      for (const at of range(0, 7)) socket.send(numbered(at), { key: "x" });
      socket.send(numbered(7), { key: "a" });
      socket.sendText(numbered(8), { key: "b" });
      socket.send(prepare(numbered(9)), { key: "a" });
      socket.send(numbered(10));
      // The oldest one has to make room for this one.
      socket.send(numbered(11), { key: "c" });
      socket.send(numbered(12), { key: "a" });
    },
  );
  assertEquals(await readNumbers(client), [...range(0, 7), 10, 11, 12]);
  assertEquals(dropped, [7, 8, 9]);
});

testBackends("keys mean nothing to drop-oldest", async (t) => {
  const { client, dropped } = await slowRoute(
    t,
    { slowConsumer: "drop-oldest" },
    (socket) => {
      for (const at of range(0, 10)) socket.send(numbered(at), { key: "x" });
    },
  );
  assertEquals(await readNumbers(client), range(0, 10));
  assertEquals(dropped, []);
});

testBackends(
  "close closes with 1013 at the first that does not fit",
  async (t) => {
    const { client, dropped, statuses } = await slowRoute(
      t,
      { slowConsumer: "close" },
      (socket, all) => {
        for (const at of range(0, 12)) all.push(socket.send(numbered(at)));
      },
    );
    for (const at of range(0, 10)) {
      assertEquals(await client.readText(), numbered(at));
    }
    assertEquals(await client.closeFrame(), { code: 1013, reason: "Too slow" });
    assertEquals(dropped, [10]);
    assertEquals(statuses.slice(10), ["dropped", "dropped"]);
  },
);

testBackends(
  "a message that never fits is dropped, whatever the policy",
  async (t) => {
    for (const slowConsumer of ["drop-oldest", "coalesce"] as const) {
      const sizes: number[] = [];
      const statuses: string[] = [];
      const server = serveRoute(t, {
        message(socket): void {
          statuses.push(
            socket.send(new Uint8Array(LIMITS.maxQueueBytes + 1)),
            socket.send("x".repeat(LIMITS.maxQueueBytes + 1)),
            socket.send(new Uint8Array(LIMITS.maxQueueBytes)),
          );
        },
        dropped: (_socket, { length }) => void sizes.push(length),
      }, { ...LIMITS, slowConsumer });
      const client = t.using(await WsClient.open(server));
      await client.text("go");
      assertEquals((await client.readBinary()).length, LIMITS.maxQueueBytes);
      assertEquals(statuses, ["dropped", "dropped", "queued"]);
      assertEquals(sizes, [LIMITS.maxQueueBytes + 1, LIMITS.maxQueueBytes + 1]);
    }
  },
);

testBackends(
  "a message that never fits takes no other one's place",
  async (t) => {
    const { client, dropped } = await slowRoute(
      t,
      { slowConsumer: "coalesce" },
      (socket) => {
        for (const at of range(0, 10)) socket.send(numbered(at), { key: "x" });
        socket.send("99".padEnd(5000), { key: "x" });
      },
    );
    assertEquals(await readNumbers(client), [...range(0, 7), 9]);
    assertEquals(dropped, [7, 8, 99]);
  },
);

testBackends("what is held is the sender's own no more", async (t) => {
  const bytes = new Uint8Array(SIZE);
  const { client } = await slowRoute(
    t,
    { slowConsumer: "drop-oldest" },
    (socket) => {
      for (const at of range(0, 10)) {
        bytes.fill(at);
        socket.send(bytes);
      }
    },
  );
  for (const at of range(0, 10)) {
    assertEquals(await client.readBinary(), new Uint8Array(SIZE).fill(at));
  }
});

testBackends(
  "what is held goes before fragments and before close",
  async (t) => {
    const { client } = await slowRoute(
      t,
      { slowConsumer: "drop-oldest" },
      (socket) => {
        for (const at of range(0, 9)) socket.send(numbered(at));
        socket.sendFragment("be", false);
        socket.sendFragment("gin", true);
        socket.send(numbered(9));
        socket.close(4000);
      },
    );
    for (const at of range(0, 9)) {
      assertEquals(await client.readText(), numbered(at));
    }
    assertEquals((await client.frame()).fin, false);
    assertEquals((await client.frame()).fin, true);
    assertEquals(await client.readText(), numbered(9));
    assertEquals((await client.closeFrame()).code, 4000);
  },
);

testBackends("what is held is sent as the peer reads, all of it", async (t) => {
  const count = 3000;
  const { client, dropped } = await slowRoute(t, {
    slowConsumer: "drop-oldest",
    maxQueueBytes: 16 * 1024 * 1024,
  }, (socket) => {
    for (const at of range(0, count)) socket.send(numbered(at));
  });
  assertEquals(await readNumbers(client), range(0, count));
  assertEquals(dropped, []);
});

testBackends("what waits when the connection ends is counted", async (t) => {
  let counted = 0;
  const { dropped } = await slowRoute(
    t,
    { slowConsumer: "drop-oldest" },
    (socket) => {
      for (const at of range(0, 9)) socket.send(numbered(at));
      socket.terminate();
    },
    {
      close: (socket) => void (counted = socket.statistics().droppedMessages),
    },
  );
  await until(() => counted > 0, "close");
  assertEquals(counted, 2);
  assertEquals(dropped, []);
});

testBackends("many empty messages do not wait for ever", async (t) => {
  const { dropped } = await slowRoute(t, {
    slowConsumer: "drop-oldest",
  }, (socket) => {
    for (const at of range(0, 7)) socket.send(numbered(at));
    for (const _ of range(0, 1000)) socket.send("");
    // Each takes memory, if no bytes.
    assert(socket.statistics().droppedMessages > 900);
    socket.send("end");
  });
  await until(() => dropped.length > 900, "drops");
});

Deno.test("websocket() refuses an unknown policy", () => {
  assertThrows(
    () => websocket({}, { slowConsumer: "drop" as "close" }),
    TypeError,
    '"slowConsumer" must be one of drop-newest',
  );
});
