// SPDX-License-Identifier: Apache-2.0
// Tests of lib/cached.ts: when its handler is called, and who is given what.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  cached,
  type CachedHandler,
  type CachedOptions,
} from "../lib/cached.ts";
import { get, RawClient } from "./raw_client.ts";
import { testBackends, turn, until, withoutErrors } from "./testing.ts";

/** A clock that goes when it is told to. */
class Clock implements Disposable {
  readonly #now = Date.now;
  #time = 1_000_000;

  constructor() {
    Date.now = () => this.#time;
  }

  pass(ms: number): void {
    this.#time += ms;
  }

  [Symbol.dispose](): void {
    Date.now = this.#now;
  }
}

/** A handler that counts, and answers with what it is given to. */
class Counting {
  calls = 0;
  readonly handler: CachedHandler<[]>;

  constructor(
    options: Partial<CachedOptions> = {},
    respond: (
      request: Request,
      call: number,
    ) => Response | Promise<Response> = (_, call) => new Response(`${call}`),
  ) {
    this.handler = cached(
      (request) => respond(request, ++this.calls),
      { ttl: 1000, ...options },
    );
  }

  async ask(path: string = "/", init: RequestInit = {}): Promise<Response> {
    return await this.handler(new Request(`http://a${path}`, init));
  }

  async text(path: string = "/", init: RequestInit = {}): Promise<string> {
    return await (await this.ask(path, init)).text();
  }
}

Deno.test("a response is given until its time is over", async () => {
  using clock = new Clock();
  const it = new Counting();
  assertEquals(await it.text(), "1");
  clock.pass(999);
  assertEquals(await it.text(), "1");
  clock.pass(1);
  assertEquals(await it.text(), "2");
  assertEquals(await it.text("/?other"), "3");
  assertEquals(await it.text(), "2");
});

Deno.test("a hit needs no promise", async () => {
  const it = new Counting();
  const first = it.handler(new Request("http://a/"));
  const second = it.handler(new Request("http://a/"));
  assert(first instanceof Response && second instanceof Response);
  assertEquals([await first.text(), await second.text()], ["1", "1"]);
});

Deno.test("who gets a response may do with it what they like", async () => {
  for (const body of ["text", Uint8Array.of(1, 2)]) {
    const it = new Counting({}, () =>
      new Response(body, {
        status: 404,
        statusText: "Gone fishing",
        headers: { "x-a": "1" },
      }));
    for (let count = 0; count < 3; count++) {
      const response = await it.ask();
      assertEquals([response.status, response.statusText], [
        404,
        "Gone fishing",
      ]);
      assertEquals(response.headers.get("x-a"), "1");
      response.headers.set("x-a", "2");
      response.headers.set("set-cookie", "mine");
      const bytes = await response.bytes();
      assertEquals(
        bytes,
        typeof body === "string" ? new TextEncoder().encode(body) : body,
      );
      bytes.fill(0);
    }
    assertEquals(it.calls, 1);
  }
});

Deno.test("a body of text keeps that it has no type", async () => {
  const it = new Counting({}, () => {
    const response = new Response("text");
    response.headers.delete("content-type");
    return response;
  });
  for (let count = 0; count < 2; count++) {
    assertEquals((await it.ask()).headers.get("content-type"), null);
  }
  assertEquals(it.calls, 1);
});

Deno.test("many who ask at once lead to one call", async () => {
  const go = Promise.withResolvers<void>();
  const it = new Counting({}, async (_, call) => {
    await go.promise;
    return new Response(`${call}`);
  });
  const all = Array.from({ length: 100 }, () => it.text());
  const head = it.text("/", { method: "HEAD" });
  assertEquals(it.calls, 1);
  go.resolve();
  assertEquals(await Promise.all([...all, head]), Array(101).fill("1"));
  assertEquals(await it.text(), "1");
});

