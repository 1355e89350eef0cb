// SPDX-License-Identifier: Apache-2.0
// differential_requests.ts - rows: what the handler sees of a request's head.

import {
  answer,
  get,
  hello,
  outcome,
  post,
  req,
  type Row,
  show,
  showUrl,
} from "./differential_rows.ts";
import { quiet } from "./testing.ts";

const METHODS = [
  "GET",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS",
  "TRACE",
  "PROPFIND",
  "get",
  "Post",
  "patch",
  "M-SEARCH",
  "!#$%&'*+-.^_`|~",
];

const methods: Row[] = METHODS.map((method) => ({
  name: `method ${method}`,
  handler: show,
  send: req(method, "/", "Content-Length: 0\r\n"),
}));

const TARGETS = [
  "/",
  "/a/b/c",
  "//",
  "//other/path",
  "/a//b",
  "/./a",
  "/a/../b",
  "/../..",
  "/%2e%2e/a",
  "/%41%zz%",
  "/%00",
  "/a?b=c&d=%20+",
  "/?",
  "/??",
  "/a?b#c",
  "/#",
  "/a#b?c",
  "/a:b",
  "/:",
  "/a@b",
  "/a\\b",
  "/a|b",
  "/a{b}",
  "/a[b]",
  "/a^b`c",
  '/a"b',
  "/a<b>c",
  "/a'b;c=d,e!$()*~",
  "/\xc3\xa4",
  "http://test/",
  "http://test",
  "http://other/path?query",
  "http://other:81/path",
  "http://other?query",
  "http://OTHER/Path",
  "HTTP://other/path",
  "https://other/path",
  "ftp://other/path",
  "http://user:pass@other/path",
  "http://other/a/../b",
  "http://[::1]:80/path",
  "http://1.256.0.1/path",
  `/${"a".repeat(4000)}`,
];

const targets: Row[] = TARGETS.map((target) => ({
  name: `target ${target.slice(0, 30)}`,
  handler: showUrl,
  send: get(target),
}));

const REFUSED_TARGETS = [
  "/\xff",
  "*",
  "http:/path",
  "http://",
  "path",
  "?query",
  "other:80",
];

const refusedTargets: Row[] = [
  ...REFUSED_TARGETS.map((target) => ({
    name: `refused target ${target}`,
    handler: showUrl,
    send: get(target),
    refused: true,
  })),
  { name: "target * of OPTIONS", handler: show, send: req("OPTIONS", "*") },
];

const HOSTS = [
  "Host: test",
  "Host: test:80",
  "Host: test:8080",
  "Host: TEST",
  "host:test",
  "HOST: \t test \t ",
  "Host: 127.0.0.1:1",
  "Host: [::1]",
  "Host: [::1]:8080",
  "Host:",
  "Host: test:",
  "Host: test.",
  "Host: a_b",
  "Host: xn--bcher-kva.example",
  "Host: a%41",
  "X-First: 1\r\nHost: test",
  "Host: 127.1",
  "Host: 0x7f000001",
  "Host: a.1",
  "Host: 1.256.0.1",
  "Host: 1.a",
  "Host: xn--a",
  "Host: a%2Fb",
  "Host: a--b",
];

const hosts: Row[] = HOSTS.map((host) => ({
  name: `host ${JSON.stringify(host)}`,
  handler: showUrl,
  send: `GET /a HTTP/1.1\r\n${host}\r\n\r\n`,
}));

