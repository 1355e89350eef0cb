// SPDX-License-Identifier: Apache-2.0
// packet.ts - the packets of the action router, byte for byte those of znet; used by the rpc_ files, and by
// applications that speak the format themselves.

import { LengthPrefixFramer } from "./framer_length.ts";
import { requireInteger } from "./route_options.ts";

/** One packet. */
export interface Packet {
  /** What it is about, from -32768 to 32767. */
  action: number;
  /** Which request a reply belongs to, from -32768 to 32767. */
  sequence: number;
  /** What the codec made. */
  body: Uint8Array;
}

/** Bytes of the length in front of a packet, which WebSocket messages go without. */
export const LENGTH_BYTES = 4;

/** Bytes of action and sequence. */
export const HEAD_BYTES = 4;

// The largest packet that its signed length can tell.
const LARGEST_PACKET = 0x7fffffff;

const INT16_MIN = -0x8000;
const INT16_MAX = 0x7fff;

/** Whether the value can be an action or a sequence. */
export function isInt16(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= INT16_MIN &&
    (value as number) <= INT16_MAX;
}

/** Reads 16 bits, the highest byte first, with a sign. */
export function readInt16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24 | bytes[at + 1]! << 16) >> 16;
}

/** Writes 16 bits, the highest byte first. */
export function writeInt16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/** Writes length, action and sequence in front of a body of so many bytes. */
export function writeHead(
  bytes: Uint8Array,
  action: number,
  sequence: number,
  bodyBytes: number,
): void {
  const length = LENGTH_BYTES + HEAD_BYTES + bodyBytes;
  writeInt16(bytes, 0, length >> 16);
  writeInt16(bytes, 2, length);
  writeInt16(bytes, 4, action);
  writeInt16(bytes, 6, sequence);
}

/**
 * A packet as it goes over TCP: 4 bytes of length, which counts itself, 2 of action, 2 of sequence, and the body; all
 * numbers signed, the highest byte first. A WebSocket message is the same without its first 4 bytes.
 *
 * @param packet The packet.
 * @returns Its bytes.
 * @throws {RangeError} When action or sequence do not fit.
 */
export function encodePacket(packet: Packet): Uint8Array<ArrayBuffer> {
  const { action, sequence, body } = packet;
  for (const [name, value] of Object.entries({ action, sequence })) {
    if (isInt16(value)) continue;
    throw new RangeError(
      `Cannot encode the packet: "${name}" must be an integer from ${INT16_MIN} to ${INT16_MAX}, is ${value}`,
    );
  }
  const bytes = new Uint8Array(LENGTH_BYTES + HEAD_BYTES + body.length);
  writeHead(bytes, action, sequence, body.length);
  bytes.set(body, LENGTH_BYTES + HEAD_BYTES);
  return bytes;
}

/**
 * Reads a packet from a frame of a {@linkcode packetFramer}, or from a WebSocket message: from what follows the length.
 *
 * @param bytes The bytes.
 * @returns The packet, whose body is a view of them.
 * @throws {RangeError} When there are less than 4 bytes.
 */
export function decodePacket(bytes: Uint8Array): Packet {
  if (bytes.length < HEAD_BYTES) {
    throw new RangeError(
      `Cannot decode the packet: it has ${bytes.length} bytes, and action and sequence take 4`,
    );
  }
  return {
    action: readInt16(bytes, 0),
    sequence: readInt16(bytes, 2),
    body: bytes.subarray(HEAD_BYTES),
  };
}

/**
 * A framer for packets over a stream. Its frames are what {@linkcode decodePacket} reads.
 *
 * @param maxPacketBytes Largest packet, all of its bytes counted; 8 to 2147483647.
 * @returns The framer.
 * @throws {RangeError} When the limit is out of range.
 */
export function packetFramer(
  maxPacketBytes: number = 1024 * 1024,
): LengthPrefixFramer {
  requirePacketBytes("make a framer", maxPacketBytes, LARGEST_PACKET);
  return new LengthPrefixFramer({
    inclusive: true,
    minFrameBytes: HEAD_BYTES,
    maxFrameBytes: maxPacketBytes - LENGTH_BYTES,
  });
}

/** Throws a RangeError unless packets may have so many bytes: those of its head at the least. */
export function requirePacketBytes(
  action: string,
  maxPacketBytes: number,
  most: number,
): void {
  const least = LENGTH_BYTES + HEAD_BYTES;
  requireInteger(action, "maxPacketBytes", maxPacketBytes, least, most);
}
