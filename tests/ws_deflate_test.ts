// SPDX-License-Identifier: Apache-2.0
// Tests of what a handshake agrees on for permessage-deflate, RFC 7692 section 7.1, and of the options of a route.

import { assertEquals, assertThrows } from "@std/assert";
import {
  agreeDeflate,
  resolveCompression,
  type WebSocketCompression,
} from "../lib/ws_deflate.ts";
import { parseExtensions } from "../lib/ws_extensions.ts";
import { websocket } from "../mod.ts";

const TAKEOVER: WebSocketCompression = {
  serverContextTakeover: true,
  clientContextTakeover: true,
};
const NONE =
  "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

function answer(offer: string, options: WebSocketCompression): string | null {
  const offers = parseExtensions(offer);
  if (offers === null) return "malformed";
  return agreeDeflate(offers, resolveCompression(options)!)?.answer ?? null;
}

interface Case {
  offer: string;
  options?: WebSocketCompression;
  /** Null: nothing is agreed on. */
  answer: string | null;
}

const CASES: Case[] = [
  { offer: "permessage-deflate", options: {}, answer: NONE },
  { offer: "permessage-deflate", answer: "permessage-deflate" },
  {
    offer: "permessage-deflate; server_no_context_takeover",
    answer: "permessage-deflate; server_no_context_takeover",
  },
  {
    offer: "permessage-deflate; client_no_context_takeover",
    answer: "permessage-deflate; client_no_context_takeover",
  },
  {
    offer:
      "permessage-deflate;client_no_context_takeover ;server_no_context_takeover",
    answer: NONE,
  },
  {
    offer: "permessage-deflate; server_max_window_bits=10",
    answer: "permessage-deflate; server_max_window_bits=10",
  },
  {
    offer: "permessage-deflate; server_max_window_bits=15",
    answer: "permessage-deflate; server_max_window_bits=15",
  },
  {
    offer: "permessage-deflate; server_max_window_bits=12",
    options: { ...TAKEOVER, serverMaxWindowBits: 11 },
    answer: "permessage-deflate; server_max_window_bits=11",
  },
  {
    offer: "permessage-deflate",
    options: { ...TAKEOVER, serverMaxWindowBits: 11 },
    answer: "permessage-deflate; server_max_window_bits=11",
  },
  {
    offer: 'permessage-deflate; server_max_window_bits="10"',
    answer: "permessage-deflate; server_max_window_bits=10",
  },
  {
    offer: 'permessage-deflate; server_max_window_bits="1\\0"',
    answer: "permessage-deflate; server_max_window_bits=10",
  },
  {
    offer: "permessage-deflate; client_max_window_bits",
    answer: "permessage-deflate",
  },
  {
    offer: "permessage-deflate; client_max_window_bits=8",
    answer: "permessage-deflate; client_max_window_bits=8",
  },
  {
    offer: "permessage-deflate; client_max_window_bits=14",
    options: { ...TAKEOVER, clientMaxWindowBits: 10 },
    answer: "permessage-deflate; client_max_window_bits=10",
  },
  {
    offer: "permessage-deflate; client_max_window_bits",
    options: { ...TAKEOVER, clientMaxWindowBits: 10 },
    answer: "permessage-deflate; client_max_window_bits=10",
  },
  // A client that cannot be told to use a smaller window must not have its context kept.
  {
    offer: "permessage-deflate",
    options: { ...TAKEOVER, clientMaxWindowBits: 10 },
    answer: "permessage-deflate; client_no_context_takeover",
  },
  // zlib cannot deflate with 8 bits.
  { offer: "permessage-deflate; server_max_window_bits=8", answer: null },
  ...[
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=010",
    "server_max_window_bits=1e1",
    "server_max_window_bits=+9",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=09",
    "client_no_context_takeover=1",
    "server_no_context_takeover=true",
    'server_no_context_takeover="x"',
    "unknown",
    "__proto__",
    "constructor=1",
    "Server_no_context_takeover",
    "client_max_window_bits; client_max_window_bits",
    "server_no_context_takeover; server_no_context_takeover",
    "server_max_window_bits=10; server_max_window_bits=10",
  ].map((parameter) => ({
    offer: `permessage-deflate; ${parameter}`,
    answer: null,
  })),
  {
    offer:
      "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9, permessage-deflate",
    answer: "permessage-deflate; server_max_window_bits=9",
  },
  {
    offer:
      "permessage-deflate; server_max_window_bits=8, , permessage-deflate;client_max_window_bits",
    answer: "permessage-deflate",
  },
  { offer: "x-webkit-deflate-frame; no_context_takeover", answer: null },
  {
    offer: "permessage-bzip2, permessage-deflate",
    answer: "permessage-deflate",
  },
  { offer: "permessage-deflate2", answer: null },
  { offer: "", answer: null },
];

for (const { offer, options = TAKEOVER, answer: expected } of CASES) {
  const of = JSON.stringify(options);
  Deno.test(`agreeDeflate() answers "${offer}" by ${of}`, () => {
    assertEquals(answer(offer, options), expected);
  });
}

for (
  const offer of [
    ";",
    "a;",
    "a;;b",
    "a b",
    "a; b=",
    "a; b c",
    "a; b==c",
    'a; b="c',
    'a; b=""',
    'a; b="c d"',
    'a; b="c"d',
    'a; b="\\',
    "a=b",
    '"a"',
    "a; b=\xe4",
    "a/b",
  ]
) {
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
