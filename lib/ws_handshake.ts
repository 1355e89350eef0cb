// SPDX-License-Identifier: Apache-2.0
// ws_handshake.ts - the opening handshake of WebSocket (RFC 6455 section 4.2); called by websocket.ts, its
// responses are recognised by http_connection.ts.

import { createHash } from "node:crypto";
import type { Connection } from "./connection.ts";
import { latin1 } from "./http_response.ts";
import { LazyRequest } from "./http_request.ts";
import type { PollLoop } from "./poll_loop.ts";

/** What happens to the connection when a handler returns an upgrade response. */
export interface Upgrade {
  /** Answers 101 and takes the connection over. */
  accept(handle: number, loop: PollLoop, address: Deno.Addr): Connection;
}

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

// 16 bytes in base64 (RFC 6455 section 4.1).
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/;

// What the handshake itself says; the application cannot say it otherwise.
const HANDSHAKE_FIELDS = new Set([
  "connection",
  "content-length",
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "sec-websocket-protocol",
  "transfer-encoding",
  "upgrade",
]);

const upgrades = new WeakMap<Response, Upgrade>();

/** A Response that, returned from a handler, turns its connection over to `upgrade`. */
export function upgradeResponse(upgrade: Upgrade): Response {
  const response = new Response(null);
  // The constructor refuses 101, which is for the server alone to say.
  Object.defineProperty(response, "status", { value: 101 });
  Object.defineProperty(response, "ok", { value: false });
  upgrades.set(response, upgrade);
  return response;
}

/** The upgrade behind a response, or null for an ordinary one. */
export function upgradeOf(response: Response): Upgrade | null {
  return upgrades.get(response) ?? null;
}

/** Why a request is no opening handshake: the response to give, or null when it is one. */
export function refuseHandshake(request: Request): Response | null {
  if (!(request instanceof LazyRequest)) {
    throw new TypeError(
      "Cannot upgrade: the request must be the one that the handler was given",
    );
  }
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
  return KEY.test(request.field("sec-websocket-key") ?? "")
    ? null
    : refuse(400, "Malformed Sec-WebSocket-Key");
}

/** The head of the 101 response; `headers` are fields of the application. */
export function acceptHead(
  request: Request,
  protocol: string | undefined,
  headers: Headers | null,
): Uint8Array {
  const key = (request as LazyRequest).field("sec-websocket-key")!;
  const accept = createHash("sha1").update(key + GUID).digest("base64");
  let head =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" +
    `sec-websocket-accept: ${accept}\r\n`;
  if (protocol !== undefined) head += `sec-websocket-protocol: ${protocol}\r\n`;
  for (const [name, value] of headers ?? []) {
    if (!HANDSHAKE_FIELDS.has(name)) head += `${name}: ${value}\r\n`;
  }
  return latin1(head + "\r\n");
}

/** Checks that the client offered a subprotocol (RFC 6455 section 4.2.2). */
export function checkProtocol(
  request: Request,
  protocol: string | undefined,
): void {
  if (protocol === undefined) return;
  const offered = (request as LazyRequest).field("sec-websocket-protocol") ??
    "";
  if (offered.split(",").some((item) => item.trim() === protocol)) return;
  throw new TypeError(
    `Cannot select subprotocol "${protocol}": the client offered "${offered}"`,
  );
}

function refuse(
  status: number,
  text: string,
  headers: Record<string, string> = {},
): Response {
  return new Response(text, { status, headers });
}

function hasToken(value: string | null, token: string): boolean {
  return value !== null &&
    value.toLowerCase().split(",").some((item) => item.trim() === token);
}
