// SPDX-License-Identifier: Apache-2.0
// Tests of the option localAddress: from which address of this machine the clients connect.

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { rpc, rpcClient } from "../lib/rpc.ts";
import { connect, connectWebSocket, listen, websocket } from "../mod.ts";
import { testBackends } from "./testing.ts";

const HOST = "127.0.0.1";
const OWN = "127.0.0.2";

testBackends(
  "connect() comes from the address that is asked for",
  async (t) => {
    const { backend } = t;
    const { promise, resolve } = Promise.withResolvers<Deno.Addr>();
    const { addr } = t.closing(listen({ hostname: HOST, port: 0, backend }, {
      open: ({ remoteAddr }) => resolve(remoteAddr),
    }));
    const { hostname, port } = addr;
    const options = { hostname, port, backend, localAddress: OWN };
    const socket = await connect(options, {});
    assertEquals((await promise as Deno.NetAddr).hostname, OWN);
    assertEquals((socket.localAddr as Deno.NetAddr).hostname, OWN);
    socket.close();
  },
);

testBackends(
  "WebSockets come from the address that is asked for",
  async (t) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const route = websocket({
      open: ({ remoteAddress }) => resolve(remoteAddress),
    });
    const { addr } = t.serve((request) => route.upgrade(request));
    const socket = connectWebSocket(`ws://${HOST}:${addr.port}/`, {}, {
      backend: t.backend,
      localAddress: OWN,
    });
    assertEquals(await promise, OWN);
    socket.close();
    await socket.finished;
  },
);

testBackends("calls come from the address that is asked for", async (t) => {
  const { backend } = t;
  const app = rpc();
  app.route(1, ({ connection }) => {
    return (connection.remoteAddr as Deno.NetAddr).hostname;
  });
  const tcp = app.listenTcp({ hostname: HOST, port: 0, backend });
  const ws = app.listenWebSocket({ hostname: HOST, port: 0, backend });
  await app.start();
  for (const [scheme, listener] of [["tcp", tcp], ["ws", ws]] as const) {
    const { port } = listener.addr as Deno.NetAddr;
    const options = { backend, localAddress: OWN };
    const client = await rpcClient(`${scheme}://${HOST}:${port}`, options);
    assertEquals(await client.call(1), OWN);
    await client.close();
  }
  await app.shutdown({ timeout: 1 });
});

testBackends("an address that this machine has not is told of", async (t) => {
  const { backend } = t;
  const { addr } = t.serve(() => new Response());
  for (const localAddress of ["192.0.2.1", "::1"]) {
    await assertRejects(
      () => connect({ port: addr.port, backend, localAddress }, {}),
      Deno.errors.AddrNotAvailable,
      "not on this machine",
    );
  }
});

Deno.test("localAddress is an IP address, and not for Unix sockets", async () => {
  const port = 9;
  for (const localAddress of ["localhost", "", "127.0.0", 5 as never]) {
    assertThrows(
      () => void connect({ port, localAddress }, {}),
      TypeError,
      '"localAddress" must be an IP address',
    );
    assertThrows(
      () => connectWebSocket("ws://127.0.0.1:9/", {}, { localAddress }),
      TypeError,
      '"localAddress" must be an IP address',
    );
  }
  const unix = { path: "@nobody", localAddress: OWN };
  assertThrows(() => void connect(unix, {}), TypeError, "unknown option");
  assertThrows(
    () => connectWebSocket("ws://localhost/", {}, unix),
    TypeError,
    "a Unix socket has no",
  );
  await assertRejects(
    () => rpcClient("unix:@nobody", { localAddress: OWN }),
    TypeError,
    "unknown option",
  );
});
