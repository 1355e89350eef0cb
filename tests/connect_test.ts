// SPDX-License-Identifier: Apache-2.0
// Tests of rawSocket() as a proxy: CONNECT to a server behind it, on both backends.

import { assertEquals } from "@std/assert";
import { rawSocket, type Socket } from "../mod.ts";
import { RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  type Context,
  pattern,
  testBackends,
} from "./testing.ts";

const MIB = 1024 * 1024;

/** What a tunnel keeps with its socket. */
interface Tunnel {
  upstream: Deno.TcpConn;
  drained: PromiseWithResolvers<void>;
}

const tunnel = rawSocket<Tunnel>({
  open: pump,
  async data(socket, chunk): Promise<void> {
    const bytes = chunk.slice();
    socket.pause();
    for (let at = 0; at < bytes.length;) {
      at += await socket.data.upstream.write(bytes.subarray(at));
    }
    socket.resume();
  },
  drain: (socket) => socket.data.drained.resolve(),
  end: (socket) => socket.data.upstream.closeWrite(),
  close(socket): void {
    socket.data.drained.resolve();
    socket.data.upstream.close();
  },
});

async function pump(socket: Socket<Tunnel>): Promise<void> {
  const { upstream } = socket.data;
  const buffer = new Uint8Array(65536);
  for (let n; (n = await upstream.read(buffer)) !== null;) {
    if (socket.write(buffer.subarray(0, n)) === "sent") continue;
    socket.data.drained = Promise.withResolvers();
    await socket.data.drained.promise;
  }
  socket.end();
}

/** A server that sends back what it gets, and ends when its client does. */
function serveEcho(t: Context): Deno.NetAddr {
  const listener = t.using(Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  void (async () => {
    for await (const conn of listener) {
      void conn.readable.pipeTo(conn.writable).catch(() => {});
    }
  })();
  return listener.addr as Deno.NetAddr;
}

testBackends("CONNECT tunnels to another server, both ways", async (t) => {
  const { hostname, port } = serveEcho(t);
  const proxy = t.serve(async (request) => {
    if (request.method !== "CONNECT") {
      return new Response(null, { status: 405 });
    }
    const { hostname, port } = new URL(request.url);
    const upstream = await Deno.connect({ hostname, port: Number(port) });
    const drained = Promise.withResolvers<void>();
    return tunnel.upgrade(request, { data: { upstream, drained } });
  });
  const client = t.using(await RawClient.connect(proxy));
  const target = `${hostname}:${port}`;
  const bytes = pattern(10 * MIB);
  // The first bytes do not wait for the answer.
  await client.write(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\nearly`,
  );
  await client.through("HTTP/1.1 200 Connection Established\r\n\r\n");
  const sent = client.write(bytes).then(() => client.closeWrite());
  assertEquals(
    new TextDecoder().decode(await client.exactly(5)),
    "early",
  );
  assertSameBytes(await client.exactly(bytes.length), bytes, "the echo");
  assertEquals(await client.rest(), "");
  await sent;
});
