// SPDX-License-Identifier: Apache-2.0
// Tests of lib/http_request.ts: a LazyRequest is compared with the Request that
// Deno.serve makes of the same bytes.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { RequestBody } from "../lib/http_body.ts";
import {
  FieldSource,
  findHeadersSlots,
  findInnerSlot,
  headersMaker,
  LazyRequest,
  makeGenuine,
  type RequestContext,
} from "../lib/http_request.ts";
import { type ResponseParts, takeParts } from "../lib/response_parts.ts";

const NO_FLOW = {
  pause: (): void => {},
  resume: (): void => {},
  consume: (): void => {},
};

class Context implements RequestContext {
  readonly scheme = "http";
  authority = "localhost:8000";
  readonly upgradable = false;
  readonly controller = new AbortController();
  signals = 0;

  abortSignal(): AbortSignal {
    this.signals++;
    return this.controller.signal;
  }
}

/** The bytes of a text in which each character stands for one. */
function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** A head as the C shim leaves it: field names in lower case. */
function tokenised(head: string): string {
  return head.replace(/\r\n[^\r:]+:/g, (name) => name.toLowerCase());
}

function bodyOf(text: string): RequestBody {
  const body = new RequestBody(text.length, NO_FLOW);
  body.push(latin1(text));
  body.end();
  return body;
}

// Stands before and after every head, and must never be seen.
const NEIGHBOUR = "PUT /n HTTP/1.1\r\nhost: n\r\nx-neighbour: 1\r\n\r\n";

function lazy(
  message: string,
  given: { context?: RequestContext; body?: RequestBody } = {},
): LazyRequest {
  const bodyStart = message.indexOf("\r\n\r\n") + 4;
  const head = tokenised(message.slice(0, bodyStart));
  const content = message.slice(bodyStart);
  const [method = "", target = ""] = head.split(" ");
  return new LazyRequest(
    NEIGHBOUR + head + NEIGHBOUR,
    NEIGHBOUR.length,
    NEIGHBOUR.length + head.length,
    method.length,
    target.length,
    given.body ?? (content === "" ? null : bodyOf(content)),
    given.context ?? new Context(),
  );
}

/** What `look` makes of the request that Deno.serve receives as `message`. */
async function throughDenoServe<T>(
  message: string,
  look: (request: Request, port: number) => Promise<T>,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: (): void => {} },
    async (request) => {
      await look(request, server.addr.port).then(resolve, reject);
      return new Response();
    },
  );
  const conn = await Deno.connect({ port: server.addr.port });
  try {
    await conn.write(latin1(message));
    return await promise;
  } finally {
    // The answer must be there before the connection goes.
    await conn.read(new Uint8Array(1024));
    conn.close();
    await server.shutdown();
  }
}

async function outcome(promise: Promise<unknown>): Promise<unknown> {
  try {
    return { value: await promise };
  } catch (error) {
    assertInstanceOf(error, Error);
    return { name: error.name, message: error.message };
  }
}

const FIELD_NAMES =
  "host Host x X-Long cookie set-cookie content-type absent x-neighbour"
    .split(" ");

const HEAD_ATTRIBUTES = [
  ..."method url cache credentials destination integrity".split(" "),
  ..."keepalive mode referrer referrerPolicy".split(" "),
];

/** Everything about a request that can be seen without its body. */
function lookAtHead(request: Request): Record<string, unknown> {
  const get = (): (string | null)[] =>
    FIELD_NAMES.map((name) => request.headers.get(name));
  return {
    attributes: HEAD_ATTRIBUTES.map((name) => Reflect.get(request, name)),
    beforeList: get(),
    has: FIELD_NAMES.map((name) => request.headers.has(name)),
    list: [...request.headers],
    afterList: get(),
    cookies: request.headers.getSetCookie(),
  };
}

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

const HOST = "Host: a.example:81\r\n";

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
      context.authority = `localhost:${port}`;
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

const POST = `POST /a/../b?c HTTP/1.1\r\n${HOST}X: y\r\n\r\nabc`;

Deno.test("LazyRequest() asks its context for nothing", () => {
  const untouchable = new Proxy<RequestContext>({} as RequestContext, {
    get: (): never => {
      throw new Error("asked");
    },
  });
  const request = lazy(POST, { context: untouchable });
  assertEquals(request.method, "POST");
  assertEquals(request.field("x"), "y");
});

