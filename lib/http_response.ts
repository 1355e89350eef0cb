// SPDX-License-Identifier: Apache-2.0
// http_response.ts - writes response heads and bodies of known length into the outbox (RFC 9112 sections 4 to 6);
// called by response_writer.ts, and by http_connection.ts for answers that no handler gave.

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

// As Deno.serve spells them.
const REASONS: Record<number, string | undefined> = {
  ...STATUS_CODES,
  203: "Non Authoritative Information",
  418: "I'm a teapot",
  509: "",
};

const UTF8 = new TextEncoder();
const CR = 13;
const LF = 10;
const DIGIT_0 = 48;

// Characters up to which a text is written by hand.
const SHORT_TEXT = 48;

// Bytes that the digits of a length and an empty line take at the most.
const HEAD_ROOM = 24;

const DATE_LINE = "\r\ndate: ";

// Fields that frame the message: they are ours to write, whatever the handler says.
const FRAMING = new Set([
  "connection",
  "content-length",
  "date",
  "transfer-encoding",
]);

// What would end a line, or become a byte that does where a character is cut down to one.
const UNSENDABLE = /[\0\r\n\u0100-\uffff]/;

// deno-lint-ignore no-control-regex
const NON_ASCII = /[^\x00-\x7f]/;

/** A response's head would break out of its lines; nothing of it was written. */
export class UnsendableHead extends TypeError {
  constructor(line: string) {
    super(
      `Cannot send the response: CR, LF, NUL or a character that is no byte in ${
        JSON.stringify(line)
      }`,
    );
  }
}

/**
 * A line of a head with its end. Throws an UnsendableHead for one that contains an end itself, whoever has made it:
 * this is the last look at what a handler has a say in.
 */
export function headLine(line: string): string {
  if (UNSENDABLE.test(line)) throw new UnsendableHead(line);
  return line + "\r\n";
}

/** Statuses that never have a body (RFC 9110 section 6.4.1). */
export function isBodyless(status: number): boolean {
  return status < 200 || status === 204 || status === 205 || status === 304;
}

/** Whether trailers can follow: not to HTTP/1.0, which knows no chunks, and not where there is no body. */
export function mayHaveTrailers(status: number, mode: ResponseMode): boolean {
  return !mode.http10 && !mode.headOnly && !isBodyless(status);
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
  if (mode.headOnly || mode.http10) {
    writeBytesResponse(outbox, handle, parts, UTF8.encode(body), mode);
    return;
  }
  const prefix = repeatedPrefix(parts, mode) ?? newPrefix(parts, mode);
  const most = 3 * prefix.length + HEAD_ROOM + 3 * body.length;
  if (most > outbox.bytes.length) {
    writeBytesResponse(outbox, handle, parts, UTF8.encode(body), mode);
    return;
  }
  const { bytes } = outbox;
  const start = outbox.room(most);
  const length = writePrefix(bytes, start, prefix);
  outbox.commit(handle, writeLengthAndText(bytes, start + length, body), 1);
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
  const responses = done ? 1 : 0;
  if (length === null) {
    writeHead(outbox, handle, parts, "", mode, responses);
  } else if (
    !writeRepeatedHead(outbox, handle, parts, length, mode, responses)
  ) {
    const framing = `content-length: ${length}\r\n`;
    writeHead(outbox, handle, parts, framing, mode, responses);
  }
  if (!done) outbox.write(handle, body, 1);
}

// False, having written nothing, when this head was not the last one too.
function writeRepeatedHead(
  outbox: Outbox,
  handle: number,
  parts: ResponseParts,
  length: number,
  mode: ResponseMode,
  responses: number,
): boolean {
  const prefix = mode.http10 ? null : repeatedPrefix(parts, mode);
  if (prefix === null || prefix.length + HEAD_ROOM > outbox.bytes.length) {
    return false;
  }
  const start = outbox.room(prefix.length + HEAD_ROOM);
  outbox.bytes.set(prefix, start);
  const end = writeLength(outbox.bytes, start + prefix.length, length);
  outbox.commit(handle, end, responses);
  return true;
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
  writeLatin1(
    outbox,
    handle,
    `${makePrefix(parts, mode)}${framing}\r\n`,
    responses,
  );
}

/** Writes a head that is put together, of which `responses` end in it. */
export function writeLatin1(
  outbox: Outbox,
  handle: number,
  head: string,
  responses: number,
): void {
  if (NON_ASCII.test(head)) outbox.write(handle, latin1(head), responses);
  else outbox.writeText(handle, head, responses);
}

/** The head of a response that goes on being sent, and where in it the value of its date is, which changes. */
export function headBytes(
  parts: ResponseParts,
  body: Uint8Array | null,
): { head: Uint8Array; date: number } {
  const mode = { headOnly: false, close: false, http10: false, now: 0 };
  const framing = hasNoLength(parts.status)
    ? ""
    : `content-length: ${declaredLength(parts, body, mode)}\r\n`;
  const head = `${makePrefix(parts, mode)}${framing}\r\n`;
  const date = fieldOf(parts.fields, "date") === null
    ? head.indexOf(DATE_LINE) + DATE_LINE.length
    : 0;
  return { head: latin1(head), date };
}

