// SPDX-License-Identifier: Apache-2.0
// Tests of lib/http_request.ts: what a LazyRequest shows, its body and signal.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { RequestBody } from "../lib/http_body.ts";
import type { RequestContext } from "../lib/http_request.ts";
import { type ResponseParts, takeParts } from "../lib/response_parts.ts";
import {
  bodyOf,
  Context,
  fill,
  HOST,
  lazy,
  NO_FLOW,
  outcome,
  POST,
  throughDenoServe,
} from "./lazy.ts";
import { latin1 } from "./testing.ts";

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
