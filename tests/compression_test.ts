// SPDX-License-Identifier: Apache-2.0
// Tests of lib/compression.ts: which responses are compressed, how, and what
// their fields say then.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { compressionOf, type CompressOptions } from "../lib/compression.ts";
import { serve } from "../mod.ts";
import { get, RawClient, type RawResponse } from "./raw_client.ts";
import { type Context, quiet, testBackends, withoutErrors } from "./testing.ts";

const TEXT = "All work and no play makes Jack a dull boy. ".repeat(100);
const HTML = "text/html; charset=utf-8";

/** Coding of the response, or "identity"; checks that the body fits it. */
function codingOf(response: RawResponse, text: string): string {
  const coding = response.field("content-encoding") ?? "identity";
  const body = coding === "gzip"
    ? gunzipSync(response.body)
    : coding === "br"
    ? brotliDecompressSync(response.body)
    : response.body;
  assertEquals(new TextDecoder().decode(body), text);
  return coding;
}

/** Answers GET / with what `respond` makes, and reads it. */
async function ask(
  t: Context,
  respond: () => Response,
  fields: string = "Accept-Encoding: gzip\r\n",
  compress: boolean | CompressOptions = true,
): Promise<RawResponse> {
  const server = t.serve(respond, { compress });
  const client = t.using(await RawClient.connect(server));
  return await client.request(get("/", fields));
}

function textStream(text: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new Blob([text]).stream();
}

const ACCEPTED: [accept: string | null, coding: string][] = [
  [null, "identity"],
  ["", "identity"],
  ["gzip", "gzip"],
  ["br", "br"],
  ["GZip", "gzip"],
  ["gzip, deflate, br, zstd", "br"],
  ["br, gzip", "br"],
  ["gzip;q=1.0, br;q=0.9", "gzip"],
  ["gzip;q=0.5, br;q=0.5", "br"],
  ["gzip;q=0.001", "gzip"],
  ["gzip;q=0", "identity"],
  ["gzip;q=0, br", "br"],
  ["gzip;q=0, br;q=0", "identity"],
  ["*", "br"],
  ["br;q=0, *", "gzip"],
  ["*;q=0", "identity"],
  ["*;q=0, gzip", "gzip"],
  ["identity", "identity"],
  ["identity;q=0", "identity"],
  ["identity;q=0, gzip", "gzip"],
  ["identity, gzip;q=0.5", "identity"],
  ["identity;q=0.5, gzip;q=0.8", "gzip"],
  ["deflate, zstd", "identity"],
  ["x-br, brotli", "identity"],
  [" , gzip ; q=0.3,,", "gzip"],
  ["gzip;q=nonsense", "identity"],
];

testBackends("Accept-Encoding decides about the coding", async (t) => {
  const server = t.serve(() => new Response(TEXT), { compress: true });
  const client = t.using(await RawClient.connect(server));
  for (const [accept, expected] of ACCEPTED) {
    const fields = accept === null ? "" : `Accept-Encoding: ${accept}\r\n`;
    const response = await client.request(get("/", fields));
    assertEquals([accept, codingOf(response, TEXT)], [accept, expected]);
    assertEquals(response.field("vary"), "accept-encoding", `${accept}`);
    assertEquals(
      Number(response.field("content-length")),
      response.body.length,
    );
  }
  const twice = "Accept-Encoding: gzip;q=0\r\nAccept-Encoding: br\r\n";
  assertEquals(codingOf(await client.request(get("/", twice)), TEXT), "br");
});

testBackends("the order of encodings decides between equals", async (t) => {
  const fields = "Accept-Encoding: br, gzip\r\n";
  const only = { encodings: ["gzip", "br"] } as const;
  const response = await ask(t, () => new Response(TEXT), fields, only);
  assertEquals(codingOf(response, TEXT), "gzip");
});

testBackends("a coding that is not among encodings is not used", async (t) => {
  const fields = "Accept-Encoding: br\r\n";
  const only = { encodings: ["gzip"] } as const;
  const response = await ask(t, () => new Response(TEXT), fields, only);
  assertEquals(codingOf(response, TEXT), "identity");
});

testBackends("nothing is compressed unless that is asked for", async (t) => {
  for (const compress of [false, undefined]) {
    const server = t.serve(
      () => new Response(TEXT),
      compress === undefined ? {} : { compress },
    );
    const client = t.using(await RawClient.connect(server));
    const response = await client.request(
      get("/", "Accept-Encoding: br, gzip\r\n"),
    );
    assertEquals(codingOf(response, TEXT), "identity");
    assertEquals(response.field("vary"), null);
  }
});

