// SPDX-License-Identifier: Apache-2.0
// Tests with Hono: the application of examples/hono.ts, and one of other
// middleware, answer on Millrace what they answer on Deno.serve.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { Hono } from "hono";
import { bearerAuth } from "hono/bearer-auth";
import { compress } from "hono/compress";
import { cors } from "hono/cors";
import { csrf } from "hono/csrf";
import { upgradeWebSocket } from "hono/deno";
import { etag } from "hono/etag";
import { html } from "hono/html";
import { methodOverride } from "hono/method-override";
import { poweredBy } from "hono/powered-by";
import { prettyJSON } from "hono/pretty-json";
import { proxy } from "hono/proxy";
import { requestId } from "hono/request-id";
import { stream, streamSSE } from "hono/streaming";
import { timeout } from "hono/timeout";
import { defineWebSocketHelper, WSContext } from "hono/ws";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { upgradeWebSocket as upgradeStandard, websocket } from "../mod.ts";
import { get, post, RawClient } from "./raw_client.ts";
import {
  type Context,
  deadline,
  fromLatin1,
  quiet,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";
import { closePayload, ECHO, handshake, WsClient } from "./ws_client.ts";

type Fetch = (
  request: Request,
  info: Deno.ServeHandlerInfo<Deno.NetAddr>,
) => Response | Promise<Response>;

// Millrace keeps the length of a body that is passed on, through any middleware.
const PASSED_ON = "an echo";
const FRAMING = ["content-length", "transfer-encoding"];

/** A request, and the name of its row. */
type Row = [name: string, request: string];

const EXAMPLE_FILE = new URL("../examples/hono.ts", import.meta.url).href;

/** The example with a guest book of its own. */
async function example(): Promise<Fetch> {
  const { app } = await import(`${EXAMPLE_FILE}?${crypto.randomUUID()}`);
  return app.fetch;
}

function json(target: string, body: string): string {
  return post(target, body, "Content-Type: application/json\r\n");
}

function form(target: string, body: string, fields: string = ""): string {
  const type = "application/x-www-form-urlencoded";
  return post(target, body, `Content-Type: ${type}\r\n${fields}`);
}

function upload(target: string, name: string, content: string): string {
  const body = `--b\r\nContent-Disposition: form-data; name="file"; ` +
    `filename="${name}"\r\nContent-Type: text/plain\r\n\r\n${content}\r\n--b--\r\n`;
  const type = "Content-Type: multipart/form-data; boundary=b\r\n";
  return post(target, body, type);
}

const ADMIN = `Authorization: Basic ${btoa("admin:example")}\r\n`;
const LONG = "x".repeat(300_000);

const EXAMPLE: Row[] = [
  ["text", get("/")],
  ["HEAD", get("/").replace("GET", "HEAD")],
  ["HEAD of JSON", get("/api/entries").replace("GET", "HEAD")],
  ["OPTIONS of nothing", get("/").replace("GET", "OPTIONS")],
  ["HTML", get("/page")],
  ["a redirect", get("/old")],
  ["a wildcard", get("/files/a/b%20c/d?e=f")],
  ["queries", get("/search?q=a&q=b%26c&r=d&q=%E4%B8%96")],
  ["the peer", get("/peer")],
  ["no credentials", get("/admin/secret")],
  ["bad credentials", get("/admin/secret", ADMIN.replace("Basic ", "Basic x"))],
  ["credentials", get("/admin/secret", ADMIN)],
  ["404", get("/none")],
  ["404 by c.notFound()", get("/api/entries/77")],
  ["404 of a pattern", get("/api/entries/x")],
  ["404 of a method", post("/", "")],
  ["an exception", get("/fail")],
  ["CORS", get("/api/entries", "Origin: https://example.org\r\n")],
  ["CORS of another origin", get("/api/entries", "Origin: https://e.com\r\n")],
  [
    "a CORS preflight",
    get(
      "/api/entries",
      "Origin: https://example.org\r\nAccess-Control-Request-Method: POST\r\n",
    ).replace("GET", "OPTIONS"),
  ],
  ["JSON", get("/api/entries")],
  ["a parameter", get("/api/entries/1")],
  ["a weak ETag", get("/api/entries", 'If-None-Match: "other"\r\n')],
  ["JSON in", json("/api/entries", '{"name":"Bob","text":"hi"}')],
  ["what came in", get("/api/entries/2")],
  ["JSON that is not valid", json("/api/entries", '{"name":1}')],
  ["JSON that is none", json("/api/entries", "{")],
  ["long JSON in", json("/api/entries", `{"name":"C","text":"${LONG}"}`)],
  ["long JSON out", get("/api/entries")],
  ["a body over the limit", post("/upload", "x".repeat(1024 * 1024 + 1))],
  ["a form", form("/login", "user=Ada%20L&more=1")],
  ["a form without its field", form("/login", "more=1")],
  ["a first visit", get("/visits")],
  ["a cookie", get("/visits", "Cookie: visits=41; other=x\r\n")],
  ["a forged cookie", get("/visits", "Cookie: user=Ada.AAAA\r\n")],
  ["a deleted cookie", post("/logout", "")],
  ["an upload", upload("/upload", "a.txt", "content ".repeat(1000))],
  ["an upload without file", form("/upload", "file=x")],
  ["a stream", get("/count")],
  ["server-sent events", get("/events")],
];

/** An application of other middleware, most of which replaces responses. */
function middleware(): Hono {
  const app = new Hono();
  app.use("/compress/*", compress({ threshold: 10 }));
  app.get("/compress/text", (c) => c.text("text ".repeat(1000)));
  app.get("/compress/json", (c) => c.json({ text: LONG }));
  app.use("/replaced", async (c, next) => {
    await next();
    const text = await c.res.text();
    c.res = new Response(`<${text}>`, c.res);
    c.res.headers.set("x-length", String(text.length));
  });
  app.get("/replaced", (c) => c.text("inner", 201, { "x-inner": "1" }));
  app.use("/before", async (c, next) => {
    c.header("x-before", "1");
    c.res.headers.append("set-cookie", "a=1");
    await next();
    c.header("x-after", "2");
    c.header("set-cookie", "c=3", { append: true });
  });
  app.get("/before", (c) => {
    c.header("set-cookie", "b=2", { append: true });
    return c.body(Uint8Array.of(1, 2, 3));
  });
  app.use("/pretty", prettyJSON());
  app.get("/pretty", (c) => c.json({ a: [1, { b: 2 }] }));
  app.get(
    "/powered",
    poweredBy(),
    requestId({ generator: () => "id" }),
    (c) => c.html(html`<p>${c.get("requestId")} ${"<&>"}</p>`),
  );
  app.get("/etag", etag(), (c) => c.text("tagged"));
  app.get("/late", timeout(20), async (c) => {
    await new Promise<void>((resolve) => setTimeout(resolve, 60));
    return c.text("late");
  });
  app.use("/override", methodOverride({ app }));
  app.delete("/override", async (c) => c.text(`deleted ${await c.req.text()}`));
  app.post("/csrf", csrf(), (c) => c.text("allowed"));
  app.get("/bearer", bearerAuth({ token: "t" }), (c) => c.text("allowed"));
  app.mount("/mounted", (request) => new Response(request.url));
  app.post("/raw", async (c) => {
    const copy = new Request(c.req.raw.clone(), { method: "PUT" });
    const body = await c.req.raw.text();
    return c.json([copy.method, await copy.text(), body, c.req.header("x-a")]);
  });
  app.post("/echo", (c) => c.body(c.req.raw.body!));
  app.post(
    "/twice",
    async (c) =>
      c.json([await c.req.json(), await c.req.text(), await c.req.json()]),
  );
  app.get("/proxy", (c) => {
    const url = new URL("/before", c.req.url);
    return proxy(url, { headers: { "x-forwarded-for": "here" } });
  });
  app.get("/bytes", (c) =>
    stream(c, async (out) => {
      for (let at = 0; at < 50; at++) await out.write(new Uint8Array(5000));
    }));
  app.get(
    "/piped",
    (c) => stream(c, (out) => out.pipe(new Blob(["piped ", LONG]).stream())),
  );
  app.get("/failing", (c) =>
    stream(c, async (out) => {
      await out.write("begun");
      throw new Error("failed in the stream");
    }, async (error, out) => void await out.write(`, ${error.message}`)));
  app.all("/method", (c) => c.text(c.req.method));
  return app;
}

const MIDDLEWARE: Row[] = [
  ["text for all", get("/compress/text")],
  ["text as gzip", get("/compress/text", "Accept-Encoding: gzip\r\n")],
  ["JSON as gzip", get("/compress/json", "Accept-Encoding: gzip\r\n")],
  ["HEAD as gzip", get("/compress/text").replace("GET", "HEAD")],
  ["a replaced body", get("/replaced")],
  ["fields from all sides", get("/before")],
  ["pretty JSON", get("/pretty?pretty")],
  ["HTML, escaped", get("/powered")],
  ["an ETag", get("/etag")],
  ["a timeout", get("/late")],
  ["an overridden method", form("/override", "_method=DELETE&a=b")],
  ["CSRF", form("/csrf", "a=b", "Origin: http://other\r\n")],
  ["no CSRF", form("/csrf", "a=b", "Origin: http://test\r\n")],
  ["no token", get("/bearer")],
  ["a token", get("/bearer", "Authorization: Bearer t\r\n")],
  ["a mounted handler", get("/mounted/a/b?c")],
  ["copies of a request", post("/raw", "body", "X-A: 1\r\n")],
  [PASSED_ON, post("/echo", LONG)],
  ["a body read twice", json("/twice", '{"a":1}')],
  ["a stream of bytes", get("/bytes")],
  ["a piped stream", get("/piped")],
  ["a stream that fails", get("/failing")],
  ["a method of its own", get("/method").replace("GET", "PURGE")],
];

// What becomes of the connection is the matter of differential_test.ts.
const NOT_COMPARED = ["date", "connection"];

/** What came back, as far as it has to be the same. */
async function answer(
  addr: Deno.NetAddr,
  request: string,
  ignored: string[],
): Promise<unknown> {
  using client = await RawClient.connect({ addr });
  const response = await client.request(request);
  const fields = response.fields
    .filter(([name]) => !ignored.includes(name)).sort();
  const { status, reason, body } = response;
  return { status, reason, fields, body: fromLatin1(body) };
}

/** Runs the rows, in order, on both servers. */
async function compare(
  t: Context,
  make: () => Fetch | Promise<Fetch>,
  rows: Row[],
): Promise<void> {
  const options = { port: 0, hostname: "127.0.0.1", onListen: quiet };
  await using deno = Deno.serve(options, await make());
  const millrace = t.serve(await make());
  for (const [name, request] of rows) {
    const ignored = [...NOT_COMPARED, ...name === PASSED_ON ? FRAMING : []];
    const actual = await answer(millrace.addr, request, ignored);
    const expected = await answer(deno.addr, request, ignored);
    assertEquals([name, actual], [name, expected]);
  }
}

testBackends(
  "Hono's example answers as on Deno.serve",
  (t) => compare(t, example, EXAMPLE),
);

testBackends(
  "Hono's middleware answers as on Deno.serve",
  (t) => compare(t, () => middleware().fetch, MIDDLEWARE),
);

testBackends("a WebSocket opens through Hono's middleware", async (t) => {
  const handler = await example();
  const server = t.serve(handler);
  const client = t.using(await WsClient.open(server, { target: "/ws" }));
  // Set by secureHeaders() on the response of upgrade().
  assertEquals(client.response.field("x-frame-options"), "SAMEORIGIN");
  await client.text("hello");
  assertEquals(await client.readText(), "hello");
  const plain = t.using(await RawClient.connect(server));
  assertEquals((await plain.request(get("/ws"))).status, 426);
});

testBackends("a 101 that Hono makes anew opens the WebSocket", async (t) => {
  const app = new Hono();
  app.use(cors());
  app.use(async (c, next) => {
    await next();
    c.header("x-late", "1");
    c.res = new Response(c.res.body, c.res);
  });
  const echo = websocket(ECHO);
  app.get("/ws", (c) => echo.upgrade(c.req.raw));
  const server = t.serve(app.fetch);
  const client = t.using(await WsClient.open(server, { target: "/ws" }));
  assertEquals(client.response.field("access-control-allow-origin"), "*");
  assertEquals(client.response.field("x-late"), "1");
  await client.text("hello");
  assertEquals(await client.readText(), "hello");
});

// As in README.md.
const upgrade = defineWebSocketHelper<WebSocket>((c, events) => {
  if (c.req.header("upgrade") !== "websocket") return;
  const { socket, response } = upgradeStandard(c.req.raw);
  const context = new WSContext<WebSocket>({
    raw: socket,
    protocol: socket.protocol,
    get readyState(): 0 | 1 | 2 | 3 {
      return socket.readyState as 0 | 1 | 2 | 3;
    },
    send: (data) => socket.send(data),
    close: (code, reason) => socket.close(code, reason),
  });
  socket.onopen = (event): void => events.onOpen?.(event, context);
  socket.onmessage = (event): void => events.onMessage?.(event, context);
  socket.onclose = (event): void => events.onClose?.(event, context);
  socket.onerror = (event): void => events.onError?.(event, context);
  return response;
});

testBackends("Hono's events come from upgradeWebSocket()", async (t) => {
  const seen: unknown[] = [];
  const app = new Hono();
  app.use(cors());
  app.get(
    "/ws",
    upgrade((c) => ({
      onOpen: (_event, ws) => seen.push(ws.readyState, c.req.path),
      onMessage(event, ws): void {
        if (event.data === "bye") ws.close(4000, "bye");
        else ws.send(`You said ${event.data}`);
      },
      onClose: ({ code, reason }) => seen.push(code, reason),
    })),
    (c) => c.text("no WebSocket"),
  );
  const server = t.serve(app.fetch);
  const client = t.using(await WsClient.open(server, { target: "/ws" }));
  assertEquals(client.response.field("access-control-allow-origin"), "*");
  await client.text("hello");
  assertEquals(await client.readText(), "You said hello");
  await client.text("bye");
  assertEquals(await client.closeFrame(), { code: 4000, reason: "bye" });
  await client.send({ opcode: 8, payload: closePayload(4000, "bye") });
  await until(() => seen.length === 4, "close");
  assertEquals(seen, [1, "/ws", 4000, "bye"]);
  const plain = t.using(await RawClient.connect(server));
  assertEquals((await plain.request(get("/ws"))).text, "no WebSocket");
});

testBackends("upgradeWebSocket() of hono/deno is an error", async (t) => {
  const app = new Hono();
  app.get("/ws", upgradeWebSocket(() => ({})));
  const server = t.serve(app.fetch);
  const client = t.using(await RawClient.connect(server));
  const logged = await withoutErrors(async () => {
    const response = await client.request(handshake("/ws"));
    assertEquals(response.status, 500);
  });
  assertStringIncludes(
    String(logged[0]![0]),
    "use upgradeWebSocket() of Millrace",
  );
});

testBackends("Hono's stream arrives as it is written", async (t) => {
  const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
  const more = Promise.withResolvers<void>();
  const app = new Hono();
  app.get("/events", (c) =>
    streamSSE(c, async (events) => {
      events.onAbort(abort);
      await events.writeSSE({ id: "1", event: "tick", data: "one" });
      await more.promise;
      await events.writeSSE({ data: "two\nthree" });
      await aborted;
    }));
  const server = t.serve(app.fetch);
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/events"));
  await client.through("event: tick\ndata: one\nid: 1\n\n");
  more.resolve();
  await client.through("data: two\ndata: three\n\n");
  client.close();
  await deadline(aborted, "the stream is aborted");
});

testBackends("Hono's answers are compressed once", async (t) => {
  const server = t.serve(middleware().fetch, { compress: true });
  const client = t.using(await RawClient.connect(server));
  const text = "text ".repeat(1000);
  // Hono's own middleware knows gzip, and comes first.
  for (const [accept, coding] of [["br", "br"], ["br, gzip", "gzip"]]) {
    const response = await client.request(
      get("/compress/text", `Accept-Encoding: ${accept}\r\n`),
    );
    assertEquals(response.field("content-encoding"), coding);
    assertEquals(response.field("vary")?.toLowerCase(), "accept-encoding");
    const body = coding === "br"
      ? brotliDecompressSync(response.body)
      : gunzipSync(response.body);
    assertEquals(new TextDecoder().decode(body), text);
  }
});

Deno.test("the example runs with the permissions that it names", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-net",
      "--allow-ffi",
      EXAMPLE_FILE,
      "0",
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let output = "";
  const printed = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const found = pattern.exec(output);
      if (found !== null) return found[1]!;
      const { done, value } = await deadline(lines.read(), String(pattern));
      if (done) throw new Error(`${output}${await errors}`);
      output += value;
    }
  };
  try {
    const port = await printed(/http:\/\/127\.0\.0\.1:(\d+)\//);
    const response = await fetch(`http://127.0.0.1:${port}/api/entries`);
    assertEquals(await response.json(), [
      { id: 1, name: "Ada", text: "First!" },
    ]);
    await printed(/(--> .*GET.* \/api\/entries .*200)/);
  } finally {
    child.kill("SIGTERM");
    await lines.cancel();
    await child.status;
    assertEquals(await errors, "");
  }
});
