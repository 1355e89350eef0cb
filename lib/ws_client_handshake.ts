// SPDX-License-Identifier: Apache-2.0
// ws_client_handshake.ts - the client's side of the opening handshake (RFC 6455 section 4.1): the request, and what is
// to be found in the response; used by ws_client_opening.ts.

import { createHash } from "node:crypto";
import { latin1 } from "./http_response.ts";
import { listOf } from "./upgrade.ts";
import { EXTENSIONS, GUID } from "./ws_handshake.ts";

/**
 * The server does not agree to a WebSocket, or what it answers breaks the rules of the handshake.
 */
export class WebSocketHandshakeError extends Error {
  /** "WebSocketHandshakeError". */
  override readonly name: string = "WebSocketHandshakeError";
  /** Status of the response; 0 when there is none that can be read. */
  readonly status: number;
  /** Fields of the response. */
  readonly headers: Headers;

  /** Made by Millrace. */
  constructor(message: string, status = 0, headers: Headers = new Headers()) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** What a handshake asks for. */
export interface HandshakeRequest {
  /** Path and query. */
  target: string;
  /** What the field Host says. */
  host: string;
  protocols: readonly string[];
  /** The value of Sec-WebSocket-Extensions, or null. */
  extensions: string | null;
  /** Fields of the application. */
  headers: Headers;
}

/** The head of a response. */
export interface ResponseHead {
  /** Minor version of HTTP/1. */
  minor: number;
  status: number;
  reason: string;
  headers: Headers;
}

const KEY_LENGTH = 16;
const STATUS_LINE = /^HTTP\/1\.(\d) (\d{3})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
// Headers take the white space around a value away.
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)$/;
const SWITCHING_PROTOCOLS = 101;

/** A new value of Sec-WebSocket-Key. */
export function newKey(): string {
  return btoa(
    String.fromCharCode(...crypto.getRandomValues(new Uint8Array(KEY_LENGTH))),
  );
}

/** The head of the request. */
export function requestHead(
  { target, host, protocols, extensions, headers }: HandshakeRequest,
  key: string,
): Uint8Array {
  let head = `GET ${target} HTTP/1.1\r\n`;
  if (!headers.has("host")) head += `Host: ${host}\r\n`;
  head += "Upgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n`;
  if (protocols.length > 0) {
    head += `Sec-WebSocket-Protocol: ${protocols.join(", ")}\r\n`;
  }
  if (extensions !== null) {
    head += `Sec-WebSocket-Extensions: ${extensions}\r\n`;
  }
  for (const [name, value] of headers) head += `${name}: ${value}\r\n`;
  return latin1(head + "\r\n");
}

/** Reads a head whose bytes are characters. Throws a WebSocketHandshakeError when it is none. */
export function parseResponse(text: string): ResponseHead {
  const [first = "", ...lines] = text.slice(0, -4).split("\r\n");
  const line = STATUS_LINE.exec(first);
  if (line === null) {
    throw refusal(`its status line is malformed: ${Deno.inspect(first)}`);
  }
  const headers = new Headers();
  for (const each of lines) {
    const field = FIELD_LINE.exec(each);
    if (field === null) {
      throw refusal(`a field is malformed: ${Deno.inspect(each)}`);
    }
    headers.append(field[1]!, field[2]!);
  }
  const [, minor, status, reason = ""] = line;
  return { minor: Number(minor), status: Number(status), reason, headers };
}

/** Whether it is an interim response, behind which another one comes (RFC 9110 section 15.2). */
export function isInterim({ status }: ResponseHead): boolean {
  return status >= 100 && status < 200 && status !== SWITCHING_PROTOCOLS;
}

/**
 * The subprotocol that was agreed on, or "". Throws a WebSocketHandshakeError when the response is not what the request
 * asked for; extensions are judged elsewhere.
 */
export function judgeResponse(
  response: ResponseHead,
  request: HandshakeRequest,
  key: string,
): string {
  const { status, headers } = response;
  const broken = (what: string): WebSocketHandshakeError =>
    refusal(what, status, headers);
  if (status !== SWITCHING_PROTOCOLS) throw broken(statusText(response));
  if (response.minor === 0) throw broken("it is one of HTTP/1.0");
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    throw broken('its field Upgrade is not "websocket"');
  }
  const connection = listOf(headers.get("connection"));
  if (!connection.some((item) => item.toLowerCase() === "upgrade")) {
    throw broken('its field Connection does not name "Upgrade"');
  }
  const accept = createHash("sha1").update(key + GUID).digest("base64");
  if (headers.get("sec-websocket-accept") !== accept) {
    throw broken("its Sec-WebSocket-Accept does not answer the key");
  }
  const protocol = headers.get("sec-websocket-protocol");
  if (protocol !== null && !request.protocols.includes(protocol)) {
    throw broken(`it chose subprotocol "${protocol}", which was not offered`);
  }
  if (headers.has(EXTENSIONS) && request.extensions === null) {
    throw broken(
      `it chose "${headers.get(EXTENSIONS)}", and no extension was offered`,
    );
  }
  return protocol ?? "";
}

/** An error that says what is wrong with the response. */
export function refusal(
  what: string,
  status?: number,
  headers?: Headers,
): WebSocketHandshakeError {
  return new WebSocketHandshakeError(
    `Cannot open the WebSocket: the server's response is refused: ${what}`,
    status,
    headers,
  );
}

function statusText({ status, reason, headers }: ResponseHead): string {
  const said = `it is ${`${status} ${reason}`.trim()}, not 101`;
  const location = headers.get("location");
  if (status >= 300 && status < 400 && location !== null) {
    return `${said}: connect to ${location} instead, redirects are not followed`;
  }
  return status === 401
    ? `${said}: give an "authorization" among the headers`
    : said;
}
