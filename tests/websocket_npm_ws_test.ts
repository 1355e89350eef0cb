// SPDX-License-Identifier: Apache-2.0
// Tests of permessage-deflate with an independent client, npm:ws: all that can be agreed on.

import { Buffer } from "node:buffer";
import { assert, assertEquals } from "@std/assert";
import { WebSocket } from "ws";
import type { WebSocketCompression } from "../mod.ts";
import {
  assertSameBytes,
  deadline,
  pattern,
  type TcpServer,
  testBackends,
} from "./testing.ts";
import { ECHO, serveRoute } from "./ws_client.ts";

interface ClientOptions {
  serverNoContextTakeover?: boolean;
  clientNoContextTakeover?: boolean;
  serverMaxWindowBits?: number;
  clientMaxWindowBits?: number;
  threshold?: number;
}

/** What the tests use of the client: the package has no types. */
interface Client {
  readonly extensions: string;
  once(event: "open" | "error" | "close", listener: () => void): void;
  once(
    event: "message",
    listener: (data: Buffer, isBinary: boolean) => void,
  ): void;
  send(data: Uint8Array | string): void;
  close(): void;
}

async function connect(
  server: TcpServer,
  perMessageDeflate: ClientOptions | boolean,
): Promise<Client> {
  const { port } = server.addr;
  const url = `ws://127.0.0.1:${port}/`;
  const client: Client = new WebSocket(url, {
    perMessageDeflate,
    maxPayload: 1 << 26,
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.once("open", resolve);
  client.once("error", () => reject(new Error("Cannot connect")));
  await deadline(promise, "the handshake");
  return client;
}

async function echo(
  client: Client,
  message: Uint8Array | string,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<[Buffer, boolean]>();
  client.once("message", (data, isBinary) => resolve([data, isBinary]));
  client.send(message);
  const [data, isBinary] = await deadline(promise, "the echo");
  assertEquals(isBinary, typeof message !== "string");
  assertSameBytes(new Uint8Array(data), Buffer.from(message), "echo");
}

async function end(client: Client): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  client.once("close", resolve);
  client.close();
  await deadline(promise, "the end");
}

const ASKED: ClientOptions[] = [
  {},
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true },
  { serverNoContextTakeover: true, clientNoContextTakeover: true },
  { serverMaxWindowBits: 9 },
  { clientMaxWindowBits: 9 },
  { serverMaxWindowBits: 12, clientMaxWindowBits: 10 },
];

const GIVEN: WebSocketCompression[] = [
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
];

const SIZES = [0, 1, 125, 126, 4000, 65535, 65536, 300_000];

for (const asked of ASKED) {
  for (const given of GIVEN) {
    const name = `npm:ws with ${JSON.stringify(asked)} and a route with ${
      JSON.stringify(given)
    } agree`;
    testBackends(name, async (t) => {
      const server = serveRoute(t, ECHO, {
        compression: { ...given, threshold: 0, maxRatio: 0 },
      });
      const client = await connect(server, { ...asked, threshold: 0 });
      assert(client.extensions.includes("permessage-deflate"));
      for (const size of SIZES) {
        await echo(client, pattern(size));
        await echo(client, pattern(size).map((byte) => byte & 3));
        await echo(client, "Grüße ".repeat(size / 6));
        await echo(client, "Grüße ".repeat(size / 6));
      }
      await end(client);
    });
  }
}

testBackends("npm:ws without compression is served without", async (t) => {
  const server = serveRoute(t, ECHO, { compression: true });
  const client = await connect(server, false);
  assertEquals(client.extensions, "");
  await echo(client, "a".repeat(5000));
  await end(client);
});

testBackends("npm:ws gets a mebibyte and sixteen of them", async (t) => {
  const server = serveRoute(t, ECHO, {
    compression: { serverContextTakeover: true, clientContextTakeover: true },
    maxMessageBytes: 16 << 20,
  });
  const client = await connect(server, true);
  for (const size of [1 << 20, 16 << 20]) {
    await echo(client, pattern(size));
    await echo(client, pattern(size).map((byte) => byte % 11));
  }
  await end(client);
});
