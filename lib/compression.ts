// SPDX-License-Identifier: Apache-2.0
// compression.ts - the option `compress`: which responses are compressed and how (RFC 9110 sections 8.4 and 12.5.3);
// made by http_server.ts, asked by http_connection.ts for every response while the option is on.

import { brotliCompressSync, gzipSync } from "node:zlib";
import { acceptsEncodings } from "@std/http/negotiation";
import mimeDb from "mime-db" with { type: "json" };
import {
  CompressedSource,
  PIECE_BYTES,
  type ZlibSettings,
  zlibSettings,
} from "./compression_stream.ts";
import { fieldOf, givenLength, isBodyless } from "./http_response.ts";
import { type Field, fieldsOf, type ResponseParts } from "./response_parts.ts";

/** A content coding that Millrace can apply. */
export type ContentCoding = "br" | "gzip";

/** A request as far as it decides about compression. */
export interface FieldSource {
  /** The value of a field by its lower-case name, or null. */
  field(name: string): string | null;
}

/** How to compress responses. */
export interface CompressOptions {
  /** Codings by preference, where the client has none. By default `br`, then `gzip`. */
  encodings?: readonly ContentCoding[];
  /**
   * Bytes of a body from which on it is compressed. A stream without `content-length` always is.
   *
   * @default {1024}
   */
  threshold?: number;
  /**
   * Whether to compress bodies of a media type, such as `text/html`. By default those that mime-db calls compressible,
   * except `text/event-stream` and `application/octet-stream`.
   */
  types?: (mediaType: string) => boolean;
  /**
   * Quality of Brotli from 0, the fastest, to 11.
   *
   * @default {4}
   */
  brotliQuality?: number;
  /**
   * Level of gzip from 1, the fastest, to 9.
   *
   * @default {6}
   */
  gzipLevel?: number;
}

const DEFAULTS: Required<CompressOptions> = {
  encodings: ["br", "gzip"],
  threshold: 1024,
  types: isCompressible,
  brotliQuality: 4,
  gzipLevel: 6,
};

const RANGES = {
  threshold: [0, Number.MAX_SAFE_INTEGER],
  brotliQuality: [0, 11],
  gzipLevel: [1, 9],
} as const;

// A body that has one of these is what its sender wants it to be: coded, a part, or signed as it stands.
const BARRING = new Set([
  "content-encoding",
  "content-range",
  "content-digest",
  "repr-digest",
]);

// Of the body as it was: its length, and that parts of it can be asked for.
const STALE = new Set(["content-length", "accept-ranges"]);

