// SPDX-License-Identifier: Apache-2.0
// Tests of stress() against servers of each kind: right answers, wrong ones, errors by kind, and workers.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { rpc, RpcError } from "../lib/rpc.ts";
import {
  stress,
  type StressOptions,
  type StressReport,
} from "../lib/stress.ts";
import { obstacleOf } from "../lib/stress/system_limits.ts";
import { planOf } from "../lib/stress/options.ts";
import { listen, type Message, websocket } from "../mod.ts";
import { type Context, testBackends } from "./testing.ts";

const HOST = "127.0.0.1";
const MANY = 200;

/** Counts by kind. */
function kinds({ errors }: StressReport): Record<string, number> {
  return Object.fromEntries(errors.map(({ kind, count }) => [kind, count]));
}

function assertWell(report: StressReport, messages: number): void {
  assertEquals(report.errors, []);
  assertEquals(report.ok, true);
  const { sent, answered, unanswered, missed } = report.messages;
  assertEquals([sent, answered, unanswered, missed], [
    messages,
    messages,
    0,
    0,
  ]);
  assertEquals(report.latency?.count, messages);
}

function webSockets(
  t: Context,
  answer: (message: Message) => Message = (message) => message,
): StressOptions {
  const route = websocket({
    message: (socket, message) => void socket.send(answer(message)),
  }, { compression: true });
  const { addr } = t.serve((request) => {
    const { pathname } = new URL(request.url);
    return pathname === "/ws"
      ? route.upgrade(request)
      : new Response("no", { status: 403 });
  });
  const url = `ws://${HOST}:${addr.port}/ws`;
  return { kind: "ws", url, backend: t.backend, connections: 8 };
}

testBackends("WebSockets: bytes, text, compressed and pipelined", async (t) => {
  const options = { ...webSockets(t), verify: true, requests: MANY };
  assertWell(await stress(options), MANY);
  assertWell(await stress({ ...options, text: true, pipeline: 7 }), MANY);
  assertWell(await stress({ ...options, payload: "Grüße" }), MANY);
  assertWell(
    await stress({ ...options, compression: true, payload: 5000 }),
    MANY,
  );
  const empty = await stress({ ...options, payload: 0 });
  assertWell(empty, MANY);
  assertEquals(empty.bytes, 0);
  assertWell(await stress({ ...options, payload: 100_000, pipeline: 3 }), MANY);
});

testBackends("WebSockets: what each answer has to be", async (t) => {
  const options = { ...webSockets(t, () => "pong"), requests: 20 };
  assertWell(await stress({ ...options, payload: "ping" }), 20);
  assertWell(await stress({ ...options, payload: "ping", expect: "pong" }), 20);
  const report = await stress({ ...options, payload: "ping", verify: true });
  assertEquals(kinds(report), { "wrong answer": 20 });
  assertEquals(report.ok, false);
});

testBackends(
  "WebSockets: one wrong byte, and answers that are mixed up",
  async (t) => {
    let count = 0;
    const last: Message[] = [];
    const swap = (message: Message): Message => {
      const copy = typeof message === "string" ? message : message.slice();
      last.push(copy);
      return last.length > 1 ? last.shift()! : copy;
    };
    const corrupt = (message: Message): Message => {
      if (typeof message === "string") {
        return ++count % 10 > 0 ? message : message.slice(0, -1) + "!";
      }
      const copy = message.slice();
      if (++count % 10 === 0) copy[copy.length - 1]! ^= 1;
      return copy;
    };
    for (const text of [false, true]) {
      const corrupted = await stress({
        ...webSockets(t, corrupt),
        requests: 100,
        verify: true,
        text,
      });
      assertEquals(kinds(corrupted), { "wrong answer": 10 });
      const swapped = await stress({
        ...webSockets(t, swap),
        connections: 2,
        requests: 20,
        verify: true,
        text,
      });
      assert(kinds(swapped)["wrong answer"]! >= 10, `${Deno.inspect(swapped)}`);
      last.length = 0;
    }
    // Who does not ask is not told.
    const options = { ...webSockets(t, corrupt), requests: 100 };
    assertWell(await stress(options), 100);
  },
);

