// SPDX-License-Identifier: Apache-2.0
// Tests of rawSocket(): connections that leave HTTP, on both backends.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { rawSocket, type Socket } from "../mod.ts";
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

const MIB = 1024 * 1024;
const UPGRADE = get("/", "Connection: upgrade\r\nUpgrade: x/1, echo\r\n");
const CONNECT = "CONNECT other:1 HTTP/1.1\r\nHost: other:1\r\n\r\n";

// Reads no faster than its peer does.
const echo = rawSocket({
  data(socket, chunk): void {
    if (socket.write(chunk) !== "sent") socket.pause();
  },
  drain: (socket) => socket.resume(),
});

testBackends("an upgrade names its protocol and carries bytes", async (t) => {
  const server = t.serve((request) =>
    echo.upgrade(request, {
      protocol: "ECHO",
      headers: { "x-more": "yes", "content-length": "5", connection: "no" },
    })
  );
  const client = t.using(await RawClient.connect(server));
  const { status, reason, fields } = await client.request(UPGRADE);
  assertEquals([status, reason], [101, "Switching Protocols"]);
  assertEquals(fields, [
    ["upgrade", "ECHO"],
    ["connection", "Upgrade"],
    ["x-more", "yes"],
  ]);
  await client.write("hello");
  assertEquals(await client.exactly(5), latin1("hello"));
  await client.closeWrite();
  assertEquals(await client.rest(), "");
});

