// SPDX-License-Identifier: Apache-2.0
// Tests of a client that connects again: when it does, when it does not, and
// how long it waits.

import { assert, assertEquals } from "@std/assert";
import type { Reconnection, ReconnectOptions } from "../mod.ts";
import {
  reconnectDelay,
  type ReconnectSettings,
  resolveReconnect,
} from "../lib/ws_reconnect.ts";
import { Client } from "./client_testing.ts";
import { RawServer } from "./raw_ws_server.ts";
import { type Context, testBackends, until } from "./testing.ts";
import { CLOSE, closePayload, TEXT } from "./ws_client.ts";

const QUICK: ReconnectOptions = {
  minDelay: 1,
  maxDelay: 5,
};

/** A client, and what it was told of its attempts. */
function start(
  t: Context,
  url: string,
  reconnect: ReconnectOptions = QUICK,
): { client: Client; told: Reconnection[] } {
  const told: Reconnection[] = [];
  const client = new Client(t, url, { reconnect }, {
    reconnecting: (_, reconnection) => void told.push(reconnection),
  });
  return { client, told };
}

testBackends("a client waits for its server to come back", async (t) => {
  const first = new RawServer();
  const { port, url } = first;
  const { client, told } = start(t, url);
  const { socket } = client;
  let peer = await first.open();
  await socket.opened;
  socket.send("one");
  await peer.frame();
  first[Symbol.dispose]();
  await until(() => told.length > 3, "attempts that fail");
  assertEquals([client.opens, client.closes.length], [1, 1]);
  assertEquals(client.closes[0]!.code, 1006);
  assertEquals(socket.readyState, 0);
  assertEquals(socket.send("lost"), "dropped");
  // After an end there is no error to tell, and then there is one.
  assertEquals(told[0]!.error, null);
  assert(told[1]!.error instanceof Deno.errors.ConnectionRefused);
  assertEquals(told.slice(0, 4).map(({ attempt }) => attempt), [1, 2, 3, 4]);
  const second = t.using(new RawServer(port));
  peer = await second.open("x: y\r\n");
  await until(() => client.opens === 2, "the second open");
  assertEquals(socket.readyState, 1);
  socket.send("two");
  assertEquals(new TextDecoder().decode((await peer.frame()).payload), "two");
  await peer.send({ opcode: TEXT, payload: "back" });
  assertEquals(await client.message(), "back");
  assertEquals(client.errors, []);
  assertEquals(socket.statistics(), {
    receivedMessages: 1,
    receivedBytes: 4,
    sentMessages: 2,
    sentBytes: 6,
    droppedMessages: 1,
  });
});

testBackends(
  "a client whose server was never there waits for it",
  async (t) => {
    const server = new RawServer();
    const { port, url } = server;
    server[Symbol.dispose]();
    const { client, told } = start(t, url);
    await until(() => told.length > 2, "attempts");
    const late = t.using(new RawServer(port));
    await late.open();
    await client.socket.opened;
    assertEquals([client.opens, client.errors.length], [1, 0]);
  },
);

testBackends("a client gives up after so many attempts", async (t) => {
  const server = new RawServer();
  server[Symbol.dispose]();
  const { client, told } = start(t, server.url, { ...QUICK, maxAttempts: 3 });
  await client.socket.finished;
  assertEquals(told.map(({ attempt }) => attempt), [1, 2, 3]);
  assertEquals(client.errors.length, 1);
  assert(client.errors[0] instanceof Deno.errors.ConnectionRefused);
  assertEquals(client.closes, []);
});

testBackends(
  "a client tries again when the server closes, but not when it is done",
  async (t) => {
    const server = t.using(new RawServer());
    for (
      const [code, again] of [[1001, true], [1011, true], [4000, true], [
        1000,
        false,
      ], [1008, false]] as const
    ) {
      const { client, told } = start(t, server.url);
      const peer = await server.open();
      await client.socket.opened;
      await peer.send({ opcode: CLOSE, payload: closePayload(code) });
      await peer.closeFrame();
      peer.raw.close();
      if (again) {
        await server.open();
        await until(() => client.opens === 2, "the second open");
        assertEquals(told.length, 1);
        client.socket.terminate();
      }
      await client.socket.finished;
      assertEquals(client.closes[0]!.code, code);
      assertEquals(told.length, again ? 1 : 0);
    }
  },
);

testBackends(
  "a client tries again after a passing refusal alone",
  async (t) => {
    const server = t.using(new RawServer());
    for (
      const [status, again] of [
        [503, true],
        [500, true],
        [408, true],
        [429, true],
        [404, false],
        [401, false],
        [301, false],
        [200, false],
      ] as const
    ) {
      const { client, told } = start(t, server.url);
      const peer = await server.accept();
      await peer.head();
      await peer.raw.write(`HTTP/1.1 ${status} X\r\n\r\n`);
      if (again) {
        await server.open();
        await client.socket.opened;
        client.socket.terminate();
      }
      await client.socket.finished;
      assertEquals(told.length, again ? 1 : 0, `${status}`);
      assertEquals(client.errors.length, again ? 0 : 1);
    }
  },
);