const FIELDS = [
  "X-A: 1\r\nX-A: 2\r\n",
  "X-A: 1\r\nX-B: 2\r\nx-a: 3\r\n",
  "X-A:\r\n",
  "X-A: \r\nX-A: \r\n",
  "X-A:   spaced   out \t\r\n",
  "X-A:no-space\r\n",
  "X-A: \xe4\xff\x80\r\n",
  "X-A: \xc3\xa4\r\n",
  "X-A: a\tb\r\n",
  'X-A: "quoted, text", \\\r\n',
  "Cookie: a=1\r\nCookie: b=2\r\n",
  "Cookie: a=1\r\nX-A: 1\r\nCookie: b=2; c=3\r\n",
  "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n",
  "!#$%&'*+-.^_`|~9Az: 1\r\n",
  "Accept: a\r\nAccept: b\r\nAccept-Encoding: gzip\r\n",
  "User-Agent: x\r\nReferer: y\r\nOrigin: null\r\nDNT: 1\r\n",
  "Connection: keep-alive, X-A\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\n",
  "TE: trailers\r\nTrailer: x\r\nVia: 1.1 a\r\n",
  "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n" +
  "HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
  "Content-Type: text/plain\r\n",
  "If-None-Match: a\r\nIf-None-Match: b\r\nRange: bytes=0-1\r\n",
  `X-Long: ${"x".repeat(4000)}\r\n`,
  Array.from({ length: 60 }, (_, i) => `X-${i}: ${i}\r\n`).join(""),
];

const fields: Row[] = FIELDS.map((text) => ({
  name: `fields ${JSON.stringify(text.slice(0, 60))}`,
  handler: show,
  send: get("/", text),
}));

const lookups: Row[] = [
  {
    name: "headers: get and has, in any case",
    handler: ({ headers }) =>
      answer([
        headers.get("X-a"),
        headers.get("x-B"),
        headers.has("X-A"),
        headers.has("nothing"),
        headers.get("cookie"),
        headers.getSetCookie(),
      ]),
    send: get(
      "/",
      "X-A: 1\r\nx-a: 2\r\nCookie: a=1\r\nCookie: b=2\r\n" +
        "Set-Cookie: c=3\r\nSet-Cookie: d=4\r\n",
    ),
  },
  {
    name: "headers: cannot be changed",
    handler: async ({ headers }) =>
      answer([
        await outcome(() => headers.set("x-a", "2")),
        await outcome(() => headers.append("x-a", "2")),
        await outcome(() => headers.delete("x-a")),
        headers.get("x-a"),
      ]),
    send: get("/", "X-A: 1\r\n"),
  },
  {
    name: "headers: forEach, keys, values and spread",
    handler: ({ headers }) => {
      const each: string[] = [];
      headers.forEach((value, name) => each.push(`${name}=${value}`));
      return answer([each, [...headers.keys()], [...headers.values()]]);
    },
    send: get("/", "Z: 1\r\nB: 2\r\nA: 3\r\nB: 4\r\n"),
  },
  {
    name: "headers: bad names throw",
    handler: async ({ headers }) =>
      answer([
        await outcome(() => headers.get("a b")),
        await outcome(() => headers.has("")),
        await outcome(() => headers.get("\u00e4")),
      ]),
    send: get(),
  },
  {
    name: "headers: copied and then changed",
    handler: (request) => {
      const headers = new Headers(request.headers);
      headers.set("x-a", "2");
      return answer([[...headers], request.headers.get("x-a")]);
    },
    send: get("/", "X-A: 1\r\n"),
  },
  {
    name: "headers: the same object every time",
    handler: (request) =>
      answer([
        Object.is(request.headers, request.headers),
        request.headers instanceof Headers,
        String(request.headers),
        Deno.inspect(request.headers),
      ]),
    send: get("/", "X-A: 1\r\n"),
  },
];

function properties(request: Request): Response {
  const { cache, credentials, destination, integrity, keepalive } = request;
  const { mode, redirect, referrer, referrerPolicy } = request;
  return answer({
    ...{ cache, credentials, destination, integrity, keepalive },
    ...{ mode, redirect, referrer, referrerPolicy },
    isHistory: Reflect.get(request, "isHistoryNavigation") ?? null,
    isReload: Reflect.get(request, "isReloadNavigation") ?? null,
    duplex: Reflect.get(request, "duplex") ?? null,
  });
}

