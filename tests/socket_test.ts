// SPDX-License-Identifier: Apache-2.0
// Tests of Socket, as listen() gives it to its callbacks.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  listen,
  type ListenOptions,
  rawSocket,
  type Socket,
  type SocketHandlers,
  type SocketServer,
} from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  type Context,
  latin1,
  pattern,
  settled,
  sleep,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";

const MIB = 1024 * 1024;

/** A server whose first socket is waited for. */
async function pair<Data = undefined>(
  t: Context,
  handlers: SocketHandlers<Data>,
  options: ListenOptions<Data> = {},
): Promise<[Socket<Data>, RawClient, SocketServer<Deno.NetAddr>]> {
  const opened = Promise.withResolvers<Socket<Data>>();
  const where = { hostname: "127.0.0.1", port: 0, backend: t.backend };
  const server = t.closing(listen<Data>({ ...options, ...where }, {
    ...handlers,
    open(socket): void | Promise<void> {
      opened.resolve(socket);
      return handlers.open?.(socket);
    },
  }));
  const client = t.using(await RawClient.connect(server));
  return [await opened.promise, client, server];
}

testBackends("the first byte may come from either side", async (t) => {
  const seen: string[] = [];
  const [socket, client] = await pair(t, {
    open: (socket) => void socket.write("welcome"),
    data: (_, chunk) => void seen.push(String.fromCharCode(...chunk)),
  });
  assertEquals(await client.exactly(7), latin1("welcome"));
  await client.write("GET / HTTP/1.1\r\n\r\n");
  await until(() => seen.join("") === "GET / HTTP/1.1\r\n\r\n", "all is there");
  assertEquals(socket.statistics(), {
    receivedBytes: 18,
    sentBytes: 7,
    bufferedAmount: 0,
  });
  assertEquals(socket.data, undefined);
});

testBackends("an end that comes at once is told", async (t) => {
  const told: string[] = [];
  const server = t.closing(listen({
    hostname: "127.0.0.1",
    port: 0,
    backend: t.backend,
  }, {
    data: (_, chunk) => void told.push(`${chunk.length}`),
    end: (socket) => {
      told.push("end");
      socket.end();
    },
    close: (_, error) => void told.push(`close ${error}`),
  }));
  // Bytes and end are there before the server has had a turn.
  const client = new ResettableSocket(server.addr.port);
  client.send(latin1("abc"));
  client[Symbol.dispose]();
  await until(() => told.length === 3, "it is over");
  assertEquals(told, ["3", "end", "close null"]);
});

testBackends("ids differ, and addresses outlive the connection", async (t) => {
  const sockets: Socket[] = [];
  let closed = 0;
  const [first, client, server] = await pair(t, {
    open: (socket) => void sockets.push(socket),
    close: () => void closed++,
  });
  const other = t.using(await RawClient.connect(server));
  await until(() => sockets.length === 2, "both are open");
  assert(sockets[0]!.id !== sockets[1]!.id);
  assertEquals(first.localAddr, server.addr);
  const { localPort } = client;
  client.close();
  other.close();
  await until(() => closed === 2, "both are closed");
  assertEquals((first.remoteAddr as Deno.NetAddr).port, localPort);
  assertEquals(first.localAddr, server.addr);
  assertEquals(sockets[1]!.localAddr, null);
});

testBackends("write() takes strings, bytes and buffers", async (t) => {
  const [socket, client] = await pair(t, {});
  assertEquals(socket.write("grüße "), "sent");
  assertEquals(socket.write(latin1("bytes ")), "sent");
  assertEquals(socket.write(latin1("buffer").buffer), "sent");
  assertThrows(() => socket.write(1 as never), TypeError, "must be a string");
  const text = new TextEncoder().encode("grüße bytes buffer");
  assertEquals(await client.exactly(text.length), text);
  assertEquals(socket.statistics().sentBytes, text.length);
});

