// SPDX-License-Identifier: Apache-2.0
// Tests of how WebSocket connections live and end: when close is told, pings
// to the quiet, and requests that cannot be upgraded.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { websocket, type WebSocketHandlers } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  type Context,
  latin1,
  type TcpServer,
  testBackends,
  until,
} from "./testing.ts";
import {
  CLOSE,
  closePayload,
  frame,
  handshake,
  PING,
  PONG,
  TEXT,
  WsClient,
} from "./ws_client.ts";

type Close = [code: number, reason: string, readyState: number];

function serveRoute(
  t: Context,
  handlers: WebSocketHandlers<undefined>,
  options: Parameters<typeof websocket>[1] = {},
): { server: TcpServer; closes: Close[] } {
  const closes: Close[] = [];
  const route = websocket({
    ...handlers,
    close: (socket, code, reason): void => {
      closes.push([code, reason, socket.readyState]);
    },
  }, options);
  return { server: t.serve((request) => route.upgrade(request)), closes };
}

// --- when close is told

testBackends("close is told when the peer's close is answered", async (t) => {
  const { server, closes } = serveRoute(t, {});
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: CLOSE, payload: closePayload(4000, "bye") });
  await until(() => closes.length > 0, "close");
  // The answer has not even been read, and TCP is there.
  assertEquals(server.statistics().connections, 1);
  assertEquals(closes, [[4000, "bye", 3]]);
  assertEquals((await client.readClose()).code, 4000);
});

