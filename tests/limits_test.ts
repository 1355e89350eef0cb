// SPDX-License-Identifier: Apache-2.0
// limits_test.ts - what happens beyond the limits and timeouts that are options,
// which counter tells of it, and what a request may change for itself.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { serve, type ServeHandlerInfo, websocket } from "../mod.ts";
import { get, post, RawClient } from "./raw_client.ts";
import { ResettableSocket } from "./libc.ts";
import { latin1, quiet, sleep, testBackends, turn, until } from "./testing.ts";
import { handshake } from "./ws_client.ts";

const POST = "POST / HTTP/1.1\r\nHost: test\r\n";

// --- requests of a connection

testBackends("the last request of a connection is told so", async (t) => {
  const server = t.serve((request) => new Response(request.url), {
    maxRequests: 3,
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/1") + get("/2") + get("/3") + get("/4"));
  for (const path of ["/1", "/2", "/3"]) {
    const response = await client.response();
    assertEquals(response.text, `http://test${path}`);
    const close = path === "/3" ? "close" : null;
    assertEquals(response.field("connection"), close);
  }
  assertEquals(await client.rest(), "");
  assertEquals(server.statistics().requestLimits, 1);
});

testBackends("without maxRequests a connection goes on", async (t) => {
  const server = t.serve(() => new Response("x"), { maxRequests: 0 });
  const client = t.using(await RawClient.connect(server));
  for (let count = 0; count < 50; count++) {
    assertEquals(
      (await client.request(get("/"))).field("connection"),
      null,
    );
  }
  assertEquals(server.statistics().requestLimits, 0);
});

testBackends("pipelined requests beyond the limit wait", async (t) => {
  const waiting: (() => void)[] = [];
  const server = t.serve(async (request) => {
    await new Promise<void>((resolve) => waiting.push(resolve));
    return new Response(request.url);
  }, { maxPipelined: 4 });
  const client = t.using(await RawClient.connect(server));
  const paths = Array.from({ length: 30 }, (_, index) => `/${index}`);
  await client.write(paths.map((path) => get(path)).join(""));
  for (const path of paths) {
    await until(() => waiting.length > 0, "the handler");
    assertEquals(waiting.length, 1);
    waiting.pop()!();
    assertEquals((await client.response()).text, `http://test${path}`);
  }
  assert(server.statistics().pipelineWaits > 0);
});

testBackends("one request at a time is a limit too", async (t) => {
  const server = t.serve(async (request) => {
    return new Response(await request.text() || request.url);
  }, { maxPipelined: 1 });
  const client = t.using(await RawClient.connect(server));
  await client.write((get("/a") + post("/b", "body")).repeat(100));
  for (let count = 0; count < 100; count++) {
    assertEquals((await client.response()).text, "http://test/a");
    assertEquals((await client.response()).text, "body");
  }
});

// --- connections of an address

testBackends("an address has so many connections and no more", async (t) => {
  let calls = 0;
  const server = t.serve(() => {
    calls++;
    return new Response();
  }, { maxConnectionsPerAddress: 2 });
  const one = t.using(await RawClient.connect(server));
  const two = t.using(await RawClient.connect(server));
  assertEquals((await one.request(get("/1"))).status, 200);
  assertEquals((await two.request(get("/2"))).status, 200);
  using three = new ResettableSocket(server.addr.port);
  three.send(latin1(get("/3")));
  await until(() => server.statistics().addressRefusals === 1, "the refusal");
  await until(() => server.statistics().connections === 2, "the end");
  assertEquals(calls, 2);
  // Those that are there already are not harmed.
  assertEquals((await one.request(get("/1"))).status, 200);
  one.close();
  await until(() => server.statistics().connections === 1, "the room");
  const four = t.using(await RawClient.connect(server));
  assertEquals((await four.request(get("/4"))).status, 200);
});

testBackends("a WebSocket counts for its address until it ends", async (t) => {
  const route = websocket({});
  const server = t.serve((request) => route.upgrade(request), {
    maxConnectionsPerAddress: 1,
  });
  for (let count = 0; count < 3; count++) {
    using socket = await RawClient.connect(server);
    assertEquals((await socket.request(handshake("/"))).status, 101);
    using _more = new ResettableSocket(server.addr.port);
    await until(
      () => server.statistics().addressRefusals === count + 1,
      "the refusal",
    );
    socket.close();
    await until(() => server.statistics().connections === 0, "the end");
  }
});

testBackends("a Unix socket has no addresses to count", async (t) => {
  const directory = await Deno.makeTempDir();
  try {
    const server = t.closing(serve({
      path: `${directory}/socket`,
      backend: t.backend,
      onListen: quiet,
      maxConnectionsPerAddress: 1,
    }, () => new Response("x")));
    for (let count = 0; count < 3; count++) {
      const client = t.using(await RawClient.connect(server));
      assertEquals((await client.request(get("/"))).text, "x");
    }
    assertEquals(server.statistics().addressRefusals, 0);
    await server.shutdown({ timeout: 1 });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

// --- handlers

testBackends("a handler that takes too long is answered for", async (t) => {
  const reasons: unknown[] = [];
  const cancelled: unknown[] = [];
  const late = Promise.withResolvers<Response>();
  let completed: Promise<void>;
  const server = t.serve((request, info) => {
    completed = info.completed;
    request.signal.addEventListener("abort", () => {
      reasons.push(request.signal.reason);
    });
    return late.promise;
  }, { handlerTimeout: 200 });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/late") + get("/next"));
  const response = await client.response();
  assertEquals(response.status, 503);
  assertEquals(response.field("connection"), "close");
  assertEquals(response.text, "The handler took too long");
  assertEquals(await client.rest(), "");
  await assertRejects(() => completed, Deno.errors.Interrupted);
  assertEquals(reasons.length, 1);
  assertEquals((reasons[0] as DOMException).name, "TimeoutError");
  assertEquals(server.statistics().handlerTimeouts, 1);
  // What comes after that goes nowhere, and its producer hears of it.
  late.resolve(
    new Response(
      new ReadableStream({ cancel: (why) => void cancelled.push(why) }),
    ),
  );
  await until(() => cancelled.length === 1, "the cancellation");
});

testBackends("a late handler may throw, and reads no body", async (t) => {
  const outcomes: string[] = [];
  const errors: unknown[] = [];
  const server = t.serve(async (request) => {
    try {
      await request.text();
    } catch (error) {
      outcomes.push((error as Error).name);
      throw error;
    }
    return new Response();
  }, {
    handlerTimeout: 200,
    onError: (error) => {
      errors.push(error);
      return new Response();
    },
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(`${POST}Content-Length: 10\r\n\r\nhello`);
  assertEquals((await client.response()).status, 503);
  await until(() => outcomes.length === 1, "the handler");
  assertEquals([outcomes, errors], [["TimeoutError"], []]);
});

testBackends("handlers in time are not answered for", async (t) => {
  const server = t.serve(async (request) => {
    if (request.url.endsWith("/sync")) return new Response("sync");
    await turn();
    // The time is that of the handler, not of its body.
    return new Response(
      new ReadableStream({
        async start(controller): Promise<void> {
          await sleep(700);
          controller.enqueue(latin1("slow body"));
          controller.close();
        },
      }),
    );
  }, { handlerTimeout: 300 });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/sync"))).text, "sync");
  assertEquals((await client.request(get("/"))).text, "slow body");
  assertEquals(server.statistics().handlerTimeouts, 0);
});

// --- timeouts of one request

testBackends("a long poll takes the time that it asks for", async (t) => {
  const server = t.serve(async (request, info) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/poll") info.setTimeouts({ handlerTimeout: 0 });
    await turn();
    if (pathname === "/poll-later") info.setTimeouts({ handlerTimeout: 5000 });
    if (pathname === "/short") info.setTimeouts({ handlerTimeout: 1 });
    await sleep(700);
    return new Response(pathname);
  }, { handlerTimeout: 300 });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/poll"))).text, "/poll");
  assertEquals((await client.request(get("/poll-later"))).text, "/poll-later");
  // The next request has the server's timeout again.
  assertEquals((await client.request(get("/"))).status, 503);
  const other = t.using(await RawClient.connect(server));
  assertEquals((await other.request(get("/short"))).status, 503);
  assertEquals(server.statistics().handlerTimeouts, 2);
});

testBackends("a slow upload takes the time that it asks for", async (t) => {
  const server = t.serve(async (request, info) => {
    if (request.url.endsWith("/slow")) {
      info.setTimeouts({ bodyTimeout: 0, minBodyRate: 0 });
    }
    return new Response(await request.text());
  }, { bodyTimeout: 300, minBodyRate: 1 << 20, rateGrace: 300 });
  const client = t.using(await RawClient.connect(server));
  const upload = async (target: string): Promise<string> => {
    await client.write(
      `POST ${target} HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n1`,
    );
    await sleep(900);
    await client.write("2").catch(() => {});
    const { status, text } = await client.response();
    return `${status} ${text}`;
  };
  assertEquals(await upload("/slow"), "200 12");
  assertEquals(await upload("/slow"), "200 12");
  assert((await upload("/")).startsWith("408 "));
});

testBackends("setTimeouts() says what is wrong", async (t) => {
  let kept: ServeHandlerInfo | undefined;
  const server = t.serve((_request, info) => {
    kept = info;
    const bad = (timeouts: unknown, message: string): void => {
      const error = assertThrows(() => info.setTimeouts(timeouts as never));
      assertEquals((error as Error).message, message);
    };
    bad(
      { headTimeout: 1 },
      'Cannot set timeouts: unknown timeout "headTimeout"',
    );
    bad(
      { bodyTimeout: 1.5 },
      'Cannot set timeouts: "bodyTimeout" must be an integer, is 1.5',
    );
    bad(
      { handlerTimeout: 2 ** 31 },
      'Cannot set timeouts: "handlerTimeout" must be from 0 to 2147483647, is 2147483648',
    );
    info.setTimeouts({ stallTimeout: undefined } as never);
    return new Response("fine");
  });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/"))).text, "fine");
  // The request is over: there is nothing left to set.
  kept!.setTimeouts({ handlerTimeout: 1 });
  assertEquals((await client.request(get("/"))).text, "fine");
});

// --- bodies that nobody reads

testBackends("a long body that nobody reads ends the connection", async (t) => {
  const server = t.serve(() => new Response("no, thanks"), {
    maxDrainBytes: 1000,
  });
  for (const head of ["Content-Length: 1001", "Transfer-Encoding: chunked"]) {
    const client = t.using(await RawClient.connect(server));
    const start = head.startsWith("C") ? "" : "400\r\n";
    await client.write(`${POST}${head}\r\n\r\n${start}${"x".repeat(1001)}`);
    assertEquals((await client.response()).text, "no, thanks");
    assertEquals(await client.rest(), "");
  }
  assertEquals(server.statistics().unreadBodies, 2);
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(post("/", "x".repeat(1000)))).status, 200);
  assertEquals((await client.request(get("/"))).status, 200);
});

testBackends("a body that nobody reads has its own deadline", async (t) => {
  const server = t.serve(() => new Response("no, thanks"), {
    drainTimeout: 300,
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(`${POST}Content-Length: 5\r\n\r\nhe`);
  assertEquals((await client.response()).text, "no, thanks");
  assertEquals(await client.rest(), "");
  assertEquals(server.statistics().drainTimeouts, 1);
});

testBackends("a handler may take its time before 100 Continue", async (t) => {
  const server = t.serve(async (request) => {
    await sleep(900);
    return new Response(await request.text());
  }, { bodyTimeout: 300, minBodyRate: 1 << 20, rateGrace: 300 });
  const client = t.using(await RawClient.connect(server));
  await client.write(
    `${POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`,
  );
  assertEquals((await client.response()).status, 100);
  await client.write("ok");
  assertEquals((await client.response()).text, "ok");
  // From then on it is the client who is waited for.
  await client.write(
    `${POST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n`,
  );
  assertEquals((await client.response()).status, 100);
  assertEquals((await client.response()).status, 408);
});

// --- the other counters

testBackends("each way to be late has its counter", async (t) => {
  const server = t.serve(async (request) => {
    return new Response(await request.text());
  }, {
    headTimeout: 200,
    bodyTimeout: 200,
    idleTimeout: 200,
    lingerTimeout: 200,
  });
  const silent = t.using(await RawClient.connect(server));
  assertEquals(await silent.rest(), "");
  const idle = t.using(await RawClient.connect(server));
  await idle.request(get("/"));
  assertEquals(await idle.rest(), "");
  const body = t.using(await RawClient.connect(server));
  const { status } = await body.request(`${POST}Content-Length: 5\r\n\r\nhe`);
  assertEquals(status, 408);
  assertEquals(await body.rest(), "");
  // None of them has closed its side: that is waited for, and not for ever.
  await until(() => server.statistics().connections === 0, "the end");
  const { silentTimeouts, idleTimeouts, bodyTimeouts, lingerTimeouts } = server
    .statistics();
  assertEquals(
    [silentTimeouts, idleTimeouts, bodyTimeouts, lingerTimeouts],
    [1, 1, 1, 3],
  );
  assertEquals(server.statistics().timeouts, 3);
});

testBackends("what comes after a refusal is bounded", async (t) => {
  const server = t.serve(() => new Response(), {
    maxLingerBytes: 100_000,
    lingerTimeout: 0,
  });
  const client = t.using(
    new ResettableSocket(server.addr.port, { receiveBytes: 4096 }),
  );
  client.send(latin1("BAD\r\n\r\n"));
  await until(() => server.statistics().sentBytes > 0, "the refusal");
  client.send(new Uint8Array(200_000));
  await until(() => server.statistics().connections === 0, "the end");
  assertEquals(server.statistics().lingerOverflows, 1);
});

testBackends("refusals are counted by their words", async (t) => {
  const route = websocket({});
  const server = t.serve((request) => route.upgrade(request));
  for (let count = 0; count < 2; count++) {
    const client = t.using(await RawClient.connect(server));
    assertEquals((await client.request("BAD\r\n\r\n")).status, 400);
  }
  const socket = t.using(await RawClient.connect(server));
  assertEquals((await socket.request(handshake("/"))).status, 101);
  await socket.write("\x81\x01x");
  await socket.rest();
  assertEquals(server.statistics().refusals, {
    "malformed request line": 2,
    "frame not masked": 1,
  });
});
