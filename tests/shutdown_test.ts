// SPDX-License-Identifier: Apache-2.0
// Tests of server.shutdown(): what is in flight finishes, what is idle is
// closed, and what takes too long is cut.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { websocket } from "../mod.ts";
import { get, post, RawClient } from "./raw_client.ts";
import { latin1, testBackends, turn, until } from "./testing.ts";
import { CLOSE, closePayload, WsClient } from "./ws_client.ts";

const REFUSED = Deno.errors.ConnectionRefused;

testBackends("shutdown() closes idle connections at once", async (t) => {
  const server = t.serve(() => new Response("x"));
  const idle = t.using(await RawClient.connect(server));
  await idle.request(get("/"));
  const silent = t.using(await RawClient.connect(server));
  await until(() => server.statistics().accepted === 2, "both connections");
  const report = server.shutdown();
  assertEquals(await idle.rest(), "");
  assertEquals(await silent.rest(), "");
  idle.close();
  silent.close();
  assertEquals(await report, { connections: 2, requests: 0, forced: 0 });
  await server.finished;
  await assertRejects(() => RawClient.connect(server), REFUSED);
});

testBackends("shutdown() lets a request in flight finish", async (t) => {
  const started = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Response>();
  const server = t.serve(() => {
    started.resolve();
    return answer.promise;
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await started.promise;
  const report = server.shutdown();
  answer.resolve(new Response("finished"));
  const response = await client.response();
  assertEquals(response.text, "finished");
  assertEquals(response.field("connection"), "close");
  assertEquals(await client.rest(), "");
  client.close();
  assertEquals(await report, { connections: 1, requests: 1, forced: 0 });
});

testBackends("shutdown() lets a streamed response finish", async (t) => {
  let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  const server = t.serve(() =>
    new Response(
      new ReadableStream<Uint8Array>({
        start(given): void {
          controller = given;
          given.enqueue(latin1("one"));
        },
      }),
    )
  );
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await client.through("3\r\none\r\n");
  const report = server.shutdown();
  controller!.enqueue(latin1("two"));
  controller!.close();
  await client.through("3\r\ntwo\r\n0\r\n\r\n");
  assertEquals(await client.rest(), "");
  client.close();
  assertEquals((await report).forced, 0);
});

testBackends("shutdown() lets a request body come in", async (t) => {
  const started = Promise.withResolvers<void>();
  const server = t.serve(async (request) => {
    started.resolve();
    return new Response(await request.text());
  });
  const client = t.using(await RawClient.connect(server));
  const bytes = post("/", "0123456789");
  await client.write(bytes.slice(0, -5));
  await started.promise;
  const report = server.shutdown();
  const response = await client.request(bytes.slice(-5));
  assertEquals(response.text, "0123456789");
  client.close();
  assertEquals((await report).forced, 0);
});

testBackends("shutdown() serves who waits in the accept queue", async (t) => {
  const server = t.serve(() => new Response("x"));
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => RawClient.connect(server)),
  );
  for (const client of clients) t.using(client);
  const report = server.shutdown();
  // None of them is reset: each gets an orderly end.
  for (const client of clients) {
    assertEquals((await client.ending()).reset, false);
  }
  for (const client of clients) client.close();
  assertEquals((await report).forced, 0);
});

testBackends("shutdown() refuses a timeout that is none", async (t) => {
  const server = t.serve(() => new Response("x"));
  for (const timeout of [-1, NaN, "30"] as number[]) {
    await assertRejects(
      () => server.shutdown({ timeout }),
      RangeError,
      'Cannot shut down: "timeout" must be a number of at least 0',
    );
  }
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/"))).text, "x");
});

