// SPDX-License-Identifier: Apache-2.0
// Tests of lib/response_parts.ts: every response is taken apart through Deno's
// slots and through the public API, and both are compared with what Deno.serve
// sends for it.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  type Field,
  findResponseSlots,
  isResponse,
  makeTakeParts,
  type ResponseParts,
  responsePath,
  takeParts,
} from "../lib/response_parts.ts";

const PATHS = [
  { path: "fast", take: makeTakeParts(findResponseSlots()) },
  { path: "standard", take: makeTakeParts(null) },
] as const;

function emptyParts(): ResponseParts {
  return {
    status: 0,
    statusText: "-",
    contentType: "-",
    fields: [["-", "-"]],
    body: "-",
  };
}

/** A response as a client sees it. */
interface Seen {
  status: number;
  fields: string[];
  body: string;
}

/** The fields by name; but for cookies, repeated ones are one. */
function combined(fields: Iterable<Field>): string[] {
  return Array.from(new Headers([...fields]), (field) => field.join(": "));
}

async function seenInParts(parts: ResponseParts): Promise<Seen> {
  const fields = parts.fields ?? [];
  if (parts.contentType !== null) {
    assertStrictEquals(parts.fields, null);
    fields.push(["content-type", parts.contentType]);
  }
  const { status } = parts;
  const body = await textOf(parts.body);
  return { status, fields: combined(fields), body };
}

async function textOf(body: ResponseParts["body"]): Promise<string> {
  if (body === null) return "";
  if (typeof body === "string") return body;
  if (body instanceof Uint8Array) return new TextDecoder().decode(body);
  // Not through a Response, which would know the text behind the stream.
  let text = "";
  for await (const chunk of body) text += new TextDecoder().decode(chunk);
  return text;
}

// Fields that belong to the connection, not to the response.
const FRAMING = /^(?:date|vary|connection|content-length|transfer-encoding)$/i;

function seenOnTheWire(message: Uint8Array): Seen {
  const text = Array.from(message, (byte) => String.fromCharCode(byte)).join(
    "",
  );
  const headEnd = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = text.slice(0, headEnd).split("\r\n");
  const fields = lines.map((line) =>
    line.split(/: ?(.*)/s) as [string, string]
  );
  const chunked = fields.some(([name]) => name === "transfer-encoding");
  const body = text.slice(headEnd + 4);
  return {
    status: Number(statusLine.split(" ")[1]),
    fields: combined(
      fields.filter(([name]) => !FRAMING.test(name))
        .map(([name, value]) => [name, value]),
    ),
    body: utf8(chunked ? joinChunks(body) : body),
  };
}

function utf8(bytes: string): string {
  const codes = Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
  return new TextDecoder().decode(codes);
}

function joinChunks(coded: string): string {
  let body = "";
  for (let at = 0;;) {
    const lineEnd = coded.indexOf("\r\n", at);
    const size = parseInt(coded.slice(at, lineEnd), 16);
    if (size === 0) return body;
    body += coded.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
  }
}

const REQUEST = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/** What Deno.serve sends, or the error that it gives to `onError`. */
async function throughDenoServe(
  handler: () => Response | Promise<Response>,
): Promise<{ seen: Seen; error: unknown }> {
  let error: unknown = null;
  const server = Deno.serve({
    port: 0,
    hostname: "127.0.0.1",
    onListen: (): void => {},
    onError: (reason): Response => {
      error = reason;
      return new Response(null, { status: 500 });
    },
  }, handler);
  const conn = await Deno.connect({ port: server.addr.port });
  await conn.write(new TextEncoder().encode(REQUEST));
  const message = await new Response(conn.readable).bytes();
  await server.shutdown();
  return { seen: seenOnTheWire(message), error };
}

type Make = () => Response | Promise<Response>;

const TWO: [string, string][] = [["X-A", "1"], ["x-b", "2"]];

function changed(
  response: Response,
  change: (response: Response) => unknown,
): Response {
  change(response);
  return response;
}

type Chunk = Uint8Array<ArrayBuffer>;

async function* bytesOf(...chunks: string[]): AsyncGenerator<Chunk> {
  for (const chunk of chunks) yield new TextEncoder().encode(chunk);
}

function streamOf(...chunks: string[]): ReadableStream<Chunk> {
  return ReadableStream.from(bytesOf(...chunks));
}

