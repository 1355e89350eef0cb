// SPDX-License-Identifier: Apache-2.0
// Tests of SocketReader, alone and behind the `read` callback of a socket.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { feed, keep, SocketReader } from "../lib/socket_reader.ts";
import { listen, rawSocket, type Socket } from "../mod.ts";
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

const LOCAL = { hostname: "127.0.0.1", port: 0 };

/** Reads all packets that are whole: a length of two bytes, and as many bytes. */
function packets(reader: SocketReader, found: Uint8Array[]): void {
  for (let head; (head = reader.peek(2)) !== null;) {
    const length = head[0]! << 8 | head[1]!;
    const packet = reader.peek(2 + length);
    if (packet === null) return;
    found.push(packet.slice(2));
    reader.discard(2 + length);
  }
}

function packet(body: Uint8Array): Uint8Array<ArrayBuffer> {
  return concat([Uint8Array.of(body.length >> 8, body.length & 255), body]);
}

Deno.test("packets are the same wherever the bytes are cut", () => {
  const bodies = [5, 0, 1, 30, 2].map((length) => pattern(length));
  const bytes = concat(bodies.map(packet));
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second++) {
      const reader = new SocketReader(1000);
      const found: Uint8Array[] = [];
      const cuts = [0, first, second, bytes.length];
      for (let i = 0; i < 3; i++) {
        const piece = bytes.slice(cuts[i], cuts[i + 1]);
        feed(reader, piece);
        packets(reader, found);
        keep(reader);
        piece.fill(0xff); // its memory is somebody else's now
      }
      assertEquals([found, reader.available], [bodies, 0]);
    }
  }
});

Deno.test("packets are the same byte for byte", () => {
  const bodies = [5, 0, 1, 300, 2].map((length) => pattern(length));
  const reader = new SocketReader(1000);
  const found: Uint8Array[] = [];
  for (const byte of concat(bodies.map(packet))) {
    feed(reader, Uint8Array.of(byte));
    packets(reader, found);
    keep(reader);
  }
  assertEquals([found, reader.available], [bodies, 0]);
});

Deno.test("what is whole is shown where it lies", () => {
  const reader = new SocketReader(1000);
  const piece = pattern(100);
  feed(reader, piece);
  assert(reader.peek(10)!.buffer === piece.buffer);
  reader.discard(40);
  const view = reader.peek()!;
  assertEquals([view.buffer === piece.buffer, view.byteOffset], [true, 40]);
  reader.discard();
  assertEquals([reader.available, reader.peek()!.length], [0, 0]);
  keep(reader);
  assertEquals([reader.available, reader.peek(1)], [0, null]);
});

Deno.test("only what is looked at together is copied", () => {
  const reader = new SocketReader(1000);
  feed(reader, pattern(10));
  keep(reader);
  const piece = pattern(100);
  feed(reader, piece);
  assert(reader.peek(20)!.buffer !== piece.buffer);
  assertSameBytes(
    reader.peek(20)!,
    concat([pattern(10), piece.subarray(0, 10)]),
    "both",
  );
  reader.discard(20);
  assert(reader.peek(5)!.buffer === piece.buffer);
  assertEquals(reader.peek(5), piece.slice(10, 15));
});

Deno.test("random reads give what has come, in order", () => {
  let state = 12345;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state % below;
  };
  const bytes = pattern(300_000);
  const reader = new SocketReader(1 << 20);
  let at = 0;
  for (let fed = 0; fed < bytes.length;) {
    const length = Math.min(1 + random(3000), bytes.length - fed);
    feed(reader, bytes.slice(fed, fed + length));
    fed += length;
    for (let i = random(4); i > 0; i--) {
      assertEquals(reader.available, fed - at);
      const want = random(reader.available + 1);
      assertSameBytes(
        reader.peek(want)!,
        bytes.subarray(at, at + want),
        "a look",
      );
      const read = random(want + 1);
      reader.discard(read);
      at += read;
    }
    keep(reader);
  }
  assertSameBytes(reader.peek()!, bytes.subarray(at), "the rest");
});

Deno.test("what cannot be read throws", () => {
  const reader = new SocketReader(10);
  feed(reader, pattern(5));
  for (const length of [-1, 1.5, NaN, Infinity]) {
    assertThrows(() => reader.peek(length), RangeError, "Cannot read");
    assertThrows(() => reader.discard(length), RangeError, "Cannot discard");
  }
  assertEquals(reader.peek(10), null);
  assertThrows(() => reader.peek(11), RangeError, '"maxUnreadBytes" (10)');
  assertThrows(() => reader.discard(6), RangeError, "there are 5");
  feed(reader, pattern(50));
  assertEquals(reader.peek(50)!.length, 50); // it is there, limit or not
  assertThrows(() => reader.peek(51), RangeError);
});

Deno.test("a buffer that is given away has no bytes left", () => {
  const reader = new SocketReader(10);
  feed(reader, pattern(8));
  reader.discard(3);
  structuredClone(null, { transfer: [reader.peek()!.buffer] });
  assertEquals(reader.available, 0);
  keep(reader);
  feed(reader, pattern(4));
  assertEquals(reader.peek(), pattern(4));
});

testBackends("read() gets packets cut at every place", async (t) => {
  const found: Uint8Array[] = [];
  let reads = 0;
  const server = t.closing(listen({ ...LOCAL, backend: t.backend }, {
    read(_, reader): void {
      reads++;
      packets(reader, found);
    },
  }));
  const bodies = [7, 0, 20].map((length) => pattern(length));
  const bytes = concat(bodies.map(packet));
  const client = t.using(await RawClient.connect(server));
  for (let cut = 1; cut < bytes.length; cut++) {
    reads = 0;
    await client.write(bytes.subarray(0, cut));
    await until(() => reads === 1, "the first part came");
    await client.write(bytes.subarray(cut));
    await until(() => found.length === 3, "all packets came");
    assertEquals(found.splice(0), bodies);
  }
});