const TYPES: [type: string, compressed: boolean][] = [
  ["text/html", true],
  ["TEXT/HTML ; charset=utf-8", true],
  ["text/x-unheard-of", true],
  ["application/json", true],
  ["application/vnd.unheard-of+json", true],
  ["application/javascript", true],
  ["application/wasm", true],
  ["image/svg+xml", true],
  ["text/event-stream", false],
  ["image/png", false],
  ["video/mp4", false],
  ["application/zip", false],
  ["application/octet-stream", false],
  ["application/x-unheard-of", false],
  ["constructor", false],
  ["", false],
];

testBackends("the media type decides whether to compress", async (t) => {
  const server = t.serve(
    (request) => {
      const type = decodeURIComponent(new URL(request.url).search.slice(1));
      return new Response(TEXT, { headers: { "content-type": type } });
    },
    { compress: true },
  );
  const client = t.using(await RawClient.connect(server));
  for (const [type, compressed] of TYPES) {
    const response = await client.request(
      get(`/?${encodeURIComponent(type)}`, "Accept-Encoding: gzip\r\n"),
    );
    const coding = compressed ? "gzip" : "identity";
    assertEquals([type, codingOf(response, TEXT)], [type, coding]);
    assertEquals(response.field("vary"), compressed ? "accept-encoding" : null);
  }
});

testBackends("types is asked with the bare media type", async (t) => {
  const asked: string[] = [];
  const types = (type: string): boolean => {
    asked.push(type);
    return type === "application/x-mine";
  };
  const server = t.serve((request) =>
    new Response(TEXT, {
      headers: {
        "content-type": request.url.endsWith("mine")
          ? "Application/X-Mine; a=b"
          : HTML,
      },
    }), { compress: { types } });
  const client = t.using(await RawClient.connect(server));
  const fields = "Accept-Encoding: gzip\r\n";
  const mine = await client.request(get("/mine", fields));
  assertEquals(codingOf(mine, TEXT), "gzip");
  const html = await client.request(get("/html", fields));
  assertEquals(codingOf(html, TEXT), "identity");
  assertEquals(asked, ["application/x-mine", "text/html"]);
});

/** Bodies of one length, in each form that a response may keep it in. */
function bodies(length: number): [form: string, respond: () => Response][] {
  const text = "x".repeat(length);
  const headers = { "content-type": "text/plain" };
  const known = { ...headers, "content-length": String(length) };
  return [
    ["text", () => new Response(text)],
    ["bytes", () => new Response(new TextEncoder().encode(text), { headers })],
    ["stream", () => new Response(textStream(text), { headers: known })],
  ];
}

testBackends("bodies from the threshold on are compressed", async (t) => {
  const cases: [options: CompressOptions, length: number, coding: string][] = [
    [{}, 1023, "identity"],
    [{}, 1024, "gzip"],
    [{ threshold: 10 }, 9, "identity"],
    [{ threshold: 10 }, 10, "gzip"],
    [{ threshold: 0 }, 0, "gzip"],
  ];
  for (const [compress, length, coding] of cases) {
    for (const [form, respond] of bodies(length)) {
      const response = await ask(t, respond, undefined, compress);
      const what = `${length} bytes as ${form}`;
      assertEquals([what, codingOf(response, "x".repeat(length))], [
        what,
        coding,
      ]);
      // Too short for any client: nothing to choose from.
      assertEquals(response.field("vary") === null, coding === "identity");
    }
  }
});

testBackends("the threshold counts bytes, not characters", async (t) => {
  const text = "€".repeat(400);
  const response = await ask(t, () => new Response(text));
  assertEquals(codingOf(response, text), "gzip");
});

testBackends("a stream of unknown length is compressed", async (t) => {
  const headers = { "content-type": HTML };
  const response = await ask(
    t,
    () => new Response(textStream("short"), { headers }),
  );
  assertEquals(codingOf(response, "short"), "gzip");
  assertEquals(response.field("transfer-encoding"), "chunked");
});

const LEFT_ALONE: [why: string, init: ResponseInit][] = [
  ["it is coded", { headers: { "content-encoding": "zstd" } }],
  ["it opts out", { headers: { "content-encoding": "identity" } }],
  ["it opts out", { headers: { "cache-control": "no-transform" } }],
  ["it opts out", {
    headers: { "cache-control": "public,No-Transform , max-age=1" },
  }],
  ["it is a part", { status: 206 }],
  ["it is a part", {
    status: 416,
    headers: { "content-range": "bytes */9" },
  }],
  ["it is signed", { headers: { "content-digest": "sha-256=:AA==:" } }],
  ["it is signed", { headers: { "repr-digest": "sha-256=:AA==:" } }],
];

