// SPDX-License-Identifier: Apache-2.0
// http_response.ts - writes response heads and bodies of known length into the outbox (RFC 9112 sections 4 to 6);
// called by http_connection.ts.

import { STATUS_CODES } from "node:http";
import type { Outbox } from "../ffi/mod.ts";
import { httpDate } from "./http_date.ts";
import type { Field, ResponseParts } from "./response_parts.ts";

/** What the request and the server have decided about a response. */
export interface ResponseMode {
  /** The request was HEAD: the head says what the body would be, and no body follows. */
  headOnly: boolean;
  /** The connection ends after this response. */
  close: boolean;
  /** The request was HTTP/1.0. */
  http10: boolean;
  /** The time of this turn, in milliseconds since the epoch. */
  now: number;
}

const UTF8 = new TextEncoder();
const CR = 13;
const LF = 10;
const DIGIT_0 = 48;

// Characters up to which a text is written by hand.
const SHORT_TEXT = 48;

// Bytes that the digits of a length and an empty line take at the most.
const HEAD_ROOM = 24;

// Fields that frame the message: they are ours to write, whatever the handler says.
const FRAMING = new Set([
  "connection",
  "content-length",
  "date",
  "transfer-encoding",
]);

// deno-lint-ignore no-control-regex
const NON_ASCII = /[^\x00-\x7f]/;

/** Statuses that never have a body (RFC 9110 section 6.4.1). */
export function isBodyless(status: number): boolean {
  return status < 200 || status === 204 || status === 205 || status === 304;
}

// A 205 says that it is empty, the others may not (RFC 9110 section 8.6).
function hasNoLength(status: number): boolean {
  return isBodyless(status) && status !== 205;
}

/** Whether the handler asked for the connection to be closed. */
export function asksToClose(fields: Field[] | null): boolean {
  return fieldOf(fields, "connection")?.toLowerCase().includes("close") ??
    false;
}

/** Writes a response whose body is text. */
export function writeTextResponse(
  outbox: Outbox,
  handle: number,
  parts: ResponseParts,
  body: string,
  mode: ResponseMode,
): void {
  const room = HEAD_ROOM + 3 * body.length;
  const prefix = mode.headOnly || mode.http10 || room > outbox.bytes.length
    ? null
    : cachedPrefix(parts, mode);
  if (prefix === null) {
    writeBytesResponse(outbox, handle, parts, UTF8.encode(body), mode);
    return;
  }
  const start = outbox.room(prefix.length + room);
  outbox.bytes.set(prefix, start);
  const end = writeLengthAndText(outbox.bytes, start + prefix.length, body);
  outbox.commit(handle, end, 1);
}

/** Writes a response whose body is bytes, or none. */
export function writeBytesResponse(
  outbox: Outbox,
  handle: number,
  parts: ResponseParts,
  body: Uint8Array | null,
  mode: ResponseMode,
): void {
  const empty = body === null || body.length === 0;
  const done = empty || mode.headOnly;
  const length = hasNoLength(parts.status)
    ? null
    : declaredLength(parts, body, mode);
  writeHead(
    outbox,
    handle,
    parts,
    length === null ? "" : `content-length: ${length}\r\n`,
    mode,
    done ? 1 : 0,
  );
  if (!done) outbox.write(handle, body, 1);
}

/** Writes the head alone; `framing` is its last field lines. */
export function writeHead(
  outbox: Outbox,
  handle: number,
  parts: ResponseParts,
  framing: string,
  mode: ResponseMode,
  responses: number,
): void {
  const head = `${makePrefix(parts, mode)}${framing}\r\n`;
  if (NON_ASCII.test(head)) {
    outbox.write(handle, latin1(head), responses);
  } else {
    outbox.writeText(handle, head, responses);
  }
}

/** Writes an answer that no handler gave, with text for a person. */
export function writePlainResponse(
  outbox: Outbox,
  handle: number,
  status: number,
  text: string,
  mode: ResponseMode,
): void {
  const parts: ResponseParts = {
    status,
    statusText: "",
    contentType: "text/plain;charset=UTF-8",
    fields: null,
    body: null,
  };
  writeBytesResponse(outbox, handle, parts, UTF8.encode(text), mode);
}

