// SPDX-License-Identifier: Apache-2.0
// ws_encoder.ts - writes WebSocket frames into the outbox (RFC 6455 section 5.2); called by ws_outbound.ts and
// ws_connection.ts.
//
// A server gives no masker. A client does, and its payloads are masked where they lie in the outbox, so that no byte of
// the application is changed.

import type { Outbox } from "../ffi/mod.ts";
import { KEY_BYTES, type Masker } from "./ws_mask.ts";

/** Frame opcodes. */
export const OPCODE_CONTINUATION = 0;
export const OPCODE_TEXT = 1;
export const OPCODE_BINARY = 2;
export const OPCODE_CLOSE = 8;
export const OPCODE_PING = 9;
export const OPCODE_PONG = 10;

const FIN = 0x80;
const RSV1 = 0x40; // compressed (RFC 7692 section 6)
const MASKED = 0x80;
/** Longest payload of a header of two bytes. */
export const SHORT_MAX = 125;
const HEADER_MAX = 10; // without a key
// What deflating leaves out at the end of a message has to be written first.
const DEFLATE_TAIL = 4;
// Masked while it is still in the cache.
const PIECE_BYTES = 64 * 1024;
const UTF8 = new TextEncoder();

// The payload of a close frame is put together here.
const closing = new Uint8Array(SHORT_MAX);

// Longest text that cannot need the long header, whatever its characters.
const MEDIUM_TEXT = Math.floor(0xffff / 3);

/** Stages a whole message of at most `SHORT_MAX` bytes that is not masked. */
export function writeShortFrame(
  outbox: Outbox,
  handle: number,
  opcode: number,
  payload: Uint8Array,
): void {
  const { length } = payload;
  const start = outbox.room(2 + length);
  const { bytes } = outbox;
  bytes[start] = FIN | opcode;
  bytes[start + 1] = length;
  bytes.set(payload, start + 2);
  outbox.commit(handle, start + 2 + length, 0);
}

/** Stages one frame with bytes. */
export function writeFrame(
  outbox: Outbox,
  handle: number,
  opcode: number,
  payload: Uint8Array,
  fin = true,
  masker: Masker | null = null,
): void {
  const { length } = payload;
  const short = headerLength(length);
  const header = masker === null ? short : short + KEY_BYTES;
  // A payload is staged with its header unless it has the longest: then it is worth sending without a copy.
  const whole = short < HEADER_MAX && header + length <= outbox.bytes.length;
  const start = outbox.room(whole ? header + length : header);
  const first = fin ? FIN | opcode : opcode;
  writeHeader(outbox.bytes, start, first, length, masker);
  if (whole) {
    outbox.bytes.set(payload, start + header);
    masker?.seal(start + short, length);
    outbox.commit(handle, start + header + length, 0);
  } else if (masker === null) {
    outbox.commit(handle, start + header, 0);
    outbox.write(handle, payload, 0);
  } else {
    const key = masker.seal(start + short, 0);
    outbox.commit(handle, start + header, 0);
    writeMasked(outbox, handle, payload, masker, key);
  }
}

/** Stages a frame that was encoded without a mask. */
export function writeEncoded(
  outbox: Outbox,
  handle: number,
  frame: Uint8Array,
  masker: Masker | null,
): void {
  if (masker === null) return outbox.write(handle, frame, 0);
  const payload = frame.subarray(frameHeaderLength(frame));
  writeFrame(outbox, handle, opcodeOf(frame), payload, true, masker);
}

/** Bytes of the header of a frame that was encoded without a mask. */
export function frameHeaderLength(frame: Uint8Array): number {
  const length = frame[1]!;
  return length <= SHORT_MAX ? 2 : length === 126 ? 4 : HEADER_MAX;
}

/** The opcode of such a frame, with the bit that says it is compressed. */
export function opcodeOf(frame: Uint8Array): number {
  return frame[0]! & ~FIN;
}

