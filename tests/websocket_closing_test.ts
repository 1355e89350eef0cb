// SPDX-License-Identifier: Apache-2.0
// Tests of the closing handshake as a server begins or answers it (RFC 6455
// sections 5.5.1, 5.5.2 and 7), of ends without one, and of what may not be sent.

import { assert, assertEquals, assertThrows } from "@std/assert";
import type { ServerWebSocket } from "../mod.ts";
import { concat, pattern, testBackends, until } from "./testing.ts";
import { isCloseCode } from "./websocket_generated.ts";
import {
  CLOSE,
  closePayload,
  frame,
  PING,
  PONG,
  serveRoute,
  TEXT,
  WsClient,
} from "./ws_client.ts";

type Close = [code: number, reason: string];

testBackends("socket.close() sends all, then its code", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      for (let i = 0; i < 10; i++) socket.send(pattern(10_000, i));
      socket.close(4321, "reason €");
    },
    close: (_socket, ...close) => void closes.push(close),
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  for (let i = 0; i < 10; i++) {
    assertEquals((await client.readBinary()).length, 10_000);
  }
  assertEquals(await client.closeFrame(), { code: 4321, reason: "reason €" });
  await client.send({ opcode: CLOSE, payload: closePayload(4321, "echoed") });
  assertEquals(await client.raw.rest(), "");
  client.close();
  await until(() => closes.length === 1, "close");
  assertEquals(closes, [[4321, "echoed"]]);
});

testBackends("a close frame without an answer times out", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    message: (socket) => socket.close(1000),
    close: (_socket, ...close) => void closes.push(close),
  }, { closeTimeout: 300 });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.closeFrame()).code, 1000);
  await until(() => closes.length === 1, "close");
  assertEquals(closes[0]![0], 1006);
  await client.raw.ending();
});

testBackends("terminate() ends without a close frame", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    message: (socket) => socket.terminate(),
    close: (_socket, ...close) => void closes.push(close),
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.raw.ending()).text, "");
  await until(() => closes.length === 1, "close");
  assertEquals(closes[0]![0], 1006);
});

testBackends("a peer that leaves without a word is 1006", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    close: (_socket, ...close) => void closes.push(close),
  });
  const half = t.using(await WsClient.open(server));
  await half.raw.closeWrite();
  await half.raw.ending();
  half.close();
  await until(() => closes.length === 1, "close");
  const cut = await WsClient.open(server);
  await cut.raw.write(frame({ opcode: TEXT, payload: "half" }).subarray(0, 7));
  cut.close();
  await until(() => closes.length === 2, "close");
  assertEquals(closes.map(([code]) => code), [1006, 1006]);
});

testBackends("every open is followed by one close", async (t) => {
  const log = new Map<ServerWebSocket<undefined>, string[]>();
  const server = serveRoute(t, {
    open: (socket) => void log.set(socket, ["open"]),
    message: (socket, message) => {
      log.get(socket)!.push("message");
      if (message === "close") socket.close();
      if (message === "terminate") socket.terminate();
    },
    close: (socket) => void log.get(socket)!.push("close"),
  });
  for (let round = 0; round < 40; round++) {
    const client = t.using(await WsClient.open(server));
    await client.text(["x", "close", "terminate", "y"][round % 4]!);
    if (round % 3 === 0) {
      await client.send({ opcode: CLOSE, payload: closePayload(1000) })
        .catch(() => {});
    }
    client.close();
  }
  await until(() => server.statistics().connections === 0, "the connections");
  await until(
    () => [...log.values()].every((events) => events.includes("close")),
    "close",
  );
  for (const events of log.values()) {
    assertEquals(events[0], "open");
    assertEquals(events.at(-1), "close");
    assertEquals(events.filter((event) => event === "close").length, 1);
  }
});