testBackends("read() gets packets longer than a block", async (t) => {
  const sizes = [65535, 1, 40000, 0, 65535];
  const bodies = sizes.map((length, i) => pattern(length, i));
  const found: Uint8Array[] = [];
  let socket: Socket | undefined;
  const server = t.closing(listen({ ...LOCAL, backend: t.backend }, {
    open: (opened) => void (socket = opened),
    read: (_, reader) => packets(reader, found),
  }));
  const client = t.using(await RawClient.connect(server));
  await client.write(concat(bodies.map(packet)));
  await until(() => found.length === bodies.length, "all packets came");
  for (const [i, body] of bodies.entries()) {
    assertSameBytes(found[i]!, body, `packet ${i}`);
  }
  assertEquals(socket!.unreadAmount, 0);
});

testBackends("resume() has what was left be read", async (t) => {
  const found: Uint8Array[] = [];
  const [sockets, readers] = [[] as Socket[], [] as SocketReader[]];
  const server = t.closing(listen({ ...LOCAL, backend: t.backend }, {
    open: (socket) => void sockets.push(socket),
    // One packet for each call, however many there are.
    read(socket, reader): void {
      readers.push(reader);
      const [length] = reader.peek(1) ?? [];
      if (length === undefined) return;
      const body = reader.peek(1 + length);
      if (body === null) return;
      found.push(body.slice(1));
      reader.discard(1 + length);
      socket.pause();
    },
  }));
  const client = t.using(await RawClient.connect(server));
  const bodies = [3, 1, 4, 1, 5, 9].map((length, i) => pattern(length, i));
  const bytes = concat(
    bodies.flatMap((body) => [Uint8Array.of(body.length), body]),
  );
  await client.write(bytes);
  for (let count = 1; count <= bodies.length; count++) {
    await until(() => found.length === count, `packet ${count}`);
    await turn();
    assertEquals(found.length, count);
    sockets[0]!.resume();
  }
  assertEquals(found, bodies);
  assertEquals(new Set(readers).size, 1);
});

testBackends("pausing and resuming within read() is harmless", async (t) => {
  let reads = 0;
  const server = t.closing(listen({ ...LOCAL, backend: t.backend }, {
    read(socket, reader): void {
      reads++;
      socket.pause();
      socket.resume();
      if (reader.peek(4) === null) return;
      socket.write(reader.peek()!);
      reader.discard();
    },
  }));
  const client = t.using(await RawClient.connect(server));
  await client.write("ab");
  await until(() => reads > 0, "it was read");
  await client.write("cd");
  assertEquals(await client.exactly(4), latin1("abcd"));
  await client.write("efgh");
  assertEquals(await client.exactly(4), latin1("efgh"));
  assert(reads < 10, `${reads} calls`);
});

testBackends("what nobody reads cuts the connection", async (t) => {
  const told: unknown[] = [];
  const options = { ...LOCAL, backend: t.backend, maxUnreadBytes: 1000 };
  let unread = 0;
  const server = t.closing(listen(options, {
    read: (_, reader) => void (unread = reader.available),
    error: (_, error) => void told.push(error),
  }));
  const client = t.using(await RawClient.connect(server));
  await client.write(pattern(1000));
  await until(() => unread === 1000, "as much as may be is kept");
  await client.write("!");
  await until(() => told.length === 1, "the connection is cut");
  assert(told[0] instanceof RangeError);
  assert(told[0].message.includes('1001 bytes that were not read: "maxU'));
  assertEquals(await client.ending(), { text: "", reset: true });
});

testBackends("a message that cannot be is told, not logged", async (t) => {
  const told: unknown[] = [];
  const options = { ...LOCAL, backend: t.backend, maxUnreadBytes: 1000 };
  const errors = await withoutErrors(async () => {
    const server = t.closing(listen(options, {
      read: (_, reader) => packets(reader, []),
      close: (_, error) => void told.push(error),
    }));
    const client = t.using(await RawClient.connect(server));
    await client.write(Uint8Array.of(0xff, 0xff));
    await until(() => told.length === 1, "the connection is cut");
  });
  assert(told[0] instanceof RangeError);
  assertEquals(errors, []);
});

testBackends("at the end what is unread can be seen", async (t) => {
  const told: number[] = [];
  const server = t.closing(listen({ ...LOCAL, backend: t.backend }, {
    read: (_, reader) => packets(reader, []),
    end(socket): void {
      told.push(socket.unreadAmount);
      socket.close();
    },
  }));
  const client = t.using(await RawClient.connect(server));
  await client.write(packet(pattern(10)).subarray(0, 9));
  await client.closeWrite();
  assertEquals(await client.rest(), "");
  assertEquals(told, [9]);
});

testBackends("an upgraded connection can be read so too", async (t) => {
  const found: Uint8Array[] = [];
  const route = rawSocket({
    read: (_, reader) => packets(reader, found),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await RawClient.connect(server));
  const bytes = packet(pattern(100));
  const head = latin1(get("/", "Connection: upgrade\r\nUpgrade: x\r\n"));
  await client.write(concat([head, bytes.subarray(0, 50)]));
  await client.through("\r\n\r\n");
  await client.write(bytes.subarray(50));
  await until(() => found.length === 1, "the packet came");
  assertEquals(found, [pattern(100)]);
});