for (const [why, init] of LEFT_ALONE) {
  const what = JSON.stringify(init);
  testBackends(`a body is left alone where ${why}: ${what}`, async (t) => {
    const headers = { "content-type": HTML, ...init.headers };
    for (const body of [TEXT, textStream(TEXT)]) {
      const response = await ask(
        t,
        () => new Response(body, { ...init, headers }),
      );
      assertEquals(response.text, TEXT);
      assertEquals(response.field("vary"), null);
    }
  });
}

testBackends("a response without type or body is left alone", async (t) => {
  for (const status of [204, 205, 304]) {
    const headers = { "content-type": HTML, etag: '"a"' };
    const empty = await ask(t, () => new Response(null, { status, headers }));
    assertEquals([empty.status, empty.field("etag")], [status, '"a"']);
    assertEquals(empty.field("content-encoding"), null);
  }
  const bytes = new TextEncoder().encode(TEXT);
  const untyped = await ask(t, () => new Response(bytes));
  assertEquals(codingOf(untyped, TEXT), "identity");
});

testBackends("what was compressed is not compressed again", async (t) => {
  const fields = "Accept-Encoding: gzip\r\n";
  const response = await ask(t, () => {
    const stream = textStream(TEXT)
      .pipeThrough(new CompressionStream("gzip"));
    const headers = { "content-type": HTML, "content-encoding": "gzip" };
    return new Response(stream, { headers });
  }, fields);
  assertEquals(codingOf(response, TEXT), "gzip");
});

const VARIES: [given: string[], expected: string][] = [
  [[], "accept-encoding"],
  [["Origin"], "Origin, accept-encoding"],
  [["Origin", "Cookie, DNT"], "Origin, Cookie, DNT, accept-encoding"],
  [["Accept-Encoding"], "Accept-Encoding"],
  [["Origin ,ACCEPT-ENCODING"], "Origin ,ACCEPT-ENCODING"],
  [["accept-encoding-x"], "accept-encoding-x, accept-encoding"],
  [["*"], "*"],
];

testBackends("Vary names Accept-Encoding beside what it named", async (t) => {
  for (const [given, expected] of VARIES) {
    for (const accept of ["gzip", "identity"]) {
      const headers = given.map((value): [string, string] => ["Vary", value]);
      const response = await ask(
        t,
        () => new Response(TEXT, { headers }),
        `Accept-Encoding: ${accept}\r\n`,
      );
      assertEquals(codingOf(response, TEXT), accept);
      assertEquals(response.all("vary").join(", "), expected);
    }
  }
});

testBackends("fields of the plain body change, others stay", async (t) => {
  const headers = new Headers({
    "accept-ranges": "bytes",
    "content-length": String(TEXT.length),
    "content-type": HTML,
    etag: '"abc"',
    "x-other": "1",
  });
  headers.append("set-cookie", "a=1");
  headers.append("set-cookie", "b=2");
  let sent: Response | undefined;
  const respond = (): Response => sent = new Response(TEXT, { headers });
  const response = await ask(t, respond);
  assertEquals(codingOf(response, TEXT), "gzip");
  assertEquals(response.field("etag"), 'W/"abc"');
  assertEquals(response.field("accept-ranges"), null);
  assertEquals(response.field("x-other"), "1");
  assertEquals(response.all("set-cookie"), ["a=1", "b=2"]);
  // The handler's own Response is as it was.
  assertEquals([...sent!.headers], [...headers]);

  const plain = await ask(t, respond, "");
  assertEquals(plain.field("etag"), '"abc"');
  assertEquals(plain.field("accept-ranges"), "bytes");
});

testBackends("a weak ETag stays as it is", async (t) => {
  for (const etag of ['W/"a"', "bare"]) {
    const headers = { etag };
    const response = await ask(t, () => new Response(TEXT, { headers }));
    assertEquals(response.field("etag"), etag);
  }
});

testBackends("HEAD has the fields of GET and no body", async (t) => {
  let cancelled = 0;
  const long = TEXT.repeat(100);
  const server = t.serve((request) => {
    const headers = { "content-type": HTML };
    if (request.url.endsWith("stream")) {
      const cancel = (): void => void cancelled++;
      const pull = (c: ReadableStreamDefaultController): void => c.close();
      const stream = new ReadableStream({ pull, cancel }, { highWaterMark: 0 });
      return new Response(stream, { headers });
    }
    return new Response(request.url.endsWith("long") ? long : TEXT, {
      headers,
    });
  }, { compress: true });
  const client = t.using(await RawClient.connect(server));
  const names = ["content-type", "content-encoding", "vary", "content-length"];
  for (const path of ["/short", "/long", "/stream"]) {
    const request = get(path, "Accept-Encoding: br\r\n");
    const whole = await client.request(request);
    const head = await client.request(request.replace("GET", "HEAD"));
    const of = (r: RawResponse): unknown[] => names.map((n) => r.field(n));
    assertEquals([path, of(head)], [path, of(whole)]);
    assertEquals(head.field("content-encoding"), "br");
  }
  assertEquals(cancelled, 1);
});

