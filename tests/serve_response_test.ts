// SPDX-License-Identifier: Apache-2.0
// Tests of responses as they are on the wire: kinds of bodies, header fields,
// failing handlers, streams, and backpressure.

import { assert, assertEquals } from "@std/assert";
import { ResettableSocket } from "./libc.ts";
import { get, post, RawClient, type RawResponse } from "./raw_client.ts";
import {
  assertSameBytes,
  fromLatin1,
  latin1,
  pattern,
  type TcpServer,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";

type Make = () => Response | Promise<Response>;

const MIXED = "aäß€😀" + "z".repeat(100);

function streamOf(...pieces: (string | Uint8Array)[]): ReadableStream {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller): void {
      for (const piece of pieces) {
        controller.enqueue(
          typeof piece === "string" ? encoder.encode(piece) : piece,
        );
      }
      controller.close();
    },
  });
}

const BODIES: {
  what: string;
  make: Make;
  body: Uint8Array;
  type?: RegExp | null;
  chunked?: boolean;
}[] = [
  {
    what: "a string",
    make: () => new Response("hello"),
    body: latin1("hello"),
    type: /^text\/plain;\s?charset=utf-8$/i,
  },
  { what: "an empty string", make: () => new Response(""), body: latin1("") },
  {
    what: "a string beyond ASCII",
    make: () => new Response(MIXED),
    body: new TextEncoder().encode(MIXED),
  },
  {
    what: "a long string",
    make: () => new Response("é".repeat(2_000_000)),
    body: new TextEncoder().encode("é".repeat(2_000_000)),
  },
  {
    what: "bytes",
    make: () => new Response(pattern(1000)),
    body: pattern(1000),
    type: null,
  },
  {
    what: "many bytes",
    make: () => new Response(pattern(5_000_001)),
    body: pattern(5_000_001),
  },
  {
    what: "an ArrayBuffer",
    make: () => new Response(pattern(1000).buffer),
    body: pattern(1000),
  },
  {
    what: "part of an ArrayBuffer",
    make: () => new Response(pattern(1000).subarray(100, 200)),
    body: pattern(1000).subarray(100, 200),
  },
  {
    what: "a Blob",
    make: () => new Response(new Blob(["blob"], { type: "x/y" })),
    body: latin1("blob"),
    type: /^x\/y$/,
    chunked: true,
  },
  {
    what: "search parameters",
    make: () => new Response(new URLSearchParams({ a: "b c" })),
    body: latin1("a=b+c"),
    type: /^application\/x-www-form-urlencoded/,
  },
  {
    what: "JSON",
    make: () => Response.json({ a: [1] }),
    body: latin1('{"a":[1]}'),
    type: /^application\/json$/,
  },
  {
    what: "a stream",
    make: () => new Response(streamOf("one", "", "two", pattern(100_000))),
    body: new Uint8Array([...latin1("onetwo"), ...pattern(100_000)]),
    chunked: true,
    type: null,
  },
  {
    what: "an empty stream",
    make: () => new Response(streamOf()),
    body: latin1(""),
    chunked: true,
  },
  {
    what: "a stream of known length",
    make: () =>
      new Response(streamOf("one", "two"), {
        headers: { "content-length": "6" },
      }),
    body: latin1("onetwo"),
  },
  { what: "nothing", make: () => new Response(), body: latin1(""), type: null },
  {
    what: "the response to a fetch",
    make: () => fetch("data:text/plain,fetched"),
    body: latin1("fetched"),
    chunked: true,
    type: /^text\/plain/,
  },
];

for (const { what, make, body, type, chunked = false } of BODIES) {
  testBackends(`a response can be ${what}`, async (t) => {
    const server = t.serve(make);
    const client = t.using(await RawClient.connect(server));
    for (let round = 0; round < 3; round++) {
      const response = await client.request(get("/"));
      assertEquals(response.status, 200);
      assertSameBytes(response.body, body, what);
      if (!chunked) {
        assertEquals(response.field("content-length"), `${body.length}`);
      }
      const given = response.field("content-type");
      if (type === null) assertEquals(given, null);
      if (type) assert(type.test(given ?? ""), `${given}`);
    }
  });
}

testBackends("a response can be FormData", async (t) => {
  const form = new FormData();
  form.append("name", "välue");
  form.append("file", new File(["content"], "f.txt"));
  const server = t.serve(() => new Response(form));
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/"));
  const back = await new Response(response.body, {
    headers: { "content-type": response.field("content-type")! },
  }).formData();
  assertEquals(back.get("name"), "välue");
  assertEquals(await (back.get("file") as File).text(), "content");
});

