// SPDX-License-Identifier: Apache-2.0
// Tests of the client's opening handshake against a raw server: what it asks
// for, and every answer that it must refuse (RFC 6455 section 4.1).

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { connectWebSocket, WebSocketHandshakeError } from "../mod.ts";
import { Client } from "./client_testing.ts";
import { acceptOf, agree, RawServer } from "./raw_ws_server.ts";
import { type Context, quiet, sleep, testBackends, turn } from "./testing.ts";
import { frame, TEXT } from "./ws_client.ts";

/** Answers one client, and returns what it failed with. */
async function refusedWith(
  t: Context,
  answer: (head: string) => string,
  end = false,
): Promise<WebSocketHandshakeError> {
  const server = t.using(new RawServer());
  const client = new Client(t, server.url, { protocols: ["a", "b"] });
  const peer = await server.accept();
  await peer.raw.write(answer(await peer.head()));
  if (end) await peer.raw.closeWrite();
  const error = await client.failure();
  assert(error instanceof WebSocketHandshakeError, String(error));
  assertEquals([client.opens, client.closes.length], [0, 0]);
  assertEquals(client.socket.readyState, 3);
  return error;
}

testBackends("a client asks as RFC 6455 section 4.1 says", async (t) => {
  const server = t.using(new RawServer());
  const client = new Client(t, `${server.url}path/%20?q=1`, {
    protocols: ["chat.v2", "chat"],
    headers: { cookie: "a=b; c=d", authorization: "Bearer x", origin: "null" },
    compression: true,
  });
  const peer = await server.accept();
  const head = await peer.head();
  const [line, ...fields] = head.trimEnd().split("\r\n");
  assertEquals(line, "GET /path/%20?q=1 HTTP/1.1");
  const key = fields.findIndex((field) => /^sec-websocket-key: /i.test(field));
  assertMatch(fields[key]!, /: [A-Za-z0-9+/]{21}[AQgw]==$/);
  fields.splice(key, 1);
  assertEquals(fields.sort(), [
    "Connection: Upgrade",
    `Host: 127.0.0.1:${server.port}`,
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; " +
    "client_no_context_takeover; client_max_window_bits",
    "Sec-WebSocket-Protocol: chat.v2, chat",
    "Sec-WebSocket-Version: 13",
    "Upgrade: websocket",
    "authorization: Bearer x",
    "cookie: a=b; c=d",
    "origin: null",
  ]);
  await peer.raw.write(agree(head, "Sec-WebSocket-Protocol: chat\r\n"));
  await client.socket.opened;
  assertEquals(client.socket.protocol, "chat");
});

testBackends("every handshake of a client has another key", async (t) => {
  const server = t.using(new RawServer());
  const keys = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const client = new Client(t, server.url);
    keys.add(acceptOf(await (await server.accept()).head()));
    client.socket.terminate();
    await client.socket.finished;
  }
  assertEquals(keys.size, 20);
});

testBackends("a response opens the client however it is cut", async (t) => {
  const server = t.using(new RawServer());
  const first = frame({ opcode: TEXT, payload: "first", masked: false });
  const length = agree("sec-websocket-key: x\r\n").length + first.length;
  for (let cut = 1; cut < length; cut++) {
    const client = new Client(t, server.url);
    const peer = await server.accept();
    const all = agree(await peer.head()) + String.fromCharCode(...first);
    assertEquals(all.length, length);
    await peer.raw.write(all.slice(0, cut));
    await turn();
    await peer.raw.write(all.slice(cut));
    assertEquals(await client.message(), "first");
    client.socket.terminate();
    peer.raw.close();
    await client.socket.finished;
  }
});

testBackends(
  "a response opens the client byte by byte, names in any case",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url);
    const peer = await server.accept();
    const accept = acceptOf(await peer.head());
    const response =
      "HTTP/1.1 101 \r\nUPGRADE: WebSocket\r\nconnection: keep-alive , UPGRADE\r\n" +
      `x: \r\nsec-webSocket-accept:\t${accept} \r\n\r\n`;
    for (const byte of response) {
      await peer.raw.write(byte);
      await turn();
    }
    await client.socket.opened;
  },
);