testBackends("HEAD without a body has the fields of GET", async (t) => {
  const server = t.serve((request) => {
    const { searchParams } = new URL(request.url);
    const text = TEXT.slice(0, Number(searchParams.get("n")));
    const headers = {
      "content-type": searchParams.get("type")!,
      "content-length": String(text.length),
      "accept-ranges": "bytes",
      etag: '"a"',
    };
    const body = request.method === "HEAD" ? null : textStream(text);
    return new Response(body, { headers });
  }, { compress: true });
  const client = t.using(await RawClient.connect(server));
  const names = ["content-encoding", "vary", "content-length", "etag"];
  names.push("transfer-encoding", "accept-ranges");
  const fields = async (request: string): Promise<(string | null)[]> => {
    const response = await client.request(request);
    return names.map((name) => response.field(name));
  };
  for (const type of [HTML, "image/png"]) {
    for (const n of [1023, 1024, 2000]) {
      for (const accept of ["br", "identity"]) {
        const target = `/?n=${n}&type=${encodeURIComponent(type)}`;
        const request = get(target, `Accept-Encoding: ${accept}\r\n`);
        assertEquals(
          [target, accept, await fields(request.replace("GET", "HEAD"))],
          [target, accept, await fields(request)],
        );
      }
    }
  }
});

testBackends("304 has the tag of what the client has", async (t) => {
  const ask304 = async (etag: string, known: string): Promise<string> => {
    const respond = (): Response =>
      new Response(null, { status: 304, headers: { etag, vary: "origin" } });
    const response = await ask(t, respond, `If-None-Match: ${known}\r\n`);
    assertEquals([response.status, response.text], [304, ""]);
    return `${response.field("etag")} ${response.field("vary")}`;
  };
  assertEquals(await ask304('"a"', 'W/"a"'), 'W/"a" origin, accept-encoding');
  const list = '"b", W/"a"';
  assertEquals(await ask304('"a"', list), 'W/"a" origin, accept-encoding');
  assertEquals(await ask304('"a"', '"a"'), '"a" origin');
  assertEquals(await ask304('"a"', 'W/"ab"'), '"a" origin');
  assertEquals(await ask304('"a"', "*"), '"a" origin');
  assertEquals(await ask304('W/"a"', 'W/"a"'), 'W/"a" origin');
});

testBackends("an answer of onError is compressed", async (t) => {
  const server = t.serve(() => {
    throw new Error("broken");
  }, {
    compress: true,
    onError: (error) =>
      new Response(`${(error as Error).message} ${TEXT}`, { status: 500 }),
  });
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(get("/", "Accept-Encoding: br\r\n"));
  assertEquals(response.status, 500);
  assertEquals(codingOf(response, `broken ${TEXT}`), "br");
});

testBackends(
  "a response that cannot be compressed goes out as it is",
  async (t) => {
    const logged = await withoutErrors(async () => {
      const types = (): boolean => {
        throw new Error("no types");
      };
      const response = await ask(t, () => new Response(TEXT), undefined, {
        types,
        threshold: 0,
      });
      assertEquals(codingOf(response, TEXT), "identity");
    });
    assert(String(logged[0]?.[1]).includes("no types"), String(logged));
  },
);

testBackends("HTTP/1.0 gets compressed streams up to the end", async (t) => {
  const headers = { "content-type": HTML };
  const server = t.serve(
    () => new Response(textStream(TEXT), { headers }),
    { compress: true },
  );
  const client = t.using(await RawClient.connect(server));
  const response = await client.request(
    "GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n",
  );
  assertEquals(codingOf(response, TEXT), "gzip");
  assertEquals(response.field("connection"), "close");
});

testBackends("a decoded response of fetch() is compressed", async (t) => {
  const origin = t.serve(() => new Response(TEXT), { compress: true });
  const url = `http://127.0.0.1:${origin.addr.port}/`;
  const proxy = t.serve(() => fetch(url), { compress: true });
  const client = t.using(await RawClient.connect(proxy));
  const response = await client.request(get("/", "Accept-Encoding: br\r\n"));
  assertEquals(codingOf(response, TEXT), "br");
  assertEquals(response.field("vary"), "accept-encoding");
});

