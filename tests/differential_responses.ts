// SPDX-License-Identifier: Apache-2.0
// differential_responses.ts - rows: what becomes of the response that a handler
// makes, and of a handler that makes none.

import {
  get,
  type Handler,
  heading,
  hello,
  outcome,
  raise,
  req,
  responding,
  type Row,
  streamOf,
} from "./differential_rows.ts";
import { quiet } from "./testing.ts";

const bytes = new Uint8Array([0, 1, 128, 255, 13, 10]);
const error = (message: string): Error => {
  const made = new Error(message);
  delete made.stack;
  return made;
};

function form(): FormData {
  const data = new FormData();
  data.append("a", "1");
  data.append("f", new File(["file"], "x.txt", { type: "text/plain" }));
  return data;
}

const BODIES: Record<string, () => BodyInit | null> = {
  "a string": () => "hello",
  "an empty string": () => "",
  "non-ASCII text": () => "h\u00e4ll\u00f6 \u{1f600}",
  "a lone surrogate": () => "a\ud800b",
  "300 KB of text": () => "x".repeat(300_000),
  "100 KB of non-ASCII text": () => "\u00e4".repeat(50_000),
  "bytes": () => bytes,
  "no bytes": () => new Uint8Array(0),
  "a part of a buffer": () => bytes.subarray(1, 3),
  "an ArrayBuffer": () => bytes.buffer,
  "a DataView": () => new DataView(bytes.buffer, 2, 2),
  "a blob": () => new Blob(["blob"], { type: "text/html" }),
  "a blob without a type": () => new Blob(["blob"]),
  "an empty blob": () => new Blob([]),
  "form data": form,
  "URL parameters": () => new URLSearchParams({ a: "1", b: "\u00e4 &" }),
  "a stream": () => streamOf("one", "two"),
  "an empty stream": () => streamOf(),
  "a stream with an empty piece": () => streamOf("one", "", "two"),
  "a stream of 300 KB": () => streamOf(...Array(30).fill("x".repeat(10000))),
  "a byte stream": () =>
    new ReadableStream({
      type: "bytes",
      pull(controller): void {
        controller.enqueue(bytes.slice());
        controller.close();
      },
    }),
  "a stream of an iterable": () => ReadableStream.from([bytes, bytes]),
  "a stream through another": () =>
    streamOf("one").pipeThrough(new TransformStream()),
  "the stream of a blob": () => new Blob(["blob"]).stream(),
  "an iterable": () =>
    ({
      async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
        yield bytes;
      },
    }) as unknown as BodyInit,
  "a file": () => new File(["file"], "x.txt", { type: "text/plain" }),
  "an object": () => ({ toString: () => "object" }) as unknown as BodyInit,
  "nothing": () => null,
};

const bodies: Row[] = Object.entries(BODIES).flatMap(([name, body]) => {
  const handler: Handler = () => new Response(body());
  return [
    responding(`response: ${name}`, handler),
    heading(`response: ${name}, to HEAD`, handler),
    responding(`response: ${name}, to HTTP/1.0`, handler, {
      send: "GET / HTTP/1.0\r\nHost: test\r\n\r\n",
    }),
  ];
});

const INITS: Record<string, ResponseInit> = {
  "status 201": { status: 201 },
  "status 404": { status: 404 },
  "status 418": { status: 418 },
  "status 599": { status: 599 },
  "status 299, unknown": { status: 299 },
  "own status text of 404": { status: 404, statusText: "Nope" },
  "own status text and a field": {
    statusText: "Very Well",
    headers: { "x-a": "1" },
  },
  "own status text": { status: 200, statusText: "Very Well" },
  "own status text of an unknown status": { status: 299, statusText: "Hm" },
  "status text with an umlaut": { statusText: "\u00e4" },
  "a field": { headers: { "X-A": "1" } },
  "an empty field": { headers: { "x-a": "" } },
  "a field in Latin-1": { headers: { "x-a": "\u00e4\u00ff" } },
  "a repeated field": { headers: [["x-a", "1"], ["X-A", "2"]] },
  "cookies": { headers: [["set-cookie", "a=1"], ["Set-Cookie", "b=2"]] },
  "cookies around a field": {
    headers: [["set-cookie", "a=1"], ["x-a", "1"], ["set-cookie", "b=2"]],
  },
  "own content type": { headers: { "content-type": "text/css" } },
  "an own date": { headers: { date: "yesterday" } },
  "server": { headers: { server: "me" } },
  "vary": { headers: { vary: "origin" } },
  "content-length, right": { headers: { "content-length": "5" } },
  "content-length, too short": { headers: { "content-length": "3" } },
  "content-length, too long": { headers: { "content-length": "9" } },
  "content-length, no number": { headers: { "content-length": "many" } },
  "transfer-encoding: chunked": { headers: { "transfer-encoding": "chunked" } },
  "transfer-encoding: gzip": { headers: { "transfer-encoding": "gzip" } },
  "content-encoding": { headers: { "content-encoding": "gzip" } },
  "connection: close": { headers: { connection: "close" } },
  "connection: Close": { headers: { connection: "Close" } },
  "connection: keep-alive": { headers: { connection: "keep-alive" } },
  "connection: x-a": { headers: { connection: "x-a", "x-a": "1" } },
  "keep-alive": { headers: { "keep-alive": "timeout=5" } },
  "upgrade": { headers: { upgrade: "h2c", connection: "upgrade" } },
  "trailer": { headers: { trailer: "x-a" } },
};

