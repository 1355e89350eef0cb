// SPDX-License-Identifier: Apache-2.0
// Tests of what a handshake agrees on for permessage-deflate, RFC 7692 section 7.1, and of the options of a route.

import { assertEquals, assertThrows } from "@std/assert";
import { MALFORMED, OFFERS, TAKEOVER } from "./websocket_offers.ts";
import {
  agreeDeflate,
  resolveCompression,
  type WebSocketCompression,
} from "../lib/ws_deflate.ts";
import { parseExtensions } from "../lib/ws_extensions.ts";
import { websocket } from "../mod.ts";

function answer(offer: string, options: WebSocketCompression): string | null {
  const offers = parseExtensions(offer);
  if (offers === null) return "malformed";
  return agreeDeflate(offers, resolveCompression(options)!)?.answer ?? null;
}

for (const { offer, options = TAKEOVER, answer: expected } of OFFERS) {
  const of = JSON.stringify(options);
  Deno.test(`agreeDeflate() answers "${offer}" by ${of}`, () => {
    assertEquals(answer(offer, options), expected);
  });
}

for (const offer of MALFORMED) {
  Deno.test(`parseExtensions() refuses ${JSON.stringify(offer)}`, () => {
    assertEquals(parseExtensions(offer), null);
  });
}

Deno.test("parseExtensions() reads a head full of offers", () => {
  const offers = 'permessage-deflate; __proto__=a; x="\\y", '.repeat(380);
  const parsed = parseExtensions(offers)!;
  assertEquals(parsed.length, 380);
  assertEquals([...parsed[7]!.parameters], [["__proto__", "a"], ["x", "y"]]);
  assertEquals(parseExtensions('a; b="' + "\\".repeat(16000)), null);
});

for (
  const [compression, says] of [
    [1, '"compression" must be a boolean or an object, is 1'],
    [null, '"compression" must be a boolean or an object, is null'],
    [{ treshold: 1 }, 'unknown option "compression.treshold"'],
    [{ threshold: -1 }, '"compression.threshold" must be an integer'],
    [{ level: 0 }, '"compression.level" must be an integer from 1 to 9, is 0'],
    [{ level: 10 }, '"compression.level"'],
    [{ memLevel: 1.5 }, '"compression.memLevel"'],
    [{ serverMaxWindowBits: 8 }, '"compression.serverMaxWindowBits"'],
    [{ clientMaxWindowBits: 16 }, '"compression.clientMaxWindowBits"'],
    [{ maxRatio: "5" }, '"compression.maxRatio"'],
    [
      { clientContextTakeover: 1 },
      '"compression.clientContextTakeover" must be a boolean, is 1',
    ],
  ] as const
) {
  Deno.test(`websocket() refuses compression ${JSON.stringify(compression)}`, () => {
    assertThrows(
      () => websocket({}, { compression: compression as never }),
      Error,
      `Cannot make a WebSocket route: ${says}`,
    );
  });
}

Deno.test("websocket() takes compression that is off, on, or half told", () => {
  for (const compression of [false, true, {}, { level: undefined }]) {
    websocket({}, { compression: compression as never });
  }
  assertEquals(resolveCompression(undefined), null);
  assertEquals(resolveCompression(false), null);
  assertEquals(resolveCompression({ level: 1 })!.memLevel, 8);
});
