// SPDX-License-Identifier: Apache-2.0
// Tests of an application of the action router from start to shutdown, and of
// what differs between its listeners, on both backends.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { serve } from "../mod.ts";
import {
  type Codec,
  json,
  raw,
  rpc,
  rpcClient,
  RpcCode,
  type RpcOptions,
} from "../lib/rpc.ts";
import { Gate } from "./executor_gate.ts";
import { asError, asJson, packet, testCarriers } from "./packet_client.ts";
import { RawClient } from "./raw_client.ts";
import {
  concat,
  deadline,
  pattern,
  quiet,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";
import { BINARY, handshake, TEXT, WsClient } from "./ws_client.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

/** JSON with every character moved by one, to be told from plain JSON. */
const shifted: Codec = {
  encode: (value) => json.encode(value, 0, "reply").map((byte) => byte + 1),
  decode: (bytes) => json.decode(bytes.map((byte) => byte - 1), 0, "request"),
};

testBackends("one router is served by several listeners at once", async (t) => {
  const where = { ...LOCAL, backend: t.backend };
  const path = await Deno.makeTempDir();
  const app = rpc();
  app.route(1, ({ connection, body }) => [connection.transport, body]);
  const tcp = app.listenTcp(where);
  const other = app.listenTcp({ ...where, codec: shifted });
  const unix = app.listenTcp({ path: `${path}/socket`, backend: t.backend });
  const web = app.listenWebSocket({ ...where, path: "/rpc" });
  assertThrows(() => tcp.addr, TypeError, "not started");
  await app.start();
  for (const [listener, kind] of [[tcp, "tcp"], [unix, "unix"]] as const) {
    using raw = await RawClient.connect({
      addr: listener.addr as Deno.NetAddr,
    });
    await raw.write(packet(1, 2, '"x"'));
    const reply = packet(1, 2, `["${kind}","x"]`);
    assertEquals(await raw.exactly(reply.length), reply);
  }
  {
    using raw = await RawClient.connect({ addr: other.addr as Deno.NetAddr });
    await raw.write(packet(1, 2, shifted.encode("x", 1, "request")));
    const reply = packet(1, 2, shifted.encode(["tcp", "x"], 1, "reply"));
    assertEquals(await raw.exactly(reply.length), reply);
  }
  const addr = web.addr as Deno.NetAddr;
  const url = `ws://127.0.0.1:${addr.port}/rpc`;
  await using client = await rpcClient(url, { backend: t.backend });
  assertEquals(await client.call(1, "x"), ["websocket", "x"]);
  const elsewhere = await fetch(`http://127.0.0.1:${addr.port}/`);
  assertEquals([elsewhere.status, await elsewhere.text()], [404, "Not found"]);
  await app.shutdown();
  await assertRejects(
    () => RawClient.connect({ addr: tcp.addr as Deno.NetAddr }),
    Deno.errors.ConnectionRefused,
  );
  await Deno.remove(path, { recursive: true });
});

testBackends("a server that is there already has a route", async (t) => {
  const app = rpc().route(1, () => "mounted");
  const route = app.websocket();
  const server = t.serve((request) =>
    request.headers.has("upgrade")
      ? route.upgrade(request, { headers: { "x-more": "yes" } })
      : new Response("a page")
  );
  const { port } = server.addr;
  const client = await rpcClient(`ws://127.0.0.1:${port}/`, {
    backend: t.backend,
  });
  assertEquals(await client.call(1), "mounted");
  const page = await fetch(`http://127.0.0.1:${port}/`);
  assertEquals(await page.text(), "a page");
  await app.shutdown();
  assertEquals(await client.closed, null);
  using raw = await RawClient.connect(server);
  const refusal = await raw.request(handshake());
  assertEquals([refusal.status, refusal.text], [503, "The server shuts down"]);
});

testBackends("a client chooses its codec by the subprotocol", async (t) => {
  const app = rpc({ codecs: { json, shifted } }).route(1, ({ body }) => body);
  const where = { ...LOCAL, backend: t.backend };
  const listener = app.listenWebSocket(where);
  await app.start();
  const server = { addr: listener.addr as Deno.NetAddr };
  const ask = async (offer: string | null, codec: Codec): Promise<unknown> => {
    const fields = offer === null ? {} : { "Sec-WebSocket-Protocol": offer };
    using ws = await WsClient.open(server, { fields });
    const body = codec.encode("x", 1, "request");
    await ws.binary(packet(1, 2, body).subarray(4));
    const reply = await ws.readBinary();
    assertEquals(codec.decode(reply.subarray(4), 1, "reply"), "x");
    return ws.response.field("sec-websocket-protocol");
  };
  assertEquals(await ask(null, json), null);
  assertEquals(await ask("json", json), "json");
  assertEquals(await ask("other, shifted, json", shifted), "shifted");
  assertEquals(await ask("other", json), null);
  const url = `ws://127.0.0.1:${server.addr.port}/`;
  await using client = await rpcClient(url, {
    protocol: "shifted",
    codec: shifted,
    backend: t.backend,
  });
  assertEquals(await client.call(1, [1]), [1]);
  await client.close();
  await app.shutdown();
});

testCarriers(
  "a shutdown answers what is in flight, and takes nothing new",
  async (t) => {
    const app = t.app();
    const gate = Promise.withResolvers<string>();
    const began = Promise.withResolvers<void>();
    app.route(1, () => {
      began.resolve();
      return gate.promise;
    });
    const client = await t.connect(app);
    const idle = await t.connect(app);
    await client.send(1, 1);
    await began.promise;
    const shutdown = app.shutdown();
    await idle.closed();
    await client.send(1, 2);
    gate.resolve("done");
    assertEquals(asJson(await client.receive()), [1, 1, "done"]);
    await client.closed();
    await deadline(shutdown, "shutdown");
    assertEquals(app.statistics().requests, 1);
    await app.shutdown();
  },
);

testCarriers("a shutdown cuts what is not done in time", async (t) => {
  const app = t.app();
  const reasons: unknown[] = [];
  app.route(1, ({ signal }) => {
    signal.addEventListener("abort", () => void reasons.push(signal.reason));
    return new Promise(() => {});
  });
  const client = await t.connect(app);
  await client.send(1, 1);
  await until(() => app.statistics().inFlight === 1, "the request");
  await deadline(app.shutdown({ timeout: 5 }), "shutdown");
  assert(reasons[0] instanceof Deno.errors.ConnectionAborted);
  assertThrows(() => app.listenTcp(LOCAL), TypeError, "shuts down");
  await assertRejects(() => app.start(), TypeError, "shut down before");
});

Deno.test("run() starts, waits for its signal, and shuts down; each is told of", async () => {
  const told: string[] = [];
  const app = rpc().route(1, () => "hello");
  const listener = app.listenTcp(LOCAL);
  const stop = new AbortController();
  const note = (event: string, ready: boolean) => async (): Promise<void> => {
    await Promise.resolve();
    let listens = true;
    try {
      void listener.addr;
    } catch {
      listens = false;
    }
    assertEquals(listens, ready);
    told.push(event);
    if (event === "afterStart") stop.abort();
  };
  app.on("beforeStart", note("beforeStart", false));
  app.on("afterStart", note("afterStart", true));
  app.on("beforeShutdown", note("beforeShutdown", true));
  app.on("afterShutdown", note("afterShutdown", true));
  app.on("afterShutdown", () => {
    throw new Error("mine");
  });
  const logged = await withoutErrors(() => app.run(stop.signal));
  assertEquals(logged.length, 1);
  assertEquals(told, [
    "beforeStart",
    "afterStart",
    "beforeShutdown",
    "afterShutdown",
  ]);
  assertThrows(() => app.on("begin" as "beforeStart", quiet), TypeError);
});

Deno.test("when one listener cannot listen, the others are closed again", async () => {
  const taken = serve({ ...LOCAL, onListen: quiet }, () => new Response());
  const app = rpc();
  const first = app.listenTcp(LOCAL);
  app.listenTcp({ ...LOCAL, port: taken.addr.port });
  await assertRejects(() => app.start(), Deno.errors.AddrInUse);
  await assertRejects(
    () => RawClient.connect({ addr: first.addr as Deno.NetAddr }),
    Deno.errors.ConnectionRefused,
  );
  await taken.shutdown();
});

Deno.test("a listener that is added later listens at once", async () => {
  await using app = rpc().route(1, () => 1);
  await app.start();
  const { addr } = app.listenTcp(LOCAL);
  using raw = await RawClient.connect({ addr: addr as Deno.NetAddr });
  await raw.write(packet(1, 1));
  assertEquals((await raw.exactly(9))[8], 0x31);
});

testCarriers(
  "a client that ends its direction is answered first",
  async (t) => {
    if (t.carrier === "WebSocket") return;
    const app = t.app();
    app.route(1, async () => {
      await Promise.resolve();
      return "late";
    });
    const client = await t.connect(app);
    await client.sendAll([[1, 1], [1, 2]]);
    await client.raw.closeWrite();
    assertEquals(asJson(await client.receive()), [1, 1, "late"]);
    assertEquals(asJson(await client.receive()), [1, 2, "late"]);
    assertEquals(await client.raw.rest(), "");
  },
);

testBackends(
  "a client that has ended its direction is not waited for without an end",
  async (t) => {
    const app = rpc();
    const gone = Promise.withResolvers<unknown>();
    app.route(1, ({ signal }) => {
      signal.addEventListener("abort", () => gone.resolve(signal.reason));
      return new Promise(() => {});
    });
    const where = { ...LOCAL, backend: t.backend };
    const listener = app.listenTcp({ ...where, idleTimeout: 50 });
    await app.start();
    using raw = await RawClient.connect({
      addr: listener.addr as Deno.NetAddr,
    });
    await raw.write(packet(1, 1));
    await raw.closeWrite();
    const reason = await deadline(gone.promise, "the end");
    assert(reason instanceof Deno.errors.ConnectionAborted);
    await app.shutdown();
  },
);

testCarriers("callbacks whose promises reject harm nobody", async (t) => {
  const opened = Promise.withResolvers<void>();
  const app = t.app({
    onOpen: ({ id }) => id === 1 ? opened.promise : undefined,
    onClose: () => Promise.reject("in onClose"),
    onError: () => Promise.reject("in onError"),
  });
  app.route(1, () => {
    throw new Error("in the handler");
  });
  const logged = await withoutErrors(async () => {
    const first = await t.connect(app);
    opened.reject("in onOpen");
    await until(() => app.connections.length === 0, "the first one's end");
    const second = await t.connect(app);
    await second.send(1, 1);
    assertEquals(asError(await second.receive())[2], RpcCode.Internal);
    first.raw.close();
    second.raw.close();
    await until(() => app.connections.length === 0, "the end");
    await turn();
  });
  assertEquals(logged.map(([, what]) => what), [
    "in onOpen",
    "in onClose",
    "in onError",
    "in onClose",
  ]);
});

testBackends("a shutdown while the application starts ends that", async (t) => {
  const app = rpc();
  const listener = app.listenTcp({ ...LOCAL, backend: t.backend });
  const gate = Promise.withResolvers<void>();
  app.on("beforeStart", () => gate.promise);
  const start = app.start();
  const shutdown = app.shutdown();
  gate.resolve();
  await assertRejects(() => start, TypeError, "shut down");
  await shutdown;
  assertThrows(() => listener.addr, TypeError, "not started");
});

testBackends(
  "packets may be as small and as large as the option allows",
  async (t) => {
    for (const maxPacketBytes of [8, 2 ** 30]) {
      const app = rpc({ maxPacketBytes }).route(1, () => undefined, {
        codec: raw,
      });
      const where = { ...LOCAL, backend: t.backend };
      const listeners = {
        tcp: app.listenTcp(where),
        ws: app.listenWebSocket(where),
      };
      await app.start();
      for (const [scheme, { addr }] of Object.entries(listeners)) {
        const url = `${scheme}://127.0.0.1:${(addr as Deno.NetAddr).port}`;
        await using client = await rpcClient(url, {
          maxPacketBytes,
          codec: raw,
          backend: t.backend,
        });
        assertEquals(await client.call(1), new Uint8Array(0));
      }
      await app.shutdown();
    }
  },
);

Deno.test("run() refuses a timeout that is wrong before it starts", async () => {
  const app = rpc();
  const { signal } = new AbortController();
  await assertRejects(() => app.run(signal, { timeout: -1 }), RangeError);
  await app.start();
  await app.shutdown();
});

testCarriers(
  "replies that wait for room are sent before the connection closes",
  async (t) => {
    for (const order of ["completion", "request"] as const) {
      const app = t.app({ order });
      const reply = "x".repeat(1_000_000);
      const gate = Promise.withResolvers<string>();
      app.route(1, () => gate.promise);
      const client = await t.connect(app);
      const sequences = [1, 2, 3, 4, 5, 6, 7, 8];
      await client.sendAll(sequences.map((sequence) => [1, sequence]));
      await until(() => app.statistics().inFlight === 8, "all requests");
      gate.resolve(reply);
      await turn();
      const [connection] = app.connections;
      assert(connection!.inFlight > 0);
      if (order === "completion") {
        // Behind the replies; afterwards none of them waits.
        assertEquals(connection!.push(100), "queued");
        assertEquals(connection!.inFlight, 0);
        sequences.push(0);
      }
      connection!.close();
      for (const sequence of sequences) {
        assertEquals((await client.receive()).sequence, sequence);
      }
      await client.closed();
    }
  },
);

testBackends(
  "cutting what a worker does is no error of its handler",
  async (t) => {
    const errors: unknown[] = [];
    const ends: (Error | null)[] = [];
    const app = rpc({
      onError: (error) => void errors.push(error),
      onClose: (_, error) => void ends.push(error),
    });
    using gate = new Gate();
    app.route(1, "hang", {
      worker: new URL("executor_jobs.ts", import.meta.url),
      parse: () => gate.buffer,
    });
    const route = app.websocket();
    const server = t.serve((request) => route.upgrade(request));
    using ws = await WsClient.open(server);
    await ws.binary(packet(1, 1, "null").subarray(4));
    await until(() => app.statistics().inFlight === 1, "the request");
    await app.shutdown({ timeout: 1 });
    await until(() => ends.length === 1, "the end");
    assertEquals(ends, [null]);
    assertEquals(errors, []);
    ws[Symbol.dispose]();
    await server.shutdown();
  },
);

testCarriers("a handler may cut its own connection", async (t) => {
  const errors: (Error | null)[] = [];
  const app = t.app({ onClose: (_, error) => void errors.push(error) });
  app.route(1, ({ connection }) => connection.terminate());
  const client = await t.connect(app);
  await client.send(1, 1);
  await until(() => errors.length === 1, "the end");
  assertEquals(errors, [null]);
});

testBackends("a stream that ends within a packet is told of", async (t) => {
  const errors: (Error | null)[] = [];
  const app = rpc({ onClose: (_, error) => void errors.push(error) });
  const listener = app.listenTcp({ ...LOCAL, backend: t.backend });
  await app.start();
  const server = { addr: listener.addr as Deno.NetAddr };
  using raw = await RawClient.connect(server);
  await raw.write(packet(1, 1, "abc").subarray(0, 9));
  await raw.closeWrite();
  const error = await raw.exactly(8);
  assertEquals([...error.subarray(4)], [0xff, 0xff, 0, 0]);
  await raw.rest();
  await until(() => errors.length === 1, "the end");
  assert(errors[0]!.message.includes("ended within a frame, after 9 bytes"));
  await app.shutdown();
});

testBackends("a WebSocket that sends no packets is closed", async (t) => {
  const app = rpc();
  const listener = app.listenWebSocket({ ...LOCAL, backend: t.backend });
  await app.start();
  const server = { addr: listener.addr as Deno.NetAddr };
  const cases = [
    [TEXT, "Packets are binary messages, not text"],
    [BINARY, "A packet has at least 4 bytes"],
  ] as const;
  for (const [opcode, message] of cases) {
    using ws = await WsClient.open(server);
    await ws.send({ opcode, payload: "abc" });
    const error = await ws.readBinary();
    const [action, sequence, body] = [
      error.subarray(0, 2),
      error.subarray(2, 4),
      error.slice(4),
    ];
    assertEquals([...action, ...sequence], [0xff, 0xff, 0, 0]);
    assertEquals(
      asError({ action: -1, sequence: 0, body }),
      [0, 0, RpcCode.Malformed, message],
    );
    assertEquals((await ws.closeFrame()).code, 1002);
  }
  await app.shutdown();
});

testBackends("random bytes harm nobody", async (t) => {
  const app = rpc({ maxPacketBytes: 1000 });
  app.route(0, ({ body }) => body);
  const tcp = app.listenTcp({ ...LOCAL, backend: t.backend });
  const web = app.listenWebSocket({ ...LOCAL, backend: t.backend });
  await app.start();
  for (let seed = 1; seed <= 30; seed++) {
    const bytes = pattern(50 + seed, seed);
    using raw = await RawClient.connect({ addr: tcp.addr as Deno.NetAddr });
    const head = seed % 2 === 0 ? Uint8Array.of(0, 0, 0, 12 + seed % 20) : [];
    await raw.write(concat([Uint8Array.from(head), bytes]));
    await raw.closeWrite();
    await raw.rest();
    using ws = await WsClient.open({ addr: web.addr as Deno.NetAddr });
    await ws.binary(bytes);
    await ws.binary(packet(0, 1, "1").subarray(4));
    await ws.readBinary();
  }
  await until(() => app.connections.length === 0, "all ends");
  assertEquals(app.statistics().inFlight, 0);
  await app.shutdown();
});

Deno.test("options that are wrong are refused", () => {
  const wrong: [object, string][] = [
    [{ codec: 1 }, "codec"],
    [{ codecs: { a: {} } }, "codec"],
    [{ order: "random" }, "order"],
    [{ maxInFlight: 0 }, "maxInFlight"],
    [{ maxPacketBytes: 7 }, "maxPacketBytes"],
    [{ maxPacketBytes: 2 ** 30 + 1 }, "maxPacketBytes"],
    [{ timeout: -1 }, "timeout"],
    [{ onOpen: 1 }, "onOpen"],
    [{ more: 1 }, "more"],
  ];
  for (const [options, name] of wrong) {
    assertThrows(() => rpc(options as RpcOptions), Error, name);
  }
  const app = rpc().route(1, () => 1);
  assertThrows(() => app.route(1, () => 1), TypeError, "a route already");
  assertThrows(() => app.route(-1, () => 1), RangeError, "not -1");
  assertThrows(() => app.route(1.5, () => 1), RangeError);
  assertThrows(() => app.route(2, "name"), TypeError, "worker");
  const url = new URL(import.meta.url);
  assertThrows(() => app.route(2, () => 1, { worker: url }), TypeError);
  for (const options of [{ ordered: true }, { maxMessageBytes: 5 }]) {
    assertThrows(() => app.websocket(options as object), TypeError, "unknown");
  }
  assertThrows(() => app.websocket({ codec: {} as Codec }), TypeError, "codec");
  assertThrows(() => app.use(1 as unknown as () => void), TypeError);
});

Deno.test("an address that is none is refused", async () => {
  const wrong = [
    "http://localhost/",
    "localhost:1",
    "tcp://localhost",
    "tcp://localhost:1/path",
    "tcp://a b:1",
    "unix:",
    "",
  ];
  for (const address of wrong) {
    await assertRejects(() => rpcClient(address), TypeError, "must be like");
  }
  await assertRejects(() => rpcClient("tcp://localhost:99999"), RangeError);
  await assertRejects(
    () => rpcClient("tcp://localhost:1", { protocol: "json" }),
    TypeError,
    "WebSockets alone",
  );
});
