// SPDX-License-Identifier: Apache-2.0
// websocket_offers.ts - what clients offer of permessage-deflate, RFC 7692 section 7.1, and what is agreed on; for
// ws_deflate_test.ts and websocket_handshake_test.ts.

import type { WebSocketCompression } from "../mod.ts";

/** The options of an offer that names none. */
export const TAKEOVER: WebSocketCompression = {
  serverContextTakeover: true,
  clientContextTakeover: true,
};
const NONE =
  "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/** An offer, and what a server of these options answers. */
export interface Offer {
  offer: string;
  options?: WebSocketCompression;
  /** Null: nothing is agreed on. */
  answer: string | null;
}

export const OFFERS: readonly Offer[] = [
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

/** Values of Sec-WebSocket-Extensions that break its grammar, RFC 6455 section 9.1. */
export const MALFORMED: readonly string[] = [
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
];
