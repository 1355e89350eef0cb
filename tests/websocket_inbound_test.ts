// SPDX-License-Identifier: Apache-2.0
// Tests of how a WebSocket receives: pauses, order, limits, pieces and
// what `debug` does.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type ServerWebSocket,
  websocket,
  type WebSocketHandlers,
} from "../mod.ts";
import {
  assertSameBytes,
  concat,
  pattern,
  settled,
  testBackends,
  turn,
  until,
} from "./testing.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  CONTINUATION,
  frame,
  PING,
  serveRoute,
  TEXT,
  texts,
  WsClient,
} from "./ws_client.ts";

const BYE = frame({ opcode: CLOSE, payload: closePayload(4000, "bye") });

// --- pause and resume

testBackends(
  "pause() holds what came in the same turn, in order",
  async (t) => {
    const seen: unknown[] = [];
    let socket: ServerWebSocket<undefined> | undefined;
    const server = serveRoute(t, {
      message(from, message): void {
        seen.push(message);
        if (message !== "pause") return;
        socket = from;
        from.pause();
      },
      close: (_socket, code) => void seen.push(code),
    });
    const client = t.using(await WsClient.open(server));
    const bytes = pattern(500);
    await client.raw.write(concat([
      texts("first", "pause", "held"),
      frame({ opcode: BINARY, payload: bytes }),
      texts("last"),
      BYE,
    ]));
    await until(() => socket !== undefined, "the pause");
    // Whatever C has read for this connection by now comes with it.
    for (let count = 0; count < 10; count++) await turn();
    assertEquals(seen, ["first", "pause"]);
    socket!.resume();
    await until(() => seen.length === 6, "the rest");
    assertEquals(seen[2], "held");
    assertSameBytes(seen[3] as Uint8Array, bytes, "a held message");
    assertEquals(seen.slice(4), ["last", 4000]);
    assertEquals((await client.readClose()).code, 4000);
  },
);

testBackends("a paused socket is not read from", async (t) => {
  let socket: ServerWebSocket<undefined> | undefined;
  let pings = 0;
  const seen: unknown[] = [];
  const server = serveRoute(t, {
    open(opened): void {
      socket = opened;
      opened.pause();
      opened.pause();
    },
    message: (_socket, message) => void seen.push(message),
    ping: () => void pings++,
  });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(concat([frame({ opcode: PING }), texts("a", "b")]));
  for (let count = 0; count < 20; count++) await turn();
  assertEquals([seen, pings], [[], 0]);
  socket!.resume();
  await until(() => seen.length === 2, "messages");
  assertEquals([seen, pings], [["a", "b"], 1]);
});

testBackends(
  "pause() in the midst of what was held goes on holding",
  async (t) => {
    const seen: unknown[] = [];
    let socket: ServerWebSocket<undefined> | undefined;
    const server = serveRoute(t, {
      message(from, message): void {
        socket = from;
        seen.push(message);
        from.pause();
      },
    });
    const client = t.using(await WsClient.open(server));
    await client.raw.write(texts("a", "b", "c"));
    for (const expected of ["a", "b", "c"]) {
      await until(() => seen.at(-1) === expected, expected);
      for (let count = 0; count < 5; count++) await turn();
      assertEquals(seen.at(-1), expected);
      socket!.resume();
    }
  },
);

testBackends("a paused socket can be closed", async (t) => {
  let closed: unknown[] = [];
  const server = serveRoute(t, {
    message(socket, message): void {
      socket.pause();
      if (message === "close") setTimeout(() => socket.close(4001), 1);
    },
    close: (_socket, ...how) => void (closed = how),
  });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(texts("close", "held"));
  assertEquals((await client.closeFrame()).code, 4001);
  await client.send({ opcode: CLOSE, payload: closePayload(4001, "ok") });
  await until(() => closed.length > 0, "close");
  assertEquals(closed, [4001, "ok"]);
});