Deno.test("an error goes to all who wait, and is not kept", async () => {
  const go = Promise.withResolvers<void>();
  const it = new Counting({}, async (_, call) => {
    await go.promise;
    if (call === 1) throw new Error("broken");
    return new Response(`${call}`);
  });
  const all = Array.from({ length: 3 }, () => it.text());
  go.resolve();
  const results = await Promise.allSettled(all);
  for (const result of results) {
    assert(result.status === "rejected");
    assertEquals(result.reason.message, "broken");
  }
  assertEquals(await it.text(), "2");
});

Deno.test("a handler that throws at once does so each time", () => {
  const it = new Counting({}, () => {
    throw new Error("broken");
  });
  for (let count = 0; count < 2; count++) {
    assertThrows(() => it.handler(new Request("http://a/")), Error, "broken");
  }
  assertEquals(it.calls, 2);
});

Deno.test("when the first one leaves, the next one calls", async () => {
  const it = new Counting({}, async (request, call) => {
    await turn();
    request.signal.throwIfAborted();
    return new Response(`${call}`);
  });
  const leaving = new AbortController();
  const first = it.text("/", { signal: leaving.signal });
  const others = [it.text(), it.text(), it.text()];
  leaving.abort();
  const [{ status }] = await Promise.allSettled([first]);
  assertEquals(status, "rejected");
  assertEquals(await Promise.all(others), ["2", "2", "2"]);
});

Deno.test("others do not get what is not for them", async () => {
  const rows: [why: string, init: ResponseInit, kept: boolean][] = [
    ["plain", {}, true],
    ["not found", { status: 404 }, true],
    ["moved", { status: 301, headers: { location: "/x" } }, true],
    ["found", { status: 302, headers: { location: "/x" } }, false],
    ["created", { status: 201 }, false],
    ["partial", { status: 206 }, false],
    ["failed", { status: 500 }, false],
    ["late", { status: 503 }, false],
    ["cookie", { headers: { "set-cookie": "a=b" } }, false],
    ["private", { headers: { "cache-control": "private" } }, false],
    ["part", { headers: { "cache-control": 'private="x-a"' } }, false],
    ["no-store", { headers: { "cache-control": "max-age=9,No-Store" } }, false],
    ["no-cache", { headers: { "cache-control": "no-cache" } }, false],
    ["max-age=0", { headers: { "cache-control": "max-age=0" } }, false],
    ["public", { headers: { "cache-control": "public" } }, true],
    ["x-private", { headers: { "cache-control": "x-private=1" } }, true],
    ["vary", { headers: { vary: "accept-language" } }, false],
  ];
  for (const [why, init, kept] of rows) {
    const it = new Counting({}, async (_, call) => {
      await turn();
      return new Response(`${call}`, init);
    });
    const once = await Promise.all([it.text(), it.text()]);
    assertEquals(once.sort(), kept ? ["1", "1"] : ["1", "2"], why);
    assertEquals(await it.text(), kept ? "1" : "3", why);
  }
});

Deno.test("who says who they are gets an answer of their own", async () => {
  const it = new Counting();
  for (const headers of [{ cookie: "a=b" }, { authorization: "x" }]) {
    const calls = it.calls;
    await it.text();
    assertEquals(await it.text("/", { headers }), `${it.calls}`);
    await it.text("/", { headers });
    assertEquals(it.calls, calls + (calls === 0 ? 3 : 2));
  }
});

Deno.test("other methods go to the handler", async () => {
  const it = new Counting();
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
    await it.text("/", { method });
    await it.text("/", { method });
  }
  assertEquals(it.calls, 8);
});

Deno.test("HEAD has what GET has, but GET not what HEAD has", async () => {
  const it = new Counting(
    {},
    (request, call) =>
      new Response(request.method === "GET" ? `${call}` : null),
  );
  assertEquals(await it.text("/", { method: "HEAD" }), "");
  assertEquals(await it.text(), "2");
  assertEquals(await it.text("/", { method: "HEAD" }), "2");
  assertEquals(it.calls, 2);
});