for (const status of [204, 205, 304]) {
  testBackends(`a ${status} has no body and keeps alive`, async (t) => {
    const server = t.serve(() => new Response(null, { status }));
    const client = t.using(await RawClient.connect(server));
    for (let round = 0; round < 2; round++) {
      const response = await client.request(get("/"));
      assertEquals(response.status, status);
      assertEquals(response.field("transfer-encoding"), null);
      assertEquals(
        response.field("content-length"),
        status === 205 ? "0" : null,
      );
    }
  });
}

testBackends("status and status text are sent", async (t) => {
  const server = t.serve((request) => {
    const status = Number(new URL(request.url).pathname.slice(1));
    return status === 299
      ? new Response("x", { status, statusText: "Just so" })
      : new Response("x", { status });
  });
  const client = t.using(await RawClient.connect(server));
  const lines: string[] = [];
  for (const status of [200, 201, 299, 404, 418, 500, 599]) {
    const response = await client.request(get(`/${status}`));
    lines.push(`${response.status} ${response.reason}`);
  }
  assertEquals(lines, [
    "200 OK",
    "201 Created",
    "299 Just so",
    "404 Not Found",
    "418 I'm a teapot",
    "500 Internal Server Error",
    "599 ",
  ]);
});

testBackends("fields are sent, cookies one by one", async (t) => {
  const server = t.serve(() => {
    const headers = new Headers({ "X-One": "1", "x-latin": "caf\xe9" });
    headers.append("x-list", "a");
    headers.append("x-list", "b");
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2; Path=/");
    return new Response("x", { headers });
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/"));
  assertEquals(response.all("set-cookie"), ["a=1", "b=2; Path=/"]);
  assertEquals(response.all("x-list").join(", "), "a, b");
  assertEquals(response.field("x-one"), "1");
  assertEquals(response.field("x-latin"), "caf\xe9");
});

testBackends("framing fields of a handler are not believed", async (t) => {
  const server = t.serve(() =>
    new Response("hello", {
      headers: {
        "content-length": "3",
        "transfer-encoding": "chunked",
        "keep-alive": "timeout=5",
        "date": "Thu, 01 Jan 1970 00:00:00 GMT",
      },
    })
  );
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/"));
  assertEquals(response.text, "hello");
  assertEquals(response.field("content-length"), "5");
  assertEquals(response.field("date"), "Thu, 01 Jan 1970 00:00:00 GMT");
});

// --- handlers that fail

const USED = (): Response => {
  const response = new Response("used");
  void response.text();
  return response;
};

const FAILURES: { what: string; fail: () => unknown }[] = [
  {
    what: "throws",
    fail: () => {
      throw new Error("oops");
    },
  },
  { what: "rejects", fail: () => Promise.reject(new Error("oops")) },
  {
    what: "throws what is no error",
    fail: () => {
      // deno-lint-ignore no-throw-literal
      throw "oops";
    },
  },
  { what: "returns undefined", fail: () => undefined },
  { what: "returns null", fail: () => null },
  { what: "returns a string", fail: () => "text" },
  { what: "returns an object", fail: () => ({ status: 200, body: "x" }) },
  { what: "resolves to undefined", fail: () => Promise.resolve() },
  { what: "returns a used response", fail: USED },
  { what: "returns Response.error()", fail: () => Response.error() },
];

for (const { what, fail } of FAILURES) {
  testBackends(`a handler that ${what} gets a 500 from onError`, async (t) => {
    const errors: unknown[] = [];
    const server = t.serve((request) => {
      if (request.url.endsWith("/ok")) return new Response("ok");
      return fail() as Response;
    }, {
      onError: (error) => {
        errors.push(error);
        return new Response("handled", { status: 500 });
      },
    });
    const client = t.using(await RawClient.connect(server));
    const other = t.using(await RawClient.connect(server));
    for (let round = 0; round < 2; round++) {
      const response = await client.request(get("/fail"));
      assertEquals([response.status, response.text], [500, "handled"]);
      assertEquals((await client.request(get("/ok"))).text, "ok");
      assertEquals((await other.request(get("/ok"))).text, "ok");
    }
    assertEquals(errors.length, 2);
  });
}

testBackends("without onError the error is logged", async (t) => {
  const calls = await withoutErrors(async () => {
    const server = t.serve(() => {
      throw new Error("oops");
    });
    const client = t.using(await RawClient.connect(server));
    const response = await client.request(get("/"));
    assertEquals(response.status, 500);
    assertEquals(response.text, "Internal Server Error");
  });
  assertEquals((calls[0]![0] as Error).message, "oops");
});

const ON_ERRORS: { what: string; onError: () => unknown }[] = [
  {
    what: "throws",
    onError: () => {
      throw new Error("again");
    },
  },
  { what: "rejects", onError: () => Promise.reject(new Error("again")) },
  { what: "returns nothing", onError: () => undefined },
  { what: "returns a used response", onError: USED },
  { what: "returns Response.error()", onError: () => Response.error() },
];

for (const { what, onError } of ON_ERRORS) {
  testBackends(`an onError that ${what} leaves a plain 500`, async (t) => {
    let asked = 0;
    const calls = await withoutErrors(async () => {
      const server = t.serve((request) => {
        if (request.url.endsWith("/ok")) return new Response("ok");
        throw new Error("oops");
      }, {
        // Asked again and again it gives in, so that nothing hangs.
        onError: (): Response =>
          asked++ < 10 ? onError() as Response : new Response("gave in"),
      });
      const client = t.using(await RawClient.connect(server));
      const response = await client.request(get("/"));
      assertEquals(response.status, 500);
      assertEquals(response.text, "Internal Server Error");
      const next = t.using(await RawClient.connect(server));
      assertEquals((await next.request(get("/ok"))).text, "ok");
    });
    assertEquals(asked, 1);
    assert(calls.length > 0);
  });
}

testBackends("onError may answer later", async (t) => {
  const server = t.serve(() => Promise.reject(new Error("oops")), {
    onError: async (error) => {
      await turn();
      return new Response((error as Error).message, { status: 503 });
    },
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/1") + get("/2"));
  for (let i = 0; i < 2; i++) {
    const response = await client.response();
    assertEquals([response.status, response.text], [503, "oops"]);
  }
});

// --- streams

testBackends("a stream that errors aborts the connection", async (t) => {
  const server = t.serve((request) => {
    if (request.url.endsWith("/ok")) return new Response("ok");
    let pulls = 0;
    return new Response(
      new ReadableStream({
        pull(controller): void {
          if (pulls++ < 3) controller.enqueue(latin1("piece"));
          else controller.error(new Error("source broke"));
        },
      }),
    );
  });
  const client = t.using(await RawClient.connect(server));
  const other = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  const { text } = await client.ending();
  assert(!text.endsWith("0\r\n\r\n"), "The body looks complete");
  assertEquals((await other.request(get("/ok"))).text, "ok");
});

testBackends(
  "a stream of other than bytes aborts the connection",
  async (t) => {
    const server = t.serve(() =>
      new Response(
        new ReadableStream({
          start(controller): void {
            controller.enqueue("text" as never);
            controller.close();
          },
        }),
      )
    );
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/"));
    const { text } = await client.ending();
    assert(!text.endsWith("0\r\n\r\n"), "The body looks complete");
  },
);

for (const length of ["5", "7"]) {
  testBackends(`a stream of 6 bytes is not sent as ${length}`, async (t) => {
    const server = t.serve(() =>
      new Response(streamOf("one", "two"), {
        headers: { "content-length": length },
      })
    );
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/") + get("/"));
    const { text } = await client.ending();
    assert(text.split("HTTP/1.1").length <= 2, "Another response followed");
    // What fits is sent; that 7 were announced and 6 came tells the client that it is cut.
    assert(text.endsWith(length === "5" ? "\r\nonetw" : "\r\nonetwo"), text);
  });
}

testBackends("a response body is cancelled when the peer leaves", async (t) => {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const server = t.serve(() =>
    new Response(
      new ReadableStream({
        async pull(controller): Promise<void> {
          await turn();
          controller.enqueue(latin1("tick"));
        },
        cancel: resolve,
      }),
    )
  );
  const socket = t.using(new ResettableSocket(server.addr.port));
  socket.send(latin1(get("/")));
  await until(() => server.statistics().sentBytes > 0, "the response");
  socket.reset();
  assert(await promise !== undefined);
});

const PIECE_BYTES = 64 * 1024;
const MARK = 256 * 1024;

function endless(counter: { pulls: number }): Response {
  return new Response(
    new ReadableStream({
      pull(controller): void {
        counter.pulls++;
        controller.enqueue(new Uint8Array(PIECE_BYTES));
      },
    }),
  );
}

/** Waits until the count stays the same for that many turns. */
async function standstill(count: () => number): Promise<number> {
  let last = count();
  let same = 0;
  await until(() => {
    same = count() === last ? same + 1 : 0;
    last = count();
    return same === 200 && last > 0;
  }, "a standstill");
  return last;
}

function backpressured(
  t: Parameters<Parameters<typeof testBackends>[1]>[0],
  counter: { pulls: number },
): TcpServer {
  return t.serve(() => endless(counter), {
    highWatermark: MARK,
    lowWatermark: MARK / 2,
  });
}

testBackends("a stream waits for a peer that does not read", async (t) => {
  const counter = { pulls: 0 };
  const server = backpressured(t, counter);
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  const pulls = await standstill(() => counter.pulls);
  // What waits here and what the kernel's two buffers hold, and no more.
  const waiting = pulls * PIECE_BYTES - server.statistics().sentBytes;
  assert(waiting <= MARK + 3 * PIECE_BYTES, `${waiting} bytes are waiting`);
  // It goes on when the peer does, and only as far as that.
  const before = server.statistics().sentBytes;
  await client.exactly(before + 8 * MARK);
  assert(counter.pulls > pulls);
  await standstill(() => counter.pulls);
  const later = counter.pulls * PIECE_BYTES - server.statistics().sentBytes;
  assert(later <= MARK + 3 * PIECE_BYTES, `${later} bytes are waiting`);
});

testBackends("a peer that does not read delays nobody else", async (t) => {
  const counter = { pulls: 0 };
  const server = t.serve(
    (request) =>
      request.url.endsWith("/endless")
        ? endless(counter)
        : new Response("prompt"),
    { highWatermark: MARK, lowWatermark: MARK / 2 },
  );
  const slow: RawClient[] = [];
  for (let i = 0; i < 5; i++) {
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/endless"));
    slow.push(client);
  }
  const client = t.using(await RawClient.connect(server));
  for (let round = 0; round < 200; round++) {
    assertEquals((await client.request(get("/"))).text, "prompt");
  }
});

testBackends("an upload waits for a handler that does not read", async (t) => {
  const go = Promise.withResolvers<void>();
  const server = t.serve(async (request) => {
    await go.promise;
    return new Response(String((await request.bytes()).length));
  });
  const client = t.using(await RawClient.connect(server));
  const length = 40 << 20;
  await client.write(
    `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ${length}\r\n\r\n`,
  );
  let written = 0;
  const chunk = new Uint8Array(1 << 20);
  const upload = (async (): Promise<void> => {
    for (; written < length; written += chunk.length) await client.write(chunk);
  })();
  await standstill(() => written);
  const { receivedBytes } = server.statistics();
  assert(receivedBytes < 8 << 20, `${receivedBytes} bytes were read`);
  go.resolve();
  await upload;
  assertEquals((await client.response()).text, String(length));
});

testBackends("answers wait for a peer that reads late", async (t) => {
  let calls = 0;
  const server = t.serve((): Response => {
    calls++;
    return new Response(new Uint8Array(1 << 20));
  }, { maxQueueBytes: 64 << 20 });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/").repeat(40));
  await standstill(() => calls);
  let received = 0;
  for (let i = 0; i < 40; i++) {
    received += (await client.response()).body.length;
  }
  assertEquals([received, calls], [40 << 20, 40]);
});

testBackends("a body beyond maxQueueBytes is sent as it is read", async (t) => {
  const server = t.serve(() => new Response(pattern(8 << 20)), {
    maxQueueBytes: 1 << 20,
    highWatermark: 1 << 20,
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/"));
  assertSameBytes(response.body, pattern(8 << 20), "the body");
  assertEquals(server.statistics().overflows, 0);
});

testBackends("echoes of every size come back", async (t) => {
  const server = t.serve(async (request): Promise<Response> => {
    return new Response(await request.bytes());
  });
  const client = t.using(await RawClient.connect(server));
  const check = (response: RawResponse, size: number): void =>
    assertSameBytes(response.body, pattern(size), `echo of ${size}`);
  for (let power = 0; power <= 20; power++) {
    for (const size of [2 ** power - 1, 2 ** power, 2 ** power + 1]) {
      const request = post("/", fromLatin1(pattern(size)));
      const [response] = await Promise.all([
        client.response(),
        client.write(request),
      ]);
      check(response, size);
    }
  }
});