testBackends(
  "closing drops what is held, and not the peer's close",
  async (t) => {
    const seen: unknown[] = [];
    const server = serveRoute(t, {
      message(socket, message): void {
        seen.push(message);
        socket.pause();
        setTimeout(() => socket.close(4001), 1);
      },
      close: (_socket, ...how) => void seen.push(how),
    });
    const client = t.using(await WsClient.open(server));
    await client.raw.write(concat([texts("first", "held"), BYE]));
    await until(() => seen.length === 2, "close");
    assertEquals(seen, ["first", [4000, "bye"]]);
    assertEquals((await client.readClose()).code, 4001);
  },
);

testBackends("a reset is told of at once, paused or not", async (t) => {
  const seen: unknown[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      socket.pause();
      setTimeout(() => socket.terminate(), 1);
    },
    close: (_socket, code) => void seen.push(code),
  });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(texts("first", "held"));
  await until(() => seen.length === 1, "close");
  assertEquals(seen, [1006]);
});

// --- ordered

function orderedRoute(): {
  handlers: WebSocketHandlers<undefined>;
  events: string[];
} {
  const events: string[] = [];
  const step = async (name: unknown): Promise<void> => {
    events.push(`begin ${name}`);
    await turn();
    await turn();
    events.push(`end ${name}`);
  };
  return {
    events,
    handlers: {
      open: () => step("open"),
      message: (_socket, message) => step(message),
      close: (_socket, code) => void events.push(`close ${code}`),
    },
  };
}

testBackends("an ordered route takes one message at a time", async (t) => {
  const { handlers, events } = orderedRoute();
  const server = serveRoute(t, handlers, { ordered: true });
  const client = t.using(
    await WsClient.open(server, { first: texts("a", "b") }),
  );
  await until(() => events.includes("end b"), "the first");
  await client.raw.write(concat([texts("c", "d", "e"), BYE]));
  await until(() => events.includes("close 4000"), "close");
  const names = ["open", "a", "b", "c", "d", "e"];
  assertEquals(events, [
    ...names.flatMap((name) => [`begin ${name}`, `end ${name}`]),
    "close 4000",
  ]);
});

testBackends(
  "an ordered route calls close once the handler is done, whatever the end",
  async (t) => {
    const ends: [expected: number, end: (client: WsClient) => unknown][] = [
      [4000, (client) => client.raw.write(BYE)],
      [1002, (client) => client.send({ opcode: 3 })],
      [1006, (client) => client.raw.closeWrite()],
    ];
    for (const [code, end] of ends) {
      const { handlers, events } = orderedRoute();
      const go = Promise.withResolvers<void>();
      const server = serveRoute(t, {
        ...handlers,
        async message(socket): Promise<void> {
          events.push("begin");
          await go.promise;
          events.push(socket.send("answer"));
        },
      }, { ordered: true });
      const client = t.using(await WsClient.open(server));
      await client.text("a");
      await until(() => events.includes("begin"), "the message");
      await end(client);
      await settled(() => events.length);
      assertEquals(events, ["begin open", "end open", "begin"]);
      go.resolve();
      await until(() => events.includes(`close ${code}`), "close");
      assertEquals(events.slice(3), ["sent", `close ${code}`]);
      assertEquals(await client.readText(), "answer");
    }
  },
);

testBackends(
  "an ordered route calls close once the handler is done, though the socket is gone",
  async (t) => {
    const { handlers, events } = orderedRoute();
    const go = Promise.withResolvers<void>();
    const server = serveRoute(t, {
      ...handlers,
      async message(socket): Promise<void> {
        socket.terminate();
        await go.promise;
        events.push(socket.send("answer"));
      },
    }, { ordered: true });
    const client = t.using(await WsClient.open(server));
    await client.text("a");
    await until(() => server.statistics().connections === 0, "the end");
    await settled(() => events.length);
    assertEquals(events, ["begin open", "end open"]);
    go.resolve();
    await until(() => events.includes("close 1006"), "close");
    assertEquals(events.slice(2), ["dropped", "close 1006"]);
  },
);