Deno.test("a key says which requests are alike", async () => {
  const it = new Counting({
    key: (request) => {
      const url = new URL(request.url);
      return url.pathname === "/mine" ? null : url.pathname;
    },
  }, (_, call) => new Response(`${call}`, { headers: { vary: "cookie" } }));
  assertEquals(await it.text("/a?1"), "1");
  assertEquals(await it.text("/a?2", { headers: { cookie: "a=b" } }), "1");
  assertEquals(await it.text("/mine"), "2");
  assertEquals(await it.text("/mine"), "3");
});

Deno.test("Vary: * is nobody else's, whatever the key", async () => {
  const it = new Counting(
    { key: () => "k" },
    (_, call) => new Response(`${call}`, { headers: { vary: "*" } }),
  );
  assertEquals([await it.text(), await it.text()], ["1", "2"]);
});

Deno.test("max-age and s-maxage shorten the time", async () => {
  using clock = new Clock();
  for (
    const [control, ms] of [
      ["max-age=2", 2000],
      ["max-age=600", 10_000],
      ['s-maxage="1", max-age=5', 1000],
      ["max-age=5, s-maxage=1", 1000],
    ] as const
  ) {
    const it = new Counting(
      { ttl: 10_000 },
      (_, call) =>
        new Response(`${call}`, { headers: { "cache-control": control } }),
    );
    await it.text();
    clock.pass(ms - 1);
    assertEquals(await it.text(), "1", control);
    clock.pass(1);
    assertEquals(await it.text(), "2", control);
  }
});

Deno.test("a response that is stale at once is not kept", async () => {
  const rows: HeadersInit[] = [
    { "cache-control": "max-age=0" },
    // Ages that are none (RFC 9111 section 4.2.1).
    { "cache-control": "max-age=-1" },
    { "cache-control": "public, s-maxage=x, max-age=60" },
    { expires: "0" },
    { expires: "Thu, 01 Jan 1970 00:00:00 GMT" },
  ];
  for (const headers of rows) {
    const it = new Counting(
      {},
      (_, call) => new Response(`${call}`, { headers }),
    );
    const texts = [await it.text(), await it.text()];
    assertEquals(texts, ["1", "2"], Deno.inspect(headers));
  }
});

Deno.test("Expires shortens the time, unless there is a max-age", async () => {
  using clock = new Clock();
  const at = (ms: number): string => new Date(Date.now() + ms).toUTCString();
  const it = new Counting(
    { ttl: 60_000 },
    (_, call) => new Response(`${call}`, { headers: { expires: at(2000) } }),
  );
  await it.text();
  clock.pass(1999);
  assertEquals(await it.text(), "1");
  clock.pass(1);
  assertEquals(await it.text(), "2");
  const other = new Counting(
    { ttl: 60_000 },
    (_, call) =>
      new Response(`${call}`, {
        headers: { expires: at(2000), "cache-control": "max-age=50" },
      }),
  );
  await other.text();
  clock.pass(49_999);
  assertEquals(await other.text(), "1");
});

Deno.test("a stale response is given while a new one is made", async () => {
  using clock = new Clock();
  let go = Promise.withResolvers<void>();
  const it = new Counting({ staleWhileRevalidate: 500 }, async (_, call) => {
    if (call > 1) await go.promise;
    return new Response(`${call}`);
  });
  await it.text();
  clock.pass(1000);
  for (let count = 0; count < 3; count++) assertEquals(await it.text(), "1");
  assertEquals(it.calls, 2);
  go.resolve();
  await until(() => it.calls === 2, "the new one");
  await turn();
  assertEquals(await it.text(), "2");
  // Too old to be given: who asks waits for the new one.
  go = Promise.withResolvers();
  clock.pass(1500);
  const late = it.text();
  go.resolve();
  assertEquals(await late, "3");
});