const NO_TRANSFORM = /(?:^|[\s,])no-transform(?:$|[\s,])/i;
const STRONG_ETAG = /^(?=")/;

// An event stream may stay open for hours, and Brotli takes up to two megabytes for each. Of the other type nothing is
// known.
const EXCEPTIONS = new Set(["text/event-stream", "application/octet-stream"]);

// For types that are not in the list, as the package "compressible" has it.
const TEXTUAL = /^text\/|\+(?:json|text|xml)$/;

const MIME_DB: Record<
  string,
  { compressible?: boolean; source?: unknown; extensions?: unknown }
> = mimeDb;

const UTF8 = new TextEncoder();

/** Compresses responses as the options and the client want it. */
export class Compression {
  readonly #options: Required<CompressOptions>;
  readonly #settings: ZlibSettings;

  constructor(options: CompressOptions) {
    this.#options = resolve(options);
    const { brotliQuality, gzipLevel } = this.#options;
    this.#settings = zlibSettings(brotliQuality, gzipLevel);
  }

  /**
   * Replaces body and fields in `parts` where that is to be; `headOnly` for an answer to HEAD. A response that cannot be
   * compressed goes out as it is.
   */
  apply(parts: ResponseParts, request: FieldSource, headOnly: boolean): void {
    try {
      if (parts.status === 304) nameKnownTag(parts, request);
      else this.#apply(parts, request, headOnly);
    } catch (error) {
      console.error("Exception while compressing a response", error);
    }
  }

  /** Whether what is sent of a response with a body of bytes depends on the request. */
  concerns(parts: ResponseParts & { body: Uint8Array | null }): boolean {
    return this.#isMeant(parts, fieldsOf(parts)) &&
      parts.body!.length >= this.#options.threshold;
  }

  #apply(
    parts: ResponseParts,
    request: FieldSource,
    headOnly: boolean,
  ): void {
    const { threshold } = this.#options;
    // Most that are too short show it before they are encoded: a character has at most three bytes.
    if (typeof parts.body === "string" && 3 * parts.body.length < threshold) {
      return;
    }
    const fields = fieldsOf(parts);
    if (headOnly && parts.body === null && givenLength(fields) !== null) {
      // The length is that of a body that GET would get compressed; one of unknown length stands for it.
      parts.body = new ReadableStream();
    }
    if (!this.#isMeant(parts, fields)) return;
    const body = typeof parts.body === "string"
      ? UTF8.encode(parts.body)
      : parts.body!;
    const length = body instanceof Uint8Array
      ? body.length
      : givenLength(fields);
    if (length !== null && length < threshold) return;

    const accept = request.field("accept-encoding");
    const coding = negotiate(accept, this.#options.encodings);
    if (coding !== null) parts.body = this.#compress(body, coding, length);
    parts.contentType = null;
    parts.fields = coding === null
      ? withVary(fields)
      : codedFields(fields, coding);
  }

  #isMeant({ body, status }: ResponseParts, fields: Field[]): boolean {
    const known = typeof body === "string" || body instanceof Uint8Array ||
      body instanceof ReadableStream;
    // A 206 has a part of the body that the client has asked for, as it is.
    if (!known || isBodyless(status) || status === 206) return false;
    if (fields.some(([name]) => BARRING.has(name.toLowerCase()))) return false;
    if (NO_TRANSFORM.test(valuesOf(fields, "cache-control"))) return false;
    const type = fieldOf(fields, "content-type");
    return type !== null && this.#options.types(mediaTypeOf(type));
  }

  // Deno compresses on the thread that asks for it, so that a long body goes piece by piece.
  #compress(
    body: Uint8Array | ReadableStream<Uint8Array>,
    coding: ContentCoding,
    length: number | null,
  ): Uint8Array | ReadableStream<Uint8Array> {
    if (!(body instanceof Uint8Array) || body.length > PIECE_BYTES) {
      const settings = this.#settings;
      return new ReadableStream(
        new CompressedSource(body, coding, settings, length),
        { highWaterMark: 0 },
      );
    }
    return coding === "gzip"
      ? gzipSync(body, this.#settings.gzip)
      : brotliCompressSync(body, this.#settings.br);
  }
}

/** What the option `compress` asks for, or null when it is off. */
export function compressionOf(
  option: boolean | CompressOptions | undefined,
): Compression | null {
  if (option === undefined || option === false) return null;
  return new Compression(option === true ? {} : option);
}

function isCompressible(type: string): boolean {
  return !EXCEPTIONS.has(type) &&
    (MIME_DB[type]?.compressible ?? TEXTUAL.test(type));
}

function mediaTypeOf(contentType: string): string {
  return contentType.split(";", 1)[0]!.trim().toLowerCase();
}

function valuesOf(fields: Field[], name: string): string {
  return fields.filter((field) => field[0].toLowerCase() === name)
    .map(([, value]) => value).join(", ");
}

// Of codings that the client likes equally well, `acceptsEncodings()` takes the one that it names first, which means
// nothing (RFC 9110 section 12.5.3). The order that counts there is ours.
function negotiate(
  accept: string | null,
  encodings: readonly ContentCoding[],
): ContentCoding | null {
  if (accept === null || accept === "") return null;
  const rank = (item: string): number => {
    const name = mediaTypeOf(item);
    const at = encodings.findIndex((coding) => coding === name);
    return at === -1 ? encodings.length : at;
  };
  const sorted = accept.split(",").sort((a, b) => rank(a) - rank(b)).join(",");
  const headers = new Headers({ "accept-encoding": sorted });
  const best = acceptsEncodings({ headers }, ...encodings, "identity");
  return best === undefined || best === "identity"
    ? null
    : best as ContentCoding;
}

// The handler's own list of fields is left alone: its Response shows it.
function codedFields(fields: Field[], coding: ContentCoding): Field[] {
  const kept = fields.filter(([name]) => !STALE.has(name.toLowerCase()));
  return withVary([...withWeakTag(kept), ["content-encoding", coding]]);
}

// The same strong tag for the same bytes only (RFC 9110 section 8.8.1).
function withWeakTag(fields: Field[]): Field[] {
  return fields.map(([name, value]): Field =>
    name.toLowerCase() === "etag"
      ? [name, value.replace(STRONG_ETAG, "W/")]
      : [name, value]
  );
}

// A 304 has the tag and Vary that a 200 would have had (RFC 9110 section 15.4.5), or caches would not find what they
// have by it. That it was compressed shows by the tag that the client names.
function nameKnownTag(parts: ResponseParts, request: FieldSource): void {
  const etag = fieldOf(parts.fields, "etag");
  if (etag === null || !STRONG_ETAG.test(etag)) return;
  const known = request.field("if-none-match");
  if (known === null || !known.includes(`W/${etag}`)) return;
  parts.fields = withVary(withWeakTag(parts.fields!));
}

// Caches have to know it of the answer that is not compressed, too.
function withVary(fields: Field[]): Field[] {
  const names = valuesOf(fields, "vary");
  const known = names.toLowerCase().split(",").map((name) => name.trim());
  if (known.includes("*") || known.includes("accept-encoding")) return fields;
  const others = fields.filter(([name]) => name.toLowerCase() !== "vary");
  const value = names === "" ? "accept-encoding" : `${names}, accept-encoding`;
  return [...others, ["vary", value]];
}

function resolve(options: CompressOptions): Required<CompressOptions> {
  if (typeof options !== "object" || options === null) {
    throw wrong("", "true, false or an object", options);
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(DEFAULTS, name)) continue;
    throw new TypeError(`Cannot serve: unknown option "compress.${name}"`);
  }
  const given = Object.entries(options).filter(([, value]) =>
    value !== undefined
  );
  const all = { ...DEFAULTS, ...Object.fromEntries(given) };
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const value = all[name as keyof typeof RANGES];
    if (!Number.isInteger(value)) throw wrong(name, "an integer", value);
    if (value >= min && value <= max) continue;
    throw new RangeError(
      `Cannot serve: "compress.${name}" must be from ${min} to ${max}, is ${value}`,
    );
  }
  if (typeof all.types !== "function") {
    throw wrong("types", "a function", all.types);
  }
  if (!isListOfCodings(all.encodings)) {
    throw wrong("encodings", 'a list of "br" and "gzip"', all.encodings);
  }
  return all;
}

function isListOfCodings(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 &&
    value.every((coding) => coding === "br" || coding === "gzip");
}

function wrong(name: string, expected: string, value: unknown): TypeError {
  const option = name === "" ? "compress" : `compress.${name}`;
  return new TypeError(
    `Cannot serve: "${option}" must be ${expected}, is ${Deno.inspect(value)}`,
  );
}