// 205 has a row of its own.
const STATUSES = Array.from({ length: 400 }, (_, at) => 200 + at)
  .filter((status) => status !== 205);

const inits: Row[] = Object.entries(INITS).flatMap(([name, init]) => [
  responding(`response with ${name}`, () => new Response("hello", init)),
  heading(`response with ${name}, to HEAD`, () => new Response("hello", init)),
]);

const STREAMED = [
  "content-length, right",
  "content-length, too short",
  "content-length, too long",
  "transfer-encoding: chunked",
  "connection: close",
];

const streams: Row[] = STREAMED.flatMap((name) => {
  const handler: Handler = () =>
    new Response(streamOf("he", "llo"), INITS[name]);
  return [
    responding(`stream with ${name}`, handler),
    heading(`stream with ${name}, to HEAD`, handler),
  ];
});

const EMPTY = [
  "content-length, too long",
  "transfer-encoding: chunked",
  "connection: close",
  "cookies",
  "own content type",
];

const nulls: Row[] = [
  ...[204, 205, 304].flatMap((status) => [
    responding(`null body: ${status}`, () => new Response(null, { status })),
    heading(
      `null body: ${status}, to HEAD`,
      () => new Response(null, { status }),
    ),
    responding(
      `null body: ${status} with a content-length`,
      () => new Response(null, { status, headers: { "content-length": "5" } }),
    ),
  ]),
  responding(
    "null body: 304 with an etag",
    () => new Response(null, { status: 304, headers: { etag: '"a"' } }),
  ),
  ...EMPTY.flatMap((name) => [
    responding(`null body with ${name}`, () => new Response(null, INITS[name])),
    heading(
      `null body with ${name}, to HEAD`,
      () => new Response(null, INITS[name]),
    ),
  ]),
  responding("null body: 204 made with a body throws", async () => {
    const made = await outcome(() => new Response("x", { status: 204 }));
    return new Response(String(made));
  }),
];