/** The content-length that the handler gave, when the body is a stream of that length. */
export function givenLength(fields: Field[] | null): number | null {
  const value = fieldOf(fields, "content-length");
  return value !== null && /^\d{1,15}$/.test(value) ? Number(value) : null;
}

// A response to HEAD may say how long the body of GET is without having it.
function declaredLength(
  parts: ResponseParts,
  body: Uint8Array | null,
  mode: ResponseMode,
): number {
  const length = body === null ? 0 : body.length;
  return mode.headOnly && length === 0
    ? givenLength(parts.fields) ?? 0
    : length;
}

function fieldOf(fields: Field[] | null, name: string): string | null {
  return fields?.find((field) => field[0].toLowerCase() === name)?.[1] ?? null;
}

// The bytes of the last head up to the value of content-length: servers repeat themselves.
let lastPrefix = new Uint8Array(0);
let lastStatus = 0;
let lastType: string | null = null;
let lastDate = "";
let lastClose = false;

// Null for a head that is not worth keeping.
function cachedPrefix(
  parts: ResponseParts,
  mode: ResponseMode,
): Uint8Array | null {
  if (parts.fields !== null || parts.statusText !== "") return null;
  const date = httpDate(mode.now);
  if (
    parts.status === lastStatus && parts.contentType === lastType &&
    date === lastDate && mode.close === lastClose
  ) return lastPrefix;
  lastStatus = parts.status;
  lastType = parts.contentType;
  lastDate = date;
  lastClose = mode.close;
  return lastPrefix = latin1(makePrefix(parts, mode) + "content-length: ");
}

// Writes "<length>\r\n\r\n<text>" at `at` and returns where it ends. Most text is ASCII, with as many bytes as
// characters; when it shows that this one is not, the bytes are moved to make room for the digits.
function writeLengthAndText(
  bytes: Uint8Array,
  at: number,
  text: string,
): number {
  const guess = at + digitsOf(text.length) + 4;
  const length = writeText(bytes, guess, text);
  const start = at + digitsOf(length) + 4;
  if (start !== guess) bytes.copyWithin(start, guess, guess + length);
  writeDigits(bytes, at, length);
  bytes[start - 4] = CR;
  bytes[start - 3] = LF;
  bytes[start - 2] = CR;
  bytes[start - 1] = LF;
  return start + length;
}

// A short ASCII text is written faster by hand than by a call into the runtime.
function writeText(bytes: Uint8Array, at: number, text: string): number {
  if (text.length <= SHORT_TEXT) {
    let index = 0;
    for (; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) break;
      bytes[at + index] = code;
    }
    if (index === text.length) return index;
  }
  return UTF8.encodeInto(text, bytes.subarray(at)).written;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  return digits;
}

function writeDigits(bytes: Uint8Array, at: number, value: number): void {
  let rest = value;
  for (let index = at + digitsOf(value) - 1; index >= at; index--) {
    bytes[index] = DIGIT_0 + rest % 10;
    rest = Math.floor(rest / 10);
  }
}

function makePrefix(parts: ResponseParts, mode: ResponseMode): string {
  let head = `HTTP/1.1 ${parts.status} ${
    parts.statusText || (STATUS_CODES[parts.status] ?? "")
  }\r\n`;
  if (parts.contentType !== null) {
    head += `content-type: ${parts.contentType}\r\n`;
  }
  if (parts.fields !== null) head += fieldLines(parts.fields);
  if (fieldOf(parts.fields, "date") === null) {
    head += `date: ${httpDate(mode.now)}\r\n`;
  }
  if (mode.close) return head + "connection: close\r\n";
  // What the handler says of the connection is about fields of its own, such as Upgrade (RFC 9110 section 7.6.1).
  const options = fieldOf(parts.fields, "connection") ??
    (mode.http10 ? "keep-alive" : null);
  return options === null ? head : `${head}connection: ${options}\r\n`;
}

function fieldLines(fields: Field[]): string {
  let lines = "";
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (!FRAMING.has(lower) || lower === "date") {
      lines += `${lower}: ${value}\r\n`;
    }
  }
  return lines;
}

/** A head as bytes. Field values are byte strings: each character is the byte of its number. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