testBackends("a route without order does not wait", async (t) => {
  const { handlers, events } = orderedRoute();
  const server = serveRoute(t, handlers);
  t.using(await WsClient.open(server, { first: texts("a", "b") }));
  await until(() => events.includes("end b"), "the end");
  assert(events.indexOf("begin b") < events.indexOf("end a"));
});

testBackends("an ordered handler that rejects closes with 1011", async (t) => {
  const seen: unknown[] = [];
  const server = serveRoute(t, {
    async message(_socket, message): Promise<void> {
      seen.push(message);
      await turn();
      throw new Error("no");
    },
    error: () => {},
  }, { ordered: true });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(texts("a", "b"));
  assertEquals((await client.closeFrame()).code, 1011);
  assertEquals(seen, ["a"]);
});

// --- limits

testBackends("more than maxMessagesPerSecond closes with 1008", async (t) => {
  const seen: unknown[] = [];
  const server = serveRoute(t, {
    message: (_socket, message) => void seen.push(message),
  }, { maxMessagesPerSecond: 3 });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(
    concat([frame({ opcode: PING }), texts("1", "2", "3", "4", "5")]),
  );
  assertEquals((await client.frame()).payload.length, 0);
  assertEquals(await client.closeFrame(), {
    code: 1008,
    reason: "Too many messages",
  });
  assertEquals(seen, ["1", "2", "3"]);
});

testBackends("maxMessagesPerSecond counts anew as time goes by", async (t) => {
  const server = serveRoute(t, {
    message: (socket, message) => void socket.send(message),
  }, { maxMessagesPerSecond: 10 });
  const client = t.using(await WsClient.open(server));
  const echoed = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      await client.text("x");
      assertEquals(await client.readText(), "x");
    }
  };
  await echoed(10);
  const later = performance.now() + 350;
  await until(() => performance.now() > later, "three more");
  await echoed(3);
});

testBackends("maxLifetime closes with 1001", async (t) => {
  const server = serveRoute(t, {}, { maxLifetime: 50 });
  const client = t.using(await WsClient.open(server));
  assertEquals(await client.closeFrame(), {
    code: 1001,
    reason: "Lifetime over",
  });
});

testBackends("more than maxFragments closes with 1008", async (t) => {
  const seen: unknown[] = [];
  const server = serveRoute(t, {
    message: (_socket, message) => void seen.push(message),
  }, { maxFragments: 3 });
  const pieces = (count: number): Uint8Array<ArrayBuffer> =>
    concat(Array.from({ length: count }, (_, at) =>
      frame({
        opcode: at === 0 ? TEXT : CONTINUATION,
        payload: String(at),
        fin: at === count - 1,
      })));
  const client = t.using(await WsClient.open(server));
  await client.raw.write(concat([pieces(3), pieces(4)]));
  assertEquals((await client.readClose()).code, 1008);
  assertEquals(seen, ["012"]);
});

// --- pieces

testBackends("fragment is given a message larger than is held", async (t) => {
  const hash: Uint8Array[] = [];
  let pieces = 0;
  const server = serveRoute(t, {
    fragment(socket, chunk, fin): void {
      pieces++;
      hash.push((chunk as Uint8Array).slice());
      if (fin) socket.sendJson(socket.statistics().receivedMessages);
    },
  }, { maxMessageBytes: 1 << 30 });
  const client = t.using(await WsClient.open(server));
  const bytes = pattern(4 << 20);
  await client.binary(bytes);
  assertEquals(await client.readText(), "1");
  assertSameBytes(concat(hash), bytes, "the message");
  assert(pieces > 100, `${pieces} pieces`);
});