Deno.test("a clock that is set back keeps nothing for longer", async () => {
  using clock = new Clock();
  const it = new Counting();
  await it.text();
  clock.pass(-1);
  assertEquals(await it.text(), "2");
  clock.pass(999);
  assertEquals(await it.text(), "2");
});

Deno.test("a failed renewal leaves the stale response", async () => {
  using clock = new Clock();
  const it = new Counting({ staleWhileRevalidate: 500 }, (_, call) => {
    if (call === 2) throw new Error("broken");
    return new Response(`${call}`);
  });
  await it.text();
  clock.pass(1000);
  await withoutErrors(async () => {
    assertEquals(await it.text(), "1");
    await turn();
  });
  assertEquals(await it.text(), "1");
  await turn();
  assertEquals(await it.text(), "3");
});

Deno.test("the least recently used go first", async () => {
  const it = new Counting({ maxEntries: 2 });
  await it.text("/a");
  await it.text("/b");
  await it.text("/a");
  await it.text("/c");
  assertEquals(await it.text("/a"), "1");
  assertEquals(await it.text("/b"), "4");
});

Deno.test("bytes are bounded", async () => {
  const it = new Counting(
    { maxBytes: 10_000 },
    (request, call) =>
      new Response(
        `${call}`.padEnd(Number(new URL(request.url).search.slice(1))),
      ),
  );
  const first = async (path: string): Promise<string> =>
    (await it.text(path)).trim();
  assertEquals(await first("/a?1000"), "1");
  assertEquals(await first("/b?1000"), "2");
  assertEquals(await first("/a?1000"), "1");
  // Larger than all there is room for: others stay.
  assertEquals(await first("/c?5000"), "3");
  assertEquals(await first("/c?5000"), "4");
  assertEquals(await first("/b?1000"), "2");
  for (let i = 0; i < 10; i++) await first(`/${i}?1000`);
  assertEquals(await first("/a?1000"), "15");
});

Deno.test("what is forgotten is asked for anew", async () => {
  const go = Promise.withResolvers<void>();
  const it = new Counting({}, async (_, call) => {
    if (call === 2) await go.promise;
    return new Response(`${call}`);
  });
  await it.text();
  assertEquals(it.handler.delete("http://a/"), true);
  assertEquals(it.handler.delete("http://a/"), false);
  // Nor is kept what was under way.
  const old = it.text();
  it.handler.clear();
  assertEquals(await it.text(), "3");
  go.resolve();
  assertEquals(await old, "2");
  assertEquals(await it.text(), "3");
});

Deno.test("those who waited for what was forgotten lead to one call more", async () => {
  const go = Promise.withResolvers<void>();
  const it = new Counting({}, async (_, call) => {
    if (call === 1) await go.promise;
    await turn();
    return new Response(`${call}`);
  });
  const all = Array.from({ length: 10 }, () => it.text());
  it.handler.clear();
  go.resolve();
  assertEquals(await Promise.all(all), ["1", ...Array(9).fill("2")]);
  assertEquals(it.calls, 2);
});

Deno.test("nobody waits for ever for a call that never ends", async () => {
  using clock = new Clock();
  const go = Promise.withResolvers<void>();
  const it = new Counting({ staleWhileRevalidate: 60_000 }, async (_, call) => {
    if (call === 1 || call === 3) await go.promise;
    return new Response(`${call}`);
  });
  const first = it.text();
  const second = it.text();
  clock.pass(29_999);
  const third = it.text();
  assertEquals(it.calls, 1);
  clock.pass(1);
  assertEquals(await it.text(), "2");
  // Nor does one that renews keep others from renewing.
  clock.pass(1000);
  assertEquals(await it.text(), "2");
  assertEquals(it.calls, 3);
  clock.pass(30_000);
  assertEquals(await it.text(), "2");
  await turn();
  assertEquals([it.calls, await it.text()], [4, "4"]);
  go.resolve();
  assertEquals(await Promise.all([first, second, third]), ["1", "4", "4"]);
  assertEquals(await it.text(), "4");
});