const RESPONSES: Record<string, Make> = {
  "a string": () => new Response("Hello, World!"),
  "an empty string": () => new Response(""),
  "characters of 1 to 4 bytes": () => new Response("aé€😀"),
  "nothing": () => new Response(),
  "null": () => new Response(null),
  "null and a status": () => new Response(null, { status: 204 }),
  "null and fields": () => new Response(null, { status: 304, headers: TWO }),
  "bytes": () => new Response(Uint8Array.of(104, 105)),
  "no bytes": () => new Response(new Uint8Array(0)),
  "an ArrayBuffer": () => new Response(Uint8Array.of(104, 105).buffer),
  "a part of a buffer": () =>
    new Response(new TextEncoder().encode("abcdef").subarray(2, 4)),
  "a Blob": () => new Response(new Blob(["blob"], { type: "a/b" })),
  "URLSearchParams": () => new Response(new URLSearchParams({ a: "b c" })),
  "a stream": () => new Response(streamOf("a", "b")),
  "a stream and fields": () => new Response(streamOf("a"), { headers: TWO }),
  "a stream of nothing": () => new Response(streamOf()),
  "an async iterable": () => new Response(bytesOf("a", "b")),
  "an empty init": () => new Response("x", {}),
  "status 200": () => new Response("x", { status: 200 }),
  "a status": () => new Response("x", { status: 404 }),
  "a status text": () => new Response("x", { status: 201, statusText: "Yes" }),
  "only a content type": () =>
    new Response("x", { headers: { "content-type": "text/html" } }),
  "a common content type": () =>
    new Response("x", { headers: { "Content-Type": "application/json" } }),
  "bytes and a content type": () =>
    new Response(Uint8Array.of(120), {
      headers: { "content-type": "text/plain" },
    }),
  "fields": () => new Response("x", { headers: TWO }),
  "a field twice": () =>
    new Response("x", { headers: [["x", "1"], ["X", ""], ["x", "2"]] }),
  "cookies": () =>
    new Response("x", { headers: [["set-cookie", "a"], ["set-cookie", "b"]] }),
  "Headers": () => new Response("x", { headers: new Headers(TWO) }),
  "a field beyond ASCII": () =>
    new Response("x", { headers: { "x-a": "\xe9" } }),
  "json()": () => Response.json({ a: [1, "é"] }),
  "json() and a status": () => Response.json(null, { status: 400 }),
  "json() and fields": () => Response.json([], { headers: TWO }),
  "json() of another type": () =>
    Response.json([], { headers: { "content-type": "application/x+json" } }),
  "redirect()": () => Response.redirect("http://a.example/b?c", 307),
  "headers looked at": () =>
    changed(new Response("x"), (response) => response.headers),
  "headers set": () =>
    changed(new Response("x"), (response) => response.headers.set("x-a", "1")),
  "headers set on one with fields": () =>
    changed(
      new Response("x", { status: 404, headers: TWO }),
      ({ headers }) => headers.append("set-cookie", "a"),
    ),
  "content type replaced": () =>
    changed(
      new Response("x"),
      ({ headers }) => headers.set("content-type", "text/html"),
    ),
  "content type deleted": () =>
    changed(new Response("x"), ({ headers }) => headers.delete("content-type")),
  "json() with headers set": () =>
    changed(Response.json(1), ({ headers }) => headers.set("x-a", "1")),
  "body looked at": () =>
    changed(new Response("x"), (response) => response.body),
  "body looked at, with fields": () =>
    changed(new Response("x", { headers: TWO }), (response) => response.body),
  "body and headers looked at": () =>
    changed(new Response(Uint8Array.of(104)), (response) => {
      void response.body;
      response.headers.set("x-a", "1");
    }),
  "bodyUsed looked at": () =>
    changed(new Response("x"), (response) => response.bodyUsed),
  "cloned": () => changed(new Response("x"), (response) => response.clone()),
  "cloned, with fields": () =>
    changed(
      new Response("x", { headers: TWO }),
      (response) => response.clone().body?.cancel(),
    ),
  "a clone": () => new Response("x").clone(),
  "a clone of one with fields": () =>
    new Response("x", { status: 404, headers: TWO }).clone(),
  "a clone of a stream": () => {
    const response = new Response(streamOf("a"));
    const copy = response.clone();
    response.text();
    return copy;
  },
  "made of another": () => {
    const response = new Response("x", { headers: TWO });
    return new Response(response.body, response);
  },
  "made of another, by Headers": () =>
    new Response(new Response("x").body, {
      headers: new Response("x").headers,
    }),
  "a subclass": () => new (class Special extends Response {})("x"),
  "101": () => new Response(null, { status: 101 }),
};