// Stages a payload in pieces that begin at multiples of four, as the key does.
function writeMasked(
  outbox: Outbox,
  handle: number,
  payload: Uint8Array,
  masker: Masker,
  key: number,
): void {
  const most = Math.min(PIECE_BYTES, outbox.bytes.length & ~3);
  for (let at = 0; at < payload.length; at += most) {
    const piece = payload.subarray(at, at + most);
    const start = outbox.room(piece.length);
    outbox.bytes.set(piece, start);
    masker.mask(start, piece.length, key);
    outbox.commit(handle, start + piece.length, 0);
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
  masker: Masker | null,
  deflate: (out: Uint8Array<ArrayBuffer>) => number,
): boolean {
  const room = length + DEFLATE_TAIL;
  const key = masker === null ? 0 : KEY_BYTES;
  if (HEADER_MAX + key + room > outbox.bytes.length) {
    const out = new Uint8Array(room);
    const written = deflate(out);
    if (written <= 0) return false;
    const payload = out.subarray(0, written);
    writeFrame(outbox, handle, opcode | RSV1, payload, true, masker);
    return true;
  }
  const { bytes } = outbox;
  const start = outbox.room(HEADER_MAX + key + room);
  const at = start + headerLength(length) + key;
  const written = deflate(bytes.subarray(at, at + room));
  if (written <= 0) return false;
  const header = headerLength(written) + key;
  if (start + header !== at) {
    bytes.copyWithin(start + header, at, at + written);
  }
  writeHeader(bytes, start, FIN | RSV1 | opcode, written, masker);
  masker?.seal(start + header - key, written);
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
  writeHeader(frame, 0, FIN | opcode, payload.length, null);
  frame.set(payload, header);
  return frame;
}

/** Stages a text frame, and returns its payload's length. Encodes in place and only once, unless the text is long. */
export function writeTextFrame(
  outbox: Outbox,
  handle: number,
  text: string,
  masker: Masker | null = null,
): number {
  const key = masker === null ? 0 : KEY_BYTES;
  const most = 4 + key + 3 * text.length;
  if (text.length > MEDIUM_TEXT || most > outbox.bytes.length) {
    const payload = UTF8.encode(text);
    writeFrame(outbox, handle, OPCODE_TEXT, payload, true, masker);
    return payload.length;
  }
  const { bytes } = outbox;
  const start = outbox.room(most);
  // Most text is ASCII: guess by the number of characters, and move the bytes where the guess was wrong.
  const guessed = headerLength(text.length) + key;
  const length = encodeAt(bytes, start + guessed, text);
  const header = headerLength(length) + key;
  if (header !== guessed) {
    bytes.copyWithin(start + header, start + guessed, start + guessed + length);
  }
  writeHeader(bytes, start, FIN | OPCODE_TEXT, length, masker);
  masker?.seal(start + header - key, length);
  outbox.commit(handle, start + header + length, 0);
  return length;
}

/** Stages a close frame; no code means no payload. */
export function writeCloseFrame(
  outbox: Outbox,
  handle: number,
  code: number | null,
  reason: string,
  masker: Masker | null = null,
): void {
  const length = code === null ? 0 : 2 + encodeAt(closing, 2, reason);
  if (code !== null) {
    closing[0] = code >> 8;
    closing[1] = code & 0xff;
  }
  const payload = closing.subarray(0, length);
  writeFrame(outbox, handle, OPCODE_CLOSE, payload, true, masker);
}

function encodeAt(bytes: Uint8Array, at: number, text: string): number {
  return UTF8.encodeInto(text, bytes.subarray(at)).written;
}

/** Writes the header of a text frame that is not masked. */
export function writeTextHeader(
  bytes: Uint8Array,
  at: number,
  length: number,
): void {
  writeHeader(bytes, at, FIN | OPCODE_TEXT, length, null);
}

/** Length of a frame's header without a key. */
export function headerLength(length: number): number {
  return length <= SHORT_MAX ? 2 : length <= 0xffff ? 4 : HEADER_MAX;
}

function writeHeader(
  bytes: Uint8Array,
  at: number,
  first: number,
  length: number,
  masker: Masker | null,
): void {
  const masked = masker === null ? 0 : MASKED;
  bytes[at] = first;
  if (length <= SHORT_MAX) {
    bytes[at + 1] = masked | length;
  } else if (length <= 0xffff) {
    bytes[at + 1] = masked | 126;
    bytes[at + 2] = length >> 8;
    bytes[at + 3] = length & 0xff;
  } else {
    bytes[at + 1] = masked | 127;
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