const statics: Row[] = [
  responding("Response.json", () => Response.json({ a: "\u00e4" })),
  responding(
    "Response.json with fields",
    () => Response.json([1], { status: 201, headers: { "x-a": "1" } }),
  ),
  responding("Response.redirect", () => Response.redirect("http://other/a b")),
  responding(
    "Response.redirect 301",
    () => Response.redirect("http://other/", 301),
  ),
  responding("Response.error", () => Response.error()),
  responding("response cloned", () => new Response("hello").clone()),
  responding(
    "response cloned from a stream",
    () => new Response(streamOf("a", "b")).clone(),
  ),
  responding("response changed after it was made", () => {
    const response = new Response("hello");
    response.headers.set("x-a", "1");
    response.headers.append("set-cookie", "a=1");
    response.headers.delete("content-type");
    return response;
  }),
  responding("response whose body was looked at", () => {
    const response = new Response("hello");
    return response.body?.locked ? Response.error() : response;
  }),
  responding(
    "response of a subclass",
    () => new (class extends Response {})("hello"),
  ),
  responding("response of a subclass that says otherwise", () => {
    class Other extends Response {
      override get status(): number {
        return 404;
      }
      override get statusText(): string {
        return "a\r\nx-b: 1";
      }
      override get headers(): Headers {
        return new Headers({ "x-a": "1" });
      }
      override get body(): null {
        return null;
      }
    }
    return new Other("hello");
  }),
  responding("response with properties of its own", () => {
    const response = new Response("hello");
    Object.defineProperty(response, "status", { value: 404 });
    Object.defineProperty(response, "body", { value: null });
    return response;
  }),
  responding(
    "response behind a Proxy",
    () => new Proxy(new Response("hello"), {}),
  ),
  responding("response of fetch is passed on", async () => {
    const upstream = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: quiet },
      () => new Response("upstream", { status: 201, headers: { "x-a": "1" } }),
    );
    const { port } = upstream.addr;
    const response = await fetch(`http://127.0.0.1:${port}/`);
    upstream.shutdown();
    return response;
  }),
  responding(
    "response of fetch, data URL",
    () => fetch("data:text/css,a%20b"),
  ),
  responding("response with the status of another", () => {
    const other = new Response("other", { status: 404, headers: { a: "1" } });
    return new Response(other.body, other);
  }),
  responding("every status", ({ url }) => {
    const status = Number(new URL(url).pathname.slice(1));
    return new Response(null, { status });
  }, {
    send: STATUSES.map((status) => get(`/${status}`)).join(""),
    responses: STATUSES.length,
  }),
  responding("statuses that no response can have", async () => {
    const statuses = [0, 100, 101, 199, 600, 1000];
    const made = await Promise.all(
      statuses.map((status) =>
        outcome(() => new Response(null, { status }).ok)
      ),
    );
    return new Response(made.join());
  }),
  responding("status texts that no response can have", async () => {
    const texts = ["a\r\nb", "a\nb", "a\0b", "\u0100"];
    const made = await Promise.all(
      texts.map((statusText) =>
        outcome(() => new Response(null, { statusText }).ok)
      ),
    );
    return new Response(made.join());
  }),
  responding("fields that no response can have", async () => {
    const values = ["a\r\nb", "a\nb", "a\0b", "\u0100"];
    const made = await Promise.all(
      values.map((value) =>
        outcome(() => new Response(null, { headers: { a: value } }).ok)
      ),
    );
    return new Response(made.join());
  }),
  responding("response made later", async () => {
    await Promise.resolve();
    return new Response("later");
  }),
  responding("response as a thenable", () =>
    ({
      then: (resolve: (response: Response) => void) => resolve(hello()),
    }) as unknown as Promise<Response>),
  responding(
    "response from another response's body",
    () => new Response(new Response("inner").body, { headers: { "x-a": "1" } }),
  ),
  responding(
    "response with Headers of the request",
    (request) => new Response("hello", { headers: request.headers }),
    {
      send: get("/", "X-A: 1\r\nCookie: a=1\r\n"),
    },
  ),
  responding(
    "accept-encoding does not compress",
    () => new Response("x".repeat(2000)),
    {
      send: get("/", "Accept-Encoding: gzip, br\r\n"),
    },
  ),
  responding(
    "accept-encoding does not compress JSON",
    () => Response.json("x".repeat(2000)),
    {
      send: get("/", "Accept-Encoding: gzip\r\n"),
    },
  ),
];

const stateful: Row[] = [
  responding("response returned twice", hello, {
    setup: () => {
      const response = new Response("hello");
      return () => response;
    },
    send: get() + get(),
    responses: 2,
  }),
  responding("null-body response returned twice", hello, {
    setup: () => {
      const response = new Response(null, { headers: { "x-a": "1" } });
      return () => response;
    },
    send: get() + get(),
    responses: 2,
  }),
  responding("json response returned twice", hello, {
    setup: () => {
      const response = Response.json([1]);
      return () => response;
    },
    send: get() + get(),
    responses: 2,
  }),
  responding("response whose body was read", async () => {
    const response = new Response("hello");
    await response.text();
    return response;
  }),
  responding("response whose body is locked", () => {
    const response = new Response("hello");
    response.body!.getReader();
    return response;
  }),
  responding("response whose stream was read partly", async () => {
    const response = new Response(streamOf("a", "b"));
    const reader = response.body!.getReader();
    await reader.read();
    reader.releaseLock();
    return response;
  }),
];

