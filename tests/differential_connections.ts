// SPDX-License-Identifier: Apache-2.0
// differential_connections.ts - rows: what becomes of the connection.

import {
  get,
  type Handler,
  hello,
  outcome,
  post,
  raise,
  req,
  type Row,
  showUrl,
  streamOf,
} from "./differential_rows.ts";
import { turn } from "./testing.ts";

const echo: Handler = async (request) => new Response(await request.text());
const stream: Handler = () => new Response(streamOf("one", "two"));

const http10 = (fields: string, method = "GET", body = ""): string =>
  `${method} / HTTP/1.0\r\nHost: test\r\n${fields}\r\n${body}`;

const KEEP = "Connection: keep-alive\r\n";
const EXPECT = "Expect: 100-continue\r\n";

const keeping: Row[] = [
  ["HTTP/1.1", get()],
  ["HTTP/1.1, keep-alive", get("/", KEEP)],
  ["HTTP/1.1, close", get("/", "Connection: close\r\n")],
  ["HTTP/1.1, CLOSE", get("/", "Connection: CLOSE\r\n")],
  ["HTTP/1.1, close in a list", get("/", "Connection: x, close\r\n")],
  [
    "HTTP/1.1, close in a second field",
    get("/", "Connection: x\r\nConnection: close\r\n"),
  ],
  [
    "HTTP/1.1, close and keep-alive",
    get("/", "Connection: close, keep-alive\r\n"),
  ],
  ["HTTP/1.1, closed", get("/", "Connection: closed\r\n")],
  ["HTTP/1.0", http10("")],
  ["HTTP/1.0, keep-alive", http10(KEEP)],
  ["HTTP/1.0, Keep-Alive", http10("Connection: Keep-Alive\r\n")],
  ["HTTP/1.0, close", http10("Connection: close\r\n")],
  ["HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n"],
  ["HTTP/1.0 HEAD, keep-alive", http10(KEEP, "HEAD")],
  ["HEAD, close", req("HEAD", "/", "Connection: close\r\n")],
  ["an empty line first", `\r\n${get()}`],
  ["two empty lines first", `\r\n\r\n${get()}`],
  ["eight empty lines first", "\r\n".repeat(8) + get()],
].flatMap(([name, send]): Row[] => [
  { name: `keep: ${name}`, handler: hello, send: send! },
  { name: `keep: ${name}, a stream`, handler: stream, send: send! },
]);

const closing: Row[] = [
  {
    name: "keep: nine empty lines first",
    handler: hello,
    send: "\r\n".repeat(9) + get(),
  },
  {
    name: "keep: HTTP/1.0 POST with a length",
    handler: echo,
    send: http10(`${KEEP}Content-Length: 4\r\n`, "POST", "body"),
  },
  {
    name: "keep: HTTP/1.0 POST without a length",
    handler: echo,
    send: http10(KEEP, "POST"),
  },
  {
    name: "keep: HTTP/1.0, the handler says keep-alive",
    handler: () => new Response("x", { headers: { connection: "keep-alive" } }),
    send: http10(""),
  },
  {
    name: "keep: HTTP/1.0 keep-alive, the handler says close",
    handler: () => new Response("x", { headers: { connection: "close" } }),
    send: http10(KEEP),
  },
  {
    name: "keep: HTTP/1.0 keep-alive, a stream with a length",
    handler: () =>
      new Response(streamOf("ab"), { headers: { "content-length": "2" } }),
    send: http10(KEEP),
  },
  {
    name: "keep: HTTP/1.0 keep-alive, 204",
    handler: () => new Response(null, { status: 204 }),
    send: http10(KEEP),
  },
  {
    name: "keep: close and the handler says keep-alive",
    handler: () => new Response("x", { headers: { connection: "keep-alive" } }),
    send: get("/", "Connection: close\r\n"),
  },
  {
    name: "keep: 204 and close",
    handler: () => new Response(null, { status: 204 }),
    send: get("/", "Connection: close\r\n"),
  },
  {
    name: "keep: a second request after close is not answered",
    handler: showUrl,
    send: get("/1", "Connection: close\r\n") + get("/2"),
  },
  {
    name: "keep: the handler says close, a second request",
    handler: (request) =>
      new Response(request.url, { headers: { connection: "close" } }),
    send: get("/1") + get("/2"),
  },
  {
    name: "keep: FIN after a request, its answer comes",
    handler: hello,
    send: get(),
    fin: true,
  },
  {
    name: "keep: FIN after two requests, both answers come",
    handler: showUrl,
    send: get("/1") + get("/2"),
    responses: 2,
    fin: true,
  },
  {
    name: "keep: FIN inside a head",
    handler: hello,
    send: "GET / HTTP/1.1\r\nHost: te",
    fin: true,
  },
  { name: "keep: FIN and nothing before", handler: hello, send: "", fin: true },
  {
    name: "keep: FIN in front of a late answer",
    handler: async () => {
      await turn();
      return hello();
    },
    send: get(),
    fin: true,
  },
];

// The later a request came, the sooner it is ready.
const unordered = (): Handler => {
  const before: PromiseWithResolvers<void>[] = [];
  return async (request) => {
    const mine = Promise.withResolvers<void>();
    before.push(mine);
    if (request.url.endsWith("/3")) before.forEach((one) => one.resolve());
    if (request.url.endsWith("/1")) mine.resolve();
    if (request.url.endsWith("/2")) mine.resolve();
    await mine.promise;
    return new Response(request.url);
  };
};