testBackends(
  "WebSockets: handshakes that are refused, and early ends",
  async (t) => {
    const options = webSockets(t);
    const url = String(options.url).replace("/ws", "/other");
    const refused = await stress({ ...options, url });
    assertEquals(kinds(refused), { "handshake refused with 403": 8 });
    assertEquals(refused.connections.failed, 8);
    const route = websocket({ message: (socket) => socket.close(3999, "why") });
    const { addr } = t.serve((request) => route.upgrade(request));
    const closed = await stress({
      ...options,
      url: `ws://${HOST}:${addr.port}/`,
    });
    assertEquals(kinds(closed), { "closed with 3999": 8 });
    assert(closed.errors[0]!.first.includes("why"), closed.errors[0]!.first);
    assertEquals(closed.connections.lost, 8);
    assertEquals(closed.messages.unanswered, 8);
    const cut = websocket({ message: (socket) => socket.terminate() });
    const other = t.serve((request) => cut.upgrade(request));
    const reset = await stress({
      ...options,
      url: `ws://${HOST}:${other.addr.port}/`,
    });
    assertEquals(kinds(reset), { "closed with 1006": 8 });
  },
);

testBackends("the schedule decides how many messages there are", async (t) => {
  const options = { ...webSockets(t), verify: true };
  const report = await stress({ ...options, rate: 1000, hold: 300 });
  assertWell(report, 300);
  assertEquals(report.elapsed, 300);
  assertWell(await stress({ ...options, interval: 100, hold: 300 }), 24);
  assertWell(await stress({ ...options, rate: 1e5, requests: 500 }), 500);
});

testBackends("connections are only held, and opened by a ramp", async (t) => {
  const options = webSockets(t);
  const held = await stress({ ...options, rate: 0, hold: 50 });
  assertEquals([held.ok, held.connections.opened, held.latency], [
    true,
    8,
    null,
  ]);
  assertEquals(held.connecting?.count, 8);
  const ramp = await stress({ ...options, ramp: 400, requests: 50 });
  assertEquals([ramp.ok, ramp.connections.opened], [true, 8]);
});

testBackends("HTTP: methods, bodies, header fields, pipelines", async (t) => {
  const seen = new Set<string>();
  const { addr } = t.serve(async (request) => {
    const { method, headers } = request;
    const body = await request.text();
    const { pathname, search } = new URL(request.url);
    seen.add(`${method} ${pathname}${search} ${headers.get("a")} ${body}`);
    return new Response("Hello");
  });
  const options: StressOptions = {
    kind: "http",
    url: `http://${HOST}:${addr.port}/p?q=1`,
    backend: t.backend,
    connections: 4,
    requests: MANY,
    expect: "Hello",
  };
  assertWell(await stress(options), MANY);
  assertWell(
    await stress({ ...options, pipeline: 5, headers: { a: "b" } }),
    MANY,
  );
  assertWell(await stress({ ...options, payload: "body" }), MANY);
  assertWell(await stress({ ...options, method: "PUT", payload: 3 }), MANY);
  const { expect: _, ...head } = options;
  const heads = await stress({ ...head, method: "HEAD" });
  assertWell(heads, MANY);
  assertEquals(heads.bytes, 0);
  assertEquals([...seen], [
    "GET /p?q=1 null ",
    "GET /p?q=1 b ",
    "POST /p?q=1 null body",
    "PUT /p?q=1 null xxx",
    "HEAD /p?q=1 null ",
  ]);
});

testBackends("HTTP: statuses and bodies that are wrong", async (t) => {
  let count = 0;
  const { addr } = t.serve(() =>
    ++count % 4 === 0
      ? new Response("no", { status: 500 })
      : new Response(count % 4 === 1 ? "Hello" : "hello")
  );
  const url = `http://${HOST}:${addr.port}/`;
  const options: StressOptions = {
    kind: "http",
    url,
    backend: t.backend,
    connections: 1,
    requests: 40,
    expect: "hello",
  };
  const report = await stress(options);
  assertEquals(kinds(report), { "status 500": 10, "wrong answer": 10 });
  assertEquals(report.messages.answered, 40);
});

testBackends(
  "HTTP: connections that the server ends are made anew",
  async (t) => {
    const { addr } = t.serve(() => new Response("x"), { maxRequests: 3 });
    const options: StressOptions = {
      kind: "http",
      url: `http://${HOST}:${addr.port}/`,
      backend: t.backend,
      connections: 2,
      pipeline: 4,
      requests: 30,
      verify: true,
    };
    const report = await stress(options);
    assertWell(report, 30);
    assertEquals(report.connections.opened, 2);
    assert(report.connections.reconnects >= 8, `${Deno.inspect(report)}`);
  },
);