/** Writes an interim response (RFC 8297); fields that frame a message have no place in it. */
export function writeEarlyHints(
  outbox: Outbox,
  handle: number,
  headers: Headers,
): void {
  const lines = fieldLines([...headers]);
  outbox.write(
    handle,
    latin1(`HTTP/1.1 103 Early Hints\r\n${lines}\r\n`),
    0,
  );
}

/** Writes an answer that no handler gave, the last of its connection, with text for a person. */
export function writePlainResponse(
  outbox: Outbox,
  handle: number,
  status: number,
  text: string,
  { headOnly, now }: Pick<ResponseMode, "headOnly" | "now">,
): void {
  const mode = { headOnly, close: true, http10: false, now };
  const parts: ResponseParts = {
    status,
    statusText: "",
    contentType: "text/plain;charset=UTF-8",
    fields: null,
    body: null,
  };
  writeBytesResponse(outbox, handle, parts, UTF8.encode(text), mode);
}

/** The answer for a handler that failed: without a content type, as that of Deno.serve. */
export function internalServerError(): Response {
  return new Response(UTF8.encode("Internal Server Error"), { status: 500 });
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

/** The first value of a field, by its lower-case name. */
export function fieldOf(fields: Field[] | null, name: string): string | null {
  if (fields === null) return null;
  for (const [other, value] of fields) {
    // Most names are already told apart by their length.
    if (other.length === name.length && other.toLowerCase() === name) {
      return value;
    }
  }
  return null;
}

// What the last head was made of, and its bytes up to the value of content-length once it has come a second time:
// servers repeat themselves. Names and values are kept in turn, as the handler may still change its own fields.
let lastPrefix: Uint8Array | null = null;
let lastStatus = 0;
let lastStatusText = "";
let lastType: string | null = null;
let lastDate = "";
let lastClose = false;
let lastFields: string[] = [];

// Null for a head that is not the same as the last.
function repeatedPrefix(
  parts: ResponseParts,
  mode: ResponseMode,
): Uint8Array | null {
  const date = httpDate(mode.now);
  if (
    parts.status === lastStatus && parts.contentType === lastType &&
    parts.statusText === lastStatusText && date === lastDate &&
    mode.close === lastClose && areLastFields(parts.fields)
  ) return lastPrefix ??= latin1(newPrefix(parts, mode));
  lastPrefix = null;
  lastStatus = parts.status;
  lastStatusText = parts.statusText;
  lastType = parts.contentType;
  lastDate = date;
  lastClose = mode.close;
  lastFields = parts.fields?.flat() ?? [];
  return null;
}

function areLastFields(fields: Field[] | null): boolean {
  if (fields === null) return lastFields.length === 0;
  if (2 * fields.length !== lastFields.length) return false;
  for (let index = 0; index < fields.length; index++) {
    const [name, value] = fields[index]!;
    if (
      name !== lastFields[2 * index] || value !== lastFields[2 * index + 1]
    ) return false;
  }
  return true;
}

function newPrefix(parts: ResponseParts, mode: ResponseMode): string {
  return makePrefix(parts, mode) + "content-length: ";
}

// Returns the length.
function writePrefix(
  bytes: Uint8Array,
  at: number,
  prefix: Uint8Array | string,
): number {
  if (typeof prefix === "string") {
    const { written } = UTF8.encodeInto(prefix, bytes.subarray(at));
    // As many bytes as characters: it is ASCII. Else each character is the byte of its number.
    if (written === prefix.length) return written;
    bytes.set(latin1(prefix), at);
  } else {
    bytes.set(prefix, at);
  }
  return prefix.length;
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
  return writeLength(bytes, at, length) + length;
}

// Writes "<length>\r\n\r\n" at `at` and returns where it ends.
function writeLength(bytes: Uint8Array, at: number, length: number): number {
  const end = at + digitsOf(length);
  writeDigits(bytes, at, length);
  bytes[end] = CR;
  bytes[end + 1] = LF;
  bytes[end + 2] = CR;
  bytes[end + 3] = LF;
  return end + 4;
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
  const reason = parts.statusText || (REASONS[parts.status] ?? "");
  let head = headLine(`HTTP/1.1 ${parts.status} ${reason}`);
  if (parts.contentType !== null) {
    head += headLine(`content-type: ${parts.contentType}`);
  }
  if (parts.fields !== null) head += fieldLines(parts.fields);
  if (fieldOf(parts.fields, "date") === null) {
    head += `date: ${httpDate(mode.now)}\r\n`;
  }
  if (mode.close) return head + "connection: close\r\n";
  // What the handler says of the connection is about fields of its own, such as Upgrade (RFC 9110 section 7.6.1).
  const options = fieldOf(parts.fields, "connection") ??
    (mode.http10 ? "keep-alive" : null);
  return options === null ? head : head + headLine(`connection: ${options}`);
}

function fieldLines(fields: Field[]): string {
  let lines = "";
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    if (!FRAMING.has(lower) || lower === "date") {
      lines += headLine(`${lower}: ${value}`);
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
