// SPDX-License-Identifier: Apache-2.0
// Tests of the client with an independent server, npm:ws: all that can be
// agreed on, and all that can be said.

import { assert, assertEquals } from "@std/assert";
import { type Message, prepare, type WebSocketClientOptions } from "../mod.ts";
import { Client } from "./client_testing.ts";
import type { ClientOptions } from "./npm_ws_client.ts";
import { echo, NpmServer, type NpmSocket } from "./npm_ws_server.ts";
import {
  assertSameBytes,
  type Context,
  pattern,
  testBackends,
  until,
} from "./testing.ts";

/** Runs a test with a server, which must see nothing wrong. */
async function withServer(
  deflate: ClientOptions | boolean,
  serve: (socket: NpmSocket) => void,
  test: (server: NpmServer) => Promise<void>,
  more: object = {},
): Promise<void> {
  const server = await NpmServer.listen(deflate, serve, more);
  try {
    await test(server);
    assertEquals(server.errors, []);
  } finally {
    await server.close();
  }
}

async function assertEcho(client: Client, message: Message): Promise<void> {
  assert(client.socket.send(message) !== "dropped");
  const back = await client.message();
  if (typeof message === "string" || typeof back === "string") {
    assertEquals(back, message);
  } else {
    assertSameBytes(back, message, "echo");
  }
}

const SIZES = [0, 1, 125, 126, 4000, 65535, 65536];
const LONG = [300_000, 1 << 20];

async function assertEchoes(client: Client, sizes: number[]): Promise<void> {
  for (const size of sizes) {
    await assertEcho(client, pattern(size));
    await assertEcho(client, pattern(size).map((byte) => byte & 3));
    await assertEcho(client, "Grüße ".repeat(size / 8));
    await assertEcho(client, "Grüße ".repeat(size / 8));
  }
}

function open(
  t: Context,
  server: NpmServer,
  options: WebSocketClientOptions = {},
): Client {
  return new Client(t, server.url, { maxMessageBytes: 2 << 20, ...options });
}

testBackends("npm:ws answers a client without compression", async (t) => {
  for (const compression of [false, true]) {
    await withServer(false, echo, async (server) => {
      const client = open(t, server, { compression });
      await client.socket.opened;
      await assertEchoes(client, [...SIZES, ...LONG]);
      client.socket.close();
      assertEquals(await client.end(), { code: 1000, reason: "" });
    });
  }
});

const ASKED: WebSocketClientOptions["compression"][] = [
  {},
  { serverContextTakeover: true },
  { clientContextTakeover: true },
  {
    serverContextTakeover: true,
    clientContextTakeover: true,
    serverMaxWindowBits: 10,
    clientMaxWindowBits: 11,
    memLevel: 3,
    level: 1,
  },
  { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
];

// It refuses offers of smaller windows than its own.
const GIVEN: ClientOptions[] = [
  {},
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true },
  { clientMaxWindowBits: 9 },
  { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
];

for (const asked of ASKED) {
  for (const given of GIVEN) {
    const name = `a client with ${JSON.stringify(asked)} and npm:ws with ${
      JSON.stringify(given)
    } agree`;
    testBackends(name, async (t) => {
      let extensions = "";
      await withServer({ ...given, threshold: 0 }, (socket) => {
        extensions = socket.extensions;
        echo(socket);
      }, async (server) => {
        const client = open(t, server, {
          compression: { ...asked as object, threshold: 0, maxRatio: 0 },
        });
        await client.socket.opened;
        assert(extensions.includes("permessage-deflate"));
        await assertEchoes(client, SIZES);
        const prepared = prepare("prepared ".repeat(100));
        for (let i = 0; i < 3; i++) {
          client.socket.send(prepared);
          assertEquals(await client.message(), "prepared ".repeat(100));
        }
        client.socket.close();
        assertEquals(await client.end(), { code: 1000, reason: "" });
      });
    });
  }
}

for (const takeover of [false, true]) {
  const kind = takeover ? "with" : "without";
  testBackends(
    `npm:ws and a client compress a mebibyte ${kind} takeover`,
    async (t) => {
      await withServer(true, echo, async (server) => {
        const client = open(t, server, {
          compression: {
            serverContextTakeover: takeover,
            clientContextTakeover: takeover,
            maxRatio: 0,
          },
        });
        await client.socket.opened;
        await assertEchoes(client, LONG);
      });
    },
  );
}

testBackends(
  "npm:ws and a client exchange fragments, pings and pongs",
  async (t) => {
    const pings: string[] = [];
    const pongs: string[] = [];
    await withServer(true, (socket) => {
      echo(socket);
      socket.on("ping", (data) => pings.push(data.toString()));
      socket.on("pong", (data) => pongs.push(data.toString()));
      socket.ping("from the server");
      socket.send("one ", { fin: false });
      socket.send("two ", { fin: false, compress: true });
      socket.ping("in between");
      socket.send("three", { fin: true });
    }, async (server) => {
      const client = open(t, server);
      const { socket } = client;
      await socket.opened;
      assertEquals(await client.message(), "one two three");
      socket.sendFragment("ein ", false);
      socket.ping(new TextEncoder().encode("from the client"));
      socket.sendFragment("zwei", true);
      assertEquals(await client.message(), "ein zwei");
      await until(() => client.pongs.length === 1, "a pong");
      assertEquals(client.pings, ["from the server", "in between"]);
      assertEquals(pings, ["from the client"]);
      assertEquals(pongs, ["from the server", "in between"]);
      assertEquals(client.pongs, ["from the client"]);
    });
  },
);

testBackends(
  "npm:ws and a client close each other with code and reason",
  async (t) => {
    const told: unknown[] = [];
    await withServer(false, (socket) => {
      socket.on("close", (code, reason) => told.push(code, reason.toString()));
      socket.on("message", () => socket.close(4002, "Tschüß"));
    }, async (server) => {
      const first = open(t, server);
      await first.socket.opened;
      first.socket.close(4001, "Grüße");
      // It answers with what it was told.
      assertEquals(await first.end(), { code: 4001, reason: "Grüße" });
      const second = open(t, server);
      await second.socket.opened;
      second.socket.send("close");
      assertEquals(await second.end(), { code: 4002, reason: "Tschüß" });
      await until(() => told.length === 4, "both ends");
      assertEquals(told, [4001, "Grüße", 4002, ""]);
    });
  },
);

testBackends("npm:ws and a client agree on a subprotocol", async (t) => {
  await withServer(false, echo, async (server) => {
    const client = open(t, server, { protocols: ["a", "b"] });
    await client.socket.opened;
    assertEquals(client.socket.protocol, "b");
  }, { handleProtocols: () => "b" });
});
