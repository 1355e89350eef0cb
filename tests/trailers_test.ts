// SPDX-License-Identifier: Apache-2.0
// Tests of trailers (RFC 9110 section 6.5) and of 103 Early Hints, on both backends.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { parseTrailers, ResponseTrailers } from "../lib/trailers.ts";
import type { ServeHandlerInfo, TrailersInit } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import { latin1, testBackends, turn, until, withoutErrors } from "./testing.ts";

const TRAILED = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" +
  "Trailer: digest, host\r\n\r\n" +
  "5\r\nhello\r\n0\r\nDigest: one\r\nHost: evil\r\nX-Two:\t2 \r\nx-two: \xff\r\n\r\n";

Deno.test("parseTrailers() leaves out what must not come that late", () => {
  assertEquals(
    [...parseTrailers("A: 1\r\nContent-Length: 5\r\nB:2\r\nHOST: x\r\n")],
    [["a", "1"], ["b", "2"]],
  );
  assertEquals([...parseTrailers("")], []);
});

Deno.test("ResponseTrailers refuses what must not come that late", () => {
  for (const name of ["Content-Type", "host", "Set-Cookie", "trailer"]) {
    assertThrows(
      () => new ResponseTrailers({ [name]: "x" }),
      TypeError,
      `Cannot send "${name.toLowerCase()}" as a trailer`,
    );
  }
  assertThrows(() => new ResponseTrailers({ a: "b\r\nc: d" }), TypeError);
  assertEquals(new ResponseTrailers({}).announcement, "");
});

testBackends("request trailers are exposed, and not merged", async (t) => {
  const seen: unknown[] = [];
  const server = t.serve(async (request, info) => {
    seen.push(await request.text());
    seen.push([...await info.trailers], request.headers.get("digest"));
    return new Response();
  });
  const client = t.using(await RawClient.connect(server));
  await client.request(TRAILED);
  assertEquals(seen, [
    "hello",
    [["digest", "one"], ["x-two", "2, \xff"]],
    null,
  ]);
});

testBackends("request trailers are the same wherever cut", async (t) => {
  const server = t.serve(async (request, info) => {
    const [body, trailers] = await Promise.all([request.text(), info.trailers]);
    return Response.json([body, ...trailers]);
  });
  const client = t.using(await RawClient.connect(server));
  const from = TRAILED.indexOf("hello");
  const { text: whole } = await client.request(TRAILED);
  assertEquals(JSON.parse(whole).length, 3);
  for (let cut = from; cut < TRAILED.length; cut++) {
    await client.write(TRAILED.slice(0, cut));
    await turn();
    assertEquals((await client.request(TRAILED.slice(cut))).text, whole);
  }
});

testBackends("a request without trailers has empty ones", async (t) => {
  const server = t.serve(async (request, info) => {
    await request.text();
    return Response.json([...await info.trailers]);
  });
  const client = t.using(await RawClient.connect(server));
  const length = "Content-Length: 2\r\n\r\nhi";
  const chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
  for (const rest of [length, chunked, "\r\n"]) {
    const request = `POST / HTTP/1.1\r\nHost: a\r\n${rest}`;
    assertEquals((await client.request(request)).text, "[]");
  }
});

testBackends("request trailers reject when the body breaks off", async (t) => {
  const outcomes: unknown[] = [];
  let info!: ServeHandlerInfo;
  const server = t.serve(async (request, given) => {
    info = given;
    void info.trailers;
    await request.text().catch(() => outcomes.push("no body"));
    await assertRejects(() => info.trailers, Deno.errors.UnexpectedEof);
    outcomes.push("no trailers");
    return new Response();
  });
  const { length } = TRAILED;
  for (const bad of [TRAILED.slice(0, length - 4), TRAILED + "\0"]) {
    using client = await RawClient.connect(server);
    const broken = bad.endsWith("\0")
      ? bad.replace("Digest:", "Di gest:")
      : bad;
    await client.write(broken);
    await client.closeWrite();
    await client.ending();
  }
  await until(() => outcomes.length === 4, "both rejections");
});

const BODIES: Record<string, () => BodyInit | null> = {
  "text": () => "hello",
  "bytes": () => new TextEncoder().encode("hello"),
  "a stream": () => new Blob(["hello"]).stream(),
};

for (const [name, body] of Object.entries(BODIES)) {
  testBackends(`response trailers follow ${name}`, async (t) => {
    const server = t.serve((_request, info) => {
      info.setTrailers({ "X-One": "1", digest: "\xe4" });
      return new Response(body(), { headers: { "content-length": "5" } });
    });
    const client = t.using(await RawClient.connect(server));
    for (let i = 0; i < 2; i++) {
      await client.write(get("/"));
      const head = new TextDecoder().decode(await client.through("\r\n\r\n"));
      assert(head.includes("\r\ntrailer: digest, x-one\r\n"), head);
      assert(head.includes("\r\ntransfer-encoding: chunked\r\n"), head);
      assert(!head.includes("content-length"), head);
      assertEquals(
        String.fromCharCode(...await client.through("\r\n0\r\n")),
        "5\r\nhello\r\n0\r\n",
      );
      assertEquals(
        String.fromCharCode(...await client.through("\r\n\r\n")),
        "digest: \xe4\r\nx-one: 1\r\n\r\n",
      );
    }
  });
}

