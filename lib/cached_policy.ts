// SPDX-License-Identifier: Apache-2.0
// cached_policy.ts - which responses may be given to others than those who asked for them, for how long, and what they
// take (RFC 9111 section 3); used by cached.ts.

import { fieldsOf } from "./response_parts.ts";
import type { WholeParts } from "./known_response.ts";

// RFC 9110 section 15.1, but for 206: which part it is was said by the request.
// deno-fmt-ignore
const STORABLE = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);

const FORBIDDEN = /(?:^|[\s,])(?:no-store|no-cache|private)(?:$|[\s,=])/i;
const AGES = [
  /(?:^|[\s,])s-maxage="?(\d*)/i,
  /(?:^|[\s,])max-age="?(\d*)/i,
];

// Of an entry: objects, fields of objects, and places in tables, roughly.
const ENTRY_BYTES = 500;
const FIELD_BYTES = 50;

/**
 * Milliseconds for which a response may be given to others; 0: not at all. With `anyVary` they are those for whom it
 * does not vary.
 */
export function lifetimeOf(
  response: unknown,
  ttl: number,
  anyVary: boolean,
): number {
  if (!(response instanceof Response) || !STORABLE.has(response.status)) {
    return 0;
  }
  const { headers } = response;
  const vary = headers.get("vary");
  if (headers.has("set-cookie")) return 0;
  if (vary !== null && (!anyVary || vary.includes("*"))) return 0;
  const control = headers.get("cache-control") ?? "";
  if (FORBIDDEN.test(control)) return 0;
  const age = AGES.map((pattern) => pattern.exec(control)?.[1])
    .find((seconds) => seconds !== undefined);
  // What is no number is as good as 0 (RFC 9111 section 4.2.1).
  if (age !== undefined) return Math.min(ttl, 1000 * Number(age));
  const expires = headers.get("expires");
  return expires === null ? ttl : Math.min(ttl, millisecondsUntil(expires));
}

// "0" and the like stand for the past (RFC 9111 section 5.3).
function millisecondsUntil(date: string): number {
  const left = Date.parse(date) - Date.now();
  return left > 0 ? left : 0;
}

/** Bytes that an entry takes in memory, as far as can be told: characters may take two. */
export function sizeOf(key: string, parts: WholeParts): number {
  const { body } = parts;
  let bytes = ENTRY_BYTES + 2 * key.length +
    (typeof body === "string" ? 2 * body.length : body?.length ?? 0);
  for (const [name, value] of fieldsOf(parts)) {
    bytes += FIELD_BYTES + 2 * (name.length + value.length);
  }
  return bytes;
}