testBackends("interim responses before 101 are passed over", async (t) => {
  const server = t.using(new RawServer());
  const client = new Client(t, server.url);
  const peer = await server.accept();
  const head = await peer.head();
  await peer.raw.write(
    "HTTP/1.1 100 Continue\r\n\r\n" +
      "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + agree(head),
  );
  await client.socket.opened;
});

const without = (name: string) => (head: string): string =>
  agree(head).replace(new RegExp(`^${name}: .*\r\n`, "im"), "");
const instead = (name: string, value: string) => (head: string): string =>
  agree(head).replace(
    new RegExp(`^${name}: .*\r\n`, "im"),
    `${name}: ${value}\r\n`,
  );
const besides = (fields: string) => (head: string): string =>
  agree(head, fields);

const REFUSED: [
  name: string,
  answer: (head: string) => string,
  message: RegExp,
  status: number,
][] = [
  ["without Upgrade", without("Upgrade"), /Upgrade is not "websocket"/, 101],
  [
    "with another Upgrade",
    instead("Upgrade", "websocket, h2c"),
    /Upgrade is not "websocket"/,
    101,
  ],
  [
    "without Connection",
    without("Connection"),
    /does not name "Upgrade"/,
    101,
  ],
  [
    "with another Connection",
    instead("Connection", "keep-alive"),
    /does not name "Upgrade"/,
    101,
  ],
  [
    "without Accept",
    without("Sec-WebSocket-Accept"),
    /does not answer the key/,
    101,
  ],
  [
    "with a wrong Accept",
    instead("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    /does not answer the key/,
    101,
  ],
  [
    "with Accept twice",
    (head) => agree(head, `Sec-WebSocket-Accept: ${acceptOf(head)}\r\n`),
    /does not answer the key/,
    101,
  ],
  [
    "with a subprotocol that was not offered",
    besides("Sec-WebSocket-Protocol: c\r\n"),
    /subprotocol "c", which was not offered/,
    101,
  ],
  [
    "with two subprotocols",
    besides("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n"),
    /subprotocol "a, b", which was not offered/,
    101,
  ],
  [
    "with an extension that was not offered",
    besides("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
    /no extension was offered/,
    101,
  ],
  [
    "with a malformed field",
    besides("a b: c\r\n"),
    /a field is malformed: "a b: c"/,
    0,
  ],
  [
    "with a folded field",
    besides("a: b\r\n c\r\n"),
    /a field is malformed: " c"/,
    0,
  ],
  [
    "with a control character",
    besides("a: b\x01\r\n"),
    /a field is malformed/,
    0,
  ],
  [
    "of HTTP/1.0",
    (head) => agree(head).replace("/1.1", "/1.0"),
    /HTTP\/1\.0/,
    101,
  ],
  ["of HTTP/2", (head) => agree(head).replace("/1.1", "/2.0"), /no HTTP\/1/, 0],
  [
    "with a bare LF",
    (head) => agree(head).replace("\r\n", "\n"),
    /without CR/,
    0,
  ],
  ["of another protocol", () => "SSH-2.0-OpenSSH_9.9\r\n", /no HTTP\/1/, 0],
  ["of two digits", () => "HTTP/1.1 10 X\r\n\r\n", /status line/, 0],
  [
    "that is too large",
    (head) => agree(head, `x: ${"y".repeat(20_000)}\r\n`),
    /response head too large/,
    0,
  ],
  [
    "that redirects",
    () =>
      "HTTP/1.1 302 Found\r\nLocation: ws://other/\r\nContent-Length: 0\r\n\r\n",
    /302 Found.*ws:\/\/other\/.*redirects are not followed/,
    302,
  ],
  [
    "that asks for credentials",
    () => "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n",
    /401 Unauthorized.*"authorization"/,
    401,
  ],
  [
    "without a reason phrase",
    () => "HTTP/1.1 503\r\nRetry-After: 7\r\n\r\nbody",
    /it is 503, not 101/,
    503,
  ],
];

for (const [name, answer, message, status] of REFUSED) {
  testBackends(`a response ${name} is refused`, async (t) => {
    const error = await refusedWith(t, answer);
    assertMatch(error.message, message);
    assertEquals(error.status, status);
  });
}

testBackends("the error of a refused handshake has the fields", async (t) => {
  const error = await refusedWith(
    t,
    () =>
      "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n",
  );
  assertEquals(error.headers.get("retry-after"), "7");
  assertEquals(error.headers.getSetCookie(), ["a=b", "c=d"]);
});

testBackends(
  "a server that ends instead of answering is told of",
  async (t) => {
    const cut = "HTTP/1.1 101 Switching";
    for (const answer of ["", cut]) {
      const error = await refusedWith(t, () => answer, true);
      assertMatch(error.message, /the server has left without a response/);
    }
  },
);

testBackends(
  "a server that resets instead of answering is told of",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url);
    const peer = await server.accept();
    // What it has not read makes the kernel reset.
    await sleep(20);
    peer.raw.close();
    const error = await client.failure();
    assertMatch(error.message, /ECONNRESET|has left without a response/);
  },
);