testBackends("no other close code can be sent than a legal one", async (t) => {
  const wrong: number[] = [];
  const server = serveRoute(t, {
    message(socket): void {
      for (let code = 0; code <= 5000; code++) {
        if (isCloseCode(code)) continue;
        try {
          socket.close(code);
          wrong.push(code);
        } catch (error) {
          assert(error instanceof RangeError, `${code}: ${error}`);
        }
      }
      assertThrows(() => socket.close(1000, "€".repeat(42)), SyntaxError);
      socket.close(3000, "€".repeat(41));
    },
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals(await client.closeFrame(), {
    code: 3000,
    reason: "€".repeat(41),
  });
  assertEquals(wrong, []);
});

testBackends("every legal close code can be sent", async (t) => {
  const server = serveRoute(t, {
    message: (socket, code) => socket.close(Number(code), "why"),
  });
  for (const code of [1000, 1001, 1003, 1008, 1011, 1014, 3000, 4999]) {
    const client = t.using(await WsClient.open(server));
    await client.text(`${code}`);
    assertEquals(await client.closeFrame(), { code, reason: "why" });
  }
});

testBackends("a ping behind our close frame is answered", async (t) => {
  const pinged: unknown[] = [];
  const server = serveRoute(t, {
    message: (socket) => socket.close(4000),
    ping: (_socket, payload) => void pinged.push(payload),
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.closeFrame()).code, 4000);
  await client.send({ opcode: PING, payload: "still there?" });
  const { opcode, payload } = await client.frame();
  assertEquals(opcode, PONG);
  assertEquals(new TextDecoder().decode(payload), "still there?");
  // Behind the peer's own close frame nothing is answered any more.
  await client.raw.write(concat([
    frame({ opcode: CLOSE, payload: closePayload(4000) }),
    frame({ opcode: PING, payload: "and now?" }),
  ]));
  assertEquals(await client.raw.rest(), "");
  assertEquals(pinged, []);
});

testBackends("no message follows our close frame", async (t) => {
  let socket!: ServerWebSocket<undefined>;
  const server = serveRoute(t, {
    open: (opened) => {
      socket = opened;
      socket.subscribe("topic");
    },
  });
  const client = t.using(await WsClient.open(server));
  socket.send("last");
  socket.sendFragment("begun", false);
  socket.close(1000);
  assertEquals(socket.send("more"), "dropped");
  assertEquals(socket.sendFragment("ended", true), "dropped");
  assertEquals(socket.ping(), "dropped");
  server.publish("topic", "published");
  assertEquals(await client.readText(), "last");
  assertEquals((await client.frame()).fin, false);
  assertEquals((await client.closeFrame()).code, 1000);
  await client.send({ opcode: CLOSE, payload: closePayload(1000) });
  assertEquals(await client.raw.rest(), "");
});

testBackends("close frames may cross each other", async (t) => {
  const closes: Close[] = [];
  const messages: unknown[] = [];
  let socket!: ServerWebSocket<undefined>;
  const server = serveRoute(t, {
    open: (opened) => void (socket = opened),
    message: (_socket, message) => void messages.push(message),
    close: (_socket, ...close) => void closes.push(close),
  });
  const client = t.using(await WsClient.open(server));
  // The server has not seen the client's when it sends its own.
  const { receivedBytes } = server.statistics();
  socket.close(4001, "ours");
  await client.raw.write(concat([
    frame({ opcode: TEXT, payload: "on its way" }),
    frame({ opcode: CLOSE, payload: closePayload(4002, "theirs") }),
  ]));
  assertEquals(await client.readClose(), { code: 4001, reason: "ours" });
  assert(server.statistics().receivedBytes > receivedBytes);
  await until(() => closes.length === 1, "close");
  assertEquals(closes, [[4002, "theirs"]]);
  assertEquals(messages, []);
});

testBackends("a violation behind our close frame ends it", async (t) => {
  const closes: Close[] = [];
  const server = serveRoute(t, {
    message: (socket) => socket.close(4000),
    close: (_socket, ...close) => void closes.push(close),
  });
  const client = t.using(await WsClient.open(server));
  await client.text("go");
  assertEquals((await client.closeFrame()).code, 4000);
  await client.send({ opcode: 3 });
  // No second close frame, and no waiting for an answer to the first.
  assertEquals(await client.raw.rest(), "");
  await until(() => closes.length === 1, "close");
  assertEquals(closes, [[1002, "unknown opcode"]]);
});

testBackends("the server ends TCP first, and at once", async (t) => {
  const server = serveRoute(t, {});
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: CLOSE, payload: closePayload(1000) });
  assertEquals((await client.readClose()).code, 1000);
  // It waits for the client's FIN, so that nothing of its own is lost.
  assertEquals(server.statistics().connections, 1);
  await client.raw.closeWrite();
  await until(() => server.statistics().connections === 0, "the end");
});
