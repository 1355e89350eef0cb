// SPDX-License-Identifier: Apache-2.0
// response_head.ts - the head of one response of HTTP/1.1: status, and how its body is delimited; used by
// response_parser.ts.

/** What of a head matters. */
export interface ResponseHead {
  status: number;
  /** Bytes of the body; -1 where the head does not say. */
  length: number;
  chunked: boolean;
  /** Whether the connection ends with this response. */
  last: boolean;
}

/** A head of which nothing is known yet. */
export function emptyHead(): ResponseHead {
  return { status: 0, length: -1, chunked: false, last: false };
}

/** A response breaks the rules; the message says which one, without a capital. */
export class MalformedResponse extends Error {
  /** "MalformedResponse". */
  override readonly name: string = "MalformedResponse";
}

const CR = 13;
const LF = 10;
const TAB = 9;
const SPACE = 32;
const COLON = 58;
const DELETE = 127;

// Characters of a field's name (RFC 9110 section 5.6.2).
const IS_TOKEN = new Uint8Array(256);
for (const character of "!#$%&'*+-.^_`|~") {
  IS_TOKEN[character.charCodeAt(0)] = 1;
}
for (const [from, to] of ["09", "AZ", "az"]) {
  IS_TOKEN.fill(1, from!.charCodeAt(0), to!.charCodeAt(0) + 1);
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: |$)/;
const STATUS_BYTES = 13;
const MAX_DIGITS = 15;

/**
 * Reads a head that begins at `start` into `head`.
 *
 * @returns Where its body begins; -1 when the head has not come as a whole.
 * @throws {MalformedResponse} When it breaks the rules.
 */
export function parseHead(
  bytes: Uint8Array,
  start: number,
  head: ResponseHead,
): number {
  let at = valueEnd(bytes, start);
  if (at < 0) return -1;
  const statusLine = textOf(bytes, start, Math.min(at, start + STATUS_BYTES));
  const found = STATUS_LINE.exec(statusLine);
  if (found === null) {
    throw new MalformedResponse(
      `it begins with ${JSON.stringify(statusLine)}, not with a status line`,
    );
  }
  head.status = Number(found[2]);
  head.length = -1;
  head.chunked = false;
  // Who speaks 1.0 may offer to go on, but need not be believed.
  head.last = found[1] === "0";
  at += 2;
  while (at < bytes.length) {
    if (bytes[at] === CR) return headEnd(bytes, at, head);
    at = parseField(bytes, at, head);
    if (at < 0) return -1;
  }
  return -1;
}

function headEnd(bytes: Uint8Array, at: number, head: ResponseHead): number {
  if (at + 1 === bytes.length) return -1;
  if (bytes[at + 1] !== LF) throw new MalformedResponse("a CR stands alone");
  if (head.chunked && head.length >= 0) {
    throw new MalformedResponse("it has a length and is chunked too");
  }
  return at + 2;
}

function parseField(
  bytes: Uint8Array,
  start: number,
  head: ResponseHead,
): number {
  let at = start;
  while (at < bytes.length && IS_TOKEN[bytes[at]!] === 1) at++;
  if (at === bytes.length) return -1;
  if (bytes[at] !== COLON || at === start) {
    throw new MalformedResponse("a header field has no name");
  }
  const nameEnd = at;
  const end = valueEnd(bytes, at + 1);
  if (end < 0) return -1;
  // Of all others nothing matters here.
  switch (nameEnd - start) {
    case 10: // connection
    case 14: // content-length
    case 17: // transfer-encoding
      noteField(
        textOf(bytes, start, nameEnd).toLowerCase(),
        textOf(bytes, nameEnd + 1, end).trim(),
        head,
      );
  }
  return end + 2;
}

function noteField(name: string, value: string, head: ResponseHead): void {
  if (name === "content-length") {
    if (!/^\d+$/.test(value) || value.length > MAX_DIGITS) {
      throw new MalformedResponse(`its length is ${JSON.stringify(value)}`);
    }
    const length = Number(value);
    if (head.length >= 0 && head.length !== length) {
      throw new MalformedResponse("it has two lengths");
    }
    head.length = length;
  } else if (name === "transfer-encoding") {
    if (head.chunked || value.toLowerCase() !== "chunked") {
      throw new MalformedResponse(
        `its transfer coding is ${JSON.stringify(value)}`,
      );
    }
    head.chunked = true;
  } else if (name === "connection") {
    head.last ||= /(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(value);
  }
}

// Where the CR LF behind a value is; -1 when it has not come.
function valueEnd(bytes: Uint8Array, start: number): number {
  let at = start;
  for (; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte >= SPACE && byte !== DELETE || byte === TAB) continue;
    if (byte !== CR) {
      throw new MalformedResponse("a control character is in its head");
    }
    if (at + 1 === bytes.length) return -1;
    if (bytes[at + 1] !== LF) throw new MalformedResponse("a CR stands alone");
    return at;
  }
  return -1;
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!);
  return text;
}
