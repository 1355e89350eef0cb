// SPDX-License-Identifier: Apache-2.0
// websocket_handshakes.ts - opening handshakes, and what a strict server answers
// (RFC 6455 sections 4.2, 9.1 and 11.3); played by websocket_handshake_test.ts.

import type { WebSocketCompression } from "../mod.ts";
import { MALFORMED, OFFERS, TAKEOVER } from "./websocket_offers.ts";
import { ACCEPT, handshake } from "./ws_client.ts";

export interface Handshake {
  id: string;
  /** Of RFC 6455, or, with a D before it, of RFC 7692. */
  section: string;
  request: string;
  status: number;
  /** Fields of the answer; null where there must be none of the name. */
  fields: Record<string, string | null>;
  /** Refused before any handler: the connection is closed. */
  closes?: boolean;
  compression?: WebSocketCompression;
}

type Fields = Record<string, string | null>;

const UPGRADED: Fields = {
  "upgrade": "websocket",
  "connection": "Upgrade",
  "sec-websocket-accept": ACCEPT,
  "sec-websocket-protocol": null,
  "sec-websocket-extensions": null,
};
const REFUSED: Fields = {
  "sec-websocket-accept": null,
  "sec-websocket-protocol": null,
  "sec-websocket-extensions": null,
};

function accepted(
  id: string,
  section: string,
  fields: Fields = {},
  answer: Fields = {},
): Handshake {
  const request = handshake("/", fields);
  return answered(id, section, request, { ...UPGRADED, ...answer });
}

function answered(
  id: string,
  section: string,
  request: string,
  fields: Fields = UPGRADED,
): Handshake {
  return { id, section, request, status: 101, fields };
}

function refused(
  id: string,
  section: string,
  status: number,
  fields: Fields,
  answer: Fields = {},
): Handshake {
  const request = handshake("/", fields);
  return {
    id,
    section,
    request,
    status,
    fields: { ...REFUSED, ...answer },
  };
}

/** The fields of a handshake without its request line. */
const LINES = handshake().slice(handshake().indexOf("\r\n") + 2, -2).split(
  /(?<=\r\n)/,
);
const FIELDS = LINES.join("") + "\r\n";

const ACCEPTED: Handshake[] = [
  accepted("least", "4.2.1"),
  accepted("upgrade-in-any-case", "4.2.1", { "Upgrade": "WebSocket" }),
  accepted("upgrade-in-capitals", "4.2.1", { "Upgrade": "WEBSOCKET" }),
  accepted("upgrade-among-others", "4.2.1", { "Upgrade": "h2c, websocket" }),
  accepted("connection-in-any-case", "4.2.1", { "Connection": "uPGRADE" }),
  accepted("connection-among-others", "4.2.1", {
    "Connection": "keep-alive, Upgrade",
  }),
  accepted("connection-on-two-lines", "4.2.1", {
    "Connection": "keep-alive\r\nConnection: Upgrade",
  }),
  answered(
    "names-in-small-letters",
    "4.2.1",
    `GET / HTTP/1.1\r\n${
      FIELDS.replace(/^[\w-]+(?=:)/gm, (name) => name.toLowerCase())
    }`,
  ),
  answered(
    "names-in-capitals",
    "4.2.1",
    `GET / HTTP/1.1\r\n${
      FIELDS.replace(/^[\w-]+(?=:)/gm, (name) => name.toUpperCase())
    }`,
  ),
  answered(
    "fields-in-any-order",
    "4.2.1",
    `GET / HTTP/1.1\r\n${LINES.toReversed().join("")}\r\n`,
  ),
  answered(
    "blanks-around-values",
    "4.2.1",
    `GET / HTTP/1.1\r\n${FIELDS.replace(/: (.+)\r/g, ":\t $1 \t\r")}`,
  ),
  answered(
    "absolute-target",
    "4.2.1",
    `GET http://test/ HTTP/1.1\r\n${FIELDS}`,
  ),
  answered(
    "a-later-minor-version",
    "4.2.1",
    `GET / HTTP/1.2\r\n${FIELDS}`,
  ),
  accepted("unknown-fields", "4.2.1", {
    "Cookie": "a=b",
    "Sec-WebSocket-Unknown": "x",
    "Authorization": "Basic eDp5",
  }),
  accepted("an-empty-body", "4.2.1", { "Content-Length": "0" }),
  accepted("another-key", "4.2.2", {
    "Sec-WebSocket-Key": "AQIDBAUGBwgJCgsMDQ4PEA==",
  }, { "sec-websocket-accept": "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=" }),
  accepted("a-key-with-every-kind-of-letter", "4.2.1", {
    "Sec-WebSocket-Key": "+/+/+/+/+/+/+/+/+/+/+w==",
  }, { "sec-websocket-accept": "M0DUs3om0SqzerhOhYSMM7WQuBQ=" }),
  accepted("no-origin", "10.2"),
  accepted("its-own-origin", "10.2", { "Origin": "http://test" }),
  accepted("protocols-of-which-one-is-known", "4.2.2", {
    "Sec-WebSocket-Protocol": "other, chat",
  }, { "sec-websocket-protocol": "chat" }),
  accepted("protocols-on-two-lines", "11.3.4", {
    "Sec-WebSocket-Protocol": "other\r\nSec-WebSocket-Protocol: chat",
  }, { "sec-websocket-protocol": "chat" }),
  accepted("protocols-of-which-two-are-known", "4.2.2", {
    "Sec-WebSocket-Protocol": "superchat,chat",
  }, { "sec-websocket-protocol": "superchat" }),
  accepted("protocols-in-another-order", "4.2.2", {
    "Sec-WebSocket-Protocol": "chat,superchat",
  }, { "sec-websocket-protocol": "chat" }),
  accepted("protocols-of-which-none-is-known", "4.2.2", {
    "Sec-WebSocket-Protocol": "other",
  }),
  accepted("protocol-in-another-case", "4.2.2", {
    "Sec-WebSocket-Protocol": "CHAT",
  }),
  accepted("protocol-with-every-kind-of-letter", "4.3", {
    "Sec-WebSocket-Protocol": "!#$%&'*+-.^_`|~09azAZ",
  }),
  accepted("extension-that-is-not-known", "9", {
    "Sec-WebSocket-Extensions": "foo; bar=1, x-deflate",
  }),
  accepted("extension-that-is-not-on", "9", {
    "Sec-WebSocket-Extensions": "permessage-deflate",
  }),
];

