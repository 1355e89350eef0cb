// SPDX-License-Identifier: Apache-2.0
// mail_format.ts - what workers post to one another, as bytes: messages of topics, and values of the application;
// written by mail_sender.ts, read by worker_mail.ts.

import { deserialize, serialize } from "node:v8";
import { frameOf, PreparedMessage, sizeOf } from "./ws_prepared.ts";
import type { SendOptions } from "./ws_socket.ts";

/** What a message is: the low bits of its tag. */
export const TOPIC = 1;
const VALUE = 2;
const TEXT = 3;
const BYTES = 4;
const KIND_BITS = 8;

// Four words: bytes of the topic, bytes of the key, what compression compares its threshold with, flags.
const HEADER_BYTES = 16;
const HAS_KEY = 1;
const COMPRESS = 2;
const NO_COMPRESS = 4;
// Most bytes of UTF-8 that a character of a string may take.
const BYTES_PER_CHARACTER = 3;
// A longer message has memory of its own, which is not kept.
const SCRATCH_BYTES = 256 * 1024;

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** A message of a topic, as it has arrived. */
export interface TopicMail {
  topic: string;
  message: PreparedMessage;
  options: SendOptions | undefined;
}

/** A value of the application, ready to be posted. */
export interface ValueMail {
  tag: number;
  bytes: Uint8Array<ArrayBuffer>;
}

/** The tag of messages of a server's topics. */
export function topicTag(service: number): number {
  return TOPIC | service << KIND_BITS;
}

/** The kind of a message by its tag. */
export function kindOf(tag: number): number {
  return tag & ((1 << KIND_BITS) - 1);
}

/** The server of a message of a topic. */
export function serviceOf(tag: number): number {
  return tag >>> KIND_BITS;
}

/** Writes messages of topics, one after the other into the same memory. */
export class TopicWriter {
  /** Where the last one lies. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #header = headerOf(this.bytes);

  /** Writes a message and returns how long it is. */
  write(
    topic: string,
    message: PreparedMessage,
    options: SendOptions | undefined,
  ): number {
    const frame = frameOf(message);
    const key = options?.key;
    const characters = topic.length + (key?.length ?? 0);
    const most = HEADER_BYTES + BYTES_PER_CHARACTER * characters + frame.length;
    this.#reserve(most);
    const { bytes } = this;
    const name = ENCODER.encodeInto(topic, bytes.subarray(HEADER_BYTES));
    let end = HEADER_BYTES + name.written;
    if (key !== undefined && key !== "") {
      end += ENCODER.encodeInto(key, bytes.subarray(end)).written;
    }
    const header = this.#header;
    header[0] = name.written;
    header[1] = end - HEADER_BYTES - name.written;
    header[2] = sizeOf(message);
    header[3] = flagsOf(options);
    bytes.set(frame, end);
    return end + frame.length;
  }

  #reserve(length: number): void {
    const has = this.bytes.length;
    if (has >= length && has <= SCRATCH_BYTES) return;
    this.bytes = new Uint8Array(length);
    this.#header = headerOf(this.bytes);
  }
}

/** Reads a message of a topic, which keeps the bytes. */
export function readTopic(bytes: Uint8Array<ArrayBuffer>): TopicMail {
  const header = headerOf(bytes);
  const key = HEADER_BYTES + header[0]!;
  const frame = key + header[1]!;
  const size = header[2]!;
  const flags = header[3]!;
  return {
    topic: DECODER.decode(bytes.subarray(HEADER_BYTES, key)),
    message: new PreparedMessage({ frame: bytes.subarray(frame), size }),
    options: flags === 0 ? undefined : {
      ...(flags & HAS_KEY) !== 0 &&
        { key: DECODER.decode(bytes.subarray(key, frame)) },
      ...(flags & (COMPRESS | NO_COMPRESS)) !== 0 &&
        { compress: (flags & COMPRESS) !== 0 },
    },
  };
}

/** A value as bytes: text and bytes as they are, all else as structured cloning has it. Throws where that cannot be. */
export function packValue(value: unknown): ValueMail {
  if (typeof value === "string" && value.isWellFormed()) {
    return { tag: TEXT, bytes: ENCODER.encode(value) };
  }
  if (isPlainBytes(value)) return { tag: BYTES, bytes: value };
  try {
    const { buffer, byteOffset, length } = serialize(value);
    const bytes = new Uint8Array(buffer as ArrayBuffer, byteOffset, length);
    return { tag: VALUE, bytes };
  } catch (error) {
    throw notCloned(error);
  }
}

/** What to throw for a value that cannot be cloned, with what that has thrown. */
export function notCloned(cause: unknown): TypeError {
  const message = cause instanceof Error ? cause.message : Deno.inspect(cause);
  return new TypeError(`Cannot send the message: ${message}`, { cause });
}

/** The value of a message that is no topic's. */
export function unpackValue(
  kind: number,
  bytes: Uint8Array<ArrayBuffer>,
): unknown {
  if (kind === TEXT) return DECODER.decode(bytes);
  if (kind === BYTES) return bytes;
  return deserialize(bytes);
}

// Those of a subclass, as of Buffer, come out as what they are when they are cloned.
function isPlainBytes(value: unknown): value is Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array && value.constructor === Uint8Array &&
    value.buffer instanceof ArrayBuffer;
}

// All threads of a process have the same order of bytes.
function headerOf(bytes: Uint8Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, HEADER_BYTES / 4);
}

function flagsOf(options: SendOptions | undefined): number {
  if (options === undefined) return 0;
  const { key, compress } = options;
  return (key === undefined ? 0 : HAS_KEY) |
    (compress === undefined ? 0 : compress ? COMPRESS : NO_COMPRESS);
}
