// SPDX-License-Identifier: Apache-2.0
// Tests of what is refused: malformed and oversized requests (RFC 9112), each
// with its status, and nothing of what follows is taken for a request.

import { assert, assertEquals } from "@std/assert";
import { get, RawClient } from "./raw_client.ts";
import { ResettableSocket } from "./libc.ts";
import { latin1, sleep, testBackends, until } from "./testing.ts";

interface Refusal {
  what: string;
  status: number;
  bytes: string;
}

const LINE = "GET / HTTP/1.1\r\n";
const HOST = "Host: test\r\n";
const POST = "POST / HTTP/1.1\r\nHost: test\r\n";
const CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n";

function refused(
  status: number,
  cases: Record<string, string>,
): Refusal[] {
  return Object.entries(cases).map(([what, bytes]) => ({
    what,
    status,
    bytes,
  }));
}

const REFUSALS: Refusal[] = [
  ...refused(400, {
    "H2 lone LF after the request line": "GET / HTTP/1.1\nHost: test\r\n\r\n",
    "H2 lone LF after a field": `${LINE}Host: test\nX: y\r\n\r\n`,
    "H2 lone LF at the end of the head": `${LINE}${HOST}\n`,
    "H3 bare CR in a field value": `${LINE}${HOST}X: a\rb\r\n\r\n`,
    "H3 bare CR in the request line": "GET /\r HTTP/1.1\r\nHost: t\r\n\r\n",
    "H5 blank before the first field": `${LINE} ${HOST}\r\n`,
    "H6 no request": "\0\0\0\0\r\n\r\n",
    "H6 a TLS ClientHello": "\x16\x03\x01\x00\x05hello\r\n\r\n",
    "H7 lower-case version": "GET / http/1.1\r\nHost: test\r\n\r\n",
    "H7 no version": "GET /\r\nHost: test\r\n\r\n",
    "H7 version with two digits": "GET / HTTP/1.10\r\nHost: test\r\n\r\n",
    "H7 version without a digit": "GET / HTTP/1.\r\nHost: test\r\n\r\n",
    "H8 method is no token": "G@T / HTTP/1.1\r\nHost: test\r\n\r\n",
    "H8 empty method": " / HTTP/1.1\r\nHost: test\r\n\r\n",
    "H10 two blanks before the target": "GET  / HTTP/1.1\r\nHost: t\r\n\r\n",
    "H10 two blanks behind the target": "GET /  HTTP/1.1\r\nHost: t\r\n\r\n",
    "H10 tab before the target": "GET\t/ HTTP/1.1\r\nHost: test\r\n\r\n",
    "H10 blank in the target": "GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
    "H10 fragment in the target": "GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n",
    "H10 NUL in the target": "GET /a\0 HTTP/1.1\r\nHost: test\r\n\r\n",
    "H10 byte above 127 in the target": "GET /\xfc HTTP/1.1\r\nHost: t\r\n\r\n",
    "H10 relative target": "GET a HTTP/1.1\r\nHost: test\r\n\r\n",
    "H11 no Host": `${LINE}X: y\r\n\r\n`,
    "H11 two Hosts": `${LINE}${HOST}Host: other\r\n\r\n`,
    "H11 two equal Hosts": `${LINE}${HOST}${HOST}\r\n`,
    "H11 two Hosts in HTTP/1.0": `GET / HTTP/1.0\r\n${HOST}${HOST}\r\n`,
    "H11 Host with a comma": `${LINE}Host: a,b\r\n\r\n`,
    "H11 Host with user information": `${LINE}Host: user@a\r\n\r\n`,
    "H11 Host with a path": `${LINE}Host: a/b\r\n\r\n`,
    "H11 Host with a bad port": `${LINE}Host: a:b\r\n\r\n`,
    "H11 Host with a blank": `${LINE}Host: a b\r\n\r\n`,
    "H11 Host that is no address": `${LINE}Host: 1.256.0.1\r\n\r\n`,
    "H11 Host that is no name": `${LINE}Host: a%2Fb:80\r\n\r\n`,
    "H11 Host that is no name, with a body":
      "POST / HTTP/1.1\r\nHost: xn--a\r\nContent-Length: 4\r\n\r\nbody",
    "H12 target whose host is no name":
      `GET http://xn--a/ HTTP/1.1\r\n${HOST}\r\n`,
    "H13 CONNECT to what is no address":
      `CONNECT a.1:80 HTTP/1.1\r\n${HOST}\r\n`,
    "H4 nine empty lines": "\r\n".repeat(9) + get("/"),
    "H13 star for GET": "GET * HTTP/1.1\r\nHost: test\r\n\r\n",
    "H14 blank before the colon": `${LINE}Host : test\r\n\r\n`,
    "H15 folded line": `${LINE}${HOST}X: a\r\n b\r\n\r\n`,
    "H16 empty field name": `${LINE}${HOST}: x\r\n\r\n`,
    "H16 no colon": `${LINE}${HOST}X\r\n\r\n`,
    "H16 bracket in a field name": `${LINE}${HOST}X[]: x\r\n\r\n`,
    "H16 byte above 127 in a name": `${LINE}${HOST}X\xfc: x\r\n\r\n`,
    "H17 NUL in a field value": `${LINE}${HOST}X: a\0b\r\n\r\n`,
    "H17 control in a field value": `${LINE}${HOST}X: a\x01b\r\n\r\n`,
    "H17 DEL in a field value": `${LINE}${HOST}X: a\x7fb\r\n\r\n`,
    "H18 both framings":
      `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    "H19 chunked in HTTP/1.0":
      "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "H20 chunked twice":
      `${POST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`,
    "H20 chunked in two fields": `${
      CHUNKED.slice(0, -2)
    }Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    "H20 empty Transfer-Encoding": `${POST}Transfer-Encoding: \r\n\r\n`,
    "H22 Content-Length with sign": `${POST}Content-Length: +5\r\n\r\nhello`,
    "H22 negative Content-Length": `${POST}Content-Length: -5\r\n\r\nhello`,
    "H22 hexadecimal Content-Length": `${POST}Content-Length: 0x5\r\n\r\nhello`,
    "H22 Content-Length with underscore":
      `${POST}Content-Length: 1_0\r\n\r\nhello`,
    "H22 empty Content-Length": `${POST}Content-Length: \r\n\r\n`,
    "H22 list of equal Content-Lengths":
      `${POST}Content-Length: 5, 5\r\n\r\nhello`,
    "H22 two equal Content-Lengths":
      `${POST}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
    "H22 two Content-Lengths":
      `${POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
    "H22 Content-Length overflows":
      `${POST}Content-Length: 99999999999999999999\r\n\r\n`,
    "H23 no chunk size": `${CHUNKED}\r\nhello\r\n0\r\n\r\n`,
    "H23 chunk size with 0x": `${CHUNKED}0x5\r\nhello\r\n0\r\n\r\n`,
    "H23 chunk size with sign": `${CHUNKED}+5\r\nhello\r\n0\r\n\r\n`,
    "H23 chunk size with blank before": `${CHUNKED} 5\r\nhello\r\n0\r\n\r\n`,
    "H23 chunk size overflows": `${CHUNKED}ffffffffffffffff1\r\nx`,
    "H23 chunk size with underscore": `${CHUNKED}1_0\r\nhello`,
    "H24 chunk extension with LF": `${CHUNKED}5;a\nhello\r\n0\r\n\r\n`,
    "H24 chunk extension with CR": `${CHUNKED}5;a\rb\r\nhello\r\n0\r\n\r\n`,
    "H24 bare semicolon": `${CHUNKED}5;\r\nhello\r\n0\r\n\r\n`,
    "H24 endless chunk extension": `${CHUNKED}5;${"a".repeat(70_000)}`,
    "H25 chunk ends without CRLF": `${CHUNKED}5\r\nhelloXX0\r\n\r\n`,
    "H25 chunk ends with LF": `${CHUNKED}5\r\nhello\n0\r\n\r\n`,
    "H26 malformed trailer": `${CHUNKED}0\r\nX : y\r\n\r\n`,
    "H26 folded trailer": `${CHUNKED}0\r\nX: y\r\n z\r\n\r\n`,
  }),
  ...refused(413, {
    "H22 body over the limit": `${POST}Content-Length: 100001\r\n\r\n`,
    "H23 chunks over the limit": `${CHUNKED}186a1\r\n`,
  }),
  ...refused(414, {
    "H9 target too long": `GET /${"x".repeat(8192)} HTTP/1.1\r\n${HOST}\r\n`,
    "H9 endless target": `GET /${"x".repeat(16_000)}`,
  }),
  ...refused(417, {
    "H34 unknown expectation": `${POST}Expect: money\r\n\r\n`,
  }),
  ...refused(431, {
    "H39 head too large": `${LINE}${HOST}X: ${"y".repeat(16_384)}\r\n\r\n`,
    "H39 endless head": `${LINE}${HOST}X: ${"y".repeat(20_000)}`,
    "H39 too many fields": `${LINE}${HOST}${"X: y\r\n".repeat(100)}\r\n`,
  }),
  ...refused(501, {
    "H20 unknown transfer coding":
      `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
    "H21 identity": `${POST}Transfer-Encoding: identity\r\n\r\n`,
  }),
  ...refused(505, {
    "H7 HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "H7 HTTP/3": "GET / HTTP/3.0\r\nHost: test\r\n\r\n",
  }),
];

for (const { what, status, bytes } of REFUSALS) {
  testBackends(`a request is refused with ${status}: ${what}`, async (t) => {
    let calls = 0;
    const server = t.serve(async (request) => {
      calls++;
      await request.text();
      return new Response("should not be seen");
    }, {
      maxBodyBytes: 100_000,
      onError: () => new Response("failed", { status: 500 }),
    });
    const client = t.using(await RawClient.connect(server));
    // What follows a refused request must not be taken for another one.
    await client.write(bytes + get("/smuggled"));
    const first = await client.response();
    // The handler was at work already when the body turned out bad.
    const response = first.status === 500 && calls === 1 &&
        first.field("connection") !== "close"
      ? await client.response()
      : first;
    assert(
      response.status === status || (calls === 1 && response.status === 500),
      `${response.status} ${response.text}`,
    );
    assertEquals(response.field("connection"), "close");
    assertEquals((await client.ending()).text, "");
    assert(calls <= 1, "smuggled");
  });
}

testBackends("a refusal comes after the answers before it", async (t) => {
  const server = t.serve(async (request) => {
    await Promise.resolve();
    return new Response(request.url);
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/1") + get("/2") + "BAD\r\n\r\n" + get("/3"));
  assertEquals((await client.response()).text, "http://test/1");
  assertEquals((await client.response()).text, "http://test/2");
  assertEquals((await client.response()).status, 400);
  assertEquals((await client.ending()).text, "");
});

testBackends("a refused host comes after the answers before it", async (t) => {
  const hosts: string[] = [];
  const server = t.serve(async (request) => {
    await Promise.resolve();
    hosts.push(new URL(request.url).host);
    return new Response(request.url);
  });
  const client = t.using(await RawClient.connect(server));
  const to = (host: string): string =>
    `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  await client.write(to("a") + to("127.1") + to("1.256.0.1") + to("b"));
  assertEquals((await client.response()).text, "http://a/");
  assertEquals((await client.response()).text, "http://127.1/");
  assertEquals((await client.response()).status, 400);
  assertEquals((await client.ending()).text, "");
  assertEquals(hosts, ["a", "127.0.0.1"]);
});

// Each is a host by the grammar of RFC 3986, and some are none by that of URLs.
const HOST_PARTS = [
  ..."a Z 0 7 9 127 256 0x 0x7f . . - -- xn-- xn--ls8h _ ~ ! $ &".split(" "),
  ..."%41 %2F %2e %30 %C3%A4 %FF %00 %25".split(" "),
];

function madeUpHosts(count: number): string[] {
  let seed = 1;
  const random = (below: number): number => {
    seed = (seed * 48271) % 0x7fffffff;
    return seed % below;
  };
  return Array.from({ length: count }, () => {
    const parts = Array.from(
      { length: 1 + random(5) },
      () => HOST_PARTS[random(HOST_PARTS.length)],
    );
    return parts.join("");
  });
}

testBackends("a handler gets a URL that parses, or no request", async (t) => {
  const server = t.serve((request) => new Response(new URL(request.url).host));
  const hosts = madeUpHosts(500);
  const valid = hosts.filter((host) => URL.canParse(`http://${host}/`));
  assert(valid.length > 100 && hosts.length - valid.length > 100);
  for (const host of hosts) {
    const client = t.using(await RawClient.connect(server));
    const { status, text } = await client.request(
      `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    const url = URL.parse(`http://${host}/`);
    assertEquals(status, url === null ? 400 : 200, host);
    if (url !== null) assertEquals(text, url.host);
  }
});

testBackends("a refusal harms no other connection", async (t) => {
  const server = t.serve((request) => new Response(request.url));
  const good = t.using(await RawClient.connect(server));
  for (let round = 0; round < 20; round++) {
    const bad = t.using(await RawClient.connect(server));
    await bad.write("BAD\r\n\r\n");
    assertEquals((await good.request(get(`/${round}`))).status, 200);
    assertEquals((await bad.response()).status, 400);
  }
});

testBackends("limits let through what just fits", async (t) => {
  const server = t.serve(async (request) => {
    const { length } = await request.text();
    return new Response(`${request.url.length} ${length}`);
  }, { maxBodyBytes: 1000, maxHeaderFields: 10, maxTargetBytes: 100 });
  const client = t.using(await RawClient.connect(server));
  const path = "/" + "x".repeat(99);
  const fields = "X: y\r\n".repeat(8);
  const response = await client.request(
    `POST ${path} HTTP/1.1\r\n${HOST}${fields}Content-Length: 1000\r\n\r\n` +
      "b".repeat(1000),
  );
  assertEquals(response.text, `${"http://test".length + 100} 1000`);
  const chunked = await client.request(
    `${CHUNKED}3e7\r\n${"b".repeat(999)}\r\n1\r\nb\r\n0\r\n\r\n`,
  );
  assertEquals(chunked.text, `${"http://test/".length} 1000`);
});

testBackends("a slow head is answered with 408", async (t) => {
  const server = t.serve(() => new Response(), { headTimeout: 300 });
  const client = t.using(await RawClient.connect(server));
  await client.write("GET / HTTP/1.1\r\n");
  const response = await client.response();
  assertEquals(response.status, 408);
  assertEquals(response.field("connection"), "close");
  assertEquals(await client.rest(), "");
  assert(server.statistics().timeouts >= 1);
});

testBackends("a body that does not come is answered with 408", async (t) => {
  const server = t.serve(
    async (request) => new Response(await request.text()),
    {
      bodyTimeout: 300,
      onError: () => new Response("failed", { status: 500 }),
    },
  );
  const client = t.using(await RawClient.connect(server));
  await client.write(`${POST}Content-Length: 5\r\n\r\nhe`);
  const response = await client.response();
  assert([408, 500].includes(response.status), `${response.status}`);
  assertEquals(response.field("connection"), "close");
  assertEquals(await client.rest(), "");
});

testBackends("an idle connection is closed", async (t) => {
  const server = t.serve(() => new Response("x"), { idleTimeout: 300 });
  const client = t.using(await RawClient.connect(server));
  await client.request(get("/"));
  assertEquals(await client.rest(), "");
});

testBackends("a handler may take longer than the idle timeout", async (t) => {
  const server = t.serve(async () => {
    await sleep(900);
    return new Response("slow");
  }, { idleTimeout: 300, headTimeout: 300, bodyTimeout: 300 });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/"))).text, "slow");
});

testBackends("a peer that takes nothing is cut off", async (t) => {
  const server = t.serve(() => new Response(new Uint8Array(20 << 20)), {
    stallTimeout: 300,
    maxQueueBytes: 64 << 20,
  });
  const socket = t.using(
    new ResettableSocket(server.addr.port, { receiveBytes: 4096 }),
  );
  socket.send(latin1(get("/")));
  await until(() => server.statistics().accepted === 1, "the connection");
  await until(() => server.statistics().connections === 0, "the cut");
  assert(server.statistics().timeouts >= 1);
});