testBackends("HTTP: responses that are malformed, or cut", async (t) => {
  const { backend } = t;
  const answers = [
    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
    "",
  ];
  const found: string[][] = [];
  for (const answer of answers) {
    let count = 0;
    const server = t.closing(listen({ hostname: HOST, port: 0, backend }, {
      data(socket): void {
        const isBad = ++count <= 3;
        socket.write(isBad ? answer : "HTTP/1.1 204 None\r\n\r\n");
        if (isBad) socket.close();
      },
    }));
    const report = await stress({
      kind: "http",
      url: `http://${HOST}:${server.addr.port}/`,
      backend,
      connections: 1,
      requests: 10,
    });
    assertEquals(report.errors[0]?.count, 3);
    assertEquals(report.messages.answered, 7);
    assertEquals(report.messages.unanswered, 3);
    found.push(Object.keys(kinds(report)));
  }
  assertEquals(found, [
    ["malformed response"],
    ["malformed response"],
    ["closed by the server"],
  ]);
});

testBackends("TCP: echoes, whole and in pieces", async (t) => {
  const { backend } = t;
  const { addr } = t.closing(listen({ hostname: HOST, port: 0, backend }, {
    data(socket, chunk): void {
      const half = chunk.length >> 1;
      socket.write(chunk.subarray(0, half));
      socket.write(chunk.subarray(half));
    },
  }));
  const options: StressOptions = {
    kind: "tcp",
    url: `tcp://${HOST}:${addr.port}`,
    backend,
    connections: 4,
    requests: MANY,
    verify: true,
  };
  assertWell(await stress(options), MANY);
  assertWell(await stress({ ...options, pipeline: 9, payload: 3 }), MANY);
  assertWell(await stress({ ...options, pipeline: 3, payload: 70_000 }), MANY);
  const wrong = await stress({ ...options, payload: "ab", expect: "ac" });
  assertEquals(kinds(wrong), { "wrong answer": MANY });
});

testBackends("Unix sockets, and a server that leaves", async (t) => {
  const { backend } = t;
  const path = `@millrace-stress-${backend}-${Deno.pid}`;
  let left = 5;
  t.closing(listen({ path, backend }, {
    data(socket, chunk): void {
      if (--left < 0) socket.close();
      else socket.write(chunk);
    },
  }));
  const report = await stress({
    kind: "tcp",
    url: `unix:${path}`,
    backend,
    connections: 1,
  });
  assertEquals(kinds(report), { "closed by the server": 1 });
  assertEquals(report.messages.answered, 5);
});

testBackends("calls: codecs, errors, and late replies", async (t) => {
  const { backend } = t;
  const { msgpack } = await import("../lib/codec_msgpack.ts");
  const { raw } = await import("../lib/rpc.ts");
  const app = rpc();
  app.route(1, ({ body }) => body);
  app.route(2, ({ body }) => body, { codec: raw as never });
  app.route(3, ({ body }) => body, { codec: msgpack });
  app.route(4, () => {
    throw new RpcError(404, "No such thing");
  });
  app.route(5, () => new Promise(() => {}));
  const tcp = app.listenTcp({ hostname: HOST, port: 0, backend });
  const ws = app.listenWebSocket({ hostname: HOST, port: 0, backend });
  await app.start();
  const port = (tcp.addr as Deno.NetAddr).port;
  const options: StressOptions = {
    kind: "rpc",
    url: `tcp://${HOST}:${port}`,
    backend,
    connections: 3,
    requests: MANY,
    pipeline: 4,
    verify: true,
  };
  assertWell(await stress(options), MANY);
  assertWell(await stress({ ...options, codec: "raw", action: 2 }), MANY);
  assertWell(await stress({ ...options, codec: "msgpack", action: 3 }), MANY);
  assertWell(await stress({ ...options, body: { a: [1, null] } }), MANY);
  const url = `ws://${HOST}:${(ws.addr as Deno.NetAddr).port}/`;
  assertWell(await stress({ ...options, url }), MANY);
  const wrong = await stress({ ...options, expect: "other" });
  assertEquals(kinds(wrong), { "wrong answer": MANY });
  const failed = await stress({ ...options, action: 4, requests: 10 });
  assertEquals(kinds(failed), { "error 404 of the server": 10 });
  const late = await stress({
    ...options,
    action: 5,
    connections: 1,
    pipeline: 1,
    requests: 1,
    timeout: 100,
  });
  assertEquals(kinds(late), { "no answer in time": 1 });
  assertEquals(late.messages.unanswered, 1);
  await app.shutdown({ timeout: 1 });
});

