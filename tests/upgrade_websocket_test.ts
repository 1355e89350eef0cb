// SPDX-License-Identifier: Apache-2.0
// Tests of upgradeWebSocket() where there is nothing to compare it with: limits,
// ends that Deno has not, and requests that cannot be upgraded. The rest is in
// differential_websocket_test.ts.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { upgradeWebSocket } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  type Context,
  latin1,
  type TcpServer,
  testBackends,
  until,
} from "./testing.ts";
import { BINARY, CLOSE, handshake, WsClient } from "./ws_client.ts";

/** Notes the events that end a socket. */
function watch(socket: WebSocket, seen: unknown[]): void {
  socket.addEventListener("open", () => seen.push("open"));
  socket.addEventListener(
    "error",
    (event) => seen.push((event as ErrorEvent).message),
  );
  socket.addEventListener(
    "close",
    ({ code, reason, wasClean }) => seen.push([code, reason, wasClean]),
  );
}

/** A server all of whose requests are upgraded. */
function serveSockets(
  t: Context,
  seen: unknown[],
  opened: (socket: WebSocket) => void = () => {},
  options: { maxQueueBytes?: number; highWatermark?: number } = {},
): TcpServer {
  return t.serve((request) => {
    const { socket, response } = upgradeWebSocket(request);
    watch(socket, seen);
    socket.addEventListener("open", () => opened(socket));
    return response;
  }, options);
}

testBackends("a copy of a request cannot be upgraded", async (t) => {
  const server = t.serve((request) => {
    const copies = [new Request(request), request.clone()];
    for (const copy of copies) {
      assertThrows(() => upgradeWebSocket(copy), TypeError, "must be the one");
    }
    return new Response("not upgraded");
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(handshake());
  assertEquals(response.text, "not upgraded");
});

testBackends("a request that was answered cannot be upgraded", async (t) => {
  let kept: Request | undefined;
  const server = t.serve((request) => {
    kept = request;
    return new Response("answered");
  });
  const client = t.using(await RawClient.connect(server));
  await client.request(handshake());
  assertThrows(() => upgradeWebSocket(kept!), TypeError, "answered already");
});

testBackends("an idleTimeout that is none throws", async (t) => {
  const server = t.serve((request) => {
    for (const idleTimeout of [-1, NaN, Infinity, "30" as never]) {
      assertThrows(
        () => upgradeWebSocket(request, { idleTimeout }),
        RangeError,
      );
    }
    return new Response("not upgraded");
  });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(handshake())).text, "not upgraded");
});

testBackends("another response than that of the upgrade is sent", async (t) => {
  const seen: unknown[] = [];
  const sockets: WebSocket[] = [];
  const server = t.serve((request) => {
    if (request.headers.get("upgrade") === null) return new Response("plain");
    const { socket } = upgradeWebSocket(request);
    watch(socket, seen);
    sockets.push(socket);
    return new Response("no", { status: 403 });
  });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(handshake())).status, 403);
  assertEquals((await client.request(get("/"))).text, "plain");
  assertEquals(sockets.map(({ readyState }) => readyState), [0]);
  assertEquals(seen, []);
});

testBackends(
  "a client that leaves before the answer ends its socket",
  async (t) => {
    const seen: unknown[] = [];
    const states: number[] = [];
    const answer = Promise.withResolvers<void>();
    const server = t.serve(async (request) => {
      const { socket, response } = upgradeWebSocket(request);
      watch(socket, seen);
      states.push(socket.readyState);
      await answer.promise;
      states.push(socket.readyState);
      return response;
    });
    using client = new ResettableSocket(server.addr.port);
    client.send(latin1(handshake()));
    await until(() => states.length > 0, "the handshake");
    client.reset();
    await until(() => seen.length === 2, "the end of the socket");
    answer.resolve();
    await until(() => states.length === 2, "the answer");
    assertEquals(seen, [
      "The peer has disconnected",
      [0, "", false],
    ]);
    assertEquals(states, [WebSocket.CONNECTING, WebSocket.CLOSED]);
  },
);

testBackends("a shutdown closes sockets with 1001", async (t) => {
  const seen: unknown[] = [];
  const states: number[] = [];
  const server = serveSockets(t, seen, (socket) => {
    const look = (): void => {
      states.push(socket.readyState);
      if (socket.readyState < WebSocket.CLOSED) setTimeout(look, 1);
    };
    look();
  });
  const client = t.using(await WsClient.open(server));
  await until(() => states.length > 0, "open");
  const down = server.shutdown();
  const close = await client.closeFrame();
  assertEquals(close, { code: 1001, reason: "Server shutting down" });
  await until(() => states.includes(WebSocket.CLOSING), "closing");
  await client.send({ opcode: CLOSE, payload: Uint8Array.of(3, 233) });
  await down;
  await until(() => states.includes(WebSocket.CLOSED), "closed");
  assertEquals(seen, ["open", [1001, "", true]]);
});