testBackends("close is told when the peer answers ours", async (t) => {
  const { server, closes } = serveRoute(t, {
    message: (socket) => socket.close(4001, "ours"),
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals(await client.closeFrame(), { code: 4001, reason: "ours" });
  assertEquals(closes, []);
  await client.send({ opcode: CLOSE, payload: closePayload(4001, "theirs") });
  await until(() => closes.length > 0, "close");
  assertEquals(server.statistics().connections, 1);
  assertEquals(closes, [[4001, "theirs", 3]]);
  assertEquals(await client.raw.rest(), "");
});

testBackends("close is told at the peer's FIN, TCP or not", async (t) => {
  const { server, closes } = serveRoute(t, {
    message: (socket) => {
      for (let i = 0; i < 14; i++) socket.send(new Uint8Array(1 << 20));
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  await until(() => server.statistics().sentBytes > 1 << 16, "messages");
  await client.raw.closeWrite();
  await until(() => closes.length > 0, "close");
  // Much is still to be sent to a peer that has not read any of it.
  assertEquals(server.statistics().connections, 1);
  assertEquals(closes, [[1006, "", 3]]);
});

testBackends("close is told after a violation", async (t) => {
  const { server, closes } = serveRoute(t, {});
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: TEXT, payload: "x", masked: false });
  await until(() => closes.length > 0, "close");
  assertEquals(server.statistics().connections, 1);
  assertEquals(closes, [[1002, "frame not masked", 3]]);
  assertEquals((await client.readClose()).code, 1002);
});

testBackends("close is told of a reset, with its name", async (t) => {
  let opens = 0;
  const { server, closes } = serveRoute(t, { open: () => void opens++ });
  const socket = t.using(new ResettableSocket(server.addr.port));
  socket.send(latin1(handshake()));
  await until(() => opens === 1, "open");
  socket.reset();
  await until(() => closes.length > 0, "close");
  assertEquals(closes, [[1006, "ECONNRESET", 3]]);
});

testBackends("nothing is told after close", async (t) => {
  const events: string[] = [];
  const route = websocket({
    message: (_socket, message) => void events.push(String(message)),
    drain: () => void events.push("drain"),
    close: (socket) => {
      events.push("close", socket.send("x"));
      socket.close();
      socket.terminate();
    },
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: CLOSE, payload: closePayload(1000) });
  await client.text("late");
  await client.send({ opcode: PING });
  await client.send({ opcode: CLOSE, payload: closePayload(1000) });
  assertEquals((await client.readClose()).code, 1000);
  client.close();
  await until(() => server.statistics().connections === 0, "the end");
  assertEquals(events, ["close", "dropped"]);
});

// --- the quiet

testBackends(
  "a quiet socket is pinged and stays while it answers",
  async (t) => {
    const { server, closes } = serveRoute(t, {
      message: (socket, message) => void socket.send(message),
    }, { idleTimeout: 600 });
    const client = t.using(await WsClient.open(server));
    for (let round = 0; round < 4; round++) {
      const ping = await client.frame();
      assertEquals([ping.opcode, ping.fin, ping.payload.length], [
        PING,
        true,
        0,
      ]);
      await client.send({ opcode: PONG });
    }
    await client.text("alive");
    assertEquals(await client.readText(), "alive");
    assertEquals(closes, []);
    assertEquals(server.statistics().timeouts, 0);
  },
);

testBackends("any byte counts as a sign of life", async (t) => {
  const { server } = serveRoute(t, {
    message: (socket, message) => void socket.send(message),
  }, { idleTimeout: 600 });
  const client = t.using(await WsClient.open(server));
  const bytes = frame({ opcode: TEXT, payload: "slow" });
  for (const byte of bytes.subarray(0, 4)) {
    assertEquals((await client.frame()).opcode, PING);
    await client.raw.write(Uint8Array.of(byte));
  }
  await client.raw.write(bytes.subarray(4));
  assertEquals(await client.readText(), "slow");
});

testBackends("a quiet socket that does not answer is closed", async (t) => {
  const { server, closes } = serveRoute(t, {}, { idleTimeout: 400 });
  const client = t.using(await WsClient.open(server));
  const { opcode, payload } = await client.frame();
  assertEquals([opcode, payload.length], [PING, 0]);
  // One ping, no more, and then the end without a close frame.
  assertEquals((await client.raw.ending()).text, "");
  await until(() => closes.length > 0, "close");
  assertEquals(closes, [[1006, "ETIMEDOUT", 3]]);
  assertEquals(server.statistics().timeouts, 1);
});

testBackends("a closing socket is not pinged", async (t) => {
  const { server, closes } = serveRoute(t, {
    message: (socket) => socket.close(4000),
  }, { idleTimeout: 200, closeTimeout: 900 });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.closeFrame()).code, 4000);
  assertEquals((await client.raw.ending()).text, "");
  await until(() => closes.length > 0, "close");
  assertEquals(closes, [[1006, "ETIMEDOUT", 3]]);
});

testBackends("a ping does not make drain follow", async (t) => {
  let drains = 0;
  const { server } = serveRoute(t, {
    message: (socket, message) => void socket.send(message),
    drain: () => void drains++,
  }, { idleTimeout: 400 });
  const client = t.using(await WsClient.open(server));
  assertEquals((await client.frame()).opcode, PING);
  await client.text("x");
  assertEquals(await client.readText(), "x");
  assertEquals(drains, 0);
});

testBackends(
  "a message that the kernel takes at once is not queued",
  async (t) => {
    let queued = 0;
    let drains = 0;
    const { server } = serveRoute(t, {
      message(socket): void {
        if (socket.send(new Uint8Array(100_000)) === "queued") queued++;
      },
      drain: () => void drains++,
    }, { highWatermark: 50_000 });
    const client = t.using(await WsClient.open(server));
    for (let round = 0; round < 10; round++) {
      await client.text("go");
      assertEquals((await client.readBinary()).length, 100_000);
      await until(() => drains === queued, "drain follows, if it has to");
    }
  },
);

// --- what cannot be upgraded

const FIELDS = handshake().slice(handshake().indexOf("\r\n") + 2);

const HOPELESS: { what: string; request: string }[] = [
  { what: "HTTP/1.0", request: `GET / HTTP/1.0\r\n${FIELDS}` },
  {
    what: "HTTP/1.0 with keep-alive",
    request: `GET / HTTP/1.0\r\n${
      FIELDS.replace("Connection: Upgrade", "Connection: Upgrade, keep-alive")
    }`,
  },
  {
    what: "a body",
    request: `GET / HTTP/1.1\r\nContent-Length: 3\r\n${FIELDS}abc`,
  },
  {
    what: "a chunked body",
    request: `GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${FIELDS}` +
      "3\r\nabc\r\n0\r\n\r\n",
  },
];

for (const { what, request } of HOPELESS) {
  testBackends(`upgrade() answers ${what} with 400`, async (t) => {
    const errors: unknown[] = [];
    const route = websocket({});
    const server = t.serve((request) => route.upgrade(request), {
      onError: (error) => {
        errors.push(error);
        return new Response("failed", { status: 500 });
      },
    });
    const client = t.using(await RawClient.connect(server));
    const response = await client.request(request);
    assertEquals(response.status, 400);
    assertStringIncludes(response.text, "HTTP/1.1 without a body");
    assertEquals(errors, []);
    if (what === "HTTP/1.0") {
      assertEquals(response.field("connection"), "close");
      assertEquals((await client.ending()).text, "");
    } else {
      // It was a request like any other.
      assertEquals((await client.request(get("/"))).status, 426);
      assertEquals((await client.request(handshake())).status, 101);
    }
  });
}

testBackends("a handler may read the body of a hopeless upgrade", async (t) => {
  const server = t.serve(async (request) =>
    new Response(`${request.headers.get("upgrade")} ${await request.text()}`)
  );
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    HOPELESS[2]!.request.replace("GET", "POST"),
  );
  assertEquals(response.text, "websocket abc");
  assertEquals((await client.request(get("/"))).text, "null ");
});

testBackends("an empty body does not hinder an upgrade", async (t) => {
  const route = websocket({});
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    `GET / HTTP/1.1\r\nContent-Length: 0\r\n${FIELDS}`,
  );
  assertEquals(response.status, 101);
});
