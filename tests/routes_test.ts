// SPDX-License-Identifier: Apache-2.0
// Tests of the option `routes`: who answers what, and that nobody can tell by the answer. How the reactor does it is
// tested in tests/c/conn_route_test.c.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { assertThrows } from "@std/assert";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { serve } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, post, RawClient, type RawResponse } from "./raw_client.ts";
import { latin1, quiet, testBackends, turn, until } from "./testing.ts";

const LONG = "All work and no play makes Jack a dull boy. ".repeat(1000);

function handler(request: Request): Response {
  return new Response(`handler ${new URL(request.url).pathname}`);
}

function withoutDate({ status, reason, fields, text }: RawResponse): unknown {
  const names = fields.map(([name, value]) =>
    name === "date" ? [name, Number.isNaN(Date.parse(value))] : [name, value]
  );
  return { status, reason, names, text };
}

testBackends("a route answers as a handler would", async (t) => {
  const make: Record<string, () => Response> = {
    "/text": () => new Response("text"),
    "/unicode": () => new Response("Größe ☃"),
    "/bytes": () => new Response(Uint8Array.of(0, 13, 10, 255)),
    "/empty": () => new Response(null),
    "/none": () => new Response(null, { status: 204 }),
    "/reset": () => new Response(null, { status: 205 }),
    "/teapot": () => new Response("short", { status: 418, statusText: "Tea" }),
    "/json": () => Response.json({ a: 1 }, { headers: { "x-latin": "ü" } }),
    "/moved": () => Response.redirect("http://a/b", 301),
    "/cookies": () =>
      new Response("c", {
        headers: [["set-cookie", "a"], ["set-cookie", "b"]],
      }),
    "/form": () => new Response(new URLSearchParams({ a: "b c" })),
    "/dated": () =>
      new Response("d", {
        headers: { date: "Sun, 06 Nov 1994 08:49:37 GMT" },
      }),
    "/closes": () => new Response("c", { headers: { connection: "close" } }),
    "/limit": () => new Response("l".repeat(16384 - 200)),
    "/large": () => new Response("l".repeat(16384)),
    "/huge": () => new Response("h".repeat(300_000)),
    "/a%20b": () => new Response("escaped"),
    "/": () => new Response("root"),
  };
  const routes = Object.fromEntries(
    Object.entries(make).map(([path, response]) => [path, response()]),
  );
  const handled = t.serve((request) => {
    const url = new URL(request.url);
    return make[url.pathname]?.() ?? handler(request);
  });
  const routed = t.serve(handler, { routes });
  for (const method of ["GET", "HEAD"]) {
    for (const path of Object.keys(make)) {
      for (const version of ["1.1", "1.0"]) {
        const request =
          `${method} ${path}?q HTTP/${version}\r\nHost: a\r\n\r\n`;
        using one = await RawClient.connect(handled);
        using two = await RawClient.connect(routed);
        assertEquals(
          withoutDate(await two.request(request)),
          withoutDate(await one.request(request)),
          request,
        );
      }
    }
  }
  const asked = 4 * Object.keys(make).length;
  assertEquals(routed.statistics().routed, asked);
  assertEquals(handled.statistics().routed, 0);
});

testBackends("other methods and paths are for the handler", async (t) => {
  const server = t.serve(
    async (request) => {
      const { pathname } = new URL(request.url);
      return new Response(
        `${request.method} ${pathname} ${await request.text()}`,
      );
    },
    { routes: { "/health": new Response("ok") } },
  );
  const client = t.using(await RawClient.connect(server));
  assertEquals(
    (await client.request(post("/health", "body"))).text,
    "POST /health body",
  );
  for (const path of ["/health/", "/Health", "/%68ealth", "/healt", "/"]) {
    assertEquals((await client.request(get(path))).text, `GET ${path} `);
  }
  // One path for the URL, another one on the wire.
  assertEquals(
    (await client.request(get("/x/../health"))).text,
    "GET /health ",
  );
  assertEquals((await client.request(get("/health"))).text, "ok");
  assertEquals(server.statistics().routed, 1);
});

