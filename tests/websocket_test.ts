// SPDX-License-Identifier: Apache-2.0
// Tests of websocket(): upgrades, what the methods of a socket refuse, and
// handlers that fail.

import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { type ServerWebSocket, websocket } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  concat,
  latin1,
  pattern,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  ECHO,
  frame,
  handshake,
  serveRoute,
  TEXT,
  WsClient,
} from "./ws_client.ts";

// --- handshake

testBackends("upgrade() answers 101 with protocol and fields", async (t) => {
  const seen: string[] = [];
  const route = websocket<{ name: string }>({
    open: (socket) => void seen.push(socket.data.name, socket.protocol),
    message: (socket) => void socket.send(socket.data.name),
  });
  const server = t.serve((request) =>
    route.upgrade(request, {
      data: { name: new URL(request.url).pathname },
      protocol: "chat",
      headers: [["x-one", "1"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]],
    })
  );
  const client = t.using(
    await WsClient.open(server, {
      target: "/me",
      fields: { "Sec-WebSocket-Protocol": "other, chat" },
    }),
  );
  const { response } = client;
  assertEquals(response.field("sec-websocket-protocol"), "chat");
  assertEquals(response.field("upgrade"), "websocket");
  assertEquals(response.field("connection")?.toLowerCase(), "upgrade");
  assertEquals(response.field("sec-websocket-extensions"), null);
  assertEquals(response.field("x-one"), "1");
  assertEquals(response.all("set-cookie"), ["a=1", "b=2"]);
  await client.text("who");
  assertEquals(await client.readText(), "/me");
  assertEquals(seen, ["/me", "chat"]);
});

testBackends("middleware may make the 101 anew", async (t) => {
  const route = websocket(ECHO);
  const server = t.serve((request) => {
    const { headers, body } = route.upgrade(request, {
      headers: { "x-one": "1", "x-two": "2" },
    });
    headers.set("x-one", "changed");
    headers.delete("x-two");
    headers.set("x-three", "3");
    headers.set("upgrade", "other");
    headers.set("sec-websocket-accept", "forged");
    return new Response(body, { status: 101, headers });
  });
  const client = t.using(await WsClient.open(server));
  const { response } = client;
  assertEquals(response.field("x-one"), "changed");
  assertEquals(response.field("x-two"), null);
  assertEquals(response.field("x-three"), "3");
  assertEquals(response.field("upgrade"), "websocket");
  await client.text("hello");
  assertEquals(await client.readText(), "hello");
});

