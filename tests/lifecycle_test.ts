// SPDX-License-Identifier: Apache-2.0
// Tests of servers over time: what opening and closing leaves behind, resets
// at every state, the cap of connections, and fairness to the handlers' I/O.

import { assert, assertEquals } from "@std/assert";
import { serve, websocket } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, post, RawClient } from "./raw_client.ts";
import {
  concat,
  type Context,
  latin1,
  pattern,
  quiet,
  type TcpServer,
  testBackends,
  turn,
  until,
} from "./testing.ts";
import { CLOSE, frame, handshake, PING, TEXT, WsClient } from "./ws_client.ts";

function descriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

testBackends("1000 servers leave no descriptor and no memory", async (t) => {
  const open = async (): Promise<void> => {
    const server = serve({
      port: 0,
      hostname: "127.0.0.1",
      backend: t.backend,
      onListen: quiet,
    }, () => new Response("x"));
    await server.shutdown({ timeout: 1 });
  };
  for (let round = 0; round < 100; round++) await open();
  await until(() => true, "a turn");
  const before = { fds: descriptors(), rss: Deno.memoryUsage().rss };
  for (let round = 0; round < 900; round++) await open();
  await until(() => descriptors() <= before.fds, "the descriptors");
  const grown = Deno.memoryUsage().rss - before.rss;
  assert(grown < 64 << 20, `RSS grew by ${grown}`);
});

testBackends("5000 connections leave no descriptor", async (t) => {
  const server = t.serve(() => new Response("x"));
  const before = descriptors();
  for (let round = 0; round < 50; round++) {
    const clients = await Promise.all(
      Array.from({ length: 100 }, () => RawClient.connect(server)),
    );
    await Promise.all(clients.map((client) => client.request(get("/"))));
    for (const client of clients) client.close();
  }
  await until(() => server.statistics().connections === 0, "the connections");
  assertEquals(descriptors(), before);
});

testBackends("beyond maxConnections clients wait their turn", async (t) => {
  const server = t.serve(() => new Response("x"), { maxConnections: 5 });
  const first = await Promise.all(
    Array.from({ length: 5 }, () => RawClient.connect(server)),
  );
  for (const client of first) {
    assertEquals((await client.request(get("/"))).text, "x");
  }
  const waiting = await Promise.all(
    Array.from({ length: 5 }, () => RawClient.connect(server)),
  );
  for (const client of waiting) t.using(client);
  for (const client of waiting) await client.write(get("/"));
  for (let i = 0; i < 50; i++) {
    assert(server.statistics().connections <= 5);
    await turn();
  }
  for (const client of first) client.close();
  for (const client of waiting) {
    assertEquals((await client.response()).text, "x");
  }
  assertEquals(server.statistics().refused, 0);
  assertEquals(server.statistics().accepted, 10);
});

testBackends(
  "sockets accepted over the limit wait, none is refused",
  async (t) => {
    const targets: string[] = [];
    const server = t.serve((request) => {
      targets.push(new URL(request.url).pathname);
      return new Response("x");
    }, { maxConnections: 3 });
    // All of them wait in the kernel before the server looks for the first time.
    const sockets = Array.from({ length: 60 }, (_, i) => {
      const socket = t.using(new ResettableSocket(server.addr.port));
      socket.send(latin1(get(`/${i}`)));
      return socket;
    });
    for (const [i, socket] of sockets.entries()) {
      await until(() => targets.length > i, `request ${i}`);
      assert(server.statistics().connections <= 3);
      socket.reset();
    }
    assertEquals(targets, sockets.map((_, i) => `/${i}`));
    await until(() => server.statistics().connections === 0, "the resets");
    const { accepted, refused } = server.statistics();
    assertEquals([accepted, refused], [60, 0]);
  },
);

testBackends("a full server shuts down", async (t) => {
  const server = t.serve(() => new Response("x"), { maxConnections: 2 });
  const clients = await Promise.all(
    Array.from({ length: 6 }, () => RawClient.connect(server)),
  );
  for (const client of clients) t.using(client);
  await clients[0]!.request(get("/"));
  const report = server.shutdown();
  for (const client of clients) {
    await client.ending();
    client.close();
  }
  assertEquals((await report).forced, 0);
});

testBackends("a full server that shuts down sleeps meanwhile", async (t) => {
  const go = Promise.withResolvers<void>();
  const server = t.serve(async () => {
    await go.promise;
    return new Response("x");
  }, { maxConnections: 1 });
  // Of three sockets that the kernel has at once one is served, two wait.
  const sockets = Array.from({ length: 3 }, () => {
    const socket = t.using(new ResettableSocket(server.addr.port));
    socket.send(latin1(get("/")));
    return socket;
  });
  await until(() => server.statistics().receivedBytes > 0, "the request");
  const report = server.shutdown();
  let last = -1;
  let same = 0;
  for (let turns = 0; turns < 500 && same < 20; turns++) {
    const { polls } = server.statistics();
    same = polls === last ? same + 1 : 0;
    last = polls;
    await turn();
  }
  go.resolve();
  for (const socket of sockets) socket.reset();
  await report;
  assertEquals(same, 20, "It polls again and again");
});

