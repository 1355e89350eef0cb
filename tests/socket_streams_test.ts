// SPDX-License-Identifier: Apache-2.0
// Tests of streams(): sockets as web streams, with backpressure both ways.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { listen, type ListenOptions, StreamConn, streams } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  latin1,
  pattern,
  settled,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";

const MIB = 1024 * 1024;

async function pair(
  t: Context,
  options: ListenOptions<StreamConn> = {},
): Promise<[StreamConn, RawClient]> {
  const opened = Promise.withResolvers<StreamConn>();
  const where = { hostname: "127.0.0.1", port: 0, backend: t.backend };
  const server = t.closing(
    listen<StreamConn>({ ...options, ...where }, streams(opened.resolve)),
  );
  const client = t.using(await RawClient.connect(server));
  return [await opened.promise, client];
}

testBackends("readable piped to writable is an echo", async (t) => {
  const server = t.closing(listen<StreamConn>({
    hostname: "127.0.0.1",
    port: 0,
    backend: t.backend,
  }, streams((conn) => conn.readable.pipeTo(conn.writable))));
  const client = t.using(await RawClient.connect(server));
  const bytes = pattern(5 * MIB);
  const [echoed] = await Promise.all([
    client.exactly(bytes.length),
    client.write(bytes),
  ]);
  assertSameBytes(echoed, bytes, "the echo");
  await client.closeWrite();
  assertEquals(await client.rest(), "");
  await until(() => server.statistics().connections === 0, "it is closed");
});

testBackends("read() and write() are those of Deno.Conn", async (t) => {
  const [conn, client] = await pair(t);
  assert(conn instanceof StreamConn && conn.socket.data === conn);
  assertEquals((conn.remoteAddr as Deno.NetAddr).port, client.localPort);
  assertEquals((conn.localAddr as Deno.NetAddr).hostname, "127.0.0.1");
  await client.write("hello");
  const buffer = new Uint8Array(3);
  assertEquals(await conn.read(buffer), 3);
  assertEquals(buffer, latin1("hel"));
  assertEquals(await conn.read(new Uint8Array(0)), 0);
  const rest = new Uint8Array(10);
  assertEquals(await conn.read(rest), 2);
  assertEquals(await conn.write(latin1("bye")), 3);
  await conn.closeWrite();
  assertEquals(await client.rest(), "bye");
  const end = conn.read(rest);
  await client.closeWrite();
  assertEquals(await end, null);
  assertEquals(await conn.read(rest), null);
});

testBackends("a buffer of the reader's own is filled", async (t) => {
  const [conn, client] = await pair(t);
  const reader = conn.readable.getReader({ mode: "byob" });
  await client.write("hello");
  const first = await reader.read(new Uint8Array(3));
  assertEquals([first.done, first.value], [false, latin1("hel")]);
  const second = await reader.read(new Uint8Array(3));
  assertEquals(second.value, latin1("lo"));
  await client.closeWrite();
  assertEquals((await reader.read(new Uint8Array(3))).done, true);
});

testBackends("who is not read from is held up", async (t) => {
  const [conn, client] = await pair(t, { receiveBufferBytes: 65536 });
  const bytes = pattern(24 * MIB);
  let written = false;
  const writing = client.write(bytes).then(() => written = true);
  const held = await settled(() => conn.socket.statistics().receivedBytes);
  assert(held < 2 * MIB && !written, `${held} bytes were read`);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of conn.readable) {
    parts.push(part);
    length += part.length;
    if (length === bytes.length) break;
  }
  await writing;
  assertSameBytes(concat(parts), bytes, "what was read");
});

testBackends("a write waits for a peer that is slow", async (t) => {
  const [conn, client] = await pair(t, {
    sendBufferBytes: 65536,
    highWatermark: 100_000,
  });
  const bytes = pattern(8 * MIB);
  let written = false;
  const writer = conn.writable.getWriter();
  const writing = writer.write(bytes).then(() => written = true);
  await settled(() => conn.socket.statistics().sentBytes);
  assert(!written && conn.socket.bufferedAmount < 300_000);
  const closing = writer.close();
  assertSameBytes(await client.exactly(bytes.length), bytes, "what was sent");
  await writing;
  await closing;
  assertEquals(await client.rest(), "");
});