testBackends("routes answer without the handler's promise", async (t) => {
  const go = Promise.withResolvers<void>();
  const server = t.serve(async (request) => {
    await go.promise;
    return handler(request);
  }, { routes: { "/s": new Response("static") } });
  const client = t.using(await RawClient.connect(server));
  const other = t.using(await RawClient.connect(server));
  await client.write(get("/s") + get("/slow") + get("/s") + get("/s"));
  assertEquals((await client.response()).text, "static");
  // What is behind the slow one has to wait, but nobody else has.
  assertEquals((await other.request(get("/s"))).text, "static");
  go.resolve();
  for (const text of ["handler /slow", "static", "static"]) {
    assertEquals((await client.response()).text, text);
  }
  assertEquals(server.statistics().routed, 4);
});

testBackends("pipelines of both kinds are answered in order", async (t) => {
  const server = t.serve((request) => {
    const { pathname } = new URL(request.url);
    const response = new Response(pathname);
    return pathname.length % 2 === 0 ? response : turn().then(() => response);
  }, { routes: { "/s": new Response("/s") } });
  const client = t.using(await RawClient.connect(server));
  const paths = Array.from(
    { length: 400 },
    (_, i) => (i * i) % 7 < 3 ? "/s" : `/${i}`,
  );
  const bytes = latin1(paths.map((path) => get(path)).join(""));
  const answers = (async () => {
    const texts: string[] = [];
    for (const _ of paths) texts.push((await client.response()).text);
    return texts;
  })();
  for (let at = 0; at < bytes.length; at += 1 + at % 997) {
    await client.write(bytes.subarray(at, at + 1 + at % 997));
  }
  assertEquals(await answers, paths);
});

testBackends("a request may be cut anywhere", async (t) => {
  const server = t.serve(handler, { routes: { "/s": new Response("s") } });
  const client = t.using(await RawClient.connect(server));
  const request = get("/s");
  for (let cut = 1; cut < request.length; cut++) {
    await client.write(request.slice(0, cut));
    await turn();
    await client.write(request.slice(cut));
    assertEquals((await client.response()).text, "s");
  }
  assertEquals(server.statistics().routed, request.length - 1);
});

testBackends("the body of a GET does not become a request", async (t) => {
  const server = t.serve(handler, { routes: { "/s": new Response("s") } });
  const client = t.using(await RawClient.connect(server));
  const body = get("/inner");
  const fields = `Content-Length: ${body.length}\r\n`;
  await client.write(get("/s", fields) + body + get("/s") + get("/end"));
  for (const text of ["s", "s", "handler /end"]) {
    assertEquals((await client.response()).text, text);
  }
});

testBackends("maxRequests counts answers of both kinds", async (t) => {
  const server = t.serve(handler, {
    maxRequests: 5,
    routes: { "/s": new Response("s") },
  });
  for (const order of ["sshss", "hhssh", "sssss", "ssssh"]) {
    const client = t.using(await RawClient.connect(server));
    await client.write([...order, "s"].map((kind) => get(`/${kind}`)).join(""));
    for (const [index, kind] of [...order].entries()) {
      const response = await client.response();
      assertEquals(response.text, kind === "s" ? "s" : "handler /h");
      const close = index === 4 ? "close" : null;
      assertEquals(response.field("connection"), close, order);
    }
    assertEquals(await client.rest(), "");
  }
  assertEquals(server.statistics().requestLimits, 4);
});

testBackends("an address over its limit is not answered", async (t) => {
  const server = t.serve(handler, {
    maxConnectionsPerAddress: 1,
    routes: { "/s": new Response("s") },
  });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/s"))).text, "s");
  using second = new ResettableSocket(server.addr.port);
  second.send(latin1(get("/s")));
  await until(() => server.statistics().addressRefusals === 1, "the refusal");
  await until(() => server.statistics().connections === 1, "the end");
  assertEquals(server.statistics().routed, 1);
  assertEquals((await client.request(get("/s"))).text, "s");
});