testBackends("shutdown() cuts at the timeout", async (t) => {
  const started = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Response>();
  const server = t.serve((request) => {
    void request.signal;
    started.resolve();
    return answer.promise;
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await started.promise;
  const report = await server.shutdown({ timeout: 50 });
  assertEquals(report, { connections: 1, requests: 1, forced: 1 });
  assertEquals((await client.ending()).text, "");
  await server.finished;
  answer.resolve(new Response("too late"));
});

for (const timeout of [Infinity, 2 ** 31, 0]) {
  testBackends(`shutdown() waits with a timeout of ${timeout}`, async (t) => {
    const started = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<Response>();
    const server = t.serve(() => {
      started.resolve();
      return answer.promise;
    });
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/"));
    await started.promise;
    const report = server.shutdown({ timeout });
    // A timer that fires at once would have fired.
    for (let i = 0; i < 20; i++) await turn();
    answer.resolve(new Response("in time"));
    assertEquals((await client.response()).text, "in time");
    assertEquals(await client.rest(), "");
    client.close();
    assertEquals(await report, { connections: 1, requests: 1, forced: 0 });
  });
}

testBackends("a handler hears of being cut", async (t) => {
  const outcomes: string[] = [];
  const started = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Response>();
  const server = t.serve((request, info) => {
    request.signal.addEventListener("abort", () => outcomes.push("aborted"));
    info.completed.catch(() => outcomes.push("rejected"));
    started.resolve();
    return answer.promise;
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await started.promise;
  await server.shutdown({ timeout: 1 });
  await until(() => outcomes.length === 2, "the abort");
  answer.resolve(new Response("too late"));
});

testBackends("shutdown() closes WebSockets with 1001", async (t) => {
  const closes: [number, string][] = [];
  const route = websocket({
    close: (_socket, code, reason) => void closes.push([code, reason]),
  });
  const server = t.serve((request) => route.upgrade(request));
  const client = t.using(await WsClient.open(server));
  const report = server.shutdown();
  const close = await client.closeFrame();
  assertEquals(close.code, 1001);
  assertEquals(closes, [], "close before the peer has answered");
  await client.send({ opcode: CLOSE, payload: closePayload(1001) });
  assertEquals(await client.raw.rest(), "");
  client.close();
  assertEquals(await report, { connections: 1, requests: 0, forced: 0 });
  assertEquals(closes.map(([code]) => code), [1001]);
});

testBackends("close is called for WebSockets that are cut", async (t) => {
  const closes: number[] = [];
  const route = websocket({ close: (_socket, code) => void closes.push(code) });
  const server = t.serve((request) => route.upgrade(request));
  t.using(await WsClient.open(server));
  assertEquals((await server.shutdown({ timeout: 50 })).forced, 1);
  assertEquals(closes, [1006]);
});

testBackends("shutdown() is possible inside a handler", async (t) => {
  const reports: Promise<unknown>[] = [];
  const server = t.serve(() => {
    reports.push(server.shutdown());
    return new Response("last");
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/"));
  assertEquals(response.text, "last");
  assertEquals(response.field("connection"), "close");
  client.close();
  await Promise.all(reports);
  assertEquals(reports.length, 1);
});

testBackends("abort is possible inside a handler", async (t) => {
  const controller = new AbortController();
  const server = t.serve(() => {
    controller.abort();
    return new Response("never");
  }, { signal: controller.signal });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/") + get("/"));
  await server.finished;
  await client.ending();
});

testBackends("servers come and go beside each other", async (t) => {
  const servers = Array.from(
    { length: 4 },
    (_, i) => t.serve(() => new Response(`${i}`)),
  );
  for (const [i, server] of servers.entries()) {
    const client = t.using(await RawClient.connect(server));
    assertEquals((await client.request(get("/"))).text, `${i}`);
    client.close();
    await server.shutdown();
    await assertRejects(() => RawClient.connect(server), REFUSED);
  }
  assert(servers.every((server) => server.statistics().accepted === 1));
});

testBackends(
  "requests that came together are answered before their connection ends",
  async (t) => {
    for (const later of [false, true]) {
      const first = Promise.withResolvers<void>();
      const server = t.serve(async (request) => {
        if (request.url.endsWith("/hold")) await first.promise;
        const response = new Response(new URL(request.url).pathname);
        return later ? await Promise.resolve(response) : response;
      });
      const busy = t.using(await RawClient.connect(server));
      const idle = t.using(await RawClient.connect(server));
      await idle.request(get("/"));
      await busy.write(get("/hold"));
      const received = (): number => server.statistics().receivedBytes;
      const arrived = get("/").length + get("/hold").length;
      await until(() => received() === arrived, "both requests");
      const shutdown = server.shutdown({ grace: 60_000 });
      const targets = ["/1", "/2", "/3"];
      await idle.write(targets.map((target) => get(target)).join(""));
      for (const target of targets) {
        assertEquals((await idle.response()).text, target);
      }
      const before = received();
      const last = get("/4") + get("/5");
      await busy.write(last);
      await until(() => received() === before + last.length, "two more");
      first.resolve();
      for (const target of ["/hold", "/4", "/5"]) {
        assertEquals((await busy.response()).text, target);
      }
      idle.close();
      busy.close();
      assertEquals((await shutdown).forced, 0);
    }
  },
);

testBackends(
  "of requests that came together the last is told that it is",
  async (t) => {
    const server = t.serve((request) =>
      new Response(new URL(request.url).pathname)
    );
    const client = t.using(await RawClient.connect(server));
    await client.request(get("/"));
    const shutdown = server.shutdown({ grace: 60_000 });
    await client.write(get("/1") + get("/2") + get("/3"));
    const fields: (string | null)[] = [];
    for (let i = 0; i < 3; i++) {
      fields.push((await client.response()).field("connection"));
    }
    assertEquals(fields, [null, null, "close"]);
    assertEquals(await client.rest(), "");
    assertEquals((await shutdown).forced, 0);
  },
);

testBackends(
  "who sends several requests again and again is told to leave",
  async (t) => {
    const server = t.serve(async (request) =>
      new Response(await request.text())
    );
    const client = t.using(await RawClient.connect(server));
    await client.request(get("/"));
    const shutdown = server.shutdown({ grace: 60_000 });
    const burst = get("/1") + get("/2") + get("/3");
    const told: boolean[] = [];
    while (!told.includes(true)) {
      await client.write(burst);
      for (let i = 0; i < 3; i++) {
        told.push((await client.response()).field("connection") === "close");
      }
    }
    // All of a burst were answered, and the second one was the last.
    assertEquals([told.length, told.at(-1)], [6, true]);
    assertEquals(await client.rest(), "");
    assertEquals((await shutdown).forced, 0);
  },
);
