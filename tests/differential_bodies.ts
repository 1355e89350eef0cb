// SPDX-License-Identifier: Apache-2.0
// differential_bodies.ts - rows: request bodies, however they are sent and read.

import {
  answer,
  chunked,
  get,
  type Handler,
  hello,
  outcome,
  post,
  req,
  type Row,
} from "./differential_rows.ts";

const readers: Record<string, Handler> = {
  text: async (request) => new Response(await request.text()),
  json: async (request) =>
    answer(
      await outcome(async () => ({ value: await request.json() })),
    ),
  bytes: async (request) => answer([...await request.bytes()]),
  arrayBuffer: async (request) =>
    answer([...new Uint8Array(await request.arrayBuffer())]),
  blob: async (request) => {
    const blob = await request.blob();
    return answer([blob.type, blob.size, await blob.text()]);
  },
  stream: async (request) => {
    if (request.body === null) return answer(null);
    let text = "";
    const decoder = new TextDecoderStream();
    for await (const part of request.body.pipeThrough(decoder)) text += part;
    return answer([text, request.bodyUsed]);
  },
  textStream: async (request) => {
    let text = "";
    for await (const part of request.textStream()) text += part;
    return answer([text, request.bodyUsed]);
  },
  byob: async (request) => {
    if (request.body === null) return answer(null);
    const reader = request.body.getReader({ mode: "byob" });
    let text = "";
    for (;;) {
      const { value, done } = await reader.read(new Uint8Array(4));
      if (done) return answer([text, value?.length ?? null]);
      text += new TextDecoder().decode(value);
    }
  },
  echo: (request) => new Response(request.body),
};

const BODIES: [name: string, bytes: string][] = [
  ["with a length", post('{"a":[1,2,"\xc3\xa4"]}', "Content-Type: a/b\r\n")],
  ["in chunks", chunked(['{"a":', "[1,2]", "}"], "Content-Type: a/b\r\n")],
  ["empty, with length 0", post("")],
  ["empty, in chunks", chunked([])],
  ["missing", req("POST", "/")],
  ["not UTF-8", post('"\xff\xfe\x00"')],
];

const reading: Row[] = Object.entries(readers).flatMap(([name, handler]) =>
  BODIES.map(([what, send]) => ({
    name: `body read as ${name}, ${what}`,
    handler,
    send,
  }))
);

const FORM = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' +
  '--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n' +
  "Content-Type: text/plain\r\n\r\nfile\r\n--b--\r\n";
const MULTIPART = "Content-Type: multipart/form-data; boundary=b\r\n";
const URLENCODED = "Content-Type: application/x-www-form-urlencoded\r\n";

const readForm: Handler = async (request) =>
  answer(
    await outcome(async () => {
      const form = await request.formData();
      return await Promise.all(
        Array.from(
          form,
          async ([name, value]) =>
            typeof value === "string"
              ? [name, value]
              : [name, value.name, value.type, await value.text()],
        ),
      );
    }),
  );

const forms: Row[] = [
  ["multipart", post(FORM, MULTIPART)],
  [
    "multipart in chunks",
    chunked([FORM.slice(0, 50), FORM.slice(50)], MULTIPART),
  ],
  ["urlencoded", post("a=1&b=%20+%C3%A4&a=2", URLENCODED)],
  [
    "multipart without its boundary",
    post(FORM, "Content-Type: multipart/form-data\r\n"),
  ],
  ["multipart cut short", post(FORM.slice(0, 60), MULTIPART)],
  ["of no type", post("a=1")],
  ["of another type", post("a=1", "Content-Type: text/plain\r\n")],
].map(([name, send]) => ({
  name: `form ${name}`,
  handler: readForm,
  send: send!,
}));

