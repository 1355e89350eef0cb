// SPDX-License-Identifier: Apache-2.0
// exchange_end_test.ts - how exchanges end where features meet: upgrades, limits, files, errors of every kind.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { rawSocket, type ServeHandlerInfo } from "../mod.ts";
import { serveFile } from "../lib/files.ts";
import { findResponseSlots } from "../lib/response_parts.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  settled,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";

const UPGRADE = get("/", "Connection: upgrade\r\nUpgrade: x\r\n");
const CONNECT = "CONNECT other:1 HTTP/1.1\r\nHost: other:1\r\n\r\n";
// No URL has it, as its last number is too large for an address.
const ODD_HOST = "HTTP/1.1\r\nHost: 1.256.0.1\r\n\r\n";

/** The response with a field that cannot be sent. */
function unsendable(response: Response): Response {
  const slots = response as unknown as Record<symbol, { headerList: unknown }>;
  const inner = slots[findResponseSlots()!.inner]!;
  (inner.headerList as [string, string][]).push(["x-b", "\r\n"]);
  return response;
}

function openFiles(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

// --- refusals

testBackends("a refused HEAD has no body", async (t) => {
  const server = t.serve(() => new Response("never"));
  const client = t.using(await RawClient.connect(server));
  await client.write(`HEAD / ${ODD_HOST}`);
  const { status, field } = await client.response(true);
  assertEquals(status, 400);
  assert(Number(field("content-length")) > 0);
  assertEquals(await client.rest(), "");
});

testBackends("a refused Host is counted", async (t) => {
  const server = t.serve(() => new Response("never"));
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(`GET / ${ODD_HOST}`)).status, 400);
  assertEquals(server.statistics().refusals, {
    "missing, repeated or malformed Host": 1,
  });
});

// --- handlers

testBackends("a handler that throws null gets its 500", async (t) => {
  const server = t.serve((request) => {
    // deno-lint-ignore no-throw-literal
    if (request.url.endsWith("/throws")) throw null;
    return Promise.reject(null);
  });
  const client = t.using(await RawClient.connect(server));
  const logged = await withoutErrors(async () => {
    for (const path of ["/throws", "/rejects"]) {
      assertEquals((await client.request(get(path))).status, 500, path);
    }
  });
  assertEquals(logged, [[null], [null]]);
});

testBackends("a stream may fail with anything", async (t) => {
  const failure = Object.create(null);
  const causes: unknown[] = [];
  const server = t.serve((_request, info) => {
    info.completed.catch((error) => causes.push(error.cause.cause));
    return new Response(
      new ReadableStream({
        pull(): void {
          throw failure;
        },
      }),
    );
  });
  const client = t.using(await RawClient.connect(server));
  await withoutErrors(async () => {
    await client.write(get("/"));
    await client.through("\r\n\r\n");
    assertEquals(await client.rest(), "");
    await until(() => causes.length === 1, "completed");
  });
  assert(causes[0] === failure);
});

testBackends("a response that is no longer wanted has begun", async (t) => {
  let kept!: ServeHandlerInfo;
  const server = t.serve((_request, info) => {
    kept = info;
    return new Promise<never>(() => {});
  }, { handlerTimeout: 50 });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/"))).status, 503);
  for (
    const late of [() => kept.earlyHints({}), () => kept.setTrailers({})]
  ) assertThrows(late, TypeError, "the response has begun");
});

testBackends("a response after a sleep has the date of its own", async (t) => {
  const handler = Promise.withResolvers<Response>();
  const server = t.serve(() => handler.promise);
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await until(() => server.statistics().receivedBytes > 0, "the request");
  await settled(() => server.statistics().polls);
  const { now } = Date;
  const hour = 3_600_000;
  const began = now();
  Date.now = () => now() + hour;
  try {
    handler.resolve(new Response());
    const { field } = await client.response();
    assert(Date.parse(field("date")!) >= began + hour - 1000);
  } finally {
    Date.now = now;
  }
});

