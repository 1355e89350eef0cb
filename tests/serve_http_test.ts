// SPDX-License-Identifier: Apache-2.0
// Tests of HTTP/1.1 on real connections: keep-alive, pipelining, request
// bodies, 100 Continue, HTTP/1.0 and half-closing.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { get, post, RawClient } from "./raw_client.ts";
import {
  fromLatin1,
  latin1,
  pattern,
  testBackends,
  turn,
  until,
} from "./testing.ts";

const target = (request: Request): string => new URL(request.url).pathname;
const echoTarget = (request: Request): Response =>
  new Response(target(request));
const echoText = async (request: Request): Promise<Response> =>
  new Response(await request.text());

const CHUNKED = "POST /c HTTP/1.1\r\nHost: test\r\n" +
  "Transfer-Encoding: chunked\r\n\r\n";

/** Finishes later requests sooner: /9 before /8 before /7. */
function outOfOrder(count: number): (request: Request) => Promise<Response> {
  const waiting = new Map<number, () => void>();
  const start = (): void => {
    for (const number of [...waiting.keys()].sort((a, b) => b - a)) {
      waiting.get(number)!();
    }
    waiting.clear();
  };
  return (request) => {
    const number = Number(target(request).slice(1));
    const { promise, resolve } = Promise.withResolvers<Response>();
    waiting.set(number, () => resolve(new Response(`/${number}`)));
    if (number === count - 1) start();
    else setTimeout(start, 1);
    return promise;
  };
}

async function readInOrder(client: RawClient, count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    const response = await client.response();
    assertEquals([response.status, response.text], [200, `/${number}`]);
  }
}

const numbered = (count: number): string =>
  Array.from({ length: count }, (_, i) => get(`/${i}`)).join("");

testBackends("a connection carries one request after another", async (t) => {
  const server = t.serve(echoTarget);
  const client = t.using(await RawClient.connect(server));
  for (let number = 0; number < 20; number++) {
    const response = await client.request(get(`/${number}`));
    assertEquals(response.text, `/${number}`);
    assertEquals(response.version, "HTTP/1.1");
    assertEquals(response.field("connection"), null);
    assert(!Number.isNaN(Date.parse(response.field("date")!)));
  }
  assertEquals(server.statistics().accepted, 1);
});

testBackends("pipelined requests are answered in order, sync", async (t) => {
  const server = t.serve(echoTarget);
  const client = t.using(await RawClient.connect(server));
  await client.write(numbered(100));
  await readInOrder(client, 100);
});

testBackends("pipelined requests that repeat are each their own", async (t) => {
  const seen = new Set<Request>();
  const server = t.serve((request) => {
    seen.add(request);
    return new Response(`${request.url} ${request.headers.get("x")}`);
  });
  const client = t.using(await RawClient.connect(server));
  const rows = ["/a 1", "/a 1", "/a 2", "/b 2", "/b 2", "/b 2", "/a 1"];
  for (let round = 0; round < 3; round++) {
    const requests = rows.map((row) => {
      const [path, x] = row.split(" ");
      return get(path!, `X: ${x}\r\n`);
    });
    await client.write(requests.join(""));
    for (const row of rows) {
      assertEquals((await client.response()).text, `http://test${row}`);
    }
  }
  assertEquals(seen.size, 3 * rows.length);
});

testBackends("pipelined requests are answered in order, async", async (t) => {
  const server = t.serve(outOfOrder(50));
  const client = t.using(await RawClient.connect(server));
  await client.write(numbered(50));
  await readInOrder(client, 50);
});

