// SPDX-License-Identifier: Apache-2.0
// Tests of listen(): where it listens, and what its sockets are told.

import { assertEquals, assertThrows } from "@std/assert";
import { listen, type Socket, type SocketHandlers } from "../mod.ts";
import { RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  type Context,
  latin1,
  pattern,
  testBackends,
  until,
} from "./testing.ts";

const MIB = 1024 * 1024;

// Reads no faster than its peer does.
const echo: SocketHandlers<undefined> = {
  data(socket, chunk): void {
    if (socket.write(chunk) !== "sent") socket.pause();
  },
  drain: (socket) => socket.resume(),
};

async function assertEchoes(
  t: Context,
  server: { addr: Deno.Addr },
): Promise<void> {
  const addr = server.addr as Deno.NetAddr | Deno.UnixAddr;
  const client = t.using(await RawClient.connect({ addr }));
  await client.write("hello");
  assertEquals(await client.exactly(5), latin1("hello"));
  const bytes = pattern(3 * MIB);
  const [received] = await Promise.all([
    client.exactly(bytes.length),
    client.write(bytes),
  ]);
  assertSameBytes(received, bytes, "the echo");
  await client.closeWrite();
  assertEquals(await client.rest(), "");
}

testBackends("listens on IPv4", async (t) => {
  const { backend } = t;
  const hostname = "127.0.0.1";
  const server = t.closing(listen({ hostname, port: 0, backend }, echo));
  assertEquals(server.backend, backend);
  assertEquals(server.addr.hostname, hostname);
  await assertEchoes(t, server);
});