// --- responses that are not sent

testBackends("the body of a 2xx to CONNECT is cancelled", async (t) => {
  const cancelled: unknown[] = [];
  const server = t.serve(() =>
    new Response(
      new ReadableStream({ cancel: (why) => void cancelled.push(why) }),
    )
  );
  const client = t.using(await RawClient.connect(server));
  const [[logged] = []] = await withoutErrors(async () => {
    assertEquals((await client.request(CONNECT)).status, 500);
  });
  assert(logged instanceof TypeError);
  assertEquals(cancelled, [logged]);
});

testBackends("a file behind an unsendable head is closed", async (t) => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, new Uint8Array(100_000));
    const server = t.serve((request) => unsendable(serveFile(request, path)), {
      onError: () => new Response("instead"),
    });
    const client = t.using(await RawClient.connect(server));
    const ask = async (): Promise<number> => {
      assertEquals((await client.request(get("/"))).text, "instead");
      return openFiles();
    };
    const before = await ask();
    for (let count = 0; count < 5; count++) assertEquals(await ask(), before);
  } finally {
    await Deno.remove(path);
  }
});

testBackends("a response that is replaced is not counted", async (t) => {
  const server = t.serve(
    () => unsendable(new Response("x", { headers: { a: "b" } })),
    {
      maxRequests: 2,
      onError: () => new Response("instead"),
    },
  );
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/"))).field("connection"), null);
  assertEquals((await client.request(get("/"))).field("connection"), "close");
  assertEquals(server.statistics().requestLimits, 1);
});

testBackends(
  "a body that came while its request waited is not dropped",
  async (t) => {
    const first = Promise.withResolvers<Response>();
    const server = t.serve(
      (request) => request.method === "GET" ? first.promise : new Response("x"),
      { maxDrainBytes: 1000 },
    );
    const client = t.using(await RawClient.connect(server));
    const chunk = `384\r\n${"a".repeat(900)}\r\n`;
    const post =
      "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    await client.write(get("/") + post + chunk);
    await until(() => server.statistics().receivedBytes > 900, "the requests");
    await settled(() => server.statistics().polls);
    first.resolve(new Response("first"));
    assertEquals((await client.response()).text, "first");
    assertEquals((await client.response()).text, "x");
    await client.write(`${chunk}0\r\n\r\n${post}0\r\n\r\n`);
    assertEquals((await client.response()).text, "x");
    assertEquals(server.statistics().unreadBodies, 0);
  },
);

// --- upgrades

testBackends("an upgrade ends the timeouts of its request", async (t) => {
  const closed: (Error | null)[] = [];
  const route = rawSocket({
    open(socket): void {
      socket.write(new Uint8Array(8 * 1024 * 1024));
    },
    close: (_socket, error) => void closed.push(error),
  });
  const server = t.serve((request, info) => {
    info.setTimeouts({ stallTimeout: 0, minSendRate: 0 });
    return route.upgrade(request);
  }, { stallTimeout: 300 });
  const client = t.using(await RawClient.connect(server));
  await client.write(UPGRADE);
  // It reads nothing: the server's own stallTimeout counts again.
  await until(() => closed.length === 1, "the reset");
  assert(closed[0] instanceof Deno.errors.TimedOut);
});

testBackends(
  "nothing is added to a response that was an upgrade",
  async (t) => {
    const thrown: unknown[] = [];
    const route = rawSocket<ServeHandlerInfo>({
      open(socket): void {
        try {
          socket.data.earlyHints({ link: "</a>" });
        } catch (error) {
          thrown.push(error);
        }
        socket.write("hello");
        socket.end();
      },
    });
    const server = t.serve((request, info) =>
      route.upgrade(request, { data: info })
    );
    const client = t.using(await RawClient.connect(server));
    await client.write(UPGRADE);
    await client.through("\r\n\r\n");
    await client.closeWrite();
    assertEquals(await client.rest(), "hello");
    assert(thrown[0] instanceof TypeError);
    await turn();
  },
);
