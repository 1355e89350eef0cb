// SPDX-License-Identifier: Apache-2.0
// Tests of lib/http_request.ts: a LazyRequest is compared with the Request that
// Deno.serve makes of the same bytes, and copied by what makes genuine ones.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { RequestBody } from "../lib/http_body.ts";
import {
  FieldSource,
  findHeadersSlots,
  findInnerSlot,
  headersMaker,
  makeGenuine,
} from "../lib/http_request.ts";
import {
  Context,
  fill,
  HOST,
  lazy,
  lookAtHead,
  NO_FLOW,
  outcome,
  POST,
  throughDenoServe,
  tokenised,
} from "./lazy.ts";
import { latin1 } from "./testing.ts";

/** What becomes of a body that is read as text, twice. */
async function lookAtText(request: Request): Promise<unknown[]> {
  return [
    request.bodyUsed,
    await outcome(request.text()),
    request.bodyUsed,
    await outcome(request.text()),
    await outcome(request.json()),
    await outcome(request.blob().then((blob) => blob.type)),
    request.bodyUsed,
  ];
}

/** The same for a body that is looked at first. */
async function lookAtStream(request: Request): Promise<unknown[]> {
  const { body } = request;
  return [
    body === null,
    body === request.body,
    request.bodyUsed,
    await outcome(request.bytes()),
    request.bodyUsed,
    await outcome(request.arrayBuffer()),
  ];
}

const HEADS = [
  "GET / HTTP/1.1\r\nHost: a.example:81\r\n\r\n",
  "GET /?q=%41%zz&r=a|b' HTTP/1.1\r\nHost: A.Example\r\n\r\n",
  "GET //x/y HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
  "GET /a/../b/./c;d,e HTTP/1.1\r\nHost: a:80\r\n\r\n",
  "GET /^`{|}[]!$&()*+=:@~ HTTP/1.1\r\nHost: a:\r\n\r\n",
  "GET /? HTTP/1.1\r\nHost: %41\r\n\r\n",
  "GET /host:/x:y HTTP/1.1\r\nX: host: z\r\nHost: a\r\n\r\n",
  "GET http://other.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET http://other.example HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET http://other.example:81?x HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET HTTP://Other.Example:80/A/../b HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET https://other.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
  "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
  "CONNECT b.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
  "GET /empty-host HTTP/1.1\r\nHost: \r\n\r\n",
  "GET /no-host HTTP/1.0\r\n\r\n",
  "GET http://other.example/x HTTP/1.0\r\n\r\n",
  "get / HTTP/1.1\r\nHost: a\r\n\r\n",
  "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
  "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
  `GET / HTTP/1.1\r\n${HOST}X: a\r\nx:  b \t\r\nX-Long:${
    "y".repeat(999)
  }\r\n\r\n`,
  `GET / HTTP/1.1\r\n${HOST}X:\r\nX: b\r\nX:\r\n\r\n`,
  `GET / HTTP/1.1\r\n${HOST}X:  \t \r\nXx: y\r\nAx: z\r\n\r\n`,
  `GET / HTTP/1.1\r\n${HOST}X: a b\tc : d\r\n\r\n`,
  `GET / HTTP/1.1\r\n${HOST}X: \xe9\x80\xff\r\n\r\n`,
  `GET / HTTP/1.1\r\nCookie: a=1\r\n${HOST}Set-Cookie: q\r\ncookie: b=2\r\n` +
  "set-cookie: r\r\n\r\n",
];

for (const head of HEADS) {
  const title = JSON.stringify(head.slice(0, 70));
  Deno.test(`LazyRequest shows the same head as Deno.serve: ${title}`, async () => {
    const context = new Context();
    const expected = await throughDenoServe(head, (request, port) => {
      // What Deno.serve calls every loopback address.
      context.base.authority = `localhost:${port}`;
      return Promise.resolve(lookAtHead(request));
    });
    assertEquals(lookAtHead(lazy(head, { context })), expected);
  });
}

