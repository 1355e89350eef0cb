// SPDX-License-Identifier: Apache-2.0
// Tests of the client's side of permessage-deflate: what it offers, which
// answers it takes (RFC 7692 section 7.1), and that messages are compressed.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import type { WebSocketClientCompression } from "../mod.ts";
import { WebSocketHandshakeError } from "../mod.ts";
import {
  judgeAnswer,
  offerOf,
  resolveClientCompression,
} from "../lib/ws_client_deflate.ts";
import { Client } from "./client_testing.ts";
import { agree, RawServer } from "./raw_ws_server.ts";
import { testBackends } from "./testing.ts";
import { ECHO, serveRoute, TEXT } from "./ws_client.ts";

const BOTH = { serverContextTakeover: true, clientContextTakeover: true };
const NONE = "server_no_context_takeover; client_no_context_takeover";

Deno.test("a client offers what its options say", () => {
  const cases: [options: WebSocketClientCompression, offer: string][] = [
    [{}, `permessage-deflate; ${NONE}; client_max_window_bits`],
    [BOTH, "permessage-deflate; client_max_window_bits"],
    [
      { serverContextTakeover: true },
      "permessage-deflate; client_no_context_takeover; client_max_window_bits",
    ],
    [
      { ...BOTH, serverMaxWindowBits: 8, clientMaxWindowBits: 9 },
      "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9",
    ],
  ];
  for (const [options, offer] of cases) {
    assertEquals(offerOf(resolveClientCompression(options)!), offer);
  }
});

Deno.test("a client takes what answers its offer", () => {
  const judge = (
    options: WebSocketClientCompression,
    parameters: string,
  ): unknown[] => {
    const field = `permessage-deflate${parameters}`;
    const agreed = judgeAnswer(field, resolveClientCompression(options)!)!;
    return [
      agreed.sendTakeover,
      agreed.sendBits,
      agreed.receiveTakeover,
      agreed.receiveBits,
    ];
  };
  assertEquals(judge(BOTH, ""), [true, 15, true, 15]);
  assertEquals(judge(BOTH, "; client_no_context_takeover"), [
    false,
    15,
    true,
    15,
  ]);
  assertEquals(judge(BOTH, "; server_no_context_takeover"), [
    true,
    15,
    false,
    15,
  ]);
  assertEquals(judge(BOTH, "; client_max_window_bits=10"), [
    true,
    10,
    true,
    15,
  ]);
  assertEquals(judge(BOTH, '; server_max_window_bits="12"'), [
    true,
    15,
    true,
    12,
  ]);
  // With 9 zlib refers to no more than 250 bytes back.
  assertEquals(judge(BOTH, "; client_max_window_bits=8"), [true, 9, true, 15]);
  // A server need not repeat what the client has said of itself.
  assertEquals(judge({}, "; server_no_context_takeover"), [
    false,
    15,
    false,
    15,
  ]);
  assertEquals(
    judge({ ...BOTH, clientMaxWindowBits: 10 }, "; client_max_window_bits=12"),
    [true, 10, true, 15],
  );
  assertEquals(judgeAnswer(null, resolveClientCompression(true)!), null);
});

const WRONG: [
  answer: string,
  message: RegExp,
  options?: WebSocketClientCompression,
][] = [
  ["x-webkit-deflate-frame", /which was not offered/],
  ["permessage-deflate, permessage-deflate", /which was not offered/],
  ["permessage-deflate; a", /invalid parameter "a"/],
  [
    "permessage-deflate; server_no_context_takeover=1",
    /invalid parameter "server_no_context_takeover"/,
  ],
  [
    "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    /a parameter twice/,
  ],
  [
    "permessage-deflate; client_max_window_bits",
    /invalid parameter "client_max_window_bits"/,
  ],
  [
    "permessage-deflate; server_max_window_bits",
    /invalid parameter "server_max_window_bits"/,
  ],
  ["permessage-deflate; server_max_window_bits=7", /invalid parameter/],
  ["permessage-deflate; server_max_window_bits=16", /invalid parameter/],
  ["permessage-deflate; client_max_window_bits=010", /invalid parameter/],
  ["permessage-deflate;", /is malformed/],
  ["", /is malformed/],
  [
    "permessage-deflate",
    /leaves server_no_context_takeover out/,
    { clientContextTakeover: true },
  ],
  [
    "permessage-deflate; server_max_window_bits=12",
    /exceeds server_max_window_bits/,
    { ...BOTH, serverMaxWindowBits: 11 },
  ],
  [
    "permessage-deflate",
    /exceeds server_max_window_bits/,
    { ...BOTH, serverMaxWindowBits: 11 },
  ],
];

Deno.test("a client refuses what it has not offered", () => {
  for (const [answer, message, options = BOTH] of WRONG) {
    const settings = resolveClientCompression(options)!;
    const error = assertThrows(
      () => judgeAnswer(answer, settings),
      WebSocketHandshakeError,
    );
    assertMatch(error.message, message, answer);
  }
});

testBackends(
  "an extension that was not offered fails the connection",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url, { compression: true });
    const peer = await server.accept();
    await peer.raw.write(
      agree(
        await peer.head(),
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
      ),
    );
    const error = await client.failure() as WebSocketHandshakeError;
    assertMatch(error.message, /leaves server_no_context_takeover out/);
    assertEquals([error.name, client.opens], ["WebSocketHandshakeError", 0]);
    assert((await peer.raw.ending()).reset);
  },
);

testBackends(
  "a client compresses from the threshold on, and as asked",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url, {
      compression: { threshold: 100 },
    });
    const peer = await server.open(
      `Sec-WebSocket-Extensions: permessage-deflate; ${NONE}\r\n`,
    );
    const { socket } = client;
    await socket.opened;
    const text = "a".repeat(100);
    const rsv: number[] = [];
    for (
      const [message, compress] of [
        [text, undefined],
        [text.slice(1), undefined],
        [text.slice(1), true],
        [text, false],
      ] as const
    ) {
      socket.send(message, compress === undefined ? {} : { compress });
      const frame = await peer.frame();
      assertEquals(frame.opcode, TEXT);
      rsv.push(frame.rsv);
      assertEquals(frame.payload.length < 90, frame.rsv === 4);
    }
    assertEquals(rsv, [4, 0, 4, 0]);
  },
);

testBackends(
  "a server that marks what was not agreed on is refused",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url, { compression: true });
    const peer = await server.open();
    await client.socket.opened;
    await peer.send({ opcode: TEXT, rsv: 4, payload: "x" });
    assertEquals(await peer.closeFrame(), {
      code: 1002,
      reason: "reserved bits set",
    });
  },
);

for (const takeover of [false, true]) {
  const kind = takeover ? "with" : "without";
  testBackends(
    `a client and our server compress ${kind} context takeover`,
    async (t) => {
      const compression = {
        threshold: 0,
        maxRatio: 0,
        serverContextTakeover: takeover,
        clientContextTakeover: takeover,
      };
      const server = serveRoute(t, ECHO, { compression });
      const client = new Client(t, `ws://127.0.0.1:${server.addr.port}/`, {
        compression,
      });
      await client.socket.opened;
      const text = "The quick brown fox jumps over the lazy dog. ".repeat(20);
      for (let i = 0; i < 20; i++) {
        client.socket.send(text);
        assertEquals(await client.message(), text);
      }
      const { receivedBytes } = server.statistics();
      assert(receivedBytes < 20 * (takeover ? 50 : 150), `${receivedBytes}`);
    },
  );
}