/** Bytes after which a client may break off, at each state of a connection. */
const STATES: { what: string; bytes: Uint8Array<ArrayBuffer> }[] = [
  { what: "nothing sent", bytes: latin1("") },
  { what: "inside the head", bytes: latin1(get("/").slice(0, 10)) },
  { what: "after the request", bytes: latin1(get("/")) },
  { what: "after many requests", bytes: latin1(get("/").repeat(200)) },
  { what: "before a slow answer", bytes: latin1(get("/slow")) },
  {
    what: "inside the body",
    bytes: latin1(post("/", "x".repeat(99)).slice(0, -9)),
  },
  { what: "inside a big answer", bytes: latin1(get("/big")) },
  { what: "inside a stream", bytes: latin1(get("/stream")) },
  { what: "after a refusal", bytes: latin1("BAD\r\n\r\n") },
  {
    what: "inside the handshake",
    bytes: latin1(handshake("/ws").slice(0, 50)),
  },
  { what: "after the handshake", bytes: latin1(handshake("/ws")) },
  {
    what: "inside a frame",
    bytes: concat([
      latin1(handshake("/ws")),
      frame({ opcode: TEXT, payload: "hello" }).subarray(0, 8),
    ]),
  },
  {
    what: "between fragments",
    bytes: concat([
      latin1(handshake("/ws")),
      frame({ opcode: TEXT, payload: "hello", fin: false }),
      frame({ opcode: PING }),
    ]),
  },
  {
    what: "after a close frame",
    bytes: concat([latin1(handshake("/ws")), frame({ opcode: CLOSE })]),
  },
];

function everything(t: Context, closes: number[]): TcpServer {
  const route = websocket({
    open: (socket) => void socket.send(pattern(1000)),
    message: (socket, message) => void socket.send(message),
    close: (_socket, code) => void closes.push(code),
  });
  return t.serve(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/ws") return route.upgrade(request);
    if (pathname === "/slow") await turn();
    if (pathname === "/big") return new Response(pattern(4 << 20));
    if (pathname === "/stream") return new Response(ticks());
    await request.text().catch(() => {});
    return new Response("x");
  });
}

function ticks(): ReadableStream<Uint8Array> {
  return new ReadableStream({
    async pull(controller): Promise<void> {
      await turn();
      controller.enqueue(new Uint8Array(10_000));
    },
  });
}

testBackends("resets at every state are survived", async (t) => {
  const closes: number[] = [];
  const server = everything(t, closes);
  const good = t.using(await RawClient.connect(server));
  const before = descriptors();
  for (let round = 0; round < 20; round++) {
    const sockets = STATES.map(({ bytes }) => {
      const socket = t.using(new ResettableSocket(server.addr.port));
      socket.send(bytes);
      return socket;
    });
    // Half of the rounds the server has seen them when they break off.
    if (round % 2 === 0) {
      for (let i = 0; i < round; i++) await turn();
    }
    for (const socket of sockets) socket.reset();
    assertEquals((await good.request(get("/"))).text, "x");
  }
  await until(() => server.statistics().connections === 1, "the resets");
  assertEquals(descriptors(), before);
});

testBackends("a storm of resets is survived", async (t) => {
  const server = everything(t, []);
  const good = t.using(await RawClient.connect(server));
  for (let round = 0; round < 100; round++) {
    for (let i = 0; i < 50; i++) {
      using socket = new ResettableSocket(server.addr.port);
      socket.send(STATES[i % STATES.length]!.bytes);
      socket.reset();
    }
    assertEquals((await good.request(get("/"))).text, "x");
  }
  await until(() => server.statistics().connections === 1, "the resets");
});

testBackends("a saturated loop starves no handler's I/O", async (t) => {
  const upstream = t.serve(() => new Response("upstream"));
  const plain = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: quiet },
    () => new Response("plain"),
  );
  const server = t.serve(async (request) => {
    if (!request.url.endsWith("/io")) return new Response("busy");
    await turn();
    const texts: string[] = [];
    for (const { addr } of [upstream, plain]) {
      const response = await fetch(`http://127.0.0.1:${addr.port}/`);
      texts.push(await response.text());
    }
    return new Response(texts.join());
  });
  let busy = true;
  const saturate = async (): Promise<number> => {
    using client = await RawClient.connect(server);
    const requests = get("/").repeat(64);
    let rounds = 0;
    for (; busy; rounds++) {
      await client.write(requests);
      for (let i = 0; i < 64; i++) await client.response();
    }
    return rounds;
  };
  const load = [saturate(), saturate()];
  const client = t.using(await RawClient.connect(server));
  for (let round = 0; round < 10; round++) {
    assertEquals((await client.request(get("/io"))).text, "upstream,plain");
  }
  busy = false;
  for (const rounds of await Promise.all(load)) assert(rounds > 0);
  await plain.shutdown();
});

testBackends("a handler's timers go on under WebSocket load", async (t) => {
  const route = websocket({
    message: (socket, message) => void socket.send(message),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await WsClient.open(server));
  let busy = true;
  const load = (async (): Promise<void> => {
    const messages = concat(
      new Array(64).fill(frame({ opcode: TEXT, payload: "x" })),
    );
    while (busy) {
      await client.raw.write(messages);
      for (let i = 0; i < 64; i++) await client.readText();
    }
  })();
  for (let i = 0; i < 20; i++) await turn();
  busy = false;
  await load;
});