testBackends("write() queues, drains and drops by its limits", async (t) => {
  let drained = 0;
  const [socket, client] = await pair(t, { drain: () => void drained++ }, {
    highWatermark: 4 * MIB,
    lowWatermark: 1000,
    maxQueueBytes: 5 * MIB,
    sendBufferBytes: 65536,
  });
  const bytes = pattern(512 * 1024);
  const statuses = new Set<string>();
  let accepted = 0;
  for (let status = ""; status !== "dropped"; accepted++) {
    status = socket.write(bytes);
    statuses.add(status);
  }
  accepted--;
  assertEquals([...statuses], ["sent", "queued", "dropped"]);
  assert(socket.bufferedAmount <= 5 * MIB);
  assertEquals(drained, 0);
  for (let i = 0; i < accepted; i++) {
    assertSameBytes(await client.exactly(bytes.length), bytes, `piece ${i}`);
  }
  await until(() => drained === 1, "drain was called");
  assert(socket.bufferedAmount <= 1000);
  assertEquals(socket.write("!"), "sent");
  await client.exactly(1);
});

testBackends("what the kernel takes at once is not queued", async (t) => {
  let drained = 0;
  const [socket, client] = await pair(t, { drain: () => void drained++ }, {
    highWatermark: 50_000,
  });
  let queued = 0;
  for (let round = 0; round < 20; round++) {
    if (socket.write(pattern(100_000)) === "queued") queued++;
    await client.exactly(100_000);
    await until(() => drained === queued, "drain follows, if it has to");
  }
});

testBackends("flushed() resolves when the kernel has all", async (t) => {
  const [socket, client] = await pair(t, {}, { sendBufferBytes: 65536 });
  await socket.flushed(); // of nothing
  const bytes = pattern(8 * MIB);
  assert(socket.write(bytes) !== "dropped");
  let flushed = false;
  const promise = socket.flushed().then(() => flushed = true);
  await settled(() => socket.bufferedAmount);
  assert(!flushed && socket.bufferedAmount > 0);
  socket.write("more");
  const again = socket.flushed();
  assertSameBytes(await client.exactly(bytes.length), bytes, "what was sent");
  await promise;
  await client.exactly(4);
  await again;
  assertEquals(socket.bufferedAmount, 0);
  assertEquals(socket.statistics().sentBytes, bytes.length + 4);
});

testBackends("flushed() rejects when the rest is lost", async (t) => {
  let closed = false;
  const [socket, client] = await pair(
    t,
    { close: () => void (closed = true) },
    {
      sendBufferBytes: 65536,
    },
  );
  socket.write(pattern(8 * MIB));
  const waiting = assertRejects(
    () => socket.flushed(),
    Deno.errors.Interrupted,
    "bytes were not sent",
  );
  void socket.flushed(); // whose rejection nobody hears
  await settled(() => socket.bufferedAmount);
  client.close();
  await waiting;
  await until(() => closed, "it is closed");
  await assertRejects(() => socket.flushed(), Deno.errors.Interrupted);
  assert(socket.statistics().sentBytes < 8 * MIB);
});

testBackends("a callback that waits for a lost peer is no news", async (t) => {
  const closed: unknown[] = [];
  const errors = await withoutErrors(async () => {
    const [, client] = await pair(t, {
      async data(socket): Promise<void> {
        socket.write(pattern(8 * MIB));
        await socket.flushed();
      },
      close: (_, error) => void closed.push(error),
    }, { sendBufferBytes: 65536 });
    await client.write("!");
    await client.exactly(1);
    client.close();
    await until(() => closed.length === 1, "it is closed");
    await settled(() => closed.length);
  });
  assertEquals(errors, []);
});

testBackends("flushed() goes before close()", async (t) => {
  const [socket, client] = await pair(t, {});
  socket.write("last words");
  const flushed = socket.flushed();
  socket.close();
  assertEquals(socket.write("too late"), "dropped");
  await flushed;
  assertEquals(await client.rest(), "last words");
  await socket.flushed();
});

testBackends("a server that closes rejects flushed()", async (t) => {
  const [socket, , server] = await pair(t, {}, { sendBufferBytes: 65536 });
  socket.write(pattern(8 * MIB));
  const waiting = assertRejects(
    () => socket.flushed(),
    Deno.errors.Interrupted,
  );
  await server.close();
  await waiting;
});

testBackends("end() lets the peer go on", async (t) => {
  const told: string[] = [];
  const [socket, client] = await pair(t, {
    data: (_, chunk) => void told.push(String.fromCharCode(...chunk)),
    end: () => void told.push("end"),
    close: (_, error) => void told.push(`close ${error}`),
  });
  socket.write("hello");
  socket.end();
  assertEquals([socket.writable, socket.write("no")], [false, "dropped"]);
  assertEquals(await client.rest(), "hello");
  await client.write("still here");
  await until(() => told.join("") === "still here", "it came");
  await client.closeWrite();
  await until(() => told.at(-1) === "close null", "it is closed");
  assertEquals(told.slice(-2), ["end", "close null"]);
});