testBackends("pipelined requests are answered in order, mixed", async (t) => {
  const server = t.serve((request) => {
    const path = target(request);
    const number = Number(path.slice(1));
    if (number % 3 === 0) return new Response(path);
    if (number % 3 === 1) return Promise.resolve(new Response(path));
    return turn().then(() => new Response(path));
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(numbered(100));
  await readInOrder(client, 100);
});

testBackends("pipelined bodies go to their own requests", async (t) => {
  const server = t.serve(async (request) => {
    if (target(request) === "/late") await turn();
    return new Response(`${target(request)}=${await request.text()}`);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(
    post("/late", "one") + get("/get") + post("/now", "two") +
      CHUNKED + "3\r\nthr\r\n2\r\nee\r\n0\r\n\r\n" + post("/late", ""),
  );
  const texts: string[] = [];
  for (let i = 0; i < 5; i++) texts.push((await client.response()).text);
  assertEquals(texts, ["/late=one", "/get=", "/now=two", "/c=three", "/late="]);
});

testBackends("a pipelined body may come late", async (t) => {
  const go = Promise.withResolvers<void>();
  const server = t.serve(async (request) => {
    if (target(request) === "/first") await go.promise;
    return new Response(await request.text());
  });
  const client = t.using(await RawClient.connect(server));
  const first = get("/first");
  const second = post("/second", "0123456789");
  await client.write(first + second.slice(0, -5));
  await until(
    () =>
      server.statistics().receivedBytes === first.length + second.length - 5,
    "both heads",
  );
  await turn();
  go.resolve();
  assertEquals((await client.response()).text, "");
  assertEquals((await client.request(second.slice(-5))).text, "0123456789");
  assertEquals((await client.request(post("/x", "next"))).text, "next");
});

testBackends("a request cut at every byte is one request", async (t) => {
  const server = t.serve(echoText);
  const client = t.using(await RawClient.connect(server));
  const bytes = post("/cut", "0123456789");
  for (let at = 1; at < bytes.length; at += 3) {
    await client.write(bytes.slice(0, at));
    await turn();
    const response = await client.request(bytes.slice(at));
    assertEquals(response.text, "0123456789");
  }
});

testBackends("HEAD is answered with the head of GET", async (t) => {
  const server = t.serve((request) =>
    target(request) === "/stream"
      ? new Response(new Blob(["stream"]).stream())
      : new Response("hello")
  );
  const client = t.using(await RawClient.connect(server));
  const head = await client.request("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
  assertEquals(head.field("content-length"), "5");
  const stream = await client.request(
    "HEAD /stream HTTP/1.1\r\nHost: test\r\n\r\n",
  );
  assertEquals(stream.status, 200);
  assertEquals((await client.request(get("/"))).text, "hello");
});

testBackends("POST bodies are read with Content-Length", async (t) => {
  const server = t.serve(async (request) =>
    new Response(await request.bytes())
  );
  const client = t.using(await RawClient.connect(server));
  for (const length of [0, 1, 255, 4096, 16384, 70_001, 1_000_003]) {
    const body = pattern(length);
    await client.write(
      `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ${length}\r\n\r\n`,
    );
    const [response] = await Promise.all([
      client.response(),
      client.write(body),
    ]);
    assertEquals(response.body.length, length);
    assert(response.body.every((byte, at) => byte === body[at]));
  }
});

testBackends("POST bodies are read when chunked", async (t) => {
  const server = t.serve(echoText);
  const client = t.using(await RawClient.connect(server));
  const forms = [
    "5\r\nhello\r\n0\r\n\r\n",
    "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
    '5;name=value;other="a;b"\r\nhello\r\n0;x\r\n\r\n',
    "00005\r\nhello\r\n000\r\nTrailer: ignored\r\nX: y\r\n\r\n",
  ];
  for (const form of forms) {
    assertEquals((await client.request(CHUNKED + form)).text, "hello");
  }
  await client.write(CHUNKED);
  for (const piece of forms[2]!) {
    await client.write(piece);
    await turn();
  }
  assertEquals((await client.response()).text, "hello");
});

testBackends("a request body can be streamed", async (t) => {
  const first = Promise.withResolvers<void>();
  const server = t.serve(async (request) => {
    let length = 0;
    for await (const piece of request.body!) {
      length += piece.length;
      first.resolve();
    }
    return new Response(String(length));
  });
  const client = t.using(await RawClient.connect(server));
  const length = 3_000_000;
  await client.write(
    `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ${length}\r\n\r\nx`,
  );
  await first.promise;
  await client.write("x".repeat(length - 1));
  assertEquals((await client.response()).text, String(length));
});

testBackends("a request body can go back as it comes", async (t) => {
  const server = t.serve((request) => new Response(request.body));
  const client = t.using(await RawClient.connect(server));
  await client.write(CHUNKED + "3\r\none\r\n");
  await client.through("3\r\none\r\n");
  await client.write("3\r\ntwo\r\n0\r\n\r\n");
  assertEquals(
    fromLatin1(await client.through("0\r\n\r\n")),
    "3\r\ntwo\r\n0\r\n\r\n",
  );
});

testBackends("a body that is never read keeps the connection", async (t) => {
  const server = t.serve(echoTarget);
  const client = t.using(await RawClient.connect(server));
  for (let round = 0; round < 5; round++) {
    const response = await client.request(post("/unread", "x".repeat(5000)));
    assertEquals(response.text, "/unread");
    assertEquals(response.field("connection"), null);
  }
});

testBackends("an early answer to a huge body closes", async (t) => {
  const server = t.serve(echoTarget);
  const client = t.using(await RawClient.connect(server));
  await client.write(
    "POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\nxxx",
  );
  const response = await client.response();
  assertEquals(response.text, "/early");
  assertEquals(response.field("connection"), "close");
  assertEquals((await client.ending()).text, "");
});

testBackends("an early answer while a small body comes keeps", async (t) => {
  const server = t.serve(echoTarget);
  const client = t.using(await RawClient.connect(server));
  const bytes = post("/early", "x".repeat(1000));
  const response = await client.request(bytes.slice(0, -500));
  assertEquals(response.text, "/early");
  assertEquals(response.field("connection"), null);
  await client.write(bytes.slice(-500));
  assertEquals((await client.request(get("/next"))).text, "/next");
});

testBackends("a body cut short rejects text() and closes", async (t) => {
  const failures: unknown[] = [];
  const server = t.serve(async (request) => {
    try {
      return new Response(await request.text());
    } catch (error) {
      failures.push(error);
      throw error;
    }
  }, { onError: () => new Response("failed", { status: 500 }) });
  const client = t.using(await RawClient.connect(server));
  await client.write(post("/", "0123456789").slice(0, -5));
  await client.closeWrite();
  const response = await client.response();
  assertEquals(response.status, 500);
  assertEquals(await client.rest(), "");
  assert(failures[0] instanceof Deno.errors.UnexpectedEof);
});

testBackends("a body cut short errors the stream of the body", async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = t.serve(async (request) => {
    await assertRejects(async () => {
      for await (const _ of request.body!);
    });
    resolve();
    return new Response("late");
  });
  const client = await RawClient.connect(server);
  await client.write(post("/", "0123456789").slice(0, -5));
  await until(() => server.statistics().receivedBytes > 0, "the request");
  client.close();
  await promise;
});

testBackends("100 Continue is sent once, when the body is read", async (t) => {
  const server = t.serve(async (request) => {
    if (target(request) === "/refuse") {
      return new Response("no", { status: 417 });
    }
    return new Response(await request.text() + await turn());
  });
  const expect = "Expect: 100-continue\r\n";
  const client = t.using(await RawClient.connect(server));
  await client.write(post("/", "body!", expect).slice(0, -5));
  const interim = await client.response();
  assertEquals([interim.status, interim.fields], [100, []]);
  const final = await client.request("body!");
  assertEquals([final.status, final.text], [200, "body!undefined"]);
  const refused = await client.request(
    post("/refuse", "body!", expect).slice(0, -5),
  );
  assertEquals([refused.status, refused.field("connection")], [417, "close"]);
  assertEquals(await client.rest(), "");
});

testBackends("100 Continue is not sent when the body is there", async (t) => {
  const server = t.serve(echoText);
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    post("/", "body!", "Expect: 100-continue\r\n"),
  );
  // A server may leave it out once the body has begun (RFC 9110 10.1.1).
  const final = response.status === 100 ? await client.response() : response;
  assertEquals([final.status, final.text], [200, "body!"]);
});

testBackends("100 Continue is not sent to HTTP/1.0", async (t) => {
  const server = t.serve(echoText);
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    "POST / HTTP/1.0\r\nHost: test\r\nExpect: 100-continue\r\n" +
      "Content-Length: 2\r\n\r\nhi",
  );
  assertEquals([response.status, response.text], [200, "hi"]);
});

testBackends("HTTP/1.0 closes unless it asks for keep-alive", async (t) => {
  const server = t.serve(echoTarget);
  const closing = t.using(await RawClient.connect(server));
  const first = await closing.request("GET /0 HTTP/1.0\r\n\r\n");
  assertEquals(first.text, "/0");
  assertEquals(first.field("connection"), "close");
  assertEquals(await closing.rest(), "");
  const keeping = t.using(await RawClient.connect(server));
  const ask = "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  for (let round = 0; round < 3; round++) {
    const response = await keeping.request(ask);
    assertEquals(response.text, "/1");
    assertEquals(response.field("connection"), "keep-alive");
  }
});

testBackends("HTTP/1.0 gets a stream up to the end", async (t) => {
  const server = t.serve(() => new Response(new Blob(["streamed"]).stream()));
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  );
  assertEquals(response.field("transfer-encoding"), null);
  assertEquals(response.field("connection"), "close");
  assertEquals(response.text, "streamed");
});

