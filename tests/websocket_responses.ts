// SPDX-License-Identifier: Apache-2.0
// websocket_responses.ts - answers to an opening handshake, and which of them a strict client takes (RFC 6455 sections
// 4.1 and 11.3, RFC 7692 section 7.1).

export interface HandshakeResponse {
  id: string;
  section: string;
  /** The head; `{accept}` stands for the hash of the client's key. */
  head: string;
  /** The client asks for these. */
  protocols: string[];
  /** What it offers of extensions; "" is nothing. */
  offer: string;
  accepted: boolean;
}

type Fields = Record<string, string | null>;

const FIELDS: Fields = {
  "Upgrade": "websocket",
  "Connection": "Upgrade",
  "Sec-WebSocket-Accept": "{accept}",
};

function response(
  id: string,
  accepted: boolean,
  fields: Fields,
  asked: { protocols?: string[]; offer?: string; section?: string } = {},
  line: string = "HTTP/1.1 101 Switching Protocols",
): HandshakeResponse {
  const lines = Object.entries({ ...FIELDS, ...fields })
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return {
    id: `response-${id}`,
    section: asked.section ?? "4.1",
    head: `${line}\r\n${lines.join("")}\r\n`,
    protocols: asked.protocols ?? [],
    offer: asked.offer ?? "",
    accepted,
  };
}

const CHAT = { protocols: ["chat", "superchat"] };
const OFFER = { offer: "permessage-deflate", section: "D7.1" };
const BITS = {
  offer: "permessage-deflate; client_max_window_bits",
  section: "D7.1",
};

function extensions(value: string): Fields {
  return { "Sec-WebSocket-Extensions": value };
}

function protocol(value: string): Fields {
  return { "Sec-WebSocket-Protocol": value };
}

export const RESPONSES: readonly HandshakeResponse[] = [
  response("least", true, {}),
  response("upgrade-in-any-case", true, { "Upgrade": "WebSocket" }),
  response("connection-in-any-case", true, { "Connection": "uPGRADE" }),
  response("connection-among-others", true, {
    "Connection": "keep-alive, Upgrade",
  }),
  response("unknown-fields", true, { "Server": "x", "Set-Cookie": "a=b" }),
  response("status-200", false, {}, {}, "HTTP/1.1 200 OK"),
  response("status-400", false, {}, {}, "HTTP/1.1 400 Bad Request"),
  response("status-404", false, {}, {}, "HTTP/1.1 404 Not Found"),
  response("http-1-0", false, {}, {}, "HTTP/1.0 101 Switching Protocols"),
  response("no-http", false, {}, {}, "ICY 101 OK"),
  response("no-upgrade", false, { "Upgrade": null }),
  response("another-upgrade", false, { "Upgrade": "h2c" }),
  response("no-connection", false, { "Connection": null }),
  response("another-connection", false, { "Connection": "keep-alive" }),
  response("no-accept", false, { "Sec-WebSocket-Accept": null }),
  response("another-accept", false, {
    "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
  }),
  response("accept-in-another-case", false, {
    "Sec-WebSocket-Accept": "{ACCEPT}",
  }),
  response("two-accepts", false, {
    "Sec-WebSocket-Accept": "{accept}\r\nSec-WebSocket-Accept: {accept}",
  }, { section: "11.3" }),
  response("protocol-of-ours", true, protocol("superchat"), CHAT),
  response("protocol-none", true, {}, CHAT),
  response("protocol-not-asked-for", false, protocol("chat")),
  response("protocol-of-another", false, protocol("other"), CHAT),
  response("protocol-in-another-case", false, protocol("Chat"), CHAT),
  response("protocol-empty", false, protocol(""), CHAT),
  response("protocol-list", false, protocol("chat, superchat"), CHAT),
  response(
    "two-protocols",
    false,
    protocol("chat\r\nSec-WebSocket-Protocol: superchat"),
    { ...CHAT, section: "11.3" },
  ),
  response("extension-not-asked-for", false, extensions("permessage-deflate")),
  response("extension-of-another", false, extensions("x-deflate"), OFFER),
  response("extension-malformed", false, extensions("a; b="), OFFER),
  response("extension-none", true, {}, OFFER),
  response("extension-plain", true, extensions("permessage-deflate"), OFFER),
  response(
    "extension-twice",
    false,
    extensions("permessage-deflate, permessage-deflate"),
    OFFER,
  ),
  ...([
    ["server_no_context_takeover", true],
    ["client_no_context_takeover", true],
    ["server_max_window_bits=9", true],
    ["server_max_window_bits=15", true],
    ["server_max_window_bits", false],
    ["server_max_window_bits=7", false],
    ["server_max_window_bits=16", false],
    ["server_max_window_bits=09", false],
    ["server_no_context_takeover=1", false],
    ["client_no_context_takeover=1", false],
    ["unknown", false],
    ["unknown_no_context_takeover", false],
    ["server_no_context_takeover; server_no_context_takeover", false],
  ] as const).map(([parameter, accepted]) =>
    response(
      `extension-parameter ${parameter}`,
      accepted,
      extensions(`permessage-deflate; ${parameter}`),
      OFFER,
    )
  ),
  ...([
    ["client_max_window_bits=9", true],
    ["client_max_window_bits=15", true],
    ["client_max_window_bits", false],
    ["client_max_window_bits=7", false],
    ["client_max_window_bits=16", false],
  ] as const).map(([parameter, accepted]) =>
    response(
      `extension-limit ${parameter}`,
      accepted,
      extensions(`permessage-deflate; ${parameter}`),
      BITS,
    )
  ),
];