function failing(): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let pulled = false;
  return new ReadableStream({
    pull(controller): void {
      if (pulled) controller.error(error("broken"));
      else controller.enqueue(encoder.encode("part"));
      pulled = true;
    },
  }, { highWaterMark: 0 });
}

const bad = (value: unknown): Handler => () => value as Response;

const failures: Row[] = [
  responding("handler returns a number", bad(1)),
  responding(
    "handler returns a Promise of a string",
    bad(Promise.resolve("x")),
  ),
  responding(
    "handler returns what only inherits from Response",
    bad(Object.create(Response.prototype)),
  ),
  responding("handler returns a Request", bad(new Request("http://a/"))),
  responding("handler returns an error", bad(error("returned"))),
  responding("handler returns undefined", bad(undefined)),
  responding("handler returns null", bad(null)),
  responding("handler returns a string", bad("hello")),
  responding("handler returns an object", bad({ status: 200 })),
  responding("handler returns a Promise of undefined", bad(Promise.resolve())),
  responding("handler throws an error", () => raise(error("thrown"))),
  responding("handler throws a string", () => raise("thrown")),
  responding("handler throws undefined", () => raise(undefined)),
  responding("handler throws a Response", () => raise(new Response("thrown"))),
  responding("handler rejects", () => Promise.reject(error("rejected"))),
  heading("handler throws, to HEAD", () => raise(error("thrown"))),
  responding(
    "handler throws with a body unread",
    () => raise(error("thrown")),
    { send: req("POST", "/", "Content-Length: 4\r\n", "body") },
  ),
  ...[error("thrown"), "text"].map((value) =>
    responding(
      `onError is given what a handler threw, ${typeof value}`,
      () => raise(value),
      {
        onError: (e) => new Response(`caught ${String(e)}`, { status: 503 }),
      },
    )
  ),
  responding("onError is given what is wrong with undefined", bad(undefined), {
    onError: (e) => new Response(`caught ${String(e)}`),
  }),
  responding("onError is given what is wrong with an object", bad({}), {
    onError: (e) => new Response(`caught ${String(e)}`),
  }),
  responding(
    "onError is given what is wrong with Response.error",
    () => Response.error(),
    {
      onError: (e) => new Response(`caught ${String(e)}`),
    },
  ),
  responding("onError is given what is wrong with a used body", async () => {
    const response = new Response("hello");
    await response.text();
    return response;
  }, { onError: (e) => new Response(`caught ${String(e)}`) }),
  responding("onError is asynchronous", () => Promise.reject(error("x")), {
    onError: async (e) => {
      await Promise.resolve();
      return new Response(`caught ${String(e)}`);
    },
  }),
  responding("onError returns a stream", () => Promise.reject(error("x")), {
    onError: () => new Response(streamOf("caught", "it"), { status: 502 }),
  }),
  responding("onError throws", () => Promise.reject(error("first")), {
    onError: () => raise(error("second")),
  }),
  responding("onError rejects", () => Promise.reject(error("first")), {
    onError: () => Promise.reject(error("second")),
  }),
  responding("onError returns undefined", () => Promise.reject(error("x")), {
    onError: bad(undefined) as () => Response,
  }),
  responding("stream breaks before its first piece", () =>
    new Response(
      new ReadableStream({
        start: (controller): void => controller.error(error("broken")),
      }),
    )),
  responding("stream breaks after a piece", () => new Response(failing())),
  heading("stream breaks, to HEAD", () => new Response(failing())),
  responding("onError returns Response.error", () => raise(error("x")), {
    onError: () => Response.error(),
  }),
  responding("onError returns a used response", () => raise(error("x")), {
    onError: async () => {
      const response = new Response("hello");
      await response.text();
      return response;
    },
  }),
  responding(
    "onError is not asked for a stream that breaks",
    () => new Response(failing()),
    {
      onError: () => new Response("caught"),
    },
  ),
  responding("stream of buffers", () =>
    new Response(
      ReadableStream.from([bytes.buffer as unknown as Uint8Array]),
    )),
  responding("stream of strings", () =>
    new Response(
      new ReadableStream({
        start(controller): void {
          controller.enqueue("text" as unknown as Uint8Array);
          controller.close();
        },
      }),
    )),
];

export const RESPONSE_ROWS: Row[] = [
  ...bodies,
  ...inits,
  ...streams,
  ...nulls,
  ...statics,
  ...stateful,
  ...failures,
];
