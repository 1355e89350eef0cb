// SPDX-License-Identifier: Apache-2.0
// codec.ts - how bodies of packets become values; JSON and raw bytes are here, codec_protobuf.ts and codec_msgpack.ts
// have what needs a library.

import { copyOf } from "./bytes.ts";

/** What a body belongs to: a request, the reply to one, or what a server sends of its own accord. */
export type BodyKind = "request" | "reply" | "push";

/**
 * Makes bytes of values, and values of bytes. Both functions throw when they cannot: the peer is then answered with an
 * error.
 *
 * @typeParam T The values.
 */
export interface Codec<T = unknown> {
  /**
   * The bytes of a value. Undefined stands for no value: a handler that returned nothing.
   *
   * @param value The value.
   * @param action The packet's action, for codecs whose bodies differ between actions.
   * @param kind What the packet is.
   */
  encode(value: T, action: number, kind: BodyKind): Uint8Array;
  /**
   * The value of some bytes, which are valid until this returns: the value must not hold views of them.
   *
   * @param bytes The bytes.
   * @param action The packet's action.
   * @param kind What the packet is.
   */
  decode(bytes: Uint8Array, action: number, kind: BodyKind): T;
}

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });
const STRICT_TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const REPLACEMENT = "\ufffd";

const NOTHING = new Uint8Array(0);

/** JSON in UTF-8. No value is `null`, as with znet, and an empty body is read as undefined. */
export const json: Codec = {
  encode(value: unknown): Uint8Array {
    return UTF8.encode(jsonOf(value));
  },
  decode(bytes: Uint8Array): unknown {
    return bytes.length === 0 ? undefined : JSON.parse(textOf(bytes));
  },
};

/** What `codec.encode()` returns, or text whose UTF-8 that is: of JSON, so that no bytes are made of it but a packet. */
export function encoded(
  codec: Codec,
  value: unknown,
  action: number,
  kind: BodyKind,
): Uint8Array | string {
  return codec === json ? jsonOf(value) : codec.encode(value, action, kind);
}

function jsonOf(value: unknown): string {
  if (value === undefined) return "null";
  const text = JSON.stringify(value) as string | undefined;
  if (text !== undefined) return text;
  throw new TypeError(
    "Cannot encode the body: the value has no representation in JSON",
  );
}

// A decoder that throws takes more than twice as long as one that puts U+FFFD in place of what is wrong.
function textOf(bytes: Uint8Array): string {
  const text = TEXT.decode(bytes);
  return text.includes(REPLACEMENT) ? STRICT_TEXT.decode(bytes) : text;
}

/** Bytes as they are: a `Uint8Array` or a string, which becomes UTF-8, is sent, and a `Uint8Array` received. */
export const raw: Codec<Uint8Array | string | undefined> = {
  encode(value: Uint8Array | string | undefined): Uint8Array {
    if (value instanceof Uint8Array) return value;
    if (typeof value === "string") return UTF8.encode(value);
    if (value === undefined) return NOTHING;
    throw new TypeError(
      "Cannot encode the body: it must be a Uint8Array or a string",
    );
  },
  decode(bytes: Uint8Array): Uint8Array {
    return copyOf(bytes);
  },
};

/** Throws a TypeError unless this is a codec. */
export function requireCodec(value: unknown, action: string): void {
  const { encode, decode } = (value ?? {}) as Partial<Codec>;
  if (typeof encode === "function" && typeof decode === "function") return;
  throw new TypeError(
    `Cannot ${action}: "codec" must have the functions encode and decode`,
  );
}