Deno.test("LazyRequest is a Request by every test there is", () => {
  const request = lazy(POST);
  assertInstanceOf(request, Request);
  assertStrictEquals(request.constructor, Request);
  assertEquals(Object.prototype.toString.call(request), "[object Request]");
  assertEquals(Object.keys(request), []);
  for (const name of Object.keys(new Request("http://a/"))) {
    assert(name in request, name);
  }
});

Deno.test("LazyRequest is printed as a Request", () => {
  const genuine = new Request("http://a.example:81/a/../b", {
    method: "POST",
    headers: { host: "a.example:81", x: "y" },
  });
  const expected = Deno.inspect(genuine).replace("/b", "/a/../b?c");
  assertEquals(Deno.inspect(lazy(POST)), expected);
});

Deno.test("Request.prototype reads a LazyRequest like a Request", async () => {
  const call = <T>(name: string, request: Request): T => {
    const found = Object.getOwnPropertyDescriptor(Request.prototype, name)!;
    return (found.get ?? found.value).call(request);
  };
  const request = lazy(POST);
  assertEquals(call("method", request), "POST");
  assertEquals(call("url", request), "http://a.example:81/a/../b?c");
  assertStrictEquals(call("headers", request), request.headers);
  assertStrictEquals(call("signal", request), request.signal);
  assertEquals(call("bodyUsed", request), false);
  assertEquals(call("redirect", request), "follow");
  assertEquals(await call<Request>("clone", request).text(), "abc");
  assertEquals(await call("text", request), "abc");
  assert(request.bodyUsed);
});

Deno.test("LazyRequest.field() combines repeated fields and finds no others", () => {
  const request = lazy(
    `GET /x:1 HTTP/1.1\r\n${HOST}Ax: 0\r\nX: 1\r\nXa: y\r\nx:2\r\nY: x: 3\r\n` +
      "Cookie: a\r\nCookie: b\r\n\r\n",
  );
  assertEquals(request.field("x"), "1, 2");
  assertEquals(request.field("cookie"), "a; b");
  assertEquals(request.field("host"), "a.example:81");
  for (const name of ["z", "x-neighbour", "", "\r\n", ":", "get /x"]) {
    assertStrictEquals(request.field(name), null);
  }
});

Deno.test("LazyRequest.headers cannot be changed, as with Deno.serve", async () => {
  const change = (request: Request): Promise<unknown> =>
    outcome(Promise.resolve().then(() => request.headers.append("a", "b")));
  assertEquals(await change(lazy(POST)), await throughDenoServe(POST, change));
  const { headers } = lazy(POST);
  assertThrows(() => headers.set("x", "z"), TypeError);
  assertThrows(() => headers.delete("x"), TypeError);
  assertThrows(() => headers.get(""), TypeError);
});

Deno.test("LazyRequest.headers are copied by everything that takes headers", () => {
  const expected = [["host", "a.example:81"], ["x", "y"]];
  assertEquals([...new Headers(lazy(POST).headers)], expected);
  const response = new Response(null, { headers: lazy(POST).headers });
  assertEquals([...response.headers], expected);
  const request = new Request("http://b/", { headers: lazy(POST).headers });
  assertEquals([...request.headers], expected);
});

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

function fill(body: RequestBody): void {
  body.push(latin1("ab"));
  body.push(latin1("c"));
  body.end();
}

// Bodies.

Deno.test("LazyRequest.body streams what arrives later", async () => {
  const body = new RequestBody(3, NO_FLOW);
  const request = lazy(POST, { body });
  const reader = request.body!.getReader();
  assert(!request.bodyUsed);
  const first = reader.read();
  assert(request.bodyUsed);
  body.push(latin1("ab"));
  assertEquals((await first).value, latin1("ab"));
  body.push(latin1("c"));
  body.end();
  assertEquals((await reader.read()).value, latin1("c"));
  assert((await reader.read()).done);
});

Deno.test("LazyRequest.body errors when the body fails", async () => {
  const failure = new Error("gone");
  const body = new RequestBody(3, NO_FLOW);
  const request = lazy(POST, { body });
  const reader = request.body!.getReader();
  body.fail(failure);
  const error = await reader.read().catch((error: unknown) => error);
  assertStrictEquals(error, failure);
});

