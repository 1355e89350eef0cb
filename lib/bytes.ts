// SPDX-License-Identifier: Apache-2.0
// bytes.ts - what applications give as bytes, and copies of bytes; used by sockets, framers and codecs.

/** The argument as bytes, without a copy. Throws a TypeError that says what could not be done. */
export function toBytes(value: unknown, action: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw new TypeError(
    `Cannot ${action}: it must be a string, a Uint8Array or an ArrayBuffer`,
  );
}

/** A copy, also of a Node.js Buffer, whose `slice()` makes none. */
export function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