/** Coding and Vary of a response of both servers. */
async function outcome(
  addr: Deno.NetAddr,
  target: string,
  accept: string,
): Promise<string> {
  using client = await RawClient.connect({ addr });
  const request = get(target, `Accept-Encoding: ${accept}\r\n`);
  const response = await client.request(request);
  const coding = response.field("content-encoding");
  const vary = response.field("vary")?.toLowerCase() ?? null;
  // That one says nothing of it to clients that want no coding.
  return `${coding} ${coding === null ? "" : vary} ${response.field("etag")}`;
}

testBackends("automaticCompression does what Deno.serve does", async (t) => {
  const handler = (request: Request): Response => {
    const { searchParams } = new URL(request.url);
    const length = Number(searchParams.get("n") ?? 1000);
    const headers = { etag: '"a"', "content-type": HTML };
    const more = JSON.parse(searchParams.get("h") ?? "{}");
    return new Response("x".repeat(length), {
      headers: { ...headers, ...more },
    });
  };
  const options = { port: 0, hostname: "127.0.0.1", onListen: quiet };
  const automaticCompression = true;
  await using deno = Deno.serve({ ...options, automaticCompression }, handler);
  const millrace = t.serve(handler, { automaticCompression });
  const targets = [
    "/?n=63",
    "/?n=64",
    ...[
      { "content-type": "application/json" },
      { "content-type": "text/event-stream" },
      { "content-type": "image/png" },
      { "content-type": "multipart/form-data; boundary=x" },
      { etag: 'W/"a"' },
      { vary: "accept-encoding" },
      { "cache-control": "no-transform" },
      { "content-encoding": "identity" },
      { "content-range": "bytes 0-9/10" },
    ].map((headers) => `/?h=${encodeURIComponent(JSON.stringify(headers))}`),
  ];
  const accepts = ["gzip", "br", "gzip, deflate, br, zstd", "identity"];
  for (const accept of [...accepts, "br;q=0.5, gzip", "gzip;q=0, br;q=0"]) {
    for (const target of targets) {
      assertEquals(
        [accept, target, await outcome(millrace.addr, target, accept)],
        [accept, target, await outcome(deno.addr, target, accept)],
      );
    }
  }
});

const WRONG: [option: unknown, error: typeof Error, says: string][] = [
  ["br", TypeError, '"compress" must be true, false or an object, is "br"'],
  [null, TypeError, '"compress" must be true, false or an object, is null'],
  [{ level: 1 }, TypeError, 'unknown option "compress.level"'],
  [{ threshold: "1" }, TypeError, '"compress.threshold" must be an integer'],
  [{ threshold: -1 }, RangeError, '"compress.threshold" must be from 0 to'],
  [{ gzipLevel: 0 }, RangeError, '"compress.gzipLevel" must be from 1 to 9'],
  [{ gzipLevel: 10 }, RangeError, '"compress.gzipLevel" must be from 1 to 9'],
  [{ brotliQuality: 12 }, RangeError, '"compress.brotliQuality" must be from'],
  [{ brotliQuality: 1.5 }, TypeError, "must be an integer, is 1.5"],
  [{ types: ["text/html"] }, TypeError, '"compress.types" must be a function'],
  [{ encodings: [] }, TypeError, 'a list of "br" and "gzip", is []'],
  [{ encodings: ["zstd"] }, TypeError, 'a list of "br" and "gzip"'],
  [{ encodings: "br" }, TypeError, 'a list of "br" and "gzip", is "br"'],
];

for (const [option, error, says] of WRONG) {
  Deno.test(`compress: ${Deno.inspect(option)} is refused`, () => {
    const thrown = assertThrows(
      () => compressionOf(option as CompressOptions),
      error,
      says,
    );
    assert(thrown.message.startsWith("Cannot serve: "), thrown.message);
  });
}

Deno.test("compress takes the ends of its ranges, and undefined", () => {
  for (const brotliQuality of [0, 11]) compressionOf({ brotliQuality });
  for (const gzipLevel of [1, 9]) compressionOf({ gzipLevel });
  // deno-lint-ignore no-explicit-any
  compressionOf({ threshold: undefined } as any);
  assertEquals(compressionOf(false), null);
  assertEquals(compressionOf(undefined), null);
});

Deno.test("automaticCompression and compress exclude each other", () => {
  assertThrows(
    () =>
      serve(
        { automaticCompression: false, compress: true },
        () => new Response(),
      ),
    TypeError,
    "give one of them",
  );
});