testBackends("CONNECT is answered without framing fields", async (t) => {
  const server = t.serve((request) => echo.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.write(CONNECT);
  assertEquals(
    await client.through("\r\n\r\n"),
    latin1("HTTP/1.1 200 Connection Established\r\n\r\n"),
  );
  await client.write("hello");
  assertEquals(await client.exactly(5), latin1("hello"));
});

testBackends(
  "without a protocol the client's first one is taken",
  async (t) => {
    const server = t.serve((request) => echo.upgrade(request));
    const client = t.using(await RawClient.connect(server));
    assertEquals((await client.request(UPGRADE)).field("upgrade"), "x/1");
  },
);

testBackends("what cannot be upgraded is refused", async (t) => {
  const server = t.serve((request) => {
    const protocol = request.headers.get("x-protocol");
    return echo.upgrade(request, protocol === null ? {} : { protocol });
  });
  const client = t.using(await RawClient.connect(server));
  const ask = async (request: string): Promise<unknown> => {
    const { status, text, all } = await client.request(request);
    return [status, text, ...all("upgrade")];
  };
  assertEquals(await ask(get("/")), [400, "Upgrade or CONNECT expected"]);
  assertEquals(
    await ask(get("/", "Upgrade: x\r\n")),
    [400, "HTTP/1.1 without a body expected, and Connection to name upgrade"],
  );
  const y = "X-Protocol: y\r\n";
  assertEquals(
    await ask(get("/", `Connection: upgrade\r\nUpgrade: x\r\n${y}`)),
    [426, "Upgrade to y expected", "y"],
  );
  assertEquals(await ask(get("/", y)), [426, "Upgrade to y expected", "y"]);
  assertEquals(
    await ask(CONNECT.replace("\r\n\r\n", `\r\n${y}\r\n`)),
    [426, "Upgrade to y expected", "y"],
  );
  assertEquals(
    await ask(
      `POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n` +
        "Content-Length: 2\r\n\r\nhi",
    ),
    [400, "HTTP/1.1 without a body expected, and Connection to name upgrade"],
  );
});

testBackends("an upgrade that is no upgrade throws", async (t) => {
  const thrown: unknown[] = [];
  const server = t.serve((request) => {
    const attempts = [
      () => echo.upgrade(new Request("http://a/")),
      () => echo.upgrade(request, { protocol: "a b" }),
      () => echo.upgrade(request, { protocol: "a\r\nb: c" }),
      () => echo.upgrade(request, { headers: { a: "b\r\nc: d" } }),
    ];
    for (const attempt of attempts) {
      try {
        attempt();
      } catch (error) {
        thrown.push(error instanceof TypeError);
      }
    }
    return new Response();
  });
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  assertEquals(thrown, [true, true, true, true]);
});

Deno.test("rawSocket() knows its options and their ranges", () => {
  const make = (options: Record<string, unknown>) => () =>
    void rawSocket({}, options);
  assertThrows(make({ idle: 1 }), TypeError, 'unknown option "idle"');
  assertThrows(make({ idleTimeout: -1 }), RangeError, '"idleTimeout"');
  assertThrows(make({ highWatermark: 0 }), RangeError, '"highWatermark"');
  assertThrows(
    make({ highWatermark: 1, lowWatermark: 2 }),
    RangeError,
    '"lowWatermark"',
  );
  assertThrows(make({ maxQueueBytes: 1.5 }), RangeError, '"maxQueueBytes"');
  make({ idleTimeout: 0, highWatermark: undefined })();
  const noCallback = { data: "no function" } as never;
  assertThrows(() => void rawSocket(noCallback), TypeError, '"data" must be');
  const nothing = undefined as never;
  assertThrows(() => void rawSocket(nothing), TypeError, "object of callbacks");
});

testBackends("bytes behind the head arrive once, wherever cut", async (t) => {
  const server = t.serve(async (request) => {
    await turn();
    return echo.upgrade(request);
  });
  const bytes = latin1(UPGRADE + "first bytes");
  for (let cut = 1; cut <= bytes.length; cut++) {
    using client = await RawClient.connect(server);
    await client.write(bytes.subarray(0, cut));
    await turn();
    await client.write(bytes.subarray(cut));
    await client.closeWrite();
    await client.through("\r\n\r\n");
    assertEquals(await client.rest(), "first bytes");
  }
});

testBackends("requests before an upgrade are answered first", async (t) => {
  const go = Promise.withResolvers<void>();
  const server = t.serve(async (request, info) => {
    if (request.headers.has("upgrade")) return echo.upgrade(request);
    await go.promise;
    void info.completed;
    return new Response(request.url);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/1") + get("/2") + UPGRADE + "leftover");
  await turn();
  go.resolve();
  for (const n of [1, 2]) {
    assertEquals((await client.response()).text, `http://test/${n}`);
  }
  assertEquals((await client.response()).status, 101);
  assertEquals(await client.exactly(8), latin1("leftover"));
});

testBackends("10 MiB go through in both directions at once", async (t) => {
  const server = t.serve((request) => echo.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  const bytes = pattern(10 * MIB);
  const [received] = await Promise.all([
    client.exactly(bytes.length),
    client.write(bytes),
  ]);
  assertSameBytes(received, bytes, "echo");
});

testBackends("a peer that does not read holds the socket up", async (t) => {
  const statuses: string[] = [];
  let drained = 0;
  let socket!: Socket;
  const flood = rawSocket({
    open(opened): void {
      socket = opened;
      for (let i = 0; i < 40; i++) statuses.push(socket.write(pattern(MIB, i)));
    },
    drain: () => void drained++,
  });
  const server = t.serve((request) => flood.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.write(UPGRADE);
  await client.through("\r\n\r\n");
  await until(() => statuses.length === 40, "the flood");
  // What the kernel has room for comes on top of the 16 MiB.
  assert(statuses.indexOf("dropped") >= 16, statuses.join());
  assertEquals(statuses.at(-1), "dropped");
  assert(socket.bufferedAmount > MIB && socket.bufferedAmount <= 16 * MIB);
  assertEquals(drained, 0);
  const parts = statuses.flatMap((s, i) => s === "dropped" ? [] : [i]);
  const expected = concat(parts.map((i) => pattern(MIB, i)));
  assertSameBytes(await client.exactly(expected.length), expected, "flood");
  await until(() => drained === 1, "drain");
  assertEquals(socket.write("more"), "sent");
  assertEquals(await client.exactly(4), latin1("more"));
});

testBackends("drain comes at the low watermark of the route", async (t) => {
  const amounts: number[] = [];
  const flood = rawSocket({
    open(socket): void {
      while (socket.bufferedAmount < 15 * MIB) socket.write(pattern(MIB));
    },
    drain: (socket) => void amounts.push(socket.bufferedAmount),
  }, { highWatermark: 10 * MIB, lowWatermark: 8 * MIB });
  const server = t.serve(
    (request) => flood.upgrade(request),
    { lowWatermark: 0 },
  );
  const client = t.using(await RawClient.connect(server));
  await client.write(UPGRADE);
  await client.through("\r\n\r\n");
  while (amounts.length === 0) {
    await client.exactly(65536);
    await turn();
  }
  // No socket takes as much as the watermark at once.
  assert(amounts[0]! > 0 && amounts[0]! <= 8 * MIB, `${amounts[0]}`);
});

testBackends("a paused socket reads nothing and loses nothing", async (t) => {
  const chunks: Uint8Array[] = [];
  let ended = 0;
  let socket!: Socket;
  const slow = rawSocket({
    open: (opened) => void (socket = opened),
    data(_socket, chunk): void {
      chunks.push(chunk.slice());
      socket.pause();
    },
    end: () => void ended++,
  });
  const server = t.serve((request) => slow.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  const bytes = pattern(2 * MIB);
  const written = client.write(bytes).then(() => client.closeWrite());
  await until(() => chunks.length === 1, "the first chunk");
  for (let i = 0; i < 20; i++) await turn();
  assertEquals([chunks.length, ended], [1, 0]);
  while (ended === 0) {
    const { length } = chunks;
    socket.resume();
    await until(() => chunks.length > length || ended > 0, "more");
    assert(chunks.length <= length + 1, "a chunk while paused");
  }
  await written;
  assertSameBytes(concat(chunks), bytes, "what was read");
  socket.end();
  assertEquals(await client.rest(), "");
});

testBackends("either side may end first, and the other goes on", async (t) => {
  const log: string[] = [];
  const sockets: Socket[] = [];
  const route = rawSocket({
    open: (socket) => void sockets.push(socket),
    data: (_socket, chunk) => void log.push(String.fromCharCode(...chunk)),
    end: () => void log.push("end"),
    close: (_socket, error) => void log.push(`close ${error}`),
  });
  const server = t.serve((request) => route.upgrade(request));

  const first = t.using(await RawClient.connect(server));
  await first.request(UPGRADE);
  await first.write("a");
  await first.closeWrite();
  await until(() => log.length === 2, "the peer's end");
  assertEquals(sockets[0]!.write("still here"), "sent");
  sockets[0]!.end();
  assertEquals([sockets[0]!.writable, sockets[0]!.write("late")], [
    false,
    "dropped",
  ]);
  assertEquals(await first.rest(), "still here");
  await until(() => log.length === 3, "close");

  const second = t.using(await RawClient.connect(server));
  await second.request(UPGRADE);
  await until(() => sockets.length === 2, "open");
  sockets[1]!.end();
  assertEquals(await second.rest(), "");
  await second.write("b");
  await until(() => log.length === 4, "data after the end");
  await second.closeWrite();
  await until(() => log.length === 6, "close");
  assertEquals(log, ["a", "end", "close null", "b", "end", "close null"]);
});

testBackends("close() sends what waits, and reads no more", async (t) => {
  const log: string[] = [];
  const route = rawSocket({
    open(socket): void {
      socket.write(pattern(MIB));
      socket.close();
      log.push(socket.write("late"));
    },
    data: () => void log.push("data"),
    close: (_socket, error) => void log.push(`close ${error}`),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.write(UPGRADE + "unread");
  await client.through("\r\n\r\n");
  assertSameBytes(latin1(await client.rest()), pattern(MIB), "what waited");
  client.close();
  await until(() => log.length === 2, "close");
  assertEquals(log, ["dropped", "close null"]);
});

testBackends("terminate() resets, and close is told once", async (t) => {
  const log: string[] = [];
  const route = rawSocket({
    data(socket): void {
      socket.terminate();
      socket.terminate();
      socket.close();
      socket.end();
      socket.pause();
      socket.resume();
      log.push(socket.write("late"));
    },
    close: (_socket, error) => void log.push(`close ${error}`),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  await client.write("x");
  assertEquals(await client.ending(), { text: "", reset: true });
  await until(() => log.length === 2, "close");
  assertEquals(log, ["dropped", "close null"]);
});

testBackends("an end that comes with the head is told once", async (t) => {
  const log: string[] = [];
  const route = rawSocket({
    end(socket): void {
      log.push("end");
      if (log.length > 1) return;
      socket.write("still here");
      setTimeout(() => socket.end(), 50);
    },
    close: (_socket, error) => void log.push(`close ${error}`),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await Promise.all([client.write(UPGRADE), client.closeWrite()]);
  await until(() => log.at(-1) === "close null", "close");
  assertEquals(log, ["end", "close null"]);
});

testBackends("a reset is told as one", async (t) => {
  const errors: (Error | null)[] = [];
  let opened = 0;
  const route = rawSocket({
    open: () => void opened++,
    close: (_socket, error) => void errors.push(error),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(new ResettableSocket(server.addr.port));
  client.send(latin1(UPGRADE));
  await until(() => opened === 1, "open");
  client.reset();
  await until(() => errors.length === 1, "close");
  assert(errors[0] instanceof Deno.errors.ConnectionReset, `${errors[0]}`);
});

testBackends("a quiet socket is closed when it has been idle", async (t) => {
  const errors: (Error | null)[] = [];
  const route = rawSocket({
    close: (_socket, error) => void errors.push(error),
  }, { idleTimeout: 200 });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  assertEquals((await client.ending()).text, "");
  await until(() => errors.length === 1, "close");
  assert(errors[0] instanceof Deno.errors.TimedOut, `${errors[0]}`);
});

for (const kind of ["throws", "rejects"]) {
  testBackends(`a callback that ${kind} harms its socket alone`, async (t) => {
    const errors: unknown[] = [];
    const route = rawSocket({
      data(socket, chunk): void | Promise<void> {
        if (chunk[0] !== 0) return void socket.write(chunk);
        if (kind === "throws") throw new Error("oops");
        return Promise.reject(new Error("oops"));
      },
      close: (_socket, error) => void errors.push(error?.message),
    });
    const server = t.serve((request) => route.upgrade(request));
    const good = t.using(await RawClient.connect(server));
    const bad = t.using(await RawClient.connect(server));
    await good.request(UPGRADE);
    await bad.request(UPGRADE);
    const logged = await withoutErrors(async () => {
      await bad.write(Uint8Array.of(0));
      assert((await bad.ending()).reset);
      await until(() => errors.length === 1, "close");
    });
    assertEquals(errors, ["oops"]);
    assertEquals(logged.length, 1);
    await good.write("fine");
    assertEquals(await good.exactly(4), latin1("fine"));
  });
}

testBackends("shutdown() tells sockets and waits for them", async (t) => {
  const log: string[] = [];
  const route = rawSocket({
    shutdown(socket): void {
      log.push("shutdown");
      socket.write("bye");
      socket.end();
    },
    close: (_socket, error) => void log.push(`close ${error}`),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  const report = server.shutdown();
  assertEquals(await client.rest(), "bye");
  client.close();
  assertEquals(await report, { connections: 1, requests: 0, forced: 0 });
  assertEquals(log, ["shutdown", "close null"]);
});

testBackends("shutdown() cuts the others at its deadline", async (t) => {
  const errors: (Error | null)[] = [];
  const kept: Socket[] = [];
  const route = rawSocket({
    open: (socket) => void kept.push(socket),
    close: (_socket, error) => void errors.push(error),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  const report = await server.shutdown({ timeout: 50 });
  assertEquals(report, { connections: 1, requests: 0, forced: 1 });
  assert(errors[0] instanceof Deno.errors.Interrupted, `${errors[0]}`);
  const socket = kept[0]!;
  socket.close();
  socket.terminate();
  socket.resume();
  assertEquals([socket.write("late"), socket.bufferedAmount], ["dropped", 0]);
  assertEquals(errors.length, 1);
});

testBackends(
  "a socket that was paused hears the end when it resumes",
  async (t) => {
    const log: string[] = [];
    let socket!: Socket;
    const route = rawSocket({
      open: (opened) => void (socket = opened),
      data(_socket, chunk): void {
        log.push(String.fromCharCode(...chunk));
        socket.pause();
        socket.end();
      },
      end: () => void log.push("end"),
      close: (_socket, error) => void log.push(`close ${error}`),
    });
    const server = t.serve((request) => route.upgrade(request));
    const client = t.using(await RawClient.connect(server));
    await client.request(UPGRADE);
    await client.write("a");
    await until(() => log.length === 1, "data");
    await client.closeWrite();
    assertEquals(await client.rest(), "");
    for (let i = 0; i < 10; i++) await turn();
    assertEquals(log, ["a"]);
    socket.resume();
    await until(() => log.length === 3, "close");
    assertEquals(log, ["a", "end", "close null"]);
  },
);

testBackends("info.completed resolves with the upgrade", async (t) => {
  const completed: Promise<void>[] = [];
  const server = t.serve((request, info) => {
    completed.push(info.completed);
    return echo.upgrade(request);
  });
  const client = t.using(await RawClient.connect(server));
  await client.request(UPGRADE);
  await completed[0];
});
