// SPDX-License-Identifier: Apache-2.0
// Tests of client and server of the action router together, over each carrier,
// on both backends.

import { assertEquals, assertRejects } from "@std/assert";
import { serve } from "../mod.ts";
import { msgpack } from "../lib/codec_msgpack.ts";
import {
  type Codec,
  json,
  raw,
  rpc,
  type RpcApp,
  type RpcClient,
  rpcClient,
  type RpcClientOptions,
  RpcError,
  type RpcListener,
  type RpcOptions,
} from "../lib/rpc.ts";
import {
  assertSameBytes,
  type Context,
  deadline,
  pattern,
  quiet,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";

const CARRIERS = ["tcp", "unix", "ws"] as const;

interface Pair {
  app: RpcApp;
  client: RpcClient;
  address: string;
}

/** Registers one test for each carrier and backend. */
function testPairs(
  name: string,
  setUp: (app: RpcApp) => void,
  fn: (pair: Pair, t: Context) => Promise<void>,
  options: { app?: RpcOptions; client?: RpcClientOptions } = {},
): void {
  for (const carrier of CARRIERS) {
    testBackends(`${name} over ${carrier}`, async (t) => {
      const app = rpc(options.app);
      setUp(app);
      const path = `@millrace-${crypto.randomUUID()}`;
      const where = { hostname: "127.0.0.1", port: 0, backend: t.backend };
      const listener = carrier === "ws"
        ? app.listenWebSocket(where)
        : app.listenTcp(
          carrier === "tcp" ? where : { path, backend: t.backend },
        );
      await app.start();
      const address = addressOf(carrier, listener, path);
      const client = await rpcClient(address, {
        backend: t.backend,
        ...options.client,
      });
      try {
        await fn({ app, client, address }, t);
      } finally {
        await client.close();
        await app.shutdown({ timeout: 1000 });
      }
    });
  }
}

function addressOf(
  carrier: typeof CARRIERS[number],
  { addr }: RpcListener,
  path: string,
): string {
  if (carrier === "unix") return `unix:${path}`;
  return `${carrier}://127.0.0.1:${(addr as Deno.NetAddr).port}`;
}

testPairs(
  "calls are answered, failed and notified",
  (app) => {
    app.route(1, ({ body }) => [body]);
    app.route(2, () => {
      throw new RpcError(200, "no");
    });
    app.route(3, ({ connection, body }) => void connection.push(9, body));
  },
  async ({ client }) => {
    const calls = Array.from({ length: 500 }, (_, n) => client.call(1, n));
    const replies = await Promise.all(calls);
    assertEquals(replies, Array.from({ length: 500 }, (_, n) => [n]));
    const error = await assertRejects(() => client.call(2), RpcError, "no");
    assertEquals(error.code, 200);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    client.on(9, resolve);
    assertEquals(client.notify(3, "hello"), true);
    assertEquals(await promise, "hello");
    await assertRejects(() => client.call(4), RpcError, "action 4");
  },
);

testPairs(
  "bodies of all sizes arrive as they were",
  (app) => app.route(1, ({ body }) => body),
  async ({ client }) => {
    const sizes = [0, 1, 117, 118, 65_519, 65_520, 65_536, 1_048_568];
    const replies = await Promise.all(
      sizes.map((size) => client.call<Uint8Array>(1, pattern(size))),
    );
    for (const [at, size] of sizes.entries()) {
      assertSameBytes(replies[at]!, pattern(size), `${size} bytes`);
    }
  },
  { app: { codec: raw }, client: { codec: raw } },
);

testPairs(
  "a packet may be larger than the queue of a socket is by default",
  (app) => app.route(1, ({ body }) => body),
  async ({ client }) => {
    const body = pattern(20_000_000);
    const reply = await client.call<Uint8Array>(1, body);
    assertSameBytes(reply, body, "20 MB");
  },
  {
    app: { codec: raw, maxPacketBytes: 30_000_000 },
    client: { codec: raw, maxPacketBytes: 30_000_000 },
  },
);

testPairs(
  "many large calls both ways do not outrun each other",
  (app) => app.route(1, async ({ body }) => await Promise.resolve(body)),
  async ({ client, app }) => {
    const body = pattern(200_000);
    const calls = Array.from(
      { length: 200 },
      () => client.call<Uint8Array>(1, body),
    );
    for (const call of calls) {
      assertEquals((await deadline(call, "a reply")).length, 200_000);
    }
    assertEquals(app.statistics().errors, 0);
  },
  { app: { codec: raw, maxInFlight: 8 }, client: { codec: raw } },
);

testPairs(
  "a server that is gone is noticed, and one that is back is found",
  (app) => app.route(1, ({ body }) => body),
  async ({ client, app }) => {
    const [first] = app.connections;
    first!.terminate();
    await until(() => client.statistics().connects === 2, "the second");
    assertEquals(await client.call(1, "again"), "again");
  },
  { client: { reconnect: { minDelay: 1 }, onError: quiet } },
);

testPairs(
  "the end of the application closes its clients",
  (app) => app.route(1, ({ body }) => body),
  async ({ client, app }) => {
    assertEquals(await client.call(1, 1), 1);
    await app.shutdown();
    assertEquals(await deadline(client.closed, "the end"), null);
    await assertRejects(() => client.call(1), Deno.errors.ConnectionAborted);
  },
);

const BOTH: Codec = {
  encode: (value) => msgpack.encode(value, 0, "reply"),
  decode: (bytes) => msgpack.decode(bytes, 0, "reply"),
};

testPairs(
  "client and server that speak different codecs tell so",
  (app) => app.route(1, ({ body }) => body),
  async ({ client }) => {
    await assertRejects(
      () => client.call(1, { a: 1 }),
      RpcError,
      "Bad request",
    );
    await assertRejects(() => client.call(1, "x"), RpcError, "Bad request");
  },
  { app: { codec: json }, client: { codec: BOTH } },
);

testBackends("connecting where nobody listens rejects", async (t) => {
  const gone = serve(
    { hostname: "127.0.0.1", port: 0, onListen: quiet },
    () => new Response(),
  );
  const { port } = gone.addr;
  await gone.shutdown();
  for (const address of [`tcp://127.0.0.1:${port}`, `ws://127.0.0.1:${port}`]) {
    await withoutErrors(() =>
      assertRejects(
        () => rpcClient(address, { backend: t.backend }),
        Deno.errors.ConnectionRefused,
      ).then()
    );
  }
  await assertRejects(
    () => rpcClient("unix:/nowhere/at/all", { backend: t.backend }),
    Deno.errors.NotFound,
  );
});