testBackends("an upgrade that is not returned does not happen", async (t) => {
  const route = websocket({ open: () => assert(false, "opened") });
  const server = t.serve((request) => {
    route.upgrade(request);
    return new Response("refused", { status: 403 });
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(handshake());
  assertEquals([response.status, response.text], [403, "refused"]);
  assertEquals((await client.request(get("/"))).status, 403);
});

testBackends(
  "a 101 without an upgrade is an error of the handler",
  async (t) => {
    const route = websocket(ECHO);
    let other: Response | undefined;
    const server = t.serve((request) => {
      const { pathname } = new URL(request.url);
      // The upgrade of another request is none of this one.
      if (pathname === "/other") return other!;
      if (pathname === "/made") return new Response(null, { status: 101 });
      other = route.upgrade(request);
      return new Response("kept");
    });
    const logged = await withoutErrors(async () => {
      const client = t.using(await RawClient.connect(server));
      assertEquals((await client.request(handshake())).status, 200);
      for (const request of [handshake("/other"), handshake("/made")]) {
        assertEquals((await client.request(request)).status, 500);
      }
      assertEquals((await client.request(get("/made"))).status, 500);
    });
    assertEquals(logged.length, 3);
    assertStringIncludes(
      String(logged[0]![0]),
      "Cannot answer 101: the request was not",
    );
  },
);

testBackends("upgrade() sends field values as Latin-1", async (t) => {
  const route = websocket(ECHO);
  const server = t.serve((request) =>
    route.upgrade(request, { headers: { "x-name": "J\xfcrgen" } })
  );
  const client = t.using(await WsClient.open(server));
  assertEquals(client.response.field("x-name"), "J\xfcrgen");
});

testBackends("upgrade() may come from an async handler", async (t) => {
  const route = websocket(ECHO);
  const server = t.serve(async (request) => {
    await turn();
    return route.upgrade(request);
  });
  const client = t.using(await WsClient.open(server));
  await client.text("late");
  assertEquals(await client.readText(), "late");
});

testBackends("upgrade() throws for a protocol not offered", async (t) => {
  const errors: unknown[] = [];
  const route = websocket(ECHO);
  const server = t.serve(
    (request) => route.upgrade(request, { protocol: "chat" }),
    {
      onError: (error) => {
        errors.push(error);
        return new Response("no", { status: 500 });
      },
    },
  );
  for (const offer of [{}, { "Sec-WebSocket-Protocol": "chatter, cha" }]) {
    const client = t.using(await RawClient.connect(server));
    const response = await client.request(handshake("/", offer));
    assertEquals(response.status, 500);
  }
  assertEquals(errors.length, 2);
  assert(errors.every((error) => error instanceof TypeError));
});

testBackends("upgrade() throws for a request of one's own", async (t) => {
  const route = websocket(ECHO);
  assertThrows(
    () => route.upgrade(new Request("http://localhost/")),
    TypeError,
    "the request must be the one",
  );
  await Promise.resolve();
  assertEquals(t.backend.length > 0, true);
});

testBackends("an upgrade that is refused leaves HTTP as it was", async (t) => {
  const server = t.serve((request) => new Response(request.url));
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(handshake("/a") + get("/b"));
  assertEquals(response.text, "http://test/a");
  assertEquals((await client.response()).text, "http://test/b");
});

testBackends("frames sent with the handshake are served", async (t) => {
  const server = serveRoute(t, ECHO);
  const first = concat([
    frame({ opcode: TEXT, payload: "one" }),
    frame({ opcode: BINARY, payload: pattern(5000) }),
    frame({ opcode: TEXT, payload: "two" }),
  ]);
  const client = t.using(await WsClient.open(server, { first }));
  assertEquals(await client.readText(), "one");
  assertSameBytes(await client.readBinary(), pattern(5000), "echo");
  assertEquals(await client.readText(), "two");
});

testBackends("frames wait for an upgrade that takes its time", async (t) => {
  const route = websocket(ECHO);
  const server = t.serve(async (request) => {
    await turn();
    await turn();
    return route.upgrade(request);
  });
  const first = frame({ opcode: BINARY, payload: pattern(100_000) });
  const client = t.using(await WsClient.open(server, { first }));
  assertSameBytes(await client.readBinary(), pattern(100_000), "echo");
});

testBackends("a handshake may come behind other requests", async (t) => {
  const route = websocket(ECHO);
  const server = t.serve((request) =>
    request.url.endsWith("/ws") ? route.upgrade(request) : new Response("http")
  );
  const client = t.using(await RawClient.connect(server));
  await client.write(concat([
    latin1(get("/") + get("/") + handshake("/ws")),
    frame({ opcode: TEXT, payload: "ws" }),
  ]));
  assertEquals((await client.response()).text, "http");
  assertEquals((await client.response()).text, "http");
  const socket = new WsClient(client, await client.response());
  assertEquals(socket.response.status, 101);
  assertEquals(await socket.readText(), "ws");
});

testBackends("open() may send before anything arrives", async (t) => {
  const server = serveRoute(t, {
    open: (socket) => void socket.send("welcome"),
  });
  const client = t.using(await WsClient.open(server));
  assertEquals(await client.readText(), "welcome");
});

testBackends("socket.remoteAddr is the peer's address", async (t) => {
  let addr: Deno.Addr | null = null;
  const server = serveRoute(t, {
    open: (socket) => void (addr = socket.remoteAddr),
  });
  const client = t.using(await WsClient.open(server));
  assertEquals(addr as Deno.Addr | null, {
    transport: "tcp",
    hostname: "127.0.0.1",
    port: client.raw.localPort,
  });
});

// --- misuse

testBackends("a socket refuses what must not be sent", async (t) => {
  const done: ServerWebSocket<undefined>[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000]) {
        assertThrows(() => socket.close(code), RangeError, `${code}`);
      }
      assertThrows(() => socket.close(1000.5), RangeError);
      assertThrows(() => socket.close(NaN), RangeError);
      assertThrows(() => socket.close(1000, "x".repeat(124)), SyntaxError);
      assertThrows(() => socket.close(1000, "€".repeat(42)), SyntaxError);
      assertThrows(() => socket.ping(new Uint8Array(126)), RangeError);
      for (const bad of [undefined, null, 1, {}, [1, 2], new Blob()]) {
        assertThrows(() => socket.send(bad as never), TypeError);
      }
      assertThrows(() => socket.ping("text" as never), TypeError);
      assertEquals(socket.readyState, 1);
      done.push(socket);
      socket.send("still here");
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.text("try");
  assertEquals(await client.readText(), "still here");
  assertEquals(done.length, 1);
});

testBackends("send() after close is dropped", async (t) => {
  const statuses: unknown[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      statuses.push(socket.send("last"));
      socket.close(4000, "enough");
      socket.close(4001);
      statuses.push(socket.readyState, socket.send("more"), socket.ping());
    },
    close(socket, code): void {
      statuses.push(socket.readyState, socket.send("gone"), code);
      socket.close(1000);
      socket.terminate();
      statuses.push(socket.bufferedAmount);
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.text("x");
  assertEquals(await client.readText(), "last");
  assertEquals(await client.closeFrame(), { code: 4000, reason: "enough" });
  await client.text("ignored");
  await client.send({ opcode: CLOSE, payload: closePayload(4000) });
  assertEquals(await client.raw.rest(), "");
  client.close();
  await until(() => statuses.length > 4, "close");
  assertEquals(statuses, [
    "sent",
    2,
    "dropped",
    "dropped",
    3,
    "dropped",
    4000,
    0,
  ]);
});

const OPTION_NAMES = [
  "maxMessageBytes",
  "idleTimeout",
  "closeTimeout",
  "highWatermark",
  "maxQueueBytes",
] as const;

for (const name of OPTION_NAMES) {
  const least = ["maxMessageBytes", "idleTimeout"].includes(name) ? 0 : 1;
  Deno.test(`websocket() refuses values out of range for ${name}`, () => {
    for (const bad of [least - 1, 1.5, NaN, Infinity, 2 ** 32, "1", null, {}]) {
      const error = assertThrows(
        () => websocket({}, { [name]: bad as number }),
        RangeError,
        `"${name}" must be an integer from ${least} to 4294967295`,
      );
      assert(error.message.startsWith("Cannot make a WebSocket route: "));
    }
    for (const good of [least, least + 1, 2 ** 32 - 1, undefined]) {
      websocket({}, { [name]: good } as never);
    }
  });
}

Deno.test("websocket() refuses a lowWatermark above the other one", () => {
  for (const lowWatermark of [-1, 1.5, 1001, NaN, "1" as never]) {
    assertThrows(
      () => websocket({}, { highWatermark: 1000, lowWatermark }),
      RangeError,
      '"lowWatermark" must be an integer from 0 to "highWatermark" (1000)',
    );
  }
  for (const lowWatermark of [0, 1000]) {
    websocket({}, { highWatermark: 1000, lowWatermark });
  }
});

Deno.test("websocket() refuses unknown options", () => {
  for (const name of ["idletimeout", "perMessageDeflate", "toString", ""]) {
    assertThrows(
      () => websocket({}, { [name]: 1 } as never),
      TypeError,
      `unknown option "${name}"`,
    );
  }
  // Even without a value: a name that is wrong is wrong.
  assertThrows(() => websocket({}, { nope: undefined } as never), TypeError);
});

Deno.test("websocket() refuses callbacks that are none", () => {
  for (const handlers of [undefined, null, () => {}]) {
    assertThrows(
      () => websocket(handlers as never),
      TypeError,
      "Cannot make a WebSocket route: an object of callbacks must be given",
    );
  }
  for (const name of ["open", "message", "drain", "close"]) {
    assertThrows(
      () => websocket({ [name]: "no function" } as never),
      TypeError,
      `"${name}" must be a function, is "no function"`,
    );
  }
});

testBackends("options that are undefined have their defaults", async (t) => {
  const server = serveRoute(t, ECHO, {
    maxMessageBytes: undefined,
    idleTimeout: undefined,
  } as never);
  const client = t.using(await WsClient.open(server));
  await client.binary(pattern(1 << 20));
  assertSameBytes(await client.readBinary(), pattern(1 << 20), "an echo");
});

testBackends("handlers that throw close with 1011, others go on", async (t) => {
  const closes: number[] = [];
  const route = websocket({
    message(socket, message): void | Promise<void> {
      if (message === "throw") throw new Error("thrown");
      if (message === "reject") return Promise.reject(new Error("rejected"));
      socket.send(message);
    },
    close: (_socket, code) => void closes.push(code),
  });
  const calls = await withoutErrors(async () => {
    const server = t.serve((request) => route.upgrade(request));
    const good = t.using(await WsClient.open(server));
    for (const how of ["throw", "reject"]) {
      const bad = t.using(await WsClient.open(server));
      await bad.text(how);
      assertEquals((await bad.closeFrame()).code, 1011);
      await bad.send({ opcode: CLOSE, payload: closePayload(1011) });
      assertEquals(await bad.raw.rest(), "");
      bad.close();
      await good.text(how + "!");
      assertEquals(await good.readText(), how + "!");
    }
    await until(() => closes.length === 2, "close");
  });
  assertEquals(closes.length, 2);
  assertStringIncludes(String(calls[0]), "thrown");
});

testBackends("open() that throws closes with 1011", async (t) => {
  const closes: number[] = [];
  await withoutErrors(async () => {
    const server = serveRoute(t, {
      open: () => {
        throw new Error("thrown");
      },
      close: (_socket, code) => {
        closes.push(code);
        throw new Error("thrown again");
      },
    });
    const client = t.using(await WsClient.open(server));
    assertEquals((await client.closeFrame()).code, 1011);
    client.close();
    await until(() => closes.length === 1, "close");
  });
});

testBackends("an idle socket is closed with 1006", async (t) => {
  const closes: number[] = [];
  const server = serveRoute(t, {
    close: (_socket, code) => void closes.push(code),
  }, { idleTimeout: 300 });
  const client = t.using(await WsClient.open(server));
  await client.raw.ending();
  await until(() => closes.length > 0, "close");
  assertEquals(closes, [1006]);
});

testBackends("a socket that is reset is closed once with 1006", async (t) => {
  let opens = 0;
  const closes: number[] = [];
  const server = serveRoute(t, {
    open: () => void opens++,
    close: (_socket, code) => void closes.push(code),
  });
  const request = latin1(handshake());
  for (let round = 0; round < 50; round++) {
    const socket = t.using(new ResettableSocket(server.addr.port));
    socket.send(request);
    await until(() => opens === round + 1, "open");
    socket.send(frame({ opcode: TEXT, payload: "x" }).subarray(0, round % 8));
    socket.reset();
  }
  await until(() => server.statistics().connections === 0, "the resets");
  assertEquals(closes, new Array(50).fill(1006));
});