Deno.test("LazyRequest.text() reads a body that was only looked at", async () => {
  for (const complete of [true, false]) {
    const body = new RequestBody(3, NO_FLOW);
    if (complete) fill(body);
    const request = lazy(POST, { body });
    assert(request.body !== null);
    if (!complete) fill(body);
    assertEquals(await request.text(), "abc");
    assert(request.bodyUsed);
    assert(request.body.locked);
  }
});

Deno.test("LazyRequest.json() ignores a byte order mark, as the standard does", async () => {
  const request = lazy(`POST / HTTP/1.1\r\n${HOST}\r\n\xef\xbb\xbf[1]`);
  assertEquals(await request.json(), [1]);
});

Deno.test("LazyRequest.formData() reads both encodings of a form", async () => {
  const urlencoded = "Content-Type: application/x-www-form-urlencoded\r\n";
  const simple = lazy(`POST / HTTP/1.1\r\n${HOST}${urlencoded}\r\na=b&c=d`);
  assertEquals([...await simple.formData()], [["a", "b"], ["c", "d"]]);

  const multipart = 'Content-Type: multipart/form-data; boundary="x"\r\n';
  const part = '--x\r\nContent-Disposition: form-data; name="f"\r\n\r\nv\r\n';
  const body = new RequestBody(null, NO_FLOW);
  const late = lazy(`POST / HTTP/1.1\r\n${HOST}${multipart}\r\n`, { body });
  const form = late.formData();
  body.push(latin1(part));
  body.push(latin1("--x--\r\n"));
  body.end();
  assertEquals([...await form], [["f", "v"]]);

  assertEquals(
    await outcome(lazy(POST).formData()),
    await throughDenoServe(
      POST.replace("X: y", "Content-Length: 3"),
      (request) => outcome(request.formData()),
    ),
  );
});

Deno.test("LazyRequest.blob() has the type of the content", async () => {
  const message = `POST / HTTP/1.1\r\n${HOST}Content-Type: Text/Plain;a=b\r\n` +
    "Content-Length: 3\r\n\r\nabc";
  const blob = await lazy(message).blob();
  const look = async (request: Request): Promise<string> =>
    (await request.blob()).type;
  assertEquals(blob.type, await throughDenoServe(message, look));
  assertEquals(await blob.text(), "abc");
});

Deno.test("LazyRequest.body is no stream to a response when it has arrived", () => {
  const parts: ResponseParts = {
    status: 0,
    statusText: "",
    contentType: null,
    fields: null,
    body: null,
  };
  takeParts(new Response(lazy(POST).body), parts);
  assertEquals(parts.body, latin1("abc"));
});

Deno.test("LazyRequest says that it is closed when its body was dropped unread", async () => {
  const body = bodyOf("abc");
  const request = lazy(POST, { body });
  body.discard();
  assertEquals(request.url, "http://a.example:81/a/../b?c");
  assertEquals(request.headers.get("x"), "y");
  await assertRejects(() => request.text(), TypeError, "Request closed");
  await assertRejects(() => request.blob(), TypeError, "Request closed");
  await assertRejects(() => request.formData(), TypeError, "Request closed");
  assertThrows(() => request.clone(), TypeError, "Request closed");
  assertThrows(() => request.body, TypeError, "Request closed");
});

// Signals.

Deno.test("LazyRequest.signal is asked for once, and only when wanted", async () => {
  const context = new Context();
  const request = lazy(POST, { context });
  void request.url;
  void request.headers;
  void request.body;
  await request.text();
  assertEquals(context.signals, 0);
  assertStrictEquals(request.signal, context.controller.signal);
  assertStrictEquals(request.signal, request.signal);
  assertEquals(context.signals, 1);
});

Deno.test("LazyRequest.signal aborts the copies of a request", () => {
  for (const signalFirst of [true, false]) {
    const context = new Context();
    const request = lazy(POST, { context });
    if (signalFirst) void request.signal;
    const clone = request.clone();
    const copy = new Request(request);
    const reason = new Error("stop");
    context.controller.abort(reason);
    assertStrictEquals(clone.signal.reason, reason);
    assertStrictEquals(copy.signal.reason, reason);
    assertStrictEquals(request.signal.reason, reason);
  }
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