const VERSIONS = ["0", "1", "7", "8", "12", "14", "25", "131", "255", "256"];
const NO_VERSIONS = ["", "013", "13.0", "+13", "-13", "0x0d", "x", "13 13"];

/** What is refused with the versions that are spoken. */
const WRONG_VERSIONS: Handshake[] = [
  refused("no-version", "4.2.2", 426, { "Sec-WebSocket-Version": null }),
  ...[...VERSIONS, ...NO_VERSIONS].map((version) =>
    refused(`version-${version}`, "4.4", 426, {
      "Sec-WebSocket-Version": version,
    })
  ),
  refused("versions-in-a-list", "11.3.5", 426, {
    "Sec-WebSocket-Version": "13, 8",
  }),
  refused("versions-on-two-lines", "11.3.5", 426, {
    "Sec-WebSocket-Version": "13\r\nSec-WebSocket-Version: 13",
  }),
].map((row) => ({
  ...row,
  fields: { ...row.fields, "sec-websocket-version": "13" },
}));

const KEYS: Record<string, string | null> = {
  "no-key": null,
  "empty-key": "",
  "key-of-15-bytes": "AQIDBAUGBwgJCgsMDQ4P",
  "key-of-17-bytes": "AQIDBAUGBwgJCgsMDQ4PEBE=",
  "key-without-padding": "dGhlIHNhbXBsZSBub25jZQ",
  "key-with-one-padding": "dGhlIHNhbXBsZSBub25jZQ=",
  "key-with-bits-left-over": "dGhlIHNhbXBsZSBub25jZR==",
  "key-for-urls": "-_-_-_-_-_-_-_-_-_-_-w==",
  "key-with-a-blank": "dGhlIHNhbXBs ZSBub25jZQ==",
  "key-with-more-behind": "dGhlIHNhbXBsZSBub25jZQ==x",
  "key-of-anything": "one two three",
  "key-with-obs-text": "dGhlIHNhbXBsZSBub25j\xe4Q==",
};

const PROTOCOLS: Record<string, string> = {
  "protocols-empty": "",
  "protocols-none-but-a-comma": ",",
  "protocol-with-a-blank": "chat room",
  "protocol-in-quotes": '"chat"',
  "protocol-with-a-slash": "chat/1",
  "protocol-with-a-parameter": "chat; v=1",
  "protocol-with-obs-text": "ch\xe4t",
  "protocols-twice-the-same": "chat, other, chat",
  "protocols-twice-the-same-on-two-lines":
    "chat\r\nSec-WebSocket-Protocol: chat",
};