testBackends("without an end callback the socket is ended", async (t) => {
  const closed: unknown[] = [];
  const [, client] = await pair(t, {
    close: (_, error) => void closed.push(error),
  });
  await client.closeWrite();
  assertEquals(await client.rest(), "");
  await until(() => closed.length === 1, "it is closed");
  assertEquals(closed, [null]);
});

testBackends("terminate() resets, and nothing follows", async (t) => {
  const told: unknown[] = [];
  const [socket, client] = await pair(t, {
    data: () => void told.push("data"),
    error: () => void told.push("error"),
    close: (_, error) => void told.push(error),
  });
  socket.terminate();
  assertEquals(socket.write("no"), "dropped");
  assertEquals(await client.ending(), { text: "", reset: true });
  await until(() => told.length > 0, "it is closed");
  socket.terminate();
  socket.close();
  socket.end();
  socket.pause();
  socket.resume();
  socket.setTimeout(1);
  socket.setNoDelay();
  socket.setKeepAlive({ idle: 1 });
  socket.setBufferSizes({ sendBufferBytes: 65536 });
  assertEquals(told, [null]);
});

testBackends("pause() holds the peer up, resume() loses nothing", async (t) => {
  const parts: Uint8Array[] = [];
  let received = 0;
  const [socket, client] = await pair(t, {
    data: (socket, chunk) => {
      parts.push(chunk.slice());
      received += chunk.length;
      socket.pause();
      socket.resume(); // at once: as if nothing had been
      socket.pause();
    },
  });
  const bytes = pattern(2 * MIB);
  const writing = client.write(bytes);
  await until(() => received > 0, "something came");
  while (received < bytes.length) {
    const before = received;
    socket.resume();
    await until(() => received > before, "more came");
  }
  await writing;
  const all = new Uint8Array(received);
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  assertSameBytes(all, bytes, "what arrived");
});

testBackends("a reset of the peer is an error, told once", async (t) => {
  const told: unknown[] = [];
  const server = t.closing(listen({
    hostname: "127.0.0.1",
    port: 0,
    backend: t.backend,
  }, {
    open: () => void told.push("open"),
    error: (_, error) => void told.push(error),
    close: (_, error) => void told.push(error),
  }));
  const client = t.using(new ResettableSocket(server.addr.port));
  await until(() => told.length === 1, "it is open");
  client.reset();
  await until(() => told.length === 3, "it is closed");
  assert(told[1] instanceof Deno.errors.ConnectionReset);
  assert(told[1] === told[2]);
});

testBackends("what a callback throws is told, or logged", async (t) => {
  const told: unknown[] = [];
  const oops = new Error("oops");
  const close = (_: Socket, error: Error | null): void => void told.push(error);
  const data = (): never => {
    throw oops;
  };
  const errors = await withoutErrors(async () => {
    const [, first] = await pair(t, { data, close });
    await first.write("!");
    assertEquals(await first.ending(), { text: "", reset: true });
    await until(() => told.length === 1, "the first is closed");
    const error = close;
    const [, second] = await pair(t, { data, error, close });
    await second.write("!");
    assertEquals(await second.ending(), { text: "", reset: true });
    await until(() => told.length === 3, "the second is closed");
    const late = (): Promise<void> => Promise.reject(oops);
    const [, third] = await pair(t, { data: late, error, close });
    await third.write("!");
    assertEquals(await third.ending(), { text: "", reset: true });
    await until(() => told.length === 5, "the third is closed");
  });
  assertEquals(told, [oops, oops, oops, oops, oops]);
  assertEquals(errors.length, 1);
});

testBackends("what is thrown need not be an error", async (t) => {
  for (const thrown of [null, undefined, "text"]) {
    const told: unknown[] = [];
    const [, client] = await pair(t, {
      data(): never {
        throw thrown;
      },
      error: (_, error) => void told.push(error.cause),
    });
    await client.write("!");
    assertEquals(await client.ending(), { text: "", reset: true });
    await until(() => told.length === 1, "it was told");
    assertEquals(told, [thrown]);
  }
});