for (const [description, make] of Object.entries(RESPONSES)) {
  for (const { path, take } of PATHS) {
    Deno.test(`takeParts() gives what Deno.serve sends: ${description} (${path})`, async () => {
      const { seen, error } = await throughDenoServe(make);
      assertStrictEquals(error, null);
      const response = await make();
      const parts = emptyParts();
      take(response, parts);
      assertEquals(parts.statusText, response.statusText);
      assertEquals(await seenInParts(parts), seen);
    });

    Deno.test(`takeParts() uses the body up: ${description} (${path})`, async () => {
      const response = await make();
      const hasBody = response.body !== null;
      const fresh = await make();
      for (const each of [response, fresh]) {
        const parts = emptyParts();
        take(each, parts);
        await seenInParts(parts);
        if (hasBody) {
          // Before anything else looks: a getter may tidy up.
          assertThrows(() => take(each, parts), TypeError, "been consumed");
          assert(each.bodyUsed);
          await assertRejects(() => each.text(), TypeError);
          assertThrows(() => each.clone(), TypeError);
        } else {
          assert(!each.bodyUsed);
          take(each, parts);
          assertStrictEquals(parts.body, null);
        }
      }
    });
  }
}

const REFUSED: Record<string, Make> = {
  "an error response": () => Response.error(),
  "a body read as text": async () => {
    const response = new Response("x");
    await response.text();
    return response;
  },
  "bytes that are being read": () => {
    const response = new Response(Uint8Array.of(1));
    response.bytes();
    return response;
  },
  "a body with fields, read": async () => {
    const response = new Response("x", { status: 404, headers: TWO });
    await response.text();
    return response;
  },
  "json(), read": async () => {
    const response = Response.json(1);
    await response.json();
    return response;
  },
  "a stream read in part": async () => {
    const response = new Response(streamOf("a", "b"));
    const reader = response.body!.getReader();
    await reader.read();
    reader.releaseLock();
    return response;
  },
  "a static body read in part": async () => {
    const response = new Response("x");
    const reader = response.body!.getReader();
    await reader.read();
    reader.releaseLock();
    return response;
  },
  "a cancelled body": async () => {
    const response = new Response("x");
    await response.body!.cancel();
    return response;
  },
  "a locked stream": () => {
    const response = new Response(streamOf("a"));
    response.body!.getReader();
    return response;
  },
  "a body piped elsewhere": () => {
    const response = new Response(streamOf("a"));
    response.body!.pipeTo(new WritableStream());
    return response;
  },
};

for (const [description, make] of Object.entries(REFUSED)) {
  for (const { path, take } of PATHS) {
    Deno.test(`takeParts() refuses what Deno.serve refuses: ${description} (${path})`, async () => {
      const { error } = await throughDenoServe(make);
      assertInstanceOf(error, TypeError);
      const response = await make();
      const thrown = assertThrows(() => take(response, emptyParts()));
      assertInstanceOf(thrown, TypeError);
      assertEquals(thrown.message, error.message);
    });
  }
}

Deno.test("takeParts() takes a static body that somebody has locked, as Deno.serve does", () => {
  for (const init of [{}, { status: 404 }]) {
    const response = new Response("x", init);
    response.body!.getReader();
    const parts = emptyParts();
    takeParts(response, parts);
    assertEquals(parts.body, "x");
    assert(response.bodyUsed);
  }
});

Deno.test("takeParts() refuses a locked static body where only its stream shows (standard)", () => {
  const response = new Response("x");
  response.body!.getReader();
  const take = makeTakeParts(null);
  const action = (): void => take(response, emptyParts());
  assertThrows(action, TypeError, "ReadableStream is locked");
});