testBackends(
  "frames right behind the response are not lost, nor is the end",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url);
    const peer = await server.accept();
    const head = await peer.head();
    let all = agree(head);
    for (let i = 0; i < 1000; i++) {
      const bytes = frame({ opcode: TEXT, payload: `${i}`, masked: false });
      all += String.fromCharCode(...bytes);
    }
    await peer.raw.write(all);
    await peer.raw.closeWrite();
    assertEquals(await client.end(), { code: 1006, reason: "" });
    assertEquals(client.messages.length, 1000);
    assertEquals(client.messages.at(-1), "999");
  },
);

Deno.test("what is no URL of a WebSocket is refused at once", () => {
  const cases: [url: string, message: string][] = [
    ["localhost:8000", "the scheme of a WebSocket is ws:"],
    ["/path", "it is no URL"],
    ["http://localhost/", "the scheme of a WebSocket is ws:"],
    ["wss://localhost/", "no TLS yet"],
    ["ws://localhost/#", "no fragment"],
    ["ws://localhost/#a", "no fragment"],
    ["ws://user:secret@localhost/", '"authorization"'],
  ];
  for (const [url, message] of cases) {
    assertThrows(() => connectWebSocket(url, {}), SyntaxError, message);
  }
});

Deno.test("options that make no sense are refused at once", () => {
  const url = "ws://localhost/";
  const refused = (
    options: object,
    error: typeof TypeError | typeof RangeError | typeof SyntaxError,
    message: string,
  ): void => {
    assertThrows(() => connectWebSocket(url, {}, options), error, message);
  };
  refused({ protocols: ["a", "a"] }, SyntaxError, "offered twice");
  refused({ protocols: "a b" }, SyntaxError, "is no subprotocol");
  refused({ protocols: [""] }, SyntaxError, "is no subprotocol");
  refused({ headers: { upgrade: "x" } }, TypeError, '"upgrade"');
  refused({ headers: { "Sec-WebSocket-Key": "x" } }, TypeError, "handshake");
  refused({ timeout: 1 }, TypeError, 'unknown option "timeout"');
  refused({ connectTimeout: -1 }, RangeError, '"connectTimeout"');
  refused({ closeTimeout: 0 }, RangeError, '"closeTimeout"');
  refused({ signal: {} }, TypeError, "AbortSignal");
  refused({ backend: "kqueue" }, TypeError, '"backend"');
  refused({ slowConsumer: "x" }, TypeError, '"slowConsumer"');
  refused({ ordered: 1 }, TypeError, '"ordered" must be a boolean');
  refused({ compression: { x: 1 } }, TypeError, '"compression.x"');
  refused(
    { compression: { clientMaxWindowBits: 8 } },
    RangeError,
    '"compression.clientMaxWindowBits" must be an integer from 9',
  );
  refused({ reconnect: { factor: 0 } }, RangeError, '"reconnect.factor"');
  refused({ reconnect: { x: 0 } }, TypeError, 'unknown option "x"');
  refused(
    { reconnect: { minDelay: 2, maxDelay: 1 } },
    RangeError,
    "must not be more",
  );
  assertThrows(
    () => connectWebSocket(url, { message: 1 } as never),
    TypeError,
    '"message" must be a function',
  );
  assertThrows(
    () => connectWebSocket(url, { message: quiet, messages: quiet }),
    TypeError,
    "would be given the same messages",
  );
});