testBackends("callbacks of the end may throw too", async (t) => {
  const throwing = (): never => {
    throw new Error("oops");
  };
  const errors = await withoutErrors(async () => {
    const [socket, client, server] = await pair(t, {
      data: throwing,
      error: throwing,
      close: throwing,
    });
    await client.write("!");
    await client.ending();
    await until(() => server.statistics().connections === 0, "it is gone");
    assert(!socket.writable);
  });
  assertEquals(errors.length, 2);
});

testBackends("an idle socket is closed", async (t) => {
  const closed: unknown[] = [];
  const [, client, server] = await pair(t, {
    close: (_, error) => void closed.push(error),
  }, { idleTimeout: 200 });
  assertEquals(await client.rest(), "");
  await until(() => closed.length === 1, "it is closed");
  assert(closed[0] instanceof Deno.errors.TimedOut);
  assertEquals(server.statistics().socketTimeouts, 1);
});

testBackends("timeout is called again and again", async (t) => {
  let timeouts = 0;
  const closed: unknown[] = [];
  const [, client, server] = await pair(t, {
    timeout(socket): void {
      if (++timeouts === 3) socket.close();
    },
    close: (_, error) => void closed.push(error),
  }, { idleTimeout: 100 });
  assertEquals(await client.rest(), "");
  client.close();
  await until(() => closed.length === 1, "it is closed");
  assertEquals([timeouts, closed], [3, [null]]);
  assertEquals(server.statistics().socketTimeouts, 0);
});

testBackends("setTimeout() begins and ends with a call", async (t) => {
  const told: string[] = [];
  const [socket, client] = await pair(t, {
    timeout: () => void told.push("timeout"),
  });
  socket.setTimeout(100);
  await until(() => told.length > 0, "timeout was called");
  socket.setTimeout(0);
  told.length = 0;
  await sleep(500);
  assertEquals(told, []);
  assertThrows(() => socket.setTimeout(-1), RangeError, '"ms"');
  assertThrows(() => socket.setTimeout(NaN), RangeError, '"ms"');
  socket.write("alive");
  await client.exactly(5);
});

testBackends("a peer that takes nothing is cut", async (t) => {
  const closed: unknown[] = [];
  const [socket, , server] = await pair(t, {
    close: (_, error) => void closed.push(error),
  }, { stallTimeout: 300, minSendRate: 0, sendBufferBytes: 65536 });
  socket.write(pattern(8 * MIB));
  await until(() => closed.length === 1, "it is closed");
  assert(closed[0] instanceof Deno.errors.TimedOut);
  assertEquals(server.statistics().stallTimeouts, 1);
});

testBackends("the kernel's options can be set", async (t) => {
  const [socket, client] = await pair(t, {});
  socket.setNoDelay(false);
  socket.setNoDelay();
  socket.setKeepAlive({ idle: 60, interval: 10, count: 5 });
  socket.setKeepAlive({ idle: 60 });
  socket.setKeepAlive(false);
  socket.setBufferSizes({ sendBufferBytes: 8192, receiveBufferBytes: 8192 });
  assertThrows(() => socket.setNoDelay(1 as never), TypeError, "no-delay");
  assertThrows(() => socket.setKeepAlive({ idle: 0 }), RangeError, "idle");
  assertThrows(
    () => socket.setBufferSizes({ sendBufferBytes: -1 }),
    RangeError,
    "set buffer sizes",
  );
  socket.write("alive");
  await client.exactly(5);
});

testBackends("flushed() is not told of the answers before it", async (t) => {
  const waiting = Promise.withResolvers<number>();
  const route = rawSocket({
    open(socket): void {
      socket.write(pattern(12 * MIB));
      socket.flushed().then(() => waiting.resolve(socket.bufferedAmount));
    },
  });
  const completed: Promise<void>[] = [];
  const server = t.serve((request, info) => {
    if (request.headers.has("upgrade")) return route.upgrade(request);
    completed.push(info.completed);
    return new Response("first");
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n" +
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
  );
  await client.exactly(20 * 1024);
  await settled(() => server.statistics().sentBytes);
  const reading = client.exactly(12 * MIB - 20 * 1024);
  assertEquals(await waiting.promise, 0);
  await Promise.all([reading, ...completed]);
});