testBackends(
  "response trailers may be made when the body is sent",
  async (t) => {
    const log: string[] = [];
    const server = t.serve((_request, info) => {
      info.setTrailers(async () => {
        log.push("trailers");
        await turn();
        return { digest: "late" };
      });
      const body = new ReadableStream<Uint8Array>({
        start(controller): void {
          controller.enqueue(new TextEncoder().encode("hi"));
        },
        async pull(controller): Promise<void> {
          await turn();
          log.push("body");
          controller.close();
        },
      });
      return new Response(body, { headers: { trailer: "digest" } });
    });
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/"));
    const head = new TextDecoder().decode(await client.through("\r\n\r\n"));
    assertEquals(head.match(/trailer: digest/g)?.length, 1);
    await client.through("2\r\nhi\r\n0\r\ndigest: late\r\n\r\n");
    assertEquals(log, ["body", "trailers"]);
  },
);

testBackends("a null body has trailers too", async (t) => {
  const server = t.serve((_request, info) => {
    info.setTrailers([["a", "1"], ["a", "2"]]);
    return new Response(null);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await client.through("\r\n\r\n");
  await client.through("0\r\na: 1, 2\r\n\r\n");
});

testBackends("trailers are left out where they cannot be", async (t) => {
  const server = t.serve((request, info) => {
    info.setTrailers({ a: "1" });
    const status = Number(new URL(request.url).pathname.slice(1));
    return new Response(status === 200 ? "hello" : null, { status });
  });
  const client = t.using(await RawClient.connect(server));
  for (const status of [204, 304]) {
    const { fields } = await client.request(get(`/${status}`));
    assert(!fields.some(([name]) => /^t/.test(name)), `${fields}`);
  }
  const head = await client.request("HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\n");
  assertEquals([head.field("content-length"), head.field("trailer")], [
    "5",
    null,
  ]);
  const old = await client.request("GET /200 HTTP/1.0\r\n\r\n");
  assertEquals([old.text, old.field("trailer")], ["hello", null]);
});

testBackends("trailers that fail break the response off", async (t) => {
  const inits: TrailersInit[] = [
    () => {
      throw new Error("oops");
    },
    () => Promise.reject(new Error("oops")),
    () => ({ "content-type": "no" }),
    () => ({ a: "b\r\n\r\nHTTP/1.1 200" }),
  ];
  let completed!: Promise<void>;
  const server = t.serve((_request, info) => {
    completed = info.completed;
    info.setTrailers(inits.shift()!);
    return new Response("hello");
  });
  while (inits.length > 0) {
    await withoutErrors(async () => {
      using client = await RawClient.connect(server);
      await client.write(get("/"));
      await client.through("\r\n\r\n");
      assertEquals(await client.rest(), "5\r\nhello\r\n");
      await assertRejects(() => completed, Deno.errors.Interrupted);
    });
  }
});

testBackends("early hints go out at once, in order", async (t) => {
  const go = Promise.withResolvers<void>();
  const server = t.serve(async (request, info) => {
    info.earlyHints({ link: "</a.css>; rel=preload", connection: "close" });
    info.earlyHints([["link", "</b>"], ["link", "</c>"]]);
    if (request.url.endsWith("/1")) await go.promise;
    return new Response(request.url);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/1") + get("/2"));
  for (const target of ["/1", "/2"]) {
    const first = await client.response();
    assertEquals([first.status, first.reason, first.fields], [
      103,
      "Early Hints",
      [["link", "</a.css>; rel=preload"]],
    ]);
    assertEquals((await client.response()).fields, [["link", "</b>, </c>"]]);
    go.resolve();
    assertEquals((await client.response()).text, `http://test${target}`);
  }
});

testBackends("early hints never go to HTTP/1.0", async (t) => {
  const server = t.serve((_request, info) => {
    info.earlyHints({ link: "</a>" });
    return new Response("hello");
  });
  const client = t.using(await RawClient.connect(server));
  const { status, text } = await client.request("GET / HTTP/1.0\r\n\r\n");
  assertEquals([status, text], [200, "hello"]);
});

testBackends(
  "early hints are refused when malformed or too late",
  async (t) => {
    const thrown: unknown[] = [];
    let kept!: ServeHandlerInfo;
    const server = t.serve((_request, info) => {
      kept = info;
      for (const headers of [{ a: "b\r\nc: d" }, { "a b": "c" }]) {
        try {
          info.earlyHints(headers);
        } catch (error) {
          thrown.push(error instanceof TypeError);
        }
      }
      return new Response("hello");
    });
    const client = t.using(await RawClient.connect(server));
    assertEquals((await client.request(get("/"))).status, 200);
    assertEquals(thrown, [true, true]);
    assertThrows(
      () => kept.earlyHints({}),
      TypeError,
      "the response has begun",
    );
    assertThrows(
      () => kept.setTrailers({}),
      TypeError,
      "the response has begun",
    );
  },
);

testBackends("early hints to a peer that has left are dropped", async (t) => {
  let done = 0;
  const server = t.serve(async (request, info) => {
    await new Promise((r) => request.signal.addEventListener("abort", r));
    await until(() => server.statistics().connections === 0, "the peer's end");
    info.earlyHints({ link: "</a>" });
    done++;
    return new Response("late");
  });
  const client = t.using(new ResettableSocket(server.addr.port));
  client.send(latin1(get("/")));
  await until(() => server.statistics().receivedBytes > 0, "the request");
  client.reset();
  await until(() => done === 1, "the handler");
});