Deno.test("what comes too late does not take the place of what is newer", async () => {
  using clock = new Clock();
  const late = Promise.withResolvers<Response>();
  const it = new Counting(
    { ttl: 60_000 },
    (_, call) => call === 1 ? late.promise : new Response(`${call}`),
  );
  const first = it.text();
  clock.pass(30_000);
  assertEquals(await it.text(), "2");
  late.resolve(new Response("1"));
  assertEquals(await first, "1");
  assertEquals(await it.text(), "2");
});

Deno.test("a stream goes to the one who asked for it", async () => {
  const it = new Counting(
    {},
    (_, call) => new Response(new Blob([`${call}`]).stream()),
  );
  assertEquals([await it.text(), await it.text()], ["1", "2"]);
});

Deno.test("what a client has is not sent again", async () => {
  const it = new Counting(
    {},
    () => new Response("x", { headers: { etag: '"e"' } }),
  );
  await it.text();
  const headers = { "if-none-match": '"e"' };
  assertEquals((await it.ask("/", { headers })).status, 304);
  assertEquals(it.calls, 1);
});

Deno.test("options that are none are refused", () => {
  const handler = (): Response => new Response();
  const rows: [options: unknown, message: string][] = [
    [undefined, 'options with a "ttl" must be given'],
    [{}, '"ttl" must be an integer from 1 to'],
    [{ ttl: "1" }, '"ttl" must be an integer from 1 to 4294967295, is "1"'],
    [{ ttl: 0 }, '"ttl" must be an integer from 1 to'],
    [{ ttl: 1, maxEntries: 0 }, '"maxEntries" must be an integer from 1 to'],
    [{ ttl: 1, maxBytes: 0.5 }, '"maxBytes" must be an integer from 1 to'],
    [{ ttl: 1, staleWhileRevalidate: -1 }, '"staleWhileRevalidate" must be'],
    [{ ttl: 1, key: "k" }, '"key" must be a function'],
    [{ ttl: 1, maxAge: 1 }, 'unknown option "maxAge"'],
  ];
  for (const [options, message] of rows) {
    assertThrows(
      () => cached(handler, options as CachedOptions),
      Error,
      `Cannot make a cache: ${message}`,
    );
  }
  assertThrows(
    () => cached(null as never, { ttl: 1 }),
    TypeError,
    "a handler must be given",
  );
});

testBackends("a server answers from the cache", async (t) => {
  let calls = 0;
  const go = Promise.withResolvers<void>();
  const hello = cached(async (request: Request, name: string) => {
    calls++;
    await go.promise;
    return Response.json({ name, path: new URL(request.url).pathname });
  }, { ttl: 60_000 });
  const server = t.serve((request) => hello(request, "you"));
  const clients = await Promise.all(
    Array.from({ length: 5 }, () => RawClient.connect(server)),
  );
  for (const client of clients) await t.using(client).write(get("/a"));
  await until(
    () => server.statistics().receivedBytes >= 5 * get("/a").length,
    "all",
  );
  await turn();
  assertEquals(calls, 1);
  // It may be the one that has led to the call who leaves.
  clients[0]!.close();
  go.resolve();
  for (const client of clients.slice(1)) {
    const expected = '{"name":"you","path":"/a"}';
    assertEquals((await client.response()).text, expected);
    const head = "HEAD /a HTTP/1.1\r\nHost: test\r\n\r\n";
    const response = await client.request(head);
    assertEquals(response.field("content-length"), `${expected.length}`);
    assertEquals(response.field("content-type"), "application/json");
    // Credentials are for the handler.
    await client.request(get("/a", "Cookie: a=b\r\n"));
  }
  assertEquals(calls, 5);
});