testBackends("fragment is given text without a cut character", async (t) => {
  const seen: [unknown, boolean][] = [];
  const server = serveRoute(t, {
    fragment: (_socket, chunk, fin) => void seen.push([chunk, fin]),
  });
  const client = t.using(await WsClient.open(server));
  const euro = new TextEncoder().encode("\u20ac");
  await client.raw.write(concat([
    texts("whole"),
    frame({ opcode: TEXT, payload: euro.subarray(0, 1), fin: false }),
    frame({ opcode: CONTINUATION, payload: euro.subarray(1), fin: false }),
    frame({ opcode: CONTINUATION, payload: "", fin: true }),
    frame({ opcode: BINARY, payload: "" }),
  ]));
  await until(() => seen.length === 5, "pieces");
  assertEquals(seen, [
    ["whole", true],
    ["", false],
    ["\u20ac", false],
    ["", true],
    [new Uint8Array(0), true],
  ]);
});

testBackends("pieces are held in a pause, in order", async (t) => {
  const seen: [string, boolean][] = [];
  const server = serveRoute(t, {
    fragment(socket, chunk, fin): void {
      seen.push([new TextDecoder().decode(chunk as Uint8Array), fin]);
      if (seen.length > 1) return;
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.raw.write(concat([
    frame({ opcode: BINARY, payload: "a", fin: false }),
    frame({ opcode: CONTINUATION, payload: "b", fin: false }),
    frame({ opcode: CONTINUATION, payload: "c" }),
    frame({ opcode: BINARY, payload: "d" }),
  ]));
  await until(() => seen.length === 4, "pieces");
  assertEquals(seen, [["a", false], ["b", false], ["c", true], ["d", true]]);
});

// --- debug and options

testBackends(
  "debug overwrites bytes once the handler has returned",
  async (t) => {
    const kept: Uint8Array[] = [];
    const server = serveRoute(t, {
      message(socket, message): void {
        if (typeof message === "string") return void socket.send(message);
        assertEquals(message, Uint8Array.of(1, 2, 3));
        kept.push(message);
      },
    }, { debug: true });
    const batches = serveRoute(t, {
      messages(socket, batch): void {
        for (let at = 0; at < batch.length; at++) {
          if (batch.isText(at)) socket.send(batch.text(at));
          else kept.push(batch.bytes(at));
        }
      },
    }, { debug: true });
    for (const each of [server, batches]) {
      const client = t.using(await WsClient.open(each));
      await client.raw.write(
        concat([
          frame({ opcode: BINARY, payload: Uint8Array.of(1, 2, 3) }),
          texts("text"),
        ]),
      );
      assertEquals(await client.readText(), "text");
      assertEquals(kept.at(-1), Uint8Array.of(0xdb, 0xdb, 0xdb));
    }
  },
);

testBackends(
  "debug leaves a message alone that was transferred away",
  async (t) => {
    const kept: ArrayBuffer[] = [];
    const server = serveRoute(t, {
      message(socket, message): void {
        const { buffer, byteOffset } = message as Uint8Array<ArrayBuffer>;
        kept.push(buffer.transfer().slice(byteOffset, byteOffset + 3));
        socket.send("done");
      },
    }, { debug: true });
    const client = t.using(await WsClient.open(server));
    await client.binary(Uint8Array.of(1, 2, 3));
    assertEquals(await client.readText(), "done");
    assertEquals(new Uint8Array(kept[0]!), Uint8Array.of(1, 2, 3));
  },
);

Deno.test("websocket() refuses handlers and options that cannot be", () => {
  const nothing = (): void => {};
  assertThrows(
    () => websocket({ message: nothing, messages: nothing }),
    TypeError,
    '"message" and "messages" would be given the same',
  );
  assertThrows(
    () => websocket({ messages: nothing, fragment: nothing }),
    TypeError,
  );
  assertThrows(
    () => websocket({}, { debug: 1 as unknown as boolean }),
    TypeError,
    '"debug" must be a boolean',
  );
  assertThrows(
    () => websocket({}, { maxLifetime: 2 ** 31 }),
    RangeError,
    '"maxLifetime" must be at most',
  );
  assertThrows(() => websocket({}, { maxFragments: 0 }), RangeError);
});