testBackends(
  "a client that this side has closed does not come back",
  async (t) => {
    const server = t.using(new RawServer());
    for (const how of ["close", "terminate"] as const) {
      const { client, told } = start(t, server.url);
      const peer = await server.open();
      await client.socket.opened;
      client.socket[how]();
      if (how === "close") {
        await peer.closeFrame();
        await peer.send({ opcode: CLOSE, payload: closePayload(1000) });
      }
      peer.raw.close();
      await client.socket.finished;
      assertEquals([told.length, client.closes.length], [0, 1]);
    }
  },
);

testBackends(
  "a client that is closed while it waits is finished at once",
  async (t) => {
    const server = new RawServer();
    server[Symbol.dispose]();
    for (const how of ["close", "terminate", "abort"] as const) {
      const controller = new AbortController();
      const told: Reconnection[] = [];
      const client = new Client(t, server.url, {
        reconnect: { minDelay: 1e6, maxDelay: 1e6, jitter: 0 },
        signal: controller.signal,
      }, { reconnecting: (_, each) => void told.push(each) });
      await until(() => told.length === 1, "the first wait");
      assertEquals(told[0]!.delay, 1e6);
      if (how === "abort") controller.abort();
      else client.socket[how]();
      await client.socket.finished;
      assertEquals(client.errors, []);
      assertEquals(client.socket.readyState, 3);
    }
  },
);

testBackends(
  "a client that is closed by `reconnecting` does not wait",
  async (t) => {
    const server = new RawServer();
    server[Symbol.dispose]();
    const client = new Client(t, server.url, { reconnect: true }, {
      reconnecting: (socket) => socket.close(),
    });
    await client.socket.finished;
    assertEquals(client.errors, []);
  },
);

testBackends("a handler that throws ends a client for good", async (t) => {
  const server = t.using(new RawServer());
  const told: Reconnection[] = [];
  const client = new Client(t, server.url, { reconnect: QUICK }, {
    message: () => {
      throw new Error("thrown");
    },
    reconnecting: (_, each) => void told.push(each),
  });
  const peer = await server.open();
  await peer.send({ opcode: TEXT, payload: "x" });
  assertEquals(await peer.closeFrame(), {
    code: 1011,
    reason: "Internal error",
  });
  peer.raw.close();
  await client.socket.finished;
  assertEquals(client.errors.map((error) => (error as Error).message), [
    "thrown",
  ]);
  assertEquals(told, []);
});

testBackends("connections that do not last count as attempts", async (t) => {
  const server = t.using(new RawServer());
  const { client, told } = start(t, server.url, {
    minDelay: 1,
    maxDelay: 60_000,
    factor: 1,
    maxAttempts: 3,
  });
  for (let i = 0; i < 4; i++) {
    const peer = await server.open();
    await until(() => client.opens === i + 1, "open");
    peer.raw.close();
  }
  await client.socket.finished;
  assertEquals(told.map(({ attempt }) => attempt), [1, 2, 3]);
  assertEquals(client.closes.length, 4);
});

Deno.test("the wait before an attempt grows to the most, and is left to chance", () => {
  const settings = resolveReconnect(true)!;
  assertEquals(settings, {
    minDelay: 1000,
    maxDelay: 30_000,
    factor: 2,
    jitter: 1,
    maxAttempts: Infinity,
  });
  const most = (attempt: number): number =>
    reconnectDelay(settings, attempt, 0);
  assertEquals([1, 2, 3, 4, 5, 6, 7, 1e9].map(most), [
    1000,
    2000,
    4000,
    8000,
    16_000,
    30_000,
    30_000,
    30_000,
  ]);
  assertEquals(reconnectDelay(settings, 3, 0.25), 3000);
  assertEquals(reconnectDelay(settings, 3, 1), 0);
  const half: ReconnectSettings = { ...settings, jitter: 0.5, factor: 3 };
  assertEquals(reconnectDelay(half, 2, 0), 3000);
  assertEquals(reconnectDelay(half, 2, 1), 1500);
  const none = { ...settings, jitter: 0 };
  assertEquals(reconnectDelay(none, 2, 0.7), 2000);
  for (const attempt of [1, 5, 1e9]) {
    assertEquals(reconnectDelay({ ...none, minDelay: 0 }, attempt, 0.7), 0);
  }
});

testBackends("waits are as the options say", async (t) => {
  const server = new RawServer();
  server[Symbol.dispose]();
  const { client, told } = start(t, server.url, {
    minDelay: 4,
    maxDelay: 10,
    maxAttempts: 20,
  });
  await client.socket.finished;
  const delays = told.map(({ delay }) => delay);
  delays.forEach((delay, at) => {
    assert(delay >= 0 && delay <= Math.min(10, 4 * 2 ** at), `${delays}`);
  });
  assertEquals(new Set(delays).size, 20);
});
