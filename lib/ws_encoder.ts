// SPDX-License-Identifier: Apache-2.0
// ws_encoder.ts - writes WebSocket frames into the outbox (RFC 6455 section 5.2); called by ws_socket.ts.

import type { Outbox } from "../ffi/mod.ts";

/** Frame opcodes. */
export const OPCODE_CONTINUATION = 0;
export const OPCODE_TEXT = 1;
export const OPCODE_BINARY = 2;
export const OPCODE_CLOSE = 8;
export const OPCODE_PING = 9;
export const OPCODE_PONG = 10;

const FIN = 0x80;
const RSV1 = 0x40; // compressed (RFC 7692 section 6)
const HEADER_MAX = 10;
// What deflating leaves out at the end of a message has to be written first.
const DEFLATE_TAIL = 4;
const UTF8 = new TextEncoder();

// Longest text that cannot need the long header, whatever its characters.
const MEDIUM_TEXT = Math.floor(0xffff / 3);

/** Stages one frame with bytes. */
export function writeFrame(
  outbox: Outbox,
  handle: number,
  opcode: number,
  payload: Uint8Array,
  fin = true,
): void {
  const { length } = payload;
  const header = headerLength(length);
  // A payload is staged with its header unless it has the longest: then it is worth sending without a copy.
  const whole = header < HEADER_MAX && header + length <= outbox.bytes.length;
  const start = outbox.room(whole ? header + length : header);
  writeHeader(outbox.bytes, start, fin ? FIN | opcode : opcode, length);
  if (whole) {
    outbox.bytes.set(payload, start + header);
    outbox.commit(handle, start + header + length, 0);
  } else {
    outbox.commit(handle, start + header, 0);
    outbox.write(handle, payload, 0);
  }
}

/**
 * Stages one frame whose payload `deflate` writes to `out`: it returns the length, less than `length`, or 0 or less when
 * that cannot be; then nothing is staged and the answer is false.
 */
export function writeDeflatedFrame(
  outbox: Outbox,
  handle: number,
  opcode: number,
  length: number,
  deflate: (out: Uint8Array<ArrayBuffer>) => number,
): boolean {
  const room = length + DEFLATE_TAIL;
  if (HEADER_MAX + room > outbox.bytes.length) {
    const out = new Uint8Array(room);
    const written = deflate(out);
    if (written <= 0) return false;
    writeFrame(outbox, handle, opcode | RSV1, out.subarray(0, written));
    return true;
  }
  const { bytes } = outbox;
  const start = outbox.room(HEADER_MAX + room);
  const at = start + headerLength(length);
  const written = deflate(bytes.subarray(at, at + room));
  if (written <= 0) return false;
  const header = headerLength(written);
  if (start + header !== at) {
    bytes.copyWithin(start + header, at, at + written);
  }
  writeHeader(bytes, start, FIN | RSV1 | opcode, written);
  outbox.commit(handle, start + header + written, 0);
  return true;
}

/** The same as bytes of its own; null when that cannot be. */
export function encodeDeflatedFrame(
  opcode: number,
  length: number,
  deflate: (out: Uint8Array<ArrayBuffer>) => number,
): Uint8Array<ArrayBuffer> | null {
  const out = new Uint8Array(length + DEFLATE_TAIL);
  const written = deflate(out);
  if (written <= 0) return null;
  return encodeFrame(opcode | RSV1, out.subarray(0, written));
}

/** A whole frame as bytes of its own. */
export function encodeFrame(
  opcode: number,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const header = headerLength(payload.length);
  const frame = new Uint8Array(header + payload.length);
  writeHeader(frame, 0, FIN | opcode, payload.length);
  frame.set(payload, header);
  return frame;
}

/** Stages a text frame, and returns its payload's length. Encodes in place and only once, unless the text is long. */
export function writeTextFrame(
  outbox: Outbox,
  handle: number,
  text: string,
): number {
  if (text.length > MEDIUM_TEXT || 3 * text.length + 4 > outbox.bytes.length) {
    const payload = UTF8.encode(text);
    writeFrame(outbox, handle, OPCODE_TEXT, payload);
    return payload.length;
  }
  const { bytes } = outbox;
  const start = outbox.room(3 * text.length + 4);
  // Most text is ASCII: guess by the number of characters, and move the bytes where the guess was wrong.
  const guessed = text.length <= 125 ? 2 : 4;
  const length = encodeAt(bytes, start + guessed, text);
  const header = length <= 125 ? 2 : 4;
  if (header !== guessed) {
    bytes.copyWithin(start + header, start + guessed, start + guessed + length);
  }
  writeHeader(bytes, start, FIN | OPCODE_TEXT, length);
  outbox.commit(handle, start + header + length, 0);
  return length;
}

/** Stages a close frame; no code means no payload. */
export function writeCloseFrame(
  outbox: Outbox,
  handle: number,
  code: number | null,
  reason: string,
): void {
  const text = UTF8.encode(reason);
  const payload = new Uint8Array(code === null ? 0 : 2 + text.length);
  if (code !== null) {
    payload[0] = code >> 8;
    payload[1] = code & 0xff;
    payload.set(text, 2);
  }
  writeFrame(outbox, handle, OPCODE_CLOSE, payload);
}

function encodeAt(bytes: Uint8Array, at: number, text: string): number {
  return UTF8.encodeInto(text, bytes.subarray(at)).written;
}

function headerLength(length: number): number {
  return length <= 125 ? 2 : length <= 0xffff ? 4 : HEADER_MAX;
}

function writeHeader(
  bytes: Uint8Array,
  at: number,
  first: number,
  length: number,
): void {
  bytes[at] = first;
  if (length <= 125) {
    bytes[at + 1] = length;
  } else if (length <= 0xffff) {
    bytes[at + 1] = 126;
    bytes[at + 2] = length >> 8;
    bytes[at + 3] = length & 0xff;
  } else {
    bytes[at + 1] = 127;
    writeUint64(bytes, at + 2, length);
  }
}

function writeUint64(bytes: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / 2 ** 32);
  for (let i = 0; i < 4; i++) {
    bytes[at + i] = high >>> (24 - 8 * i);
    bytes[at + 4 + i] = value >>> (24 - 8 * i);
  }
}