for (const { path, take } of PATHS) {
  Deno.test(`takeParts() refuses an object without Deno's slots (${path})`, () => {
    const fake = Object.create(Response.prototype);
    assertThrows(() => take(fake, emptyParts()), TypeError);
  });

  Deno.test(`takeParts() leaves no trace of the response before (${path})`, async () => {
    const parts = emptyParts();
    take(new Response("x", { status: 404, headers: TWO }), parts);
    take(new Response(null, { status: 204 }), parts);
    assertEquals(await seenInParts(parts), {
      status: 204,
      fields: [],
      body: "",
    });
    assertStrictEquals(parts.fields, null);
    assertStrictEquals(parts.contentType, null);
    take(Response.json(1), parts);
    assertEquals(parts.contentType, "application/json");
    take(new Response(Uint8Array.of(1)), parts);
    assertStrictEquals(parts.contentType, null);
  });

  Deno.test(`takeParts() gives a fetched response as Deno.serve forwards it (${path})`, async () => {
    for (const coding of ["gzip", "identity"]) {
      const origin = Deno.serve(
        { port: 0, hostname: "127.0.0.1", onListen: (): void => {} },
        () => {
          const plain = streamOf("fetched");
          const body = coding === "identity"
            ? plain
            : plain.pipeThrough(new CompressionStream("gzip"));
          return new Response(body, {
            headers: { "content-encoding": coding, "x-a": "1" },
          });
        },
      );
      const forward = (): Promise<Response> =>
        fetch(`http://127.0.0.1:${origin.addr.port}/`);
      const { seen } = await throughDenoServe(forward);
      const parts = emptyParts();
      take(await forward(), parts);
      parts.fields = parts.fields!.filter(([name]) => !FRAMING.test(name));
      assertEquals(await seenInParts(parts), seen);
      assertEquals(seen.body, "fetched");
      await origin.shutdown();
    }
  });
}

// What the fast path is for.

Deno.test("takeParts() takes the fast path in this Deno", () => {
  assertEquals(responsePath, "fast");
  const parts = emptyParts();
  takeParts(new Response("x"), parts);
  assertEquals(parts.body, "x");
});

Deno.test("takeParts() makes no stream of a body that is none", async () => {
  const streams = ["a Blob", "a stream", "an async iterable", "a clone of a"];
  for (const [description, make] of Object.entries(RESPONSES)) {
    if (streams.some((stream) => description.startsWith(stream))) continue;
    const parts = emptyParts();
    takeParts(await make(), parts);
    assert(!(parts.body instanceof ReadableStream), description);
  }
});

Deno.test("takeParts() gives bytes that the handler cannot change any more", () => {
  for (const init of [{}, { headers: TWO }]) {
    const bytes = Uint8Array.of(1, 2);
    const response = new Response(bytes, init);
    bytes.fill(9);
    const parts = emptyParts();
    takeParts(response, parts);
    assertEquals(parts.body, Uint8Array.of(1, 2));
  }
});

Deno.test("takeParts() frees the native response that Deno has made", () => {
  const { native } = findResponseSlots()!;
  const response = new Response("x", { headers: TWO });
  assert(Reflect.get(response, native) !== null);
  takeParts(response, emptyParts());
  assertStrictEquals(Reflect.get(response, native), null);
});

Deno.test("takeParts() tells a content type that stands alone from fields", () => {
  const parts = emptyParts();
  takeParts(new Response("x"), parts);
  assertEquals(parts.contentType, "text/plain;charset=UTF-8");
  takeParts(new Response("x", { status: 404 }), parts);
  assertEquals(parts.contentType, "text/plain;charset=UTF-8");
  takeParts(new Response(null, { headers: { "Content-Type": "a/b" } }), parts);
  assertEquals(parts.contentType, "a/b");
  takeParts(new Response(null, { headers: { "x-type": "a/b" } }), parts);
  assertEquals([parts.contentType, parts.fields], [null, [["x-type", "a/b"]]]);
});

Deno.test("findResponseSlots() is null when a slot is missing or means another thing", () => {
  assert(findResponseSlots() !== null);
  assertStrictEquals(findResponseSlots({ fastBody: "no such slot" }), null);
  const swaps = [
    { fastBody: "serve fast content type" },
    { fastStatus: "serve fast header kind" },
    { fastHeaderKind: "serve fast status" },
    { fastContentType: "serve fast body" },
    { fastConsumed: "lazy static content type" },
    { inner: "headers" },
  ];
  for (const swap of swaps) assertStrictEquals(findResponseSlots(swap), null);
});

Deno.test("isResponse() knows a Response from everything else", () => {
  assert(isResponse(new Response()));
  assert(isResponse(Response.json(1)));
  assert(isResponse(new (class extends Response {})()));
  const others = [null, undefined, "x", {}, Response, Promise.resolve()];
  for (const other of others) assert(!isResponse(other));
});