const twice: Row[] = [
  {
    name: "body: read twice",
    handler: async (request) =>
      answer([
        request.bodyUsed,
        await request.text(),
        request.bodyUsed,
        await outcome(() => request.text()),
        await outcome(() => request.json()),
        await outcome(() => request.arrayBuffer()),
        await outcome(() => request.bytes()),
        await outcome(() => request.blob()),
        await outcome(() => request.formData()),
        await outcome(() => request.clone()),
        await outcome(() => new Request(request)),
        request.body?.locked,
      ]),
    send: post("body"),
  },
  {
    name: "body: bodyUsed before and while it is read",
    handler: async (request) => {
      const before = request.bodyUsed;
      const reading = request.text();
      return answer([before, request.bodyUsed, await reading]);
    },
    send: post("body"),
  },
  {
    name: "body: looked at is not used",
    handler: async (request) =>
      answer([
        request.body instanceof ReadableStream,
        Object.is(request.body, request.body),
        request.body?.locked,
        request.bodyUsed,
        await request.text(),
        request.bodyUsed,
        request.body?.locked,
      ]),
    send: post("body"),
  },
  {
    name: "body: locked by a reader",
    handler: async (request) => {
      const reader = request.body!.getReader();
      const found = [
        request.bodyUsed,
        await outcome(() => request.text()),
        await outcome(() => request.clone()),
      ];
      reader.releaseLock();
      return answer([...found, request.bodyUsed, await request.text()]);
    },
    send: post("body"),
  },
  {
    name: "body: read partly, then as text",
    handler: async (request) => {
      const reader = request.body!.getReader();
      const { done } = await reader.read();
      reader.releaseLock();
      return answer([
        done,
        request.bodyUsed,
        await outcome(() => request.text()),
      ]);
    },
    send: post("body"),
  },
  {
    name: "body: cloned, both read",
    handler: async (request) => {
      const copy = request.clone();
      return answer([
        await copy.text(),
        request.bodyUsed,
        await request.text(),
        copy.bodyUsed,
      ]);
    },
    send: post("body"),
  },
  {
    name: "body: cloned in chunks, both read as streams",
    handler: async (request) => {
      const copy = request.clone();
      const texts = [request, copy].map((one) => new Response(one.body).text());
      return answer(await Promise.all(texts));
    },
    send: chunked(["one", "two"]),
  },
  {
    name: "body: cancelled",
    handler: async (request) => {
      await request.body!.cancel("no");
      return answer([request.bodyUsed, await outcome(() => request.text())]);
    },
    send: post("body"),
  },
  {
    name: "body: teed",
    handler: async (request) => {
      const [one, two] = request.body!.tee();
      return answer([
        await new Response(one).text(),
        await new Response(two).text(),
      ]);
    },
    send: post("body"),
  },
  {
    name: "body: piped through to the response",
    handler: (request) =>
      new Response(request.body!.pipeThrough(new TransformStream())),
    send: chunked(["one", "two"]),
  },
  {
    name: "body: passed on, 300 KiB with a length",
    handler: readers.echo!,
    send: post("x".repeat(307200)),
  },
  {
    name: "body: passed on, of a copy",
    handler: (request) => new Response(new Request(request).body),
    send: post("body"),
  },
  {
    name: "body: passed on, of a clone",
    handler: (request) => new Response(request.clone().body),
    send: post("body"),
  },
  {
    name: "body: passed on after it was cloned",
    handler: (request) => {
      request.clone();
      return new Response(request.body);
    },
    send: post("body"),
  },
  {
    name: "body: passed on with its length",
    handler: ({ body }) =>
      new Response(body, { headers: { "content-length": "4" } }),
    send: post("body"),
  },
  {
    name: "body: passed on with less than its length",
    handler: ({ body }) =>
      new Response(body, { headers: { "content-length": "3" } }),
    send: post("body"),
  },
  {
    name: "body: passed on with the fields of the request",
    handler: ({ body, headers }) => new Response(body, { headers }),
    send: post("body", "Content-Type: a/b\r\n"),
  },
  {
    name: "body: passed on through a stream of text",
    handler: (request) =>
      new Response(
        request.body!.pipeThrough(new TextDecoderStream())
          .pipeThrough(new TextEncoderStream()),
      ),
    send: post("h\xc3\xa4"),
  },
  {
    name: "body: passed on twice",
    handler: async (request) => {
      const first = new Response(request.body);
      return answer([
        await outcome(() => new Response(request.body).text()),
        await outcome(() => first.text()),
      ]);
    },
    send: post("body"),
  },
  {
    name: "body: passed on after a part of it was read",
    handler: async (request) => {
      const reader = request.body!.getReader();
      await reader.read();
      reader.releaseLock();
      return new Response(request.body);
    },
    send: post("body"),
  },
  {
    name: "body: the blob has the type of the request",
    handler: async (request) => answer((await request.blob()).type),
    send: post("x", "Content-Type: Text/Plain; Charset=UTF-8\r\n"),
  },
  {
    name: "body: a byte order mark as text",
    handler: async (request) => answer(await request.text()),
    send: post("\xef\xbb\xbfa"),
  },
  {
    name: "body: a byte order mark as JSON",
    handler: readers.json!,
    send: post("\xef\xbb\xbf1"),
  },
  { name: "body: no JSON", handler: readers.json!, send: post("{") },
  {
    name: "body: a buffer that is nobody else's",
    handler: async (request) => {
      const bytes = await request.bytes();
      return answer([bytes.byteOffset, bytes.buffer.byteLength]);
    },
    send: post("body"),
  },
  {
    name: "body: of GET with a length is hidden",
    handler: async (request) => answer([request.body, await request.text()]),
    send: req("GET", "/", "Content-Length: 4\r\n", "body"),
  },
  {
    name: "body: of GET in chunks is hidden",
    handler: async (request) => answer([request.body, await request.text()]),
    send: req(
      "GET",
      "/",
      "Transfer-Encoding: chunked\r\n",
      "4\r\nbody\r\n0\r\n\r\n",
    ),
  },
  ...["DELETE", "OPTIONS", "PATCH", "QUERY", "TRACE"].map((method): Row => ({
    name: `body: of ${method}`,
    handler: readers.text!,
    send: req(method, "/", "Content-Length: 4\r\n", "body"),
  })),
  {
    name: "body: null-ness without a body",
    handler: (request) => answer([request.body === null, request.bodyUsed]),
    send: req("POST", "/", "Content-Length: 0\r\n"),
  },
  {
    name: "body: null-ness without framing",
    handler: (request) => answer([request.body === null, request.bodyUsed]),
    send: req("DELETE", "/"),
  },
  {
    name: "body: empty, read twice",
    handler: async (request) =>
      answer([
        await request.text(),
        request.bodyUsed,
        await outcome(() => request.text()),
      ]),
    send: req("POST", "/", "Content-Length: 0\r\n"),
  },
];