testBackends("while a server shuts down, answers say so", async (t) => {
  const go = Promise.withResolvers<void>();
  let asked = false;
  const server = t.serve(async () => {
    asked = true;
    await go.promise;
    return new Response("slow");
  }, { routes: { "/s": new Response("s") } });
  const client = t.using(await RawClient.connect(server));
  const idle = t.using(await RawClient.connect(server));
  assertEquals((await idle.request(get("/s"))).text, "s");
  await client.write(get("/slow"));
  await until(() => asked, "the handler");
  const shutdown = server.shutdown();
  // Nothing is in flight on this one: it is closed, whatever it is answered with.
  assertEquals(await idle.rest(), "");
  go.resolve();
  const response = await client.response();
  assertEquals([response.text, response.field("connection")], [
    "slow",
    "close",
  ]);
  await shutdown;
});

testBackends("what a peer has is not sent again", async (t) => {
  const server = t.serve(handler, {
    routes: {
      "/tagged": new Response("tagged", {
        headers: { etag: '"a,b"', "cache-control": "no-cache" },
      }),
      "/old": new Response("old", {
        headers: { "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT" },
      }),
      "/plain": new Response("plain"),
    },
  });
  const client = t.using(await RawClient.connect(server));
  const rows: [path: string, field: string, status: number][] = [
    ["/tagged", 'If-None-Match: "x", W/"a,b"', 304],
    ["/tagged", "If-None-Match: *", 304],
    ["/tagged", 'If-None-Match: "a"', 200],
    ["/tagged", 'If-Match: "a,b"', 200],
    ["/tagged", 'If-Match: "a"', 412],
    ["/tagged", "If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT", 200],
    ["/old", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 304],
    ["/old", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200],
    ["/old", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 412],
    ["/old", 'If-None-Match: "x"', 200],
    ["/plain", 'If-None-Match: "x"', 200],
  ];
  for (const [path, field, status] of rows) {
    const response = await client.request(get(path, `${field}\r\n`));
    assertEquals(response.status, status, `${path} ${field}`);
    assertEquals(response.text, status === 200 ? path.slice(1) : "");
    if (status !== 304) continue;
    assertEquals(response.field("content-type"), null);
    const tagged = path === "/tagged";
    assertEquals(response.field("etag"), tagged ? '"a,b"' : null);
    assertEquals(response.field("cache-control"), tagged ? "no-cache" : null);
  }
});

testBackends("routes are compressed where others are", async (t) => {
  const server = t.serve(handler, {
    compress: true,
    routes: {
      "/long": new Response(LONG, { headers: { etag: '"l"' } }),
      "/short": new Response("short"),
      "/image": new Response(LONG, {
        headers: { "content-type": "image/png" },
      }),
    },
  });
  const client = t.using(await RawClient.connect(server));
  const unpack = { gzip: gunzipSync, br: brotliDecompressSync };
  for (const coding of ["gzip", "br", "gzip", "br"] as const) {
    const accept = `Accept-Encoding: ${coding}\r\n`;
    const response = await client.request(get("/long", accept));
    assertEquals(response.field("content-encoding"), coding);
    assertEquals(response.field("vary"), "accept-encoding");
    assertEquals(response.field("etag"), 'W/"l"');
    assertEquals(`${unpack[coding](response.body)}`, LONG);
    const again = `${accept}If-None-Match: W/"l"\r\n`;
    const unchanged = await client.request(get("/long", again));
    assertEquals(unchanged.status, 304);
    assertEquals(unchanged.field("etag"), 'W/"l"');
  }
  const plain = await client.request(get("/long"));
  assertEquals(plain.text, LONG);
  assertEquals(plain.field("vary"), "accept-encoding");
  for (const path of ["/short", "/image"]) {
    const response = await client.request(get(path, "Accept-Encoding: br\r\n"));
    assertEquals(response.field("content-encoding"), null);
    assertEquals(response.field("vary"), null);
  }
});