testBackends("a chunk longer than the queue goes in pieces", async (t) => {
  const [conn, client] = await pair(t, {
    sendBufferBytes: 65536,
    highWatermark: 50,
    maxQueueBytes: 100,
  });
  const bytes = pattern(200_000);
  const [received] = await Promise.all([
    client.exactly(bytes.length),
    conn.write(bytes),
  ]);
  assertSameBytes(received, bytes, "what was sent");
});

testBackends("a reset fails what reads and writes", async (t) => {
  const [conn, client] = await pair(t, { sendBufferBytes: 65536 });
  const reading = assertRejects(() => conn.read(new Uint8Array(1)));
  const writing = assertRejects(() => conn.write(pattern(8 * MIB)));
  await client.exactly(1);
  client.close(); // with bytes unread: a reset
  await reading;
  await writing;
  await assertRejects(() => conn.write(latin1("more")));
  await assertRejects(() => conn.read(new Uint8Array(1)));
});

testBackends("close() ends both streams", async (t) => {
  const [conn, client] = await pair(t);
  const reading = assertRejects(
    () => conn.readable.getReader().read(),
    Deno.errors.Interrupted,
  );
  await conn.write(latin1("bye"));
  conn.close();
  await reading;
  await assertRejects(
    () => conn.write(latin1("more")),
    Deno.errors.BrokenPipe,
    "Cannot write",
  );
  assertEquals(await client.rest(), "bye");
  conn[Symbol.dispose]();
});

testBackends("cancelling drops what comes, and writing goes on", async (t) => {
  const [conn, client] = await pair(t);
  await conn.readable.cancel();
  await client.write(pattern(3 * MIB));
  await conn.write(latin1("still here"));
  assertEquals(await client.exactly(10), latin1("still here"));
});

testBackends("aborting cuts the connection", async (t) => {
  const [conn, client] = await pair(t);
  await conn.writable.abort();
  assertEquals((await client.ending()).reset, true);
});

testBackends("a handler that fails cuts its connection", async (t) => {
  const errors = await withoutErrors(async () => {
    const server = t.closing(listen<StreamConn>(
      {
        hostname: "127.0.0.1",
        port: 0,
        backend: t.backend,
      },
      streams(async (conn) => {
        await conn.read(new Uint8Array(1));
        throw new Error("oops");
      }),
    ));
    const client = t.using(await RawClient.connect(server));
    await client.write("!");
    assertEquals((await client.ending()).reset, true);
  });
  assertEquals(errors.length, 1);
});

testBackends("writes that nobody waits for keep their order", async (t) => {
  const [conn, client] = await pair(t);
  const bytes = pattern(24 * MIB);
  const third = bytes.length / 3;
  const writes = [0, 1, 2].map((at) =>
    conn.write(bytes.subarray(at * third, (at + 1) * third))
  );
  assertSameBytes(await client.exactly(bytes.length), bytes, "the order");
  assertEquals(await Promise.all(writes), [third, third, third]);
});

testBackends("a peer that resets is not logged", async (t) => {
  const ways: ((conn: StreamConn) => Promise<unknown>)[] = [
    (conn) => conn.readable.pipeTo(conn.writable),
    (conn) => conn.write(pattern(16 * MIB)),
    async (conn) => {
      conn.socket.write(pattern(12 * MIB));
      await conn.closeWrite();
    },
  ];
  const errors = await withoutErrors(async () => {
    for (const way of ways) {
      const gone = Promise.withResolvers<unknown>();
      const server = t.closing(listen<StreamConn>(
        { hostname: "127.0.0.1", port: 0, backend: t.backend },
        streams(async (conn) => {
          const going = way(conn);
          going.then(gone.resolve, gone.resolve);
          await going;
        }),
      ));
      const client = new ResettableSocket((server.addr as Deno.NetAddr).port);
      client.send(latin1("hello"));
      await until(() => server.statistics().connections === 1, "it is open");
      client.reset();
      assert(await gone.promise instanceof Error);
      await settled(() => server.statistics().connections);
    }
  });
  assertEquals(errors, []);
});