const chunks = (text: string): string =>
  req("POST", "/", "Transfer-Encoding: chunked\r\n", text);

const framing: Row[] = [
  [
    "upper-case sizes and leading zeros",
    chunks("00A\r\n0123456789\r\n0\r\n\r\n"),
  ],
  ["extensions", chunks('4;a=b;c="d"\r\nbody\r\n0;e\r\n\r\n')],
  ["trailers", chunks("4\r\nbody\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n")],
  [
    "coding in upper case",
    req("POST", "/", "Transfer-Encoding: CHUNKED\r\n", "1\r\na\r\n0\r\n\r\n"),
  ],
  [
    "length with leading zeros",
    req("POST", "/", "Content-Length: 004\r\n", "body"),
  ],
  ["many chunks", chunked(Array.from({ length: 300 }, () => "ab"))],
  ["64 KiB with a length", post("x".repeat(65536))],
  ["300 KiB with a length", post("x".repeat(307200))],
  ["300 KiB in one chunk", chunked(["x".repeat(307200)])],
].map(([name, send]) => ({
  name: `framing: ${name}`,
  handler: async (request: Request): Promise<Response> => {
    const text = await request.text();
    return text.length > 1000
      ? answer([text.length, /^x*$/.test(text)])
      : answer([text, [...request.headers]]);
  },
  send: send!,
}));

const unread: Row[] = [
  { name: "unread: with a length", handler: hello, send: post("body") },
  { name: "unread: in chunks", handler: hello, send: chunked(["a", "b"]) },
  {
    name: "unread: 60 KB with a length",
    handler: hello,
    send: post("x".repeat(60000)),
  },
  {
    name: "unread: 1 MB with a length",
    handler: hello,
    send: post("x".repeat(1_000_000)),
  },
  {
    name: "unread: of GET",
    handler: hello,
    send: req("GET", "/", "Content-Length: 4\r\n", "body"),
  },
  {
    name: "unread: looked at only",
    handler: (request) => answer(request.body === null),
    send: post("body"),
  },
  {
    name: "unread: partly read",
    handler: async (request) => {
      const { done } = await request.body!.getReader().read();
      return answer(done);
    },
    send: chunked(["a", "b"]),
  },
  {
    name: "unread: the next request follows at once",
    handler: (request) => new Response(request.url),
    send: post("body") + get("/second"),
    responses: 2,
  },
  {
    name: "cut: FIN inside a body with a length, read",
    handler: async (request) =>
      answer((await outcome(() => request.text())) === "body"),
    send: req("POST", "/", "Content-Length: 9\r\n", "body"),
    fin: true,
  },
  {
    name: "cut: FIN inside a chunked body, read",
    handler: async (request) =>
      answer((await outcome(() => request.text())) === "body"),
    send: chunks("9\r\nbody"),
    fin: true,
  },
];

export const BODY_ROWS: Row[] = [
  ...reading,
  ...forms,
  ...twice,
  ...framing,
  ...unread,
];
