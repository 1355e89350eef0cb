// SPDX-License-Identifier: Apache-2.0
// differential_intended_websockets.ts - where upgradeWebSocket() is meant to
// differ from Deno.upgradeWebSocket(), and why.

import type { Known } from "./differential_rows.ts";

const OPENED = [
  "server: open (1)",
  'server: close 1000 "" clean (3)',
  "client: HTTP/1.1 101 Switching Protocols",
];
const ACCEPT = "client: sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const UPGRADE = "client: upgrade: websocket";
const CLOSED = "client: close 03e8";

/** What is thrown for a close code, and the close frame that is sent instead. */
function unsendable(code: number): string[] {
  return [
    "server: DOMException InvalidAccessError: The close code must be 1000 to " +
    `1003, 1007 to 1014 or 3000 to 4999: received ${code}`,
    "server: 1",
    "client: close 1387",
  ];
}

function refusal(status: number): string[] {
  return [
    `server: error Handshake refused with status ${status} true (3)`,
    'server: close 0 "" not clean (3)',
  ];
}

export const INTENDED_WEBSOCKETS: readonly Known[] = [
  {
    why:
      "The events of messages are not trusted: only the runtime can make such",
    differences: [{
      rows: ["a message event is not trusted"],
      deno: ["server: true"],
      millrace: ["server: false"],
    }],
  },
  {
    why: "`bufferedAmount` counts the headers of frames, too",
    differences: [{
      rows: ["bufferedAmount of a short message"],
      deno: ["server: 5"],
      millrace: ["server: 7"],
    }],
  },
  {
    why: "Bytes that are sent behind a Blob are copied by the call",
    differences: [{
      rows: ["bytes behind a Blob are those of the call"],
      deno: ["client: binary 02"],
      millrace: ["client: binary 01"],
    }],
  },
  {
    why:
      "A reason without a code is sent with 1000, as in the WebSockets standard",
    differences: [{
      rows: ["close() with a reason alone"],
      deno: ["client: close 62656361757365"],
      millrace: ["client: close 03e862656361757365"],
    }],
  },
  {
    why:
      "A code that must not be sent throws an InvalidAccessError (RFC 6455 section 7.4)",
    differences: [{
      rows: ["close() with a code of nobody"],
      deno: ["server: no error", "server: 2", "client: close 0000"],
      millrace: unsendable(0),
    }, {
      rows: ["close() with a code that is reserved"],
      deno: ["server: no error", "server: 2", "client: close 03ed"],
      millrace: unsendable(1005),
    }, {
      rows: ["close() with a code that is too large"],
      deno: ["server: no error", "server: 2", "client: close ffff"],
      millrace: unsendable(65535),
    }],
  },
  {
    why: "`close()` before the socket is open is not forgotten",
    differences: [{
      rows: ["close() before it is open"],
      deno: ["server: open (1)", "client: close 0fa0"],
      millrace: ["client: close 0fa06561726c79"],
    }],
  },
  {
    why:
      "After `close()` the client's close frame is awaited, whatever comes before it (RFC 6455 section 7.1.1)",
    differences: [{
      rows: ["close() within a message, more of which follow"],
      deno: ['server: close 0 "" not clean (3)'],
      millrace: ['server: close 4000 "" clean (3)', "client: close 0fa0"],
    }, {
      rows: ["close() that a message crosses"],
      deno: ['server: close 0 "" not clean (3)'],
      millrace: ['server: close 4000 "" clean (3)'],
    }, {
      rows: ["close() that a ping crosses"],
      deno: ['server: close 1005 "" clean (3)'],
      millrace: ['server: close 4000 "" clean (3)', "client: pong "],
    }],
  },
  {
    why:
      "A connection that ends without the client's close frame was not closed cleanly (RFC 6455 section 7.1.4)",
    differences: [{
      rows: ["close() answered by FIN"],
      deno: ['server: close 1005 "" clean (3)'],
      millrace: ['server: close 0 "" not clean (3)'],
    }],
  },
  {
    why:
      "The answer to a close frame has its code, and no reason (RFC 6455 section 5.5.1)",
    differences: [{
      rows: ["the client closes with a reason"],
      deno: ["client: close 0fa0627965"],
      millrace: ["client: close 0fa0"],
    }],
  },
  {
    why: "A frame without a mask is refused (RFC 6455 section 5.1)",
    differences: [{
      rows: ["violation: frame without a mask"],
      deno: ['server: message "a" (1)', 'server: close 1000 "" clean (3)'],
      millrace: [
        "server: error true true (3)",
        'server: close 0 "" not clean (3)',
      ],
    }],
  },
  {
    why:
      "A client that breaks a rule is told by a close frame which one, in the words of the error event",
    differences: [{
      rows: ["what the client is told of a broken rule"],
      deno: ["server: error Invalid value true (3)"],
      millrace: [
        "server: error unknown opcode true (3)",
        "client: close 03ea756e6b6e6f776e206f70636f6465",
      ],
    }],
  },
  {
    why:
      "A client that does not answer a ping is cut without a close frame; the events are the same, but that close comes once",
    differences: [{
      rows: ["silence: a ping that nobody answers"],
      deno: [
        'server: close 1005 "" clean (3)',
        "client: close 03e94e6f20726573706f6e73652066726f6d2070696e67206672616d652e",
      ],
      millrace: [],
    }],
  },
  {
    why:
      "A handshake that breaks a rule of RFC 6455 section 4.2.1 is refused, and its socket has an error",
    differences: [{
      rows: ["handshake: no version"],
      deno: [...OPENED, ACCEPT, UPGRADE, CLOSED],
      millrace: [
        ...refusal(426),
        "client: HTTP/1.1 426 Upgrade Required",
        "client: sec-websocket-version: 13",
      ],
    }, {
      rows: ["handshake: a malformed key"],
      deno: [
        ...OPENED,
        "client: sec-websocket-accept: JQHdhQRrQ3pd0VAHx7vMGlEiL+4=",
        UPGRADE,
        CLOSED,
      ],
      millrace: [...refusal(400), "client: HTTP/1.1 400 Bad Request"],
    }, {
      rows: ["handshake: POST"],
      deno: [...OPENED, ACCEPT, CLOSED],
      millrace: [...refusal(426), "client: HTTP/1.1 426 Upgrade Required"],
    }],
  },
  {
    why: "A subprotocol is found in a list without blanks, too",
    differences: [{
      rows: ["handshake: a subprotocol of a list without blanks"],
      deno: [
        "server: thrown TypeError TypeError: Protocol 'b' not in the request's " +
        "protocol list (non negotiable)",
        "client: HTTP/1.1 500 Internal Server Error",
      ],
      millrace: [
        ...OPENED,
        ACCEPT,
        "client: sec-websocket-protocol: b",
        UPGRADE,
        CLOSED,
      ],
    }],
  },
  {
    why: "`protocol` of the socket is the subprotocol that was chosen",
    differences: [{
      rows: ["handshake: the socket tells its subprotocol"],
      deno: ["server: "],
      millrace: ["server: b"],
    }],
  },
  {
    why:
      "The fields of the handshake are not those of the response: they are written when it is returned",
    differences: [{
      rows: ["handler: looks at the fields of the response"],
      deno: ["server: connection,sec-websocket-accept,upgrade"],
      millrace: ["server: "],
    }],
  },
  {
    why: "An unknown option of `upgradeWebSocket()` throws",
    differences: [{
      rows: ["handler: gives an unknown option"],
      deno: [...OPENED, ACCEPT, UPGRADE, CLOSED],
      millrace: [
        "server: thrown TypeError TypeError: Cannot upgrade: unknown option " +
        '"timeout"',
        "client: HTTP/1.1 500 Internal Server Error",
      ],
    }],
  },
];