const pipelining: Row[] = [
  {
    name: "pipeline: three GETs",
    handler: showUrl,
    send: get("/1") + get("/2") + get("/3"),
    responses: 3,
  },
  {
    name: "pipeline: answers in order",
    handler: hello,
    setup: unordered,
    send: get("/1") + get("/2") + get("/3"),
    responses: 3,
  },
  {
    name: "pipeline: HEAD among GETs",
    handler: showUrl,
    send: get("/1") + req("HEAD", "/2") + get("/3"),
    responses: 3,
  },
  {
    name: "pipeline: bodies between",
    handler: echo,
    send: post("one") + get("/") + post("three"),
    responses: 3,
  },
  {
    name: "pipeline: streams",
    handler: stream,
    send: get("/1") + get("/2"),
    responses: 2,
  },
  {
    name: "pipeline: an empty line between",
    handler: showUrl,
    send: get("/1") + "\r\n" + get("/2"),
    responses: 2,
  },
  {
    name: "pipeline: the second is malformed",
    handler: showUrl,
    send: get("/1") + "G@T / HTTP/1.1\r\n\r\n",
    responses: 2,
    refused: true,
  },
  {
    name: "pipeline: HTTP/1.1 after HTTP/1.0 with keep-alive",
    handler: showUrl,
    send: http10(KEEP) + get("/2"),
    responses: 2,
  },
  {
    name: "pipeline: the first one fails",
    handler: (request) => request.url.endsWith("/1") ? raise("first") : hello(),
    send: get("/1") + get("/2"),
    responses: 2,
  },
  {
    name: "pipeline: the last one says close",
    handler: showUrl,
    send: get("/1") + get("/2", "Connection: close\r\n"),
    responses: 2,
  },
];

const expecting = (body: string, fields: string = ""): string[] => [
  req("POST", "/", `Content-Length: ${body.length}\r\n${EXPECT}${fields}`),
  body,
];

const expectation: Row[] = [
  { name: "expect: body read", handler: echo, send: expecting("body") },
  {
    name: "expect: in upper case",
    handler: echo,
    send: [
      req("POST", "/", "Content-Length: 4\r\nExpect: 100-Continue\r\n"),
      "body",
    ],
  },
  {
    name: "expect: in capitals",
    handler: echo,
    send: [
      req("POST", "/", "Content-Length: 4\r\nEXPECT: 100-CONTINUE\r\n"),
      "body",
    ],
  },
  {
    name: "expect: body read in pieces",
    handler: async (request) => {
      let text = "";
      const decoder = new TextDecoder();
      for await (const part of request.body!) text += decoder.decode(part);
      return new Response(text);
    },
    send: expecting("body"),
  },
  {
    name: "expect: body read as a form",
    handler: async (request) =>
      new Response(String((await request.formData()).get("a"))),
    send: expecting(
      "a=1",
      "Content-Type: application/x-www-form-urlencoded\r\n",
    ),
  },
  {
    name: "expect: body read as a stream",
    handler: (request) => new Response(request.body),
    send: expecting("body"),
  },
  {
    name: "expect: chunked",
    handler: echo,
    send: [
      req("POST", "/", `Transfer-Encoding: chunked\r\n${EXPECT}`),
      "4\r\nbody\r\n0\r\n\r\n",
    ],
  },
  { name: "expect: body unread", handler: hello, send: expecting("body") },
  {
    name: "expect: refused by the handler",
    handler: () => new Response("no", { status: 413 }),
    send: expecting("body"),
  },
  {
    name: "expect: without a body",
    handler: echo,
    send: req("POST", "/", `Content-Length: 0\r\n${EXPECT}`),
  },
  { name: "expect: on GET", handler: hello, send: get("/", EXPECT) },
  {
    name: "expect: HTTP/1.0",
    handler: echo,
    send: http10(`Content-Length: 4\r\n${EXPECT}`, "POST", "body"),
  },
  {
    name: "expect: the body comes at once",
    handler: echo,
    send: post("body", EXPECT),
  },
  {
    name: "expect: something else",
    handler: hello,
    send: get("/", "Expect: tea\r\n"),
  },
];

const settled: Row[] = [
  {
    name: "completed: resolves once the response is sent",
    handler: hello,
    setup: () => {
      let before: Promise<string> | null = null;
      return async (_request, info) => {
        const said = before === null ? "first" : await before;
        before = info.completed.then(() => "done", (e) => `failed: ${e}`);
        return new Response(said);
      };
    },
    send: get("/1") + get("/2"),
    responses: 2,
  },
  {
    name: "request kept: its head can be read after the response",
    handler: hello,
    setup: () => {
      let kept: Request | null = null;
      return (request) => {
        const said = kept === null ? "none" : `${kept.method} ${kept.url}`;
        kept ??= request;
        return new Response(said);
      };
    },
    send: get("/1") + get("/2"),
    responses: 2,
  },
  {
    name: "body kept: it cannot be read after the response",
    handler: hello,
    setup: () => {
      let kept: Request | null = null;
      return async (request) => {
        const before = kept;
        kept = request;
        if (before === null) return new Response("none");
        const read = await outcome(() => before.text());
        return new Response(String(read));
      };
    },
    send: post("one") + post("two"),
    responses: 2,
  },
];

const upgrading: Row[] = [
  {
    name: "upgrade: declined",
    handler: hello,
    send: get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
  },
  {
    name: "upgrade: a request follows at once",
    handler: showUrl,
    send: get("/1", "Connection: Upgrade\r\nUpgrade: websocket\r\n") +
      get("/2"),
    responses: 2,
  },
  {
    name: "CONNECT",
    handler: (request) => new Response(`${request.method} ${request.url}`),
    send: "CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n",
  },
  {
    name: "CONNECT refused",
    handler: () => new Response("no", { status: 405 }),
    send: "CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\n\r\n",
  },
];

export const CONNECTION_ROWS: Row[] = [
  ...keeping,
  ...closing,
  ...pipelining,
  ...expectation,
  ...settled,
  ...upgrading,
];
