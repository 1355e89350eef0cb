// SPDX-License-Identifier: Apache-2.0
// Tests of examples/echo.ts as its user starts it: a process of its own, with
// the permissions that `deno task start` gives it.

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { Example } from "./example.ts";
import { RawClient } from "./raw_client.ts";
import { assertSameBytes, BACKENDS, deadline, pattern } from "./testing.ts";

const FILE = "echo.ts";

/** A client of /ws that takes its messages one by one. */
class Client implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #messages: MessageEvent[] = [];
  #next: (() => void) | null = null;
  readonly closed: Promise<CloseEvent>;

  private constructor(socket: WebSocket) {
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onmessage = (event): void => {
      this.#messages.push(event);
      this.#next?.();
    };
    const { promise, resolve } = Promise.withResolvers<CloseEvent>();
    this.closed = promise;
    socket.onclose = resolve;
  }

  static async open(demo: Example): Promise<Client> {
    const socket = new WebSocket(`${demo.url.replace("http", "ws")}/ws`);
    const client = new Client(socket);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    socket.onopen = resolve;
    await deadline(promise, "the WebSocket opens");
    return client;
  }

  async echo(message: string | Uint8Array<ArrayBuffer>): Promise<unknown> {
    this.#socket.send(message);
    if (this.#messages.length === 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#next = resolve;
      await deadline(promise, "the echo");
    }
    return this.#messages.shift()!.data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await deadline(this.closed, "the WebSocket closes");
  }
}

function testDemo(
  name: string,
  fn: (demo: Example) => Promise<void>,
  ...flags: string[]
): void {
  for (const backend of BACKENDS) {
    Deno.test(`${name} (${backend})`, async () => {
      await using demo = await Example.start(FILE, backend, ...flags);
      await fn(demo);
    });
  }
}

/** Runs the demo with flags that make it end by itself. */
async function runDemo(
  ...flags: string[]
): Promise<{ code: number; output: string; errors: string }> {
  await using demo = new Example(FILE, ...flags);
  return await demo.ended();
}

const BACKEND_LINE = /Backend +(?:io_uring|epoll) \(asked for\)/;

testDemo("the demo says where it listens and on what", (demo) => {
  assertMatch(demo.output, /^Listening on http:\/\/127\.0\.0\.1:\d+\/$/m);
  assertStringIncludes(demo.output, `ws://127.0.0.1:${demo.port}/ws`);
  assertMatch(demo.output, BACKEND_LINE);
  assertStringIncludes(demo.output, "batch 32, ring 1024");
  assertMatch(demo.output, /cores \d+, CPUs \d+, allowed \d+/);
  assertMatch(demo.output, /Workers +[1-9]/);
  return Promise.resolve();
});

testDemo(
  "the demo takes all its flags",
  async (demo) => {
    assertStringIncludes(demo.output, "batch 16, ring 64");
    assertMatch(demo.output, /Workers +2\b/);
    const response = await fetch(`${demo.url}/plaintext`);
    assertEquals(await response.text(), "Hello, World!");
  },
  "--batch",
  "16",
  "--ring=64",
  "--workers",
  "2",
  "--numa",
  "-1",
);