testBackends("a client that does not read is closed with 1013", async (t) => {
  const seen: unknown[] = [];
  let sent = 0;
  const server = serveSockets(t, seen, (socket) => {
    while (socket.readyState === WebSocket.OPEN) {
      socket.send(new Uint8Array(65536));
      sent++;
    }
  }, { maxQueueBytes: 4 * 1024 * 1024 });
  const client = t.using(await WsClient.open(server));
  let messages = 0;
  for (;;) {
    const { opcode, payload } = await client.frame();
    if (opcode === BINARY) messages++;
    if (opcode !== CLOSE) continue;
    assertEquals(payload[0]! << 8 | payload[1]!, 1013);
    break;
  }
  // All but the one that did not fit.
  assertEquals(messages, sent - 1);
  await client.send({ opcode: CLOSE, payload: Uint8Array.of(3, 245) });
  await until(() => seen.length === 2, "close");
  assertEquals(seen, ["open", [1013, "", true]]);
});

testBackends("a Blob that cannot be read closes with 1011", async (t) => {
  class Unreadable extends Blob {
    override arrayBuffer(): Promise<ArrayBuffer> {
      return Promise.reject(new Error("unreadable"));
    }
  }
  const seen: unknown[] = [];
  const server = serveSockets(t, seen, (socket) => {
    socket.send(new Unreadable(["a"]));
    socket.send("behind it");
  });
  const client = t.using(await WsClient.open(server));
  assertEquals((await client.closeFrame()).code, 1011);
  await client.send({ opcode: CLOSE, payload: Uint8Array.of(3, 243) });
  await until(() => seen.length === 3, "close");
  assertEquals(seen, ["open", "unreadable", [1011, "", true]]);
});

testBackends("Blobs that wait end with the connection", async (t) => {
  const seen: unknown[] = [];
  const read = Promise.withResolvers<void>();
  class Slow extends Blob {
    override async arrayBuffer(): Promise<ArrayBuffer> {
      await read.promise;
      seen.push("read");
      return new ArrayBuffer(1);
    }
  }
  const server = serveSockets(t, seen, (socket) => {
    socket.send(new Slow(["a"]));
    socket.send("behind it");
  });
  const client = t.using(await WsClient.open(server));
  await client.send({ opcode: CLOSE });
  assertEquals(await client.readClose(), { code: 1005, reason: "" });
  await until(() => seen.length === 2, "close");
  read.resolve();
  await until(() => seen.length === 3, "the end of reading");
  assertEquals(seen, ["open", [1005, "", true], "read"]);
});

testBackends("a connection that is reset has an error", async (t) => {
  const seen: unknown[] = [];
  const server = serveSockets(t, seen, (socket) => {
    // Unread by a client that closes, this makes a reset of it.
    socket.send("x");
  });
  const client = await WsClient.open(server);
  await client.raw.exactly(1);
  client.close();
  await until(() => seen.length === 3, "close");
  assertEquals([seen[0], seen[2]], ["open", [0, "", false]]);
});

testBackends("the standard client of Deno talks to it", async (t) => {
  const seen: unknown[] = [];
  const server = serveSockets(t, seen, (socket) => {
    socket.addEventListener("message", ({ data }) => socket.send(data));
  });
  const url = `ws://127.0.0.1:${server.addr.port}`;
  const client = new WebSocket(url);
  const answers: unknown[] = [];
  client.binaryType = "arraybuffer";
  client.onopen = (): void => {
    client.send("text");
    client.send(Uint8Array.of(1, 2));
  };
  client.onmessage = ({ data }): void => {
    answers.push(typeof data === "string" ? data : new Uint8Array(data));
    if (answers.length === 2) client.close(4000, "done");
  };
  await until(() => seen.length === 2, "close");
  assertEquals(answers, ["text", Uint8Array.of(1, 2)]);
  assertEquals(seen, ["open", [4000, "done", true]]);
  await until(() => client.readyState === WebSocket.CLOSED, "the client's end");
});

testBackends("nothing is heard before the handler returns", async (t) => {
  const seen: unknown[] = [];
  const go = Promise.withResolvers<void>();
  const server = t.serve(async (request) => {
    const { socket, response } = upgradeWebSocket(request);
    await go.promise;
    watch(socket, seen);
    socket.onmessage = ({ data }): void => void seen.push(data);
    return response;
  });
  const opening = WsClient.open(server, {
    first: Uint8Array.of(0x81, 0x81, 0, 0, 0, 0, 0x61),
  });
  await until(() => server.statistics().receivedBytes > 0, "the request");
  go.resolve();
  const client = t.using(await opening);
  await until(() => seen.length === 2, "the message");
  assertEquals(seen, ["open", "a"]);
  client.close();
  await until(() => seen.length > 3, "close");
  await assertRejects(() => client.text("late"));
});