testBackends("Connection: close ends after the answer", async (t) => {
  const targets: string[] = [];
  const server = t.serve((request) => {
    targets.push(target(request));
    return echoTarget(request);
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    get("/last", "Connection: close\r\n") + get("/never"),
  );
  assertEquals(response.text, "/last");
  assertEquals(response.field("connection"), "close");
  assertEquals((await client.ending()).text, "");
  assertEquals(targets, ["/last"]);
});

testBackends("a handler's Connection: close is honoured", async (t) => {
  const server = t.serve(() =>
    new Response("bye", { headers: { connection: "close" } })
  );
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/"));
  assertEquals([response.text, response.field("connection")], ["bye", "close"]);
  assertEquals(await client.rest(), "");
});

testBackends("a half-closed client gets all its answers", async (t) => {
  const server = t.serve(async (request) => {
    await turn();
    return echoTarget(request);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(numbered(3));
  await client.closeWrite();
  await readInOrder(client, 3);
  assertEquals(await client.rest(), "");
});

testBackends("a client that connects and leaves harms nobody", async (t) => {
  const server = t.serve(echoTarget);
  for (let round = 0; round < 20; round++) {
    (await RawClient.connect(server)).close();
  }
  const half = t.using(await RawClient.connect(server));
  await half.write("GET /half HT");
  await half.closeWrite();
  assertEquals(await half.rest(), "");
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/x"))).text, "/x");
  await until(
    () => server.statistics().connections === 1,
    "the connections to be forgotten",
  );
});

testBackends("one CRLF before a request is ignored", async (t) => {
  const server = t.serve(echoTarget);
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request("\r\n" + get("/a"))).text, "/a");
  const after = post("/b", "x") + "\r\n" + get("/c");
  assertEquals((await client.request(after)).text, "/b");
  assertEquals((await client.response()).text, "/c");
});

testBackends("an absolute target makes the URL", async (t) => {
  const server = t.serve((request) => new Response(request.url));
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    "GET http://other.example/path?q HTTP/1.1\r\nHost: test\r\n\r\n",
  );
  assertEquals(response.text, "http://other.example/path?q");
  const star = await client.request(
    "OPTIONS * HTTP/1.1\r\nHost: test:80\r\n\r\n",
  );
  assertEquals(star.text, "http://test:80/*");
});