testDemo("GET / is a page that finds all that it refers to", async (demo) => {
  const response = await fetch(`${demo.url}/`);
  assertEquals(response.status, 200);
  assertEquals(
    response.headers.get("content-type"),
    "text/html; charset=utf-8",
  );
  const html = await response.text();
  const references = [...html.matchAll(/(?:src|href)="(\/[^"]*)"/g)]
    .map(([, path]) => path);
  assert(references.includes("/uplot.js") && references.includes("/page.css"));
  references.push("/page.js", "/plot.js");
  for (const path of references) {
    const found = await fetch(demo.url + path);
    assertEquals([path, found.status], [path, 200]);
    assert((await found.text()).length > 0);
  }
  // Nothing comes from elsewhere.
  assertEquals(/(?:src|href)="(?:https?:)?\/\//.test(html), false);
});

testDemo("GET /plaintext and /json greet", async (demo) => {
  const plain = await fetch(`${demo.url}/plaintext`);
  assertMatch(plain.headers.get("content-type") ?? "", /^text\/plain/);
  assertEquals(await plain.text(), "Hello, World!");
  const json = await fetch(`${demo.url}/json`);
  assertEquals(json.headers.get("content-type"), "application/json");
  assertEquals(await json.text(), '{"message":"Hello, World!"}');
});

testDemo("POST /echo returns the body with its content type", async (demo) => {
  const body = pattern(100_000);
  const response = await fetch(`${demo.url}/echo`, {
    method: "POST",
    headers: { "content-type": "application/x-test; a=b" },
    body,
  });
  assertEquals(response.headers.get("content-type"), "application/x-test; a=b");
  assertSameBytes(await response.bytes(), body, "the echoed body");
  const plain = await fetch(`${demo.url}/echo`, { method: "POST" });
  assertEquals(plain.headers.get("content-type"), null);
  assertEquals((await plain.bytes()).length, 0);
});

testDemo("GET /headers returns the request's headers", async (demo) => {
  const response = await fetch(`${demo.url}/headers`, {
    headers: { "x-test": "1" },
  });
  const fields = await response.json();
  assertEquals(fields["x-test"], "1");
  assertEquals(fields.host, `127.0.0.1:${demo.port}`);
});

testDemo("wrong paths get 404, wrong methods 405 with Allow", async (demo) => {
  const cases: [string, string, number, string | null][] = [
    ["GET", "/none", 404, null],
    ["GET", "/plaintext/", 404, null],
    ["POST", "/plaintext", 405, "GET, HEAD"],
    ["GET", "/echo", 405, "POST"],
    ["POST", "/ws", 405, "GET"],
    ["GET", "/ws", 426, null],
    ["HEAD", "/json", 200, null],
  ];
  for (const [method, path, status, allow] of cases) {
    const response = await fetch(demo.url + path, { method });
    await response.body?.cancel();
    assertEquals(
      [method, path, response.status, response.headers.get("allow")],
      [method, path, status, allow],
    );
  }
});

testDemo("/ws echoes text as text and binary as binary", async (demo) => {
  await using client = await Client.open(demo);
  for (const text of ["", "hello", "Grüße, 世界", "x".repeat(100_000)]) {
    assertEquals(await client.echo(text), text);
  }
  for (const length of [0, 1, 126, 70_000, 2 * 1024 * 1024]) {
    const bytes = pattern(length);
    const echo = await client.echo(bytes);
    assert(echo instanceof ArrayBuffer);
    assertSameBytes(new Uint8Array(echo), bytes, "the echoed message");
  }
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  testDemo(`${signal} drains and ends with 0`, async (demo) => {
    await using client = await Client.open(demo);
    assertEquals(await client.echo("hello"), "hello");
    demo.kill(signal);
    await demo.printed(`${signal}: draining`);
    const { code, reason } = await deadline(client.closed, "the close event");
    assertEquals([code, reason], [1001, "Server shutting down"]);
    const ended = await demo.ended();
    assertMatch(
      ended.output,
      /Drained: connections 1, requests in flight 0, cut 0\nServed: connections 1, /,
    );
    assertEquals([ended.code, ended.errors], [0, ""]);
  });
}

testDemo(
  "a request in flight is answered while draining",
  async (demo) => {
    using client = await RawClient.connect(demo);
    using idle = await RawClient.connect(demo);
    await idle.request("GET /plaintext HTTP/1.1\r\nHost: test\r\n\r\n");
    const head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n";
    await client.write(`${head}Expect: 100-continue\r\n\r\n`);
    // Its 100 Continue shows that the handler waits for the body.
    assertEquals((await client.response()).status, 100);
    demo.kill("SIGTERM");
    // The worker drains.
    assertEquals(await idle.rest(), "");
    idle.close();
    await client.write("body");
    const response = await client.response();
    assertEquals([response.status, response.text], [200, "body"]);
    client.close();
    const { code, output } = await demo.ended();
    assertStringIncludes(output, "connections 2, requests in flight 1, cut 0");
    assertEquals(code, 0);
  },
  "--workers",
  "1",
);

testDemo("a second signal stops at once", async (demo) => {
  using client = await RawClient.connect(demo);
  const head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n";
  await client.write(`${head}Expect: 100-continue\r\n\r\n`);
  assertEquals((await client.response()).status, 100);
  demo.kill("SIGTERM");
  await demo.printed("SIGTERM: draining");
  demo.kill("SIGINT");
  const { code, output } = await demo.ended();
  assertStringIncludes(output, "SIGINT again: stopped at once");
  assertEquals(code, 1);
});

Deno.test("--help prints how to use the demo", async () => {
  const { code, output, errors } = await runDemo("--help");
  assertEquals([code, errors], [0, ""]);
  for (const flag of ["addr", "batch", "ring", "backend", "workers", "numa"]) {
    assertStringIncludes(output, `--${flag} `);
  }
});

const MISTAKES: [flags: string[], message: string][] = [
  [["--port", "80"], 'unknown argument "--port"'],
  [["extra"], 'unknown argument "extra"'],
  [["--batch"], "--batch needs a value"],
  [["--batch", "many"], '--batch must be an integer of at least 1, is "many"'],
  [["--ring", "1000"], '"ring" must be a power of two, is 1000'],
  [["--numa", "-2"], '--numa must be an integer of at least -1, is "-2"'],
  [["--backend", "kqueue"], '--backend must be auto, io_uring, epoll, is "kq'],
  [["--addr", "9001"], '--addr must be like ":9001"'],
  [["--addr", ":65536"], '--addr must be like ":9001"'],
];

for (const [flags, message] of MISTAKES) {
  Deno.test(`the demo refuses ${flags.join(" ")}`, async () => {
    const { code, output, errors } = await runDemo(...flags);
    assertStringIncludes(errors, message);
    assertEquals([code, output], [2, ""]);
  });
}

Deno.test("the demo says when the address is in use", async () => {
  await using demo = await Example.start(FILE, "epoll");
  const { code, errors } = await runDemo("--addr", `127.0.0.1:${demo.port}`);
  assertEquals(code, 1);
  assertStringIncludes(errors, "the address is in use (EADDRINUSE)");
});

Deno.test("the demo listens on IPv6", async () => {
  await using demo = new Example(FILE, "--addr", "[::1]:0");
  await demo.printed("Ctrl+C stops it");
  const [url = ""] = /http:\/\/\[::1\]:\d+\//.exec(demo.output) ?? [];
  assertEquals(
    await (await fetch(`${url}plaintext`)).text(),
    "Hello, World!",
  );
});
