// SPDX-License-Identifier: Apache-2.0
// head_injection_test.ts - whatever a handler returns, no CR, LF or NUL of its
// making reaches the wire within a head: it is answered with 500 instead.

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { UnsendableHead } from "../lib/http_response.ts";
import { findResponseSlots } from "../lib/response_parts.ts";
import type { LazyRequest } from "../lib/http_request.ts";
import { acceptHead } from "../lib/ws_handshake.ts";
import { get, RawClient } from "./raw_client.ts";
import { testBackends, withoutErrors } from "./testing.ts";

type Field = [name: string, value: string];

/** The inner response of Deno, where a constructor checks nothing any more. */
interface Inner {
  headerList: Field[];
  status: unknown;
  statusMessage: string;
}

const SLOTS = findResponseSlots()!;

function tampered(change: (inner: Inner) => void): Response {
  // With a field of its own it is not one of the responses kept in short form.
  const response = new Response("body", { headers: { "x-a": "1" } });
  const slots = response as unknown as Record<symbol, Inner>;
  change(slots[SLOTS.inner]!);
  return response;
}

/** A Response whose content type was changed in the short form. */
function tamperedType(type: string): Response {
  const response = Response.json({});
  (response as unknown as Record<symbol, string>)[SLOTS.fastContentType] = type;
  return response;
}

class LyingHeaders extends Headers {
  override *[Symbol.iterator](): Generator<Field, undefined> {
    yield ["x-a", "1\r\nx-injected: 1"];
  }
}

const BREAKS = {
  CRLF: "\r\n",
  CR: "\r",
  LF: "\n",
  NUL: "\0",
  // They would become CR and LF where a character is cut down to a byte.
  "U+010D U+010A": "\u010d\u010a",
};

const RESPONSES: Record<string, (text: string) => Response> = {
  "a field value": (text) =>
    tampered((inner) => inner.headerList.push(["x-b", text])),
  "a field name": (text) =>
    tampered((inner) => inner.headerList.push([text, "1"])),
  "the connection field": (text) =>
    tampered((inner) => inner.headerList.push(["connection", text])),
  "the content type": tamperedType,
  "the only field": (text) =>
    tampered((inner) => inner.headerList = [["content-type", text]]),
  "the status text": (text) => tampered((inner) => inner.statusMessage = text),
  "the status": (text) => tampered((inner) => inner.status = `200 ${text}`),
};

for (const [where, make] of Object.entries(RESPONSES)) {
  testBackends(`no line break leaves in ${where}`, async (t) => {
    const server = t.serve((request) => {
      const name = new URL(request.url).searchParams.get("break");
      if (name === null) return new Response("fine");
      const text = BREAKS[name as keyof typeof BREAKS];
      return make(`a${text}x-injected: 1`);
    });
    const client = t.using(await RawClient.connect(server));
    const logged = await withoutErrors(async () => {
      for (const name of Object.keys(BREAKS)) {
        const target = `/?break=${encodeURIComponent(name)}`;
        // Twice: the second one must not come from what was kept of the first.
        for (let count = 0; count < 2; count++) {
          const response = await client.request(get(target));
          assertEquals(response.status, 500, `${name} in ${where}`);
          assertEquals(response.all("x-injected"), []);
          assertEquals(response.text, "Internal Server Error");
        }
        assertEquals((await client.request(get("/"))).text, "fine");
      }
    });
    assertEquals(logged.length, 2 * Object.keys(BREAKS).length);
    for (const [error] of logged) {
      assertStringIncludes(String(error), "Cannot send the response");
    }
  });
}

testBackends("a stream behind an unsendable head is cancelled", async (t) => {
  let cancelled = 0;
  const server = t.serve(() => {
    const response = new Response(
      new ReadableStream({ cancel: () => void cancelled++ }),
      { headers: { "x-a": "1" } },
    );
    const slots = response as unknown as Record<symbol, Inner>;
    slots[SLOTS.inner]!.headerList.push(["x-b", "\r\n"]);
    return response;
  }, { onError: () => new Response("instead", { status: 502 }) });
  const client = t.using(await RawClient.connect(server));
  const { status, text } = await client.request(get("/"));
  assertEquals([status, text, cancelled], [502, "instead", 1]);
  assertEquals((await client.request(get("/"))).status, 502);
});

testBackends("an error handler cannot do it either", async (t) => {
  const bad = (): Response =>
    tampered((inner) => inner.headerList.push(["x-b", "\r\nx-injected: 1"]));
  const server = t.serve(bad, { onError: bad });
  const client = t.using(await RawClient.connect(server));
  const logged = await withoutErrors(async () => {
    const response = await client.request(get("/"));
    assertEquals([response.status, response.all("x-injected")], [500, []]);
  });
  assertEquals(logged.length, 1);
});

testBackends("a promised response is looked at as well", async (t) => {
  const server = t.serve(async () => {
    await Promise.resolve();
    return tampered((inner) => inner.statusMessage = "\r\n\r\nbody");
  }, { onError: () => new Response("instead", { status: 502 }) });
  const client = t.using(await RawClient.connect(server));
  assertEquals((await client.request(get("/"))).text, "instead");
});

Deno.test("no line break leaves in a handshake", () => {
  const request = { field: () => "AAAAAAAAAAAAAAAAAAAAAA==" };
  const head = (protocol: string, headers: Headers): string =>
    acceptHead(request as unknown as LazyRequest, protocol, headers);
  assertStringIncludes(
    head("chat", new Headers({ "x-a": "1" })),
    "sec-websocket-protocol: chat\r\nx-a: 1\r\n\r\n",
  );
  for (const text of Object.values(BREAKS)) {
    assertThrows(() => head(`chat${text}`, new Headers()), UnsendableHead);
  }
  assertThrows(() => head("chat", new LyingHeaders()), UnsendableHead);
});