testBackends("nobody listens", async (t) => {
  using listener = Deno.listen({ hostname: HOST, port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const { backend } = t;
  for (
    const [kind, url] of [
      ["ws", `ws://${HOST}:${port}/`],
      ["http", `http://${HOST}:${port}/`],
      ["tcp", `tcp://${HOST}:${port}`],
      ["rpc", `tcp://${HOST}:${port}`],
      ["rpc", `ws://${HOST}:${port}/`],
    ] as const
  ) {
    const report = await stress({ kind, url, backend, connections: 3 });
    assertEquals(kinds(report), { "connection refused": 3 }, url);
    const { wanted, opened, failed, lost } = report.connections;
    assertEquals([wanted, opened, failed, lost], [3, 0, 3, 0]);
    assertEquals([report.latency, report.connecting], [null, null]);
  }
});

testBackends(
  "workers share the connections, and their figures are added up",
  async (t) => {
    const options = { ...webSockets(t), verify: true, workers: 2 };
    const report = await stress({ ...options, connections: 5, requests: 101 });
    assertWell(report, 101);
    assertEquals(report.connections.opened, 5);
    assertEquals(report.client.workers, 2);
    assertWell(await stress({ ...options, rate: 500, hold: 200 }), 100);
    const nobody = {
      ...options,
      url: String(options.url).replace("/ws", "/x"),
    };
    const failed = await stress(nobody);
    assertEquals(kinds(failed), { "handshake refused with 403": 8 });
  },
);

testBackends("a signal ends it early, and progress is told", async (t) => {
  const stop = new AbortController();
  const phases = new Set<string>();
  const report = await stress({
    ...webSockets(t),
    hold: 60_000,
    interval: 50,
    signal: stop.signal,
    onProgress({ phase, open, answered, errors }): void {
      phases.add(phase);
      assertEquals([open, errors], [8, 0]);
      if (answered >= 8) stop.abort();
    },
  });
  assertEquals([report.ok, report.interrupted], [true, true]);
  assert(report.elapsed < 60_000);
  assert(phases.has("load"));
  // Connections that the server leaves in its queue stay in the making.
  using listener = Deno.listen({ hostname: HOST, port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const early = new AbortController();
  setTimeout(() => early.abort(), 1);
  const none = await stress({
    ...webSockets(t),
    url: `ws://${HOST}:${port}/`,
    signal: early.signal,
  });
  assertEquals([none.errors, none.connections.opened], [[], 0]);
  assertEquals([none.interrupted, none.elapsed], [true, 0]);
  assertEquals(none.client.busiest, 0);
  // Before it has begun to connect.
  const atOnce = new AbortController();
  const running = stress({
    ...webSockets(t),
    hold: 1000,
    signal: atOnce.signal,
  });
  atOnce.abort();
  const { interrupted, elapsed, connections } = await running;
  assertEquals([interrupted, elapsed, connections.opened], [true, 0, 0]);
  await assertRejects(
    () => stress({ ...webSockets(t), signal: AbortSignal.abort() }),
    DOMException,
  );
});

testBackends(
  "connections come from the addresses that are given, in turns",
  async (t) => {
    const { backend } = t;
    const from: Record<string, number> = {};
    const { addr } = t.closing(listen({ hostname: HOST, port: 0, backend }, {
      open({ remoteAddr }): void {
        const { hostname } = remoteAddr as Deno.NetAddr;
        from[hostname] = (from[hostname] ?? 0) + 1;
      },
      data: (socket, chunk) => void socket.write(chunk),
    }));
    const report = await stress({
      kind: "tcp",
      url: `tcp://${HOST}:${addr.port}`,
      backend,
      connections: 6,
      requests: 6,
      sources: ["127.0.0.3", "127.0.0.4"],
    });
    assertEquals(report.ok, true);
    assertEquals(from, { "127.0.0.3": 3, "127.0.0.4": 3 });
  },
);

const ALL = {
  env: "inherit",
  ffi: "inherit",
  read: "inherit",
  sys: "inherit",
} as const;

const BAD: [Partial<StressOptions>, string][] = [
  [{ kind: "udp" as "tcp" }, '"kind" must be one of ws, http, tcp, rpc'],
  [{ url: "http://localhost/" }, "it has to begin with ws:"],
  [{ url: "wss://localhost/" }, "no TLS"],
  [{ url: "ws://a:b@localhost/" }, "it has a user"],
  [{ kind: "tcp", url: "tcp://localhost" }, "it has no port"],
  [{ kind: "tcp", url: "tcp://localhost:1/path" }, "no path"],
  [{ kind: "tcp", url: "unix:" }, "it has no path"],
  [{ connections: 0 }, '"connections" must be an integer'],
  [{ connections: 2, workers: 3 }, '"workers" must be an integer'],
  [{ connections: 70_000, workers: 1 }, "need 2 workers"],
  [{ hold: 0 }, '"hold" must be'],
  [{ rate: -1 }, '"rate" must be a number from 0 on'],
  [{ rate: NaN }, '"rate" must be'],
  [{ rate: 5, interval: 5 }, "say the same"],
  [{ ramp: 0 }, '"ramp" must be a number above 0'],
  [{ pipeline: 0 }, '"pipeline" must be'],
  [{ pipeline: 1000, payload: 1 << 20 }, "may wait on a connection"],
  [{ payload: -1 }, '"payload" must be'],
  [{ method: "GET" }, 'unknown option "method"'],
  [{ kind: "http", url: "http://a/", text: true }, 'unknown option "text"'],
  [{ kind: "http", url: "http://a/", method: "A B" }, "is no method"],
  [
    { kind: "http", url: "http://a/", headers: { "content-length": "1" } },
    '"content-length" follows from the payload',
  ],
  [{ sources: ["localhost"] }, '"localAddress" must be an IP address'],
  [{ kind: "tcp", url: "unix:a", sources: ["127.0.0.1"] }, "Unix socket"],
  [{ backend: "kqueue" as "auto" }, '"backend" must be'],
  [{ verify: 1 as never }, '"verify" must be a boolean'],
  // A stream has no empty messages.
  [{ kind: "tcp", url: "tcp://a:1", payload: "" }, '"payload" must not be'],
  [{ kind: "tcp", url: "tcp://a:1", expect: "" }, '"expect" must not be'],
  [{ rate: 1e12 }, "10000000 messages a second"],
  [{ connections: 20_000, interval: 1 }, "10000000 messages a second"],
];

Deno.test("options that are wrong are named", async () => {
  for (const [options, why] of BAD) {
    await assertRejects(
      () => stress({ kind: "ws", url: "ws://localhost/", ...options }),
      Error,
      why,
    );
  }
});

Deno.test({
  name: "what the program may not do is told, and nothing is left running",
  permissions: { ...ALL, net: false },
  async fn(): Promise<void> {
    for (const url of ["ws://127.0.0.1:9/", "http://127.0.0.1:9/"]) {
      const kind = url.slice(0, url.indexOf(":")) as "ws" | "http";
      await assertRejects(
        () => stress({ kind, url, hold: 1000 }),
        Deno.errors.NotCapable,
        "--allow-net",
      );
    }
  },
});

Deno.test("what the system does not allow is said before, with what to do", () => {
  const of = (
    connections: number,
    limits: string | null,
    more: Partial<StressOptions> = {},
    range: string | null = "32768\t60999\n",
  ): string | null =>
    obstacleOf(
      planOf({ kind: "ws", url: "ws://localhost/", connections, ...more }),
      (path) => path.endsWith("limits") ? limits : range,
    );
  const limits = (count: number): string =>
    `Limit  Soft  Hard  Units\nMax open files            ${count}  524288  files\n`;
  assertEquals(of(1000, limits(2000)), null);
  assertEquals(of(1000, null), null);
  const files = of(1000, limits(1024))!;
  assert(files.includes('run "ulimit -n 1064"'), files);
  assertEquals(of(28_232, limits(1e6)), null);
  const ports = of(60_000, limits(1e6))!;
  assert(ports.includes("--source 127.0.0.2,127.0.0.3,127.0.0.4"), ports);
  const sources = ["127.0.0.2", "127.0.0.3", "127.0.0.4"];
  assertEquals(of(60_000, limits(1e6), { sources }), null);
  assertEquals(of(60_000, limits(1e6), {}, null), null);
});
