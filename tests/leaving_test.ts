// SPDX-License-Identifier: Apache-2.0
// Tests of clients that leave while a request is in flight: by FIN, behind
// which somebody may still wait for the answer, and by RST.

import { assert, assertEquals, assertIsError } from "@std/assert";
import { websocket } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  concat,
  latin1,
  pattern,
  testBackends,
  turn,
  until,
} from "./testing.ts";
import { handshake } from "./ws_client.ts";

testBackends("a FIN aborts request.signal, the answer is sent", async (t) => {
  const outcomes: string[] = [];
  const reasons: unknown[] = [];
  const server = t.serve(async (request, info) => {
    info.completed.then(
      () => outcomes.push("resolved"),
      () => outcomes.push("rejected"),
    );
    await new Promise((resolve) =>
      request.signal.addEventListener("abort", resolve)
    );
    reasons.push(request.signal.reason);
    return new Response("still here");
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await client.closeWrite();
  assertEquals((await client.response()).text, "still here");
  assertEquals(await client.rest(), "");
  await until(() => outcomes.length > 0, "completed");
  assertEquals(outcomes, ["resolved"]);
  assertEquals((reasons[0] as Error).name, "AbortError");
});

testBackends("a FIN is noticed while a next request waits", async (t) => {
  const aborted: string[] = [];
  const server = t.serve(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/next") return new Response("next");
    await new Promise((resolve) =>
      request.signal.addEventListener("abort", resolve)
    );
    aborted.push(pathname);
    return new Response("first");
  });
  const client = t.using(await RawClient.connect(server));
  // One that waits stops the reading, and a piece of another one lies behind it.
  await client.write(get("/first") + get("/next") + "GET /la");
  await until(() => server.statistics().receivedBytes > 0, "the requests");
  for (let i = 0; i < 10; i++) await turn();
  await client.closeWrite();
  assertEquals((await client.response()).text, "first");
  assertEquals((await client.response()).text, "next");
  assertEquals(await client.rest(), "");
  assertEquals(aborted, ["/first"]);
});

testBackends("a FIN aborts requests whose turn comes later", async (t) => {
  const server = t.serve(async (request) => {
    assertEquals(request.signal.aborted, false);
    await new Promise((resolve) =>
      request.signal.addEventListener("abort", resolve)
    );
    return new Response(new URL(request.url).pathname);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/1") + get("/2") + get("/3"));
  await client.closeWrite();
  for (const target of ["/1", "/2", "/3"]) {
    assertEquals((await client.response()).text, target);
  }
  assertEquals(await client.rest(), "");
});

testBackends("a FIN is noticed before an upgrade is decided on", async (t) => {
  const codes: number[] = [];
  const route = websocket({
    close: (_socket, code) => void codes.push(code),
  });
  const server = t.serve(async (request) => {
    await new Promise((resolve) =>
      request.signal.addEventListener("abort", resolve)
    );
    return request.url.endsWith("/ws")
      ? route.upgrade(request)
      : new Response("no upgrade");
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(handshake("/"));
  await client.closeWrite();
  assertEquals((await client.response()).text, "no upgrade");
  assertEquals(await client.rest(), "");
  const socket = t.using(await RawClient.connect(server));
  await socket.write(handshake("/ws"));
  await socket.closeWrite();
  assertEquals((await socket.response()).status, 101);
  await socket.rest();
  assertEquals(codes, [1006]);
});

testBackends(
  "a FIN before request.signal is looked at aborts it",
  async (t) => {
    const go = Promise.withResolvers<void>();
    let seen: boolean | null = null;
    const server = t.serve(async (request) => {
      await go.promise;
      seen = request.signal.aborted;
      return new Response("late");
    });
    const watched = Promise.withResolvers<void>();
    const other = t.serve((request) => {
      request.signal.addEventListener("abort", () => watched.resolve());
      return watched.promise.then(() => new Response("watched"));
    });
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/"));
    await client.closeWrite();
    // Both servers share a thread: a later FIN that was seen comes after it.
    await until(() => server.statistics().receivedBytes > 0, "the request");
    const later = t.using(await RawClient.connect(other));
    await later.write(get("/"));
    await later.closeWrite();
    await watched.promise;
    for (let i = 0; i < 10; i++) await turn();
    go.resolve();
    assertEquals((await client.response()).text, "late");
    assertEquals(seen as boolean | null, true);
  },
);

testBackends("a request without a FIN is not aborted", async (t) => {
  const signals: AbortSignal[] = [];
  const server = t.serve(async (request) => {
    signals.push(request.signal);
    await turn();
    return new Response("x");
  });
  const client = t.using(await RawClient.connect(server));
  for (let i = 0; i < 3; i++) await client.request(get("/"));
  await client.closeWrite();
  assertEquals(await client.rest(), "");
  client.close();
  await until(() => server.statistics().connections === 0, "the end");
  assertEquals(signals.map(({ aborted }) => aborted), [false, false, false]);
});

testBackends("a FIN cancels a response stream", async (t) => {
  const outcomes: string[] = [];
  const cancelled = Promise.withResolvers<unknown>();
  const server = t.serve((request, info) => {
    request.signal.addEventListener("abort", () => outcomes.push("aborted"));
    info.completed.then(
      () => outcomes.push("resolved"),
      () => outcomes.push("rejected"),
    );
    return new Response(
      new ReadableStream({
        start: (controller) => controller.enqueue(latin1("tick")),
        cancel: cancelled.resolve,
      }),
    );
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await client.through("4\r\ntick\r\n");
  await client.closeWrite();
  const reason = await cancelled.promise;
  assertIsError(reason, DOMException, "The peer has disconnected");
  const { text } = await client.ending();
  assert(!text.includes("0\r\n\r\n"), "The body looks complete");
  await until(() => outcomes.length === 2, "completed and the signal");
  assertEquals(outcomes.sort(), ["aborted", "rejected"]);
});

testBackends("a FIN wakes a stream that waits for its peer", async (t) => {
  const cancelled = Promise.withResolvers<unknown>();
  const server = t.serve(() =>
    new Response(
      new ReadableStream({
        pull: (controller) => controller.enqueue(new Uint8Array(65536)),
        cancel: cancelled.resolve,
      }),
    ), { highWatermark: 65536, lowWatermark: 0 });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await until(() => server.statistics().sentBytes > 65536, "the response");
  await client.closeWrite();
  assertIsError(
    await cancelled.promise,
    DOMException,
    "The peer has disconnected",
  );
});

for (const when of ["at once", "later"]) {
  testBackends(
    `a FIN does not cut a long fixed answer, given ${when}`,
    async (t) => {
      const server = t.serve(async () => {
        if (when === "later") { for (let i = 0; i < 20; i++) await turn(); }
        return new Response(pattern(3 << 20));
      });
      const quick = t.serve(() => new Response(pattern(3 << 20)));
      const client = t.using(
        await RawClient.connect(when === "later" ? server : quick),
      );
      await client.write(get("/"));
      await client.closeWrite();
      const response = await client.response();
      assertSameBytes(response.body, pattern(3 << 20), "the body");
      assertEquals(await client.rest(), "");
    },
  );
}

testBackends(
  "a FIN inside a body rejects it, the answer is sent",
  async (t) => {
    const names: string[] = [];
    const server = t.serve(async (request) => {
      const text = await request.text().catch((error) => {
        names.push(error.name);
        return "incomplete";
      });
      names.push(String(request.signal.aborted));
      return new Response(text);
    });
    const client = t.using(await RawClient.connect(server));
    await client.write(
      "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nabc",
    );
    await client.closeWrite();
    assertEquals((await client.response()).text, "incomplete");
    assertEquals(await client.rest(), "");
    assertEquals(names, ["UnexpectedEof", "true"]);
  },
);

testBackends("onError is not called when the peer has left", async (t) => {
  let errors = 0;
  let left = 0;
  const server = t.serve(async (request) => {
    if (request.url.endsWith("/ok")) return new Response("ok");
    await new Promise((resolve) =>
      request.signal.addEventListener("abort", resolve)
    );
    left++;
    if (left % 2 === 0) throw new Error("nobody waits");
    request.signal.throwIfAborted();
    return new Response("never");
  }, {
    onError: () => {
      errors++;
      return new Response("asked", { status: 500 });
    },
  });
  for (let round = 1; round <= 6; round++) {
    const socket = t.using(new ResettableSocket(server.addr.port));
    const before = server.statistics().receivedBytes;
    socket.send(latin1(get("/")));
    await until(() => server.statistics().receivedBytes > before, "a request");
    socket.reset();
    await until(() => left === round, "the abort");
  }
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/ok"))).text, "ok");
  assertEquals(errors, 0);
});

testBackends("onError is called while the peer is there", async (t) => {
  let errors = 0;
  const server = t.serve(() => Promise.reject(new Error("oops")), {
    onError: () => {
      errors++;
      return new Response("asked", { status: 500 });
    },
  });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/"))).text, "asked");
  // Behind a FIN somebody may still wait.
  await client.write(get("/"));
  await client.closeWrite();
  assertEquals((await client.response()).text, "asked");
  assertEquals(errors, 2);
});

testBackends("an RST behind a body that nobody reads is noticed", async (t) => {
  const aborted = Promise.withResolvers<unknown>();
  const server = t.serve((request) =>
    new Promise((resolve) => {
      request.signal.addEventListener("abort", () => {
        aborted.resolve(request.signal.reason);
        resolve(new Response("nobody reads this"));
      });
    })
  );
  const client = t.using(new ResettableSocket(server.addr.port));
  const head = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999\r\n\r\n";
  client.send(concat([latin1(head), new Uint8Array(1 << 20)]));
  // More than waits unread for the application and in C, so that nothing is received any more.
  await until(() => server.statistics().receivedBytes > 300_000, "the body");
  for (let i = 0; i < 20; i++) await turn();
  client.reset();
  assertIsError(
    await aborted.promise,
    DOMException,
    "The peer has disconnected",
  );
  await until(() => server.statistics().connections === 0, "the end");
});

testBackends("an answer that comes too late is cancelled", async (t) => {
  const cancelled = Promise.withResolvers<unknown>();
  const server = t.serve(async (request) => {
    await new Promise((resolve) =>
      request.signal.addEventListener("abort", resolve)
    );
    return new Response(new ReadableStream({ cancel: cancelled.resolve }));
  });
  const client = t.using(new ResettableSocket(server.addr.port));
  client.send(latin1(get("/")));
  await until(() => server.statistics().receivedBytes > 0, "the request");
  client.reset();
  assertIsError(
    await cancelled.promise,
    DOMException,
    "The peer has disconnected",
  );
});
