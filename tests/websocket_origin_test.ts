// SPDX-License-Identifier: Apache-2.0
// Tests of the option `origin`: which pages may open a WebSocket.

import { assertEquals, assertThrows } from "@std/assert";
import { type OriginPolicy, websocket } from "../mod.ts";
import { RawClient } from "./raw_client.ts";
import { testBackends } from "./testing.ts";
import { ECHO, handshake, serveRoute } from "./ws_client.ts";

interface Case {
  what: string;
  policy?: OriginPolicy;
  host?: string;
  origin: string | null;
  allowed: boolean;
}

const LIST = ["https://example.org", "http://localhost:3000", "app://x"];

const CASES: Case[] = [
  { what: "no Origin", origin: null, allowed: true },
  { what: "the same host", origin: "http://test", allowed: true },
  { what: "https where we speak http", origin: "https://test", allowed: false },
  { what: "another host", origin: "http://other", allowed: false },
  { what: "a longer host", origin: "http://test.evil.org", allowed: false },
  { what: "a host that ends alike", origin: "http://a.test", allowed: false },
  { what: "another port", origin: "http://test:8080", allowed: false },
  { what: "null", origin: "null", allowed: false },
  { what: "an empty Origin", origin: "", allowed: false },
  { what: "user info", origin: "http://test@evil.org", allowed: false },
  { what: "two origins", origin: "http://test, http://test", allowed: false },
  {
    what: "the same host and port",
    host: "test:8080",
    origin: "http://test:8080",
    allowed: true,
  },
  {
    what: "the default port in Host",
    host: "test:80",
    origin: "http://test",
    allowed: true,
  },
  {
    what: "a host in other case",
    host: "TEST",
    origin: "http://test",
    allowed: true,
  },
  {
    what: "an IPv6 host",
    host: "[::1]:9001",
    origin: "http://[::1]:9001",
    allowed: true,
  },
  {
    what: "anything where any may",
    policy: "any",
    origin: "null",
    allowed: true,
  },
  {
    what: "a listed origin",
    policy: LIST,
    origin: "https://example.org",
    allowed: true,
  },
  {
    what: "a listed origin of an app",
    policy: LIST,
    origin: "app://x",
    allowed: true,
  },
  {
    what: "one that is not listed",
    policy: LIST,
    origin: "http://example.org",
    allowed: false,
  },
  {
    what: "the server's own, not listed",
    policy: LIST,
    origin: "http://test",
    allowed: false,
  },
  {
    what: "no Origin where some are listed",
    policy: LIST,
    origin: null,
    allowed: true,
  },
  { what: "null, not listed", policy: LIST, origin: "null", allowed: false },
  { what: "null, listed", policy: ["null"], origin: "null", allowed: true },
];

for (const { what, policy, host = "test", origin, allowed } of CASES) {
  const verdict = allowed ? "allows" : "refuses";
  testBackends(`a WebSocket route ${verdict} ${what}`, async (t) => {
    const options = policy === undefined ? {} : { origin: policy };
    const server = serveRoute(t, ECHO, options);
    const client = t.using(await RawClient.connect(server));
    const fields = { "Host": host, "Origin": origin };
    const response = await client.request(handshake("/", fields));
    assertEquals(response.status, allowed ? 101 : 403);
  });
}

testBackends("a function decides about the origin", async (t) => {
  const seen: unknown[] = [];
  const server = serveRoute(t, ECHO, {
    origin: (origin, request) => {
      seen.push([origin, new URL(request.url).pathname]);
      return origin === "http://a";
    },
  });
  for (const origin of ["http://a", "http://b", null]) {
    const client = t.using(await RawClient.connect(server));
    const { status } = await client.request(
      handshake("/x", { "Origin": origin }),
    );
    assertEquals(status, origin === "http://a" ? 101 : 403);
  }
  assertEquals(seen, [["http://a", "/x"], ["http://b", "/x"], [null, "/x"]]);
});

testBackends("what is no handshake is not asked for its origin", async (t) => {
  const server = serveRoute(t, ECHO);
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    handshake("/", { "Origin": "http://other", "Upgrade": null }),
  );
  assertEquals(response.status, 426);
});

Deno.test("websocket() refuses what is no list of origins", () => {
  const wrong = [
    "https://example.org/",
    "https://EXAMPLE.org",
    "https://example.org:443",
    "http://example.org:80",
    "https://user@example.org",
    "example.org",
    "*",
    "",
  ];
  for (const origin of wrong) {
    assertThrows(
      () => websocket({}, { origin: [origin] }),
      TypeError,
      "is no origin",
      origin,
    );
  }
  assertThrows(
    () => websocket({}, { origin: "https://a" as "same" }),
    TypeError,
    '"origin" must be',
  );
});
