// SPDX-License-Identifier: Apache-2.0
// http_request.ts - the bytes of the one request that http_wire.ts sends again and again; checked by options.ts.

import { TOKEN } from "../ws_handshake.ts";
import type { Plan } from "./options.ts";

const UTF8 = new TextEncoder();
const FILLER = "x";

// What the length of the body says already.
const FRAMING = ["content-length", "transfer-encoding"];

// Methods whose requests say that they have no body (RFC 9110 section 8.6).
const WITH_BODY = ["POST", "PUT", "PATCH"];

/** Writes the request. Throws a TypeError for a method or header field that none can have. */
export function requestOf(
  { url, method, headers, payload }: Plan,
): Uint8Array<ArrayBuffer> {
  if (!TOKEN.test(method) || method === "CONNECT") {
    throw new TypeError(
      `Cannot run the load: ${Deno.inspect(method)} is no method for it`,
    );
  }
  const { pathname, search, host } = new URL(url);
  const lines = [`${method} ${pathname}${search} HTTP/1.1`];
  const names = headers.map(([name]) => name);
  const framing = names.find((name) => FRAMING.includes(name));
  if (framing !== undefined) {
    throw new TypeError(
      `Cannot run the load: "${framing}" follows from the payload`,
    );
  }
  if (!names.includes("host")) lines.push(`host: ${host}`);
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  const body = UTF8.encode(
    typeof payload === "number" ? FILLER.repeat(payload) : payload ?? "",
  );
  if (body.length > 0 || WITH_BODY.includes(method)) {
    lines.push(`content-length: ${body.length}`);
  }
  const head = latin1(lines.join("\r\n") + "\r\n\r\n");
  const request = new Uint8Array(head.length + body.length);
  request.set(head);
  request.set(body, head.length);
  return request;
}

// Values of fields are bytes, each of which a character stands for.
function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