const request: Row[] = [
  { name: "request: attributes of fetch", handler: properties, send: get() },
  {
    name: "request: attributes of fetch, with a body",
    handler: properties,
    send: post("x"),
  },
  {
    name: "request: what it is",
    handler: (request) =>
      answer([
        request instanceof Request,
        Object.prototype.toString.call(request),
        request.constructor === Request,
        request.constructor.name,
        typeof request,
        Object.keys(request),
        JSON.stringify(request),
      ]),
    send: get(),
  },
  {
    name: "request: what for-in sees",
    handler: (request) => {
      const names: string[] = [];
      // deno-lint-ignore guard-for-in
      for (const name in request) names.push(name);
      return answer(names.sort());
    },
    send: get(),
  },
  {
    name: "request: Deno.inspect",
    handler: (request) => new Response(Deno.inspect(request)),
    send: get("/inspect", "X-A: 1\r\n"),
  },
  {
    name: "request: attributes cannot be assigned",
    handler: async (request) => {
      const names = ["method", "url", "headers", "body", "signal", "cache"];
      const found = await Promise.all(
        names.map((name) =>
          outcome(() => {
            (request as unknown as Record<string, string>)[name] = "x";
          })
        ),
      );
      return answer([found, request.method]);
    },
    send: get(),
  },
  {
    name: "request: properties can be added",
    handler: (request) => {
      const open = request as unknown as Record<string, unknown>;
      open.user = "me";
      return answer([open.user, Object.keys(request)]);
    },
    send: get(),
  },
  {
    name: "request: as a key of a WeakMap and through a Proxy",
    handler: async (request) => {
      const map = new WeakMap([[request, 1]]);
      const proxy = new Proxy(request, {});
      return answer([map.get(request), await outcome(() => proxy.method)]);
    },
    send: get(),
  },
  {
    name: "request: all of it through a Proxy",
    handler: async (request) => {
      const proxy = new Proxy(request, {});
      return answer([
        proxy.url,
        proxy.headers.get("x-a"),
        proxy.cache,
        proxy.signal.aborted,
        proxy instanceof Request,
        await proxy.clone().text(),
        proxy.bodyUsed,
        await new Request(proxy).text(),
        request.bodyUsed,
      ]);
    },
    send: post("body", "X-A: 1\r\n"),
  },
  {
    name: "request: body through a Proxy",
    handler: async (request) => {
      const proxy = new Proxy(request, {});
      return answer([await proxy.text(), proxy.bodyUsed, request.bodyUsed]);
    },
    send: post("body"),
  },
  {
    name: "request: inherited from",
    handler: async (request) => {
      const heir = Object.create(request) as Request;
      return answer([
        heir.method,
        heir.url,
        [...heir.headers],
        await heir.text(),
      ]);
    },
    send: post("body"),
  },
  {
    name: "request: accessors of the prototype",
    handler: (request) => {
      const { get } = Object.getOwnPropertyDescriptor(
        Request.prototype,
        "url",
      )!;
      return answer([get!.call(request), Reflect.get(request, "method")]);
    },
    send: get("/a"),
  },
  {
    name: "request: given to fetch",
    handler: async (request) => {
      const upstream = Deno.serve(
        { hostname: "127.0.0.1", port: 0, onListen: quiet },
        async (request) =>
          answer([
            request.method,
            request.headers.get("x-a"),
            await request.text(),
          ]),
      );
      const url = `http://127.0.0.1:${upstream.addr.port}/`;
      const response = await fetch(url, request);
      const text = await response.text();
      await upstream.shutdown();
      return new Response(text);
    },
    send: post("body", "X-A: 1\r\n"),
  },
  {
    name: "request: structuredClone throws",
    handler: async (request) =>
      answer(await outcome(() => JSON.stringify(structuredClone(request)))),
    send: get(),
  },
  {
    name: "request: signal",
    handler: ({ signal }) =>
      answer([signal instanceof AbortSignal, signal.aborted, signal.reason]),
    send: get(),
  },
  {
    name: "request: the same signal every time",
    handler: (request) =>
      answer([
        Object.is(request.signal, request.signal),
        request.clone().signal.aborted,
        new Request(request).signal.aborted,
      ]),
    send: get(),
  },
  {
    name: "request: signal after the response",
    handler: hello,
    setup: () => {
      let before: AbortSignal | null = null;
      return ({ signal }) => {
        const said = String(before?.aborted);
        before = signal;
        return new Response(said);
      };
    },
    send: get("/1") + get("/2"),
    responses: 2,
  },
  {
    name: "request: body of GET is null",
    handler: async (request) =>
      answer([
        request.body,
        request.bodyUsed,
        await request.text(),
        request.bodyUsed,
        await outcome(() => request.text()),
        await outcome(() => request.json()),
      ]),
    send: get(),
  },
  {
    name: "request: new Request(request)",
    handler: async (request) => {
      const copy = new Request(request);
      return answer([
        copy.method,
        copy.url,
        [...copy.headers],
        copy.redirect,
        request.bodyUsed,
        await copy.text(),
      ]);
    },
    send: post("body", "X-A: 1\r\n"),
  },
  {
    name: "request: new Request(request, init)",
    handler: async (request) => {
      const copy = new Request(request, {
        method: "PUT",
        headers: { "x-b": "2" },
        body: "other",
      });
      return answer([copy.method, [...copy.headers], await copy.text()]);
    },
    send: post("body", "X-A: 1\r\n"),
  },
  {
    name: "request: new Request(other URL, request)",
    handler: async (request) => {
      const copy = new Request("http://other/b", request);
      return answer([
        copy.method,
        copy.url,
        [...copy.headers],
        await copy.text(),
      ]);
    },
    send: post("body", "X-A: 1\r\n"),
  },
  {
    name: "request: new Request of a GET",
    handler: (request) => {
      const copy = new Request(request, { headers: { "x-b": "2" } });
      return answer([copy.method, copy.url, [...copy.headers], copy.body]);
    },
    send: get("/a/../b?c#d"),
  },
  {
    name: "request: clone of a GET",
    handler: (request) => {
      const copy = request.clone();
      return answer([
        copy.method,
        copy.url,
        [...copy.headers],
        copy instanceof Request,
        copy.signal.aborted,
      ]);
    },
    send: get("/a", "X-A: 1\r\n"),
  },
  {
    name: "request: headers of a clone cannot be changed",
    handler: async (request) => {
      const { headers } = request.clone();
      return answer(await outcome(() => headers.set("x-a", "2")));
    },
    send: get("/a", "X-A: 1\r\n"),
  },
  {
    name: "request: info",
    handler: (_request, info) => {
      const { transport, hostname, port } = info.remoteAddr as Deno.NetAddr;
      return answer([
        transport,
        hostname,
        typeof port,
        info.completed instanceof Promise,
      ]);
    },
    send: get(),
  },
  {
    name:
      "request: an address that the handler changes is not that of the next",
    handler: (_request, info) => {
      const address = info.remoteAddr as Deno.NetAddr;
      const { hostname } = address;
      address.hostname = "changed";
      return answer(hostname);
    },
    send: get() + get(),
    responses: 2,
  },
  {
    name: "request: URL without Host is that of the server",
    handler: showUrl,
    send: "GET /a HTTP/1.0\r\n\r\n",
  },
  {
    name: "request: HEAD shows as HEAD",
    handler: (request) =>
      new Response(null, { headers: { "x-method": request.method } }),
    send: req("HEAD", "/"),
  },
  { name: "request: nothing looked at", handler: hello, send: get() },
];

export const REQUEST_ROWS: Row[] = [
  ...methods,
  ...targets,
  ...refusedTargets,
  ...hosts,
  ...fields,
  ...lookups,
  ...request,
];