testBackends("a peer that does not read is waited for", async (t) => {
  const body = "x".repeat(16_000);
  const server = t.serve(handler, {
    routes: { "/s": new Response(body) },
    stallTimeout: 100,
    minSendRate: 0,
  });
  const client = t.using(await RawClient.connect(server));
  const other = t.using(await RawClient.connect(server));
  const flood = client.write(get("/s").repeat(20_000)).catch(() => {});
  await until(() => server.statistics().stallTimeouts === 1, "the timeout");
  await flood;
  assertEquals((await other.request(get("/s"))).text, body);
  assert(server.statistics().sentBytes < 64 << 20);
});

testBackends("responses are copied, and may be used again", async (t) => {
  const bytes = Uint8Array.of(65, 66);
  const response = new Response(bytes);
  const routes: Record<string, Response> = { "/a": response, "/b": response };
  const one = t.serve(handler, { routes });
  const two = t.serve(handler, { routes });
  bytes.fill(0);
  delete routes["/a"];
  assertEquals(await response.text(), "AB");
  for (const server of [one, two]) {
    const client = t.using(await RawClient.connect(server));
    for (const path of ["/a", "/b"]) {
      assertEquals((await client.request(get(path))).text, "AB");
    }
  }
});

Deno.test("what cannot be a route is refused", async () => {
  const used = new Response("used");
  await used.text();
  const ok = new Response("ok");
  const stream = new Blob(["x"]).stream();
  const rows: [routes: unknown, message: string][] = [
    ["/", '"routes" must be an object of responses by path, is "/"'],
    [null, '"routes" must be an object of responses by path, is null'],
    [new Map([["/", ok]]), '"routes" must be an object of responses by path'],
    [{ health: ok }, 'the route "health" must begin with "/"'],
    [{ "/:id": ok }, 'the route "/:id" is no exact path'],
    [{ "/files/*": ok }, 'the route "/files/*" is no exact path'],
    [{ "/ä": ok }, 'give its path alone, as "/%C3%A4"'],
    [{ "/a?b": ok }, 'give its path alone, as "/a"'],
    [{ "/a#b": ok }, 'give its path alone, as "/a"'],
    [{ "/a/../b": ok }, 'give its path alone, as "/b"'],
    [{ "/f": () => ok }, 'the route "/f" must be a Response, is [Function'],
    [{ "/u": used }, 'the route "/u" cannot be read: '],
    [{ "/e": Response.error() }, 'the route "/e" cannot be read: '],
    [
      { "/ws": new Response(null, { status: 101 }) },
      'the route "/ws" has the status 101',
    ],
    [{ "/s": new Response(stream) }, "a body that is not known beforehand"],
    [{ "/b": new Response(new Blob(["x"])) }, "that is not known beforehand"],
    [
      Object.fromEntries(Array.from({ length: 4097 }, (_, i) => [`/${i}`, ok])),
      '"routes" has 4097 paths, at most 4096 are possible',
    ],
  ];
  for (const [routes, message] of rows) {
    const error = assertThrows(() =>
      serve({
        port: 0,
        onListen: quiet,
        routes: routes as Record<string, Response>,
      }, handler)
    );
    assertStringIncludes(`${error}`, "Cannot serve: ");
    assertStringIncludes(`${error}`, message);
  }
});

Deno.test("an empty table is none", async () => {
  await using server = serve(
    { port: 0, hostname: "127.0.0.1", onListen: quiet, routes: {} },
    handler,
  );
  using client = await RawClient.connect(server);
  assertEquals((await client.request(get("/"))).text, "handler /");
});
