// SPDX-License-Identifier: Apache-2.0
// ws_handshake.ts - the opening handshake of WebSocket, as a server sees it (RFC 6455 section 4.2); called by ws_route.ts.
// What both sides know of it is used by ws_client_handshake.ts and its like, too.

import { createHash } from "node:crypto";
import type { LazyRequest } from "./http_request.ts";
import { headLine } from "./http_response.ts";
import { extraLines, listOf, refuse } from "./upgrade.ts";
import { parseExtensions } from "./ws_extensions.ts";

/** The field that offers extensions. */
export const EXTENSIONS = "sec-websocket-extensions";

// What the key is joined with.
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

// 16 bytes in base64 (RFC 6455 section 4.1).
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

/** The name of a subprotocol (RFC 6455 section 4.3). */
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

// What the handshake itself says; the application cannot say it otherwise.
const HANDSHAKE_FIELDS = new Set([
  "connection",
  "content-length",
  "sec-websocket-accept",
  EXTENSIONS,
  "sec-websocket-protocol",
  "transfer-encoding",
  "upgrade",
]);

/** Why a request is no opening handshake: the response to give, or null when it is one. */
export function refuseHandshake(request: LazyRequest): Response | null {
  if (
    request.method !== "GET" || !hasToken(request.field("upgrade"), "websocket")
  ) {
    return refuse(426, "WebSocket upgrade expected", {
      upgrade: "websocket",
      connection: "upgrade",
    });
  }
  if (request.field("sec-websocket-version") !== "13") {
    return refuse(426, "WebSocket version 13 expected", {
      "sec-websocket-version": "13",
    });
  }
  if (!hasToken(request.field("connection"), "upgrade")) {
    return refuse(400, "Connection must name upgrade");
  }
  if (!request.upgradable) {
    return refuse(400, "HTTP/1.1 without a body expected");
  }
  if (!KEY.test(request.field("sec-websocket-key") ?? "")) {
    return refuse(400, "Malformed Sec-WebSocket-Key");
  }
  if (!isProtocols(request.field("sec-websocket-protocol"))) {
    return refuse(400, "Malformed Sec-WebSocket-Protocol");
  }
  if (!isExtensions(request.field(EXTENSIONS))) {
    return refuse(400, "Malformed Sec-WebSocket-Extensions");
  }
  return null;
}

/** The head of the 101 response; `headers` are fields of the application and its middleware. */
export function acceptHead(
  request: LazyRequest,
  protocol: string | undefined,
  headers: Headers,
  extensions?: string,
): string {
  const accept = acceptOf(request.field("sec-websocket-key")!);
  let head =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" +
    `sec-websocket-accept: ${accept}\r\n`;
  if (protocol !== undefined) {
    head += headLine(`sec-websocket-protocol: ${protocol}`);
  }
  if (extensions !== undefined) {
    head += headLine(`${EXTENSIONS}: ${extensions}`);
  }
  return head + extraLines(headers, HANDSHAKE_FIELDS) + "\r\n";
}

/** The value of Sec-WebSocket-Accept that answers a key. */
export function acceptOf(key: string): string {
  return createHash("sha1").update(key + GUID).digest("base64");
}

/** Checks that the client offered a subprotocol (RFC 6455 section 4.2.2). */
export function checkProtocol(
  request: LazyRequest,
  protocol: string | undefined,
): void {
  if (protocol === undefined) return;
  const offered = request.field("sec-websocket-protocol") ?? "";
  if (listOf(offered).includes(protocol)) return;
  throw new TypeError(
    `Cannot select subprotocol "${protocol}": the client offered "${offered}"`,
  );
}

// A list of at least one token, each of them once (RFC 6455 sections 4.1 and 4.3).
function isProtocols(value: string | null): boolean {
  if (value === null) return true;
  const names = listOf(value);
  return names.length > 0 && names.every((name) => TOKEN.test(name)) &&
    new Set(names).size === names.length;
}

// A list of at least one extension (RFC 6455 section 9.1).
function isExtensions(value: string | null): boolean {
  return value === null || (parseExtensions(value)?.length ?? 0) > 0;
}

/** Whether a field that is a list has a member, in any case. */
export function hasToken(value: string | null, token: string): boolean {
  return listOf(value).some((item) => item.toLowerCase() === token);
}