const MESSAGES = [
  `GET / HTTP/1.1\r\n${HOST}\r\n`,
  `GET / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  `HEAD / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc",
  `POST / HTTP/1.1\r\n${HOST}\r\n`,
  `POST / HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`,
  `POST / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  `POST / HTTP/1.1\r\n${HOST}Content-Length: 4\r\n\r\n\xef\xbb\xbf1`,
  `POST / HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\n\xff\x80`,
  `PUT / HTTP/1.1\r\n${HOST}Content-Type: Text/Plain\r\nContent-Length: 1\r\n\r\n1`,
  `DELETE / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  `OPTIONS / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  `TRACE / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  `TRACK / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
  `get / HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`,
];

for (const message of MESSAGES) {
  const title = JSON.stringify(message);
  Deno.test(`LazyRequest gives the same body as Deno.serve: ${title}`, async () => {
    assertEquals(
      await lookAtText(lazy(message)),
      await throughDenoServe(message, lookAtText),
    );
    assertEquals(
      await lookAtStream(lazy(message)),
      await throughDenoServe(message, lookAtStream),
    );
  });
}

// Copies.

Deno.test("LazyRequest.clone() gives two requests with one body each", async () => {
  const request = lazy(POST);
  const copy = request.clone();
  assertInstanceOf(copy, Request);
  assertNotStrictEquals(copy, request);
  assertEquals(lookAtHead(copy), lookAtHead(lazy(POST)));
  assertThrows(() => copy.headers.set("x", "z"), TypeError);
  assertEquals(await copy.text(), "abc");
  assert(!request.bodyUsed);
  assertEquals(await request.clone().text(), "abc");
  assertEquals(await request.text(), "abc");
  assertThrows(() => request.clone(), TypeError, "Body is unusable");
});

Deno.test("LazyRequest.clone() throws after a direct read", async () => {
  const request = lazy(POST);
  await request.text();
  assertThrows(() => request.clone(), TypeError, "Body is unusable");
  assert(request.bodyUsed);
  await assertRejects(() => request.text(), TypeError, "already consumed");
});

Deno.test("new Request() takes over the body of a LazyRequest", async () => {
  const request = lazy(POST);
  const copy = new Request(request);
  assertEquals(copy.method, "POST");
  assertEquals(copy.url, request.url);
  copy.headers.set("x", "z");
  assertEquals(request.headers.get("x"), "y");
  assert(request.bodyUsed);
  await assertRejects(() => request.text(), TypeError, "already consumed");
  assertEquals(await copy.text(), "abc");
  assertThrows(() => new Request(request), TypeError, "unusable");
});

Deno.test("new Request() replaces what its second argument names", async () => {
  const used = lazy(POST);
  await used.text();
  const copy = new Request(used, { method: "PUT", body: "new" });
  assertEquals(copy.method, "PUT");
  assertEquals(await copy.text(), "new");

  const get = lazy(`GET / HTTP/1.1\r\n${HOST}\r\n`);
  const post = new Request(get, { method: "POST", body: "new" });
  assertEquals(await post.text(), "new");
  assertEquals(post.headers.get("host"), "a.example:81");
});

Deno.test("new Request() accepts a LazyRequest as its second argument", async () => {
  const copy = new Request("http://b.example/", lazy(POST));
  assertEquals(copy.url, "http://b.example/");
  assertEquals(copy.method, "POST");
  assertEquals(copy.headers.get("x"), "y");
  assertEquals(await copy.text(), "abc");
});

for (const method of ["TRACE", "TRACK", "CONNECT", "get", "Patch"]) {
  Deno.test(`new Request() copies a LazyRequest of method ${method}`, async () => {
    const target = method === "CONNECT" ? "a:1" : "/x";
    const message = `${method} ${target} HTTP/1.1\r\n${HOST}\r\nabc`;
    const expected = method === "CONNECT" ? "" : "abc";
    const copy = new Request(lazy(message));
    assertEquals(copy.method, method);
    assertEquals(await copy.text(), expected);
    const clone = lazy(message).clone();
    assertEquals(clone.method, method);
    assertEquals(await clone.text(), expected);
  });
}

Deno.test("fetch() sends a LazyRequest", async () => {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: (): void => {} },
    async (request) =>
      Response.json([
        request.method,
        new URL(request.url).pathname,
        request.headers.get("x"),
        await request.text(),
      ]),
  );
  const host = `127.0.0.1:${server.addr.port}`;
  for (const complete of [true, false]) {
    const body = new RequestBody(3, NO_FLOW);
    if (complete) fill(body);
    const head = `POST /p HTTP/1.1\r\nHost: ${host}\r\nX: y\r\n\r\n`;
    const answer = fetch(lazy(head, { body }));
    if (!complete) fill(body);
    assertEquals(await (await answer).json(), ["POST", "/p", "y", "abc"]);
  }
  await server.shutdown();
});

// What remains when Deno's internals are not what they were.

Deno.test("findHeadersSlots() and findInnerSlot() know this Deno", () => {
  assert(findHeadersSlots() !== null);
  assert(findInnerSlot() !== null);
});

Deno.test("headersMaker() makes the same headers without slots", () => {
  const head = tokenised(
    `GET /x HTTP/1.1\r\n${HOST}X: 1\r\nY:\r\nx: 2\r\nSet-Cookie: a\r\n` +
      "set-cookie: b\r\nCookie: c\r\nCookie: d\r\n\r\n",
  );
  const [fast, standard] = [findHeadersSlots(), null].map((slots) =>
    headersMaker(slots)(new FieldSource(head, 6))
  );
  assertEquals([...standard!], [...fast!]);
  assertEquals(standard!.get("cookie"), fast!.get("cookie"));
  assertEquals(standard!.getSetCookie(), fast!.getSetCookie());
});

Deno.test("makeGenuine() makes what the constructor allows without slots", async () => {
  const parts = {
    method: "PUT",
    url: "http://a/b/../c",
    headers: new Headers({ x: "y" }),
    body: latin1("abc"),
    bodyUsed: false,
    signal: null,
  };
  const request = makeGenuine(parts, null);
  assertEquals(request.method, "PUT");
  assertEquals(request.url, "http://a/c");
  assertEquals(request.headers.get("x"), "y");
  assertEquals(await request.text(), "abc");

  const used = makeGenuine({ ...parts, body: null, bodyUsed: true }, null);
  assert(used.bodyUsed);
  const trace = { ...parts, method: "TRACE" };
  assertThrows(() => makeGenuine(trace, null), TypeError);
});