testBackends("each request of a connection has its own Host", async (t) => {
  const server = t.serve((request) => new Response(request.url));
  const client = t.using(await RawClient.connect(server));
  const keep = "Connection: keep-alive\r\n";
  const authority = `localhost:${server.addr.port}`;
  const cases: [fields: string, version: string, authority: string][] = [
    ["Host: a\r\n", "1.1", "a"],
    ["Host: a\r\n", "1.1", "a"],
    ["Host: ab\r\n", "1.1", "ab"],
    ["HOST:a\r\n", "1.1", "a"],
    ["X: y\r\nHost: b:81\r\n", "1.1", "b:81"],
    ["Host: \r\n", "1.1", authority],
    [keep, "1.0", authority],
    [`Host: c\r\n${keep}`, "1.0", "c"],
    [`${keep}Host: d\r\n`, "1.0", "d"],
    ["Host: a\r\n", "1.1", "a"],
  ];
  for (const pipelined of [false, true]) {
    const requests = cases.map(([fields, version]) =>
      `GET /x HTTP/${version}\r\n${fields}\r\n`
    );
    if (pipelined) await client.write(requests.join(""));
    for (const [i, [, , expected]] of cases.entries()) {
      if (!pipelined) await client.write(requests[i]!);
      assertEquals((await client.response()).text, `http://${expected}/x`);
    }
  }
});

testBackends("a Request can be read long after its response", async (t) => {
  const kept: Request[] = [];
  const server = t.serve((request) => {
    kept.push(request);
    return new Response("ok");
  });
  const client = t.using(await RawClient.connect(server));
  for (let i = 0; i < 50; i++) {
    await client.write(
      get(`/kept/${i}`, `X-Number: ${i}\r\nX-Fill: ${"f".repeat(i * 7)}\r\n`),
    );
    await client.response();
  }
  await client.write(numbered(100));
  for (let i = 0; i < 100; i++) await client.response();
  client.close();
  await server.shutdown({ timeout: 1 });
  for (let i = 0; i < 50; i++) {
    assertEquals(kept[i]!.url, `http://test/kept/${i}`);
    assertEquals(kept[i]!.method, "GET");
    assertEquals(kept[i]!.headers.get("x-number"), `${i}`);
    assertEquals(kept[i]!.headers.get("x-fill")?.length, i * 7);
  }
});

testBackends("header values are Latin-1", async (t) => {
  const server = t.serve((request) => {
    const value = request.headers.get("x-name")!;
    return new Response(value, { headers: { "x-name": value } });
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/", "X-Name: J\xfcrgen\r\n"));
  assertEquals(response.field("x-name"), "J\xfcrgen");
  assertEquals(
    fromLatin1(response.body),
    fromLatin1(
      new TextEncoder().encode("Jürgen"),
    ),
  );
  assertEquals(latin1("J\xfcrgen").length, 6);
});

testBackends(
  "64 KiB of a chunked body that nobody reads are dropped",
  async (t) => {
    const server = t.serve(() => new Response("answered"));
    const chunked = (length: number): string =>
      `POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n` +
      `${length.toString(16)}\r\n${"x".repeat(length)}\r\n0\r\n\r\n`;
    const client = t.using(await RawClient.connect(server));
    assertEquals((await client.request(chunked(60_000))).text, "answered");
    assertEquals((await client.request(get("/"))).text, "answered");
    await client.write(chunked(200_000) + get("/"));
    const { text } = await client.ending();
    assertEquals(text.split("answered").length, 2, "One answer, and the end");
  },
);
