// SPDX-License-Identifier: Apache-2.0
// Tests of permessage-deflate with an independent client, npm:ws: all that can be agreed on.

import { assert, assertEquals } from "@std/assert";
import type { WebSocketCompression } from "../mod.ts";
import { type ClientOptions, NpmClient } from "./npm_ws_client.ts";
import { assertSameBytes, pattern, testBackends } from "./testing.ts";
import { ECHO, serveRoute } from "./ws_client.ts";

async function echo(
  client: NpmClient,
  message: Uint8Array | string,
): Promise<void> {
  client.send(message);
  const back = await client.message();
  if (typeof message === "string" || typeof back === "string") {
    assertEquals(back, message);
  } else {
    assertSameBytes(back, message, "echo");
  }
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
      const client = await NpmClient.connect(server, {
        ...asked,
        threshold: 0,
      });
      assert(client.extensions.includes("permessage-deflate"));
      for (const size of SIZES) {
        await echo(client, pattern(size));
        await echo(client, pattern(size).map((byte) => byte & 3));
        await echo(client, "Grüße ".repeat(size / 6));
        await echo(client, "Grüße ".repeat(size / 6));
      }
      await client.end();
    });
  }
}

testBackends("npm:ws without compression is served without", async (t) => {
  const server = serveRoute(t, ECHO, { compression: true });
  const client = await NpmClient.connect(server, false);
  assertEquals(client.extensions, "");
  await echo(client, "a".repeat(5000));
  await client.end();
});

testBackends("npm:ws gets a mebibyte and sixteen of them", async (t) => {
  const server = serveRoute(t, ECHO, {
    compression: { serverContextTakeover: true, clientContextTakeover: true },
    maxMessageBytes: 16 << 20,
  });
  const client = await NpmClient.connect(server, true);
  for (const size of [1 << 20, 16 << 20]) {
    await echo(client, pattern(size));
    await echo(client, pattern(size).map((byte) => byte % 11));
  }
  await client.end();
});