const WRONG: Handshake[] = [
  refused("no-upgrade", "4.2.1", 426, { "Upgrade": null }),
  refused("another-upgrade", "4.2.1", 426, { "Upgrade": "h2c" }),
  refused("upgrade-of-another-version", "4.2.1", 426, {
    "Upgrade": "websocket/13",
  }),
  refused("upgrade-of-a-longer-name", "4.2.1", 426, {
    "Upgrade": "websockets",
  }),
  refused("upgrade-with-the-long-s", "4.2.1", 426, {
    "Upgrade": "web\xc5\xbfocket",
  }),
  refused("no-connection", "4.2.1", 400, { "Connection": null }),
  refused("connection-without-upgrade", "4.2.1", 400, {
    "Connection": "keep-alive",
  }),
  refused("connection-of-a-longer-name", "4.2.1", 400, {
    "Connection": "upgraded",
  }),
  ...Object.entries(KEYS).map(([id, key]) =>
    refused(id, "4.2.1", 400, { "Sec-WebSocket-Key": key })
  ),
  refused("keys-on-two-lines", "11.3.1", 400, {
    "Sec-WebSocket-Key":
      "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  }),
  ...Object.entries(PROTOCOLS).map(([id, protocol]) =>
    refused(id, "4.3", 400, { "Sec-WebSocket-Protocol": protocol })
  ),
  ...["", ",", ...MALFORMED].map((offer, at) =>
    refused(`extensions-malformed-${at}`, "9.1", 400, {
      "Sec-WebSocket-Extensions": offer,
    })
  ),
  refused("another-origin", "10.2", 403, { "Origin": "http://evil.test" }),
  refused("no-origin-that-is-one", "10.2", 403, { "Origin": "null" }),
  refused("origins-on-two-lines", "10.2", 403, {
    "Origin": "http://test\r\nOrigin: http://evil.test",
  }),
  ...["POST", "PUT", "OPTIONS", "get"].map((method) => ({
    ...refused(`method-${method}`, "4.2.1", 426, {}),
    request: `${method} / HTTP/1.1\r\nContent-Length: 0\r\n${FIELDS}`,
  })),
  {
    ...refused("a-body", "4.2.1", 400, {}),
    request: `GET / HTTP/1.1\r\nContent-Length: 3\r\n${FIELDS}abc`,
  },
  {
    ...refused("a-chunked-body", "4.2.1", 400, {}),
    request: `GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${FIELDS}` +
      "3\r\nabc\r\n0\r\n\r\n",
  },
  {
    ...refused("http-1-0-kept-alive", "4.2.1", 400, {}),
    request: `GET / HTTP/1.0\r\n${
      FIELDS.replace("Connection: Upgrade", "Connection: Upgrade, keep-alive")
    }`,
  },
  {
    ...refused("no-such-service", "4.2.2", 404, {}),
    request: handshake("/nowhere"),
  },
];

/** Refused by the rules of HTTP alone. */
const NO_REQUESTS: Handshake[] = [
  refused("no-host", "4.2.1", 400, { "Host": null }),
  refused("two-hosts", "4.2.1", 400, { "Host": "test\r\nHost: test" }),
  refused("folded-line", "4.2.1", 400, { "Upgrade": "\r\n websocket" }),
  refused("blank-before-the-colon", "4.2.1", 400, { "Upgrade ": "websocket" }),
  {
    ...refused("http-1-0", "4.2.1", 400, {}),
    request: `GET / HTTP/1.0\r\n${FIELDS}`,
  },
  {
    ...refused("http-2", "4.2.1", 505, {}),
    request: `GET / HTTP/2.0\r\n${FIELDS}`,
  },
].map((row) => ({ ...row, closes: true }));

const NEGOTIATIONS: Handshake[] = OFFERS.filter(({ offer }) => offer !== "")
  .map(({ offer, options = TAKEOVER, answer }) => ({
    ...accepted(
      `offer ${offer} to ${JSON.stringify(options)}`,
      "D7.1",
      { "Sec-WebSocket-Extensions": offer },
      { "sec-websocket-extensions": answer },
    ),
    compression: options,
  }));

export const HANDSHAKES: readonly Handshake[] = [
  ...ACCEPTED,
  ...WRONG_VERSIONS,
  ...WRONG,
  ...NO_REQUESTS,
  ...NEGOTIATIONS,
  {
    ...accepted("offers-on-two-lines", "11.3.2", {
      "Sec-WebSocket-Extensions":
        "permessage-deflate; x\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9",
    }, {
      "sec-websocket-extensions":
        "permessage-deflate; server_max_window_bits=9",
    }),
    compression: TAKEOVER,
  },
];
