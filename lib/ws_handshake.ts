// SPDX-License-Identifier: Apache-2.0
// ws_handshake.ts - the opening handshake of WebSocket (RFC 6455 section 4.2); called by ws_route.ts.

import { createHash } from "node:crypto";
import type { LazyRequest } from "./http_request.ts";
import { headLine, latin1 } from "./http_response.ts";
import { extraLines, listOf, refuse } from "./upgrade.ts";
import { parseExtensions } from "./ws_extensions.ts";

/** The field that offers extensions. */
export const EXTENSIONS = "sec-websocket-extensions";

/** What the key is joined with. */
export const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

// 16 bytes in base64 (RFC 6455 section 4.1).
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

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
  return parseExtensions(request.field(EXTENSIONS) ?? "") === null
    ? refuse(400, "Malformed Sec-WebSocket-Extensions")
    : null;
}

/** The head of the 101 response; `headers` are fields of the application and its middleware. */
export function acceptHead(
  request: LazyRequest,
  protocol: string | undefined,
  headers: Headers,
  extensions?: string,
): Uint8Array {
  const key = request.field("sec-websocket-key")!;
  const accept = createHash("sha1").update(key + GUID).digest("base64");
  let head =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" +
    `sec-websocket-accept: ${accept}\r\n`;
  if (protocol !== undefined) {
    head += headLine(`sec-websocket-protocol: ${protocol}`);
  }
  if (extensions !== undefined) {
    head += headLine(`${EXTENSIONS}: ${extensions}`);
  }
  return latin1(head + extraLines(headers, HANDSHAKE_FIELDS) + "\r\n");
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

function hasToken(value: string | null, token: string): boolean {
  return listOf(value).some((item) => item.toLowerCase() === token);
}
