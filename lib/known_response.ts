// SPDX-License-Identifier: Apache-2.0
// known_response.ts - a response that is given more than once, to whom it is not what they have already; made by
// static_routes.ts and cached.ts.

import { checkConditions } from "./file_conditions.ts";
import { fieldOf } from "./http_response.ts";
import {
  type Field,
  fieldsOf,
  type ResponseParts,
  TEXT_PLAIN,
} from "./response_parts.ts";

/** What a response is made of whose body is there. */
export type WholeParts = ResponseParts & { body: string | Uint8Array | null };

// What a 304 has of the 200 that it stands for (RFC 9110 section 15.4.5).
const OF_NOT_MODIFIED = new Set([
  "cache-control",
  "content-location",
  "date",
  "etag",
  "expires",
  "last-modified",
  "vary",
]);

const UTF8 = new TextEncoder();

/** Whether a response can be taken apart and put together again. */
export function isWhole(parts: ResponseParts): parts is WholeParts {
  return !(parts.body instanceof ReadableStream);
}

/** Gives a new `Response` each time: who gets one may do with it as with any. */
export class KnownResponse {
  readonly #parts: WholeParts;
  readonly #fields: Field[];
  readonly #etag: string | null;
  readonly #mtime: number | null;
  // Text, or nothing, with fields of its own: null for others. Clones would share bytes.
  readonly #template: Response | null;
  // Text with status 200 and no field but its type, which is the quickest to make anew.
  readonly #text: string | null;
  readonly #init: ResponseInit | undefined;

  constructor(parts: WholeParts) {
    const { contentType, status, statusText } = parts;
    const fields = fieldsOf(parts);
    this.#fields = fields;
    // Text without a type would be given one.
    const typed = fieldOf(fields, "content-type") !== null;
    const body = typeof parts.body === "string" && !typed
      ? UTF8.encode(parts.body)
      : parts.body;
    this.#parts = { ...parts, body };
    const modified = Date.parse(fieldOf(fields, "last-modified") ?? "");
    this.#etag = fieldOf(fields, "etag");
    this.#mtime = Number.isNaN(modified) ? null : modified;
    const simple = typeof body === "string" && contentType !== null &&
      status === 200 && statusText === "";
    this.#text = simple ? body : null;
    this.#init = simple && contentType !== TEXT_PLAIN
      ? { headers: { "content-type": contentType } }
      : undefined;
    this.#template = simple || body instanceof Uint8Array ? null : this.#make();
  }

  /** Whether there are conditions that a request may have about it. */
  get isConditional(): boolean {
    return this.#parts.status === 200 &&
      (this.#etag !== null || this.#mtime !== null);
  }

  /** The answer to a GET or HEAD. */
  respond(request: Request): Response {
    const status = this.isConditional ? this.#check(request) : 200;
    if (status === 412) return new Response(null, { status });
    if (status === 304) {
      const headers = this.#fields.filter(([name]) =>
        OF_NOT_MODIFIED.has(name.toLowerCase())
      );
      return new Response(null, { status, headers });
    }
    if (this.#text !== null) return new Response(this.#text, this.#init);
    return this.#template === null ? this.#make() : this.#template.clone();
  }

  #check(request: Request): number {
    return checkConditions(request.headers, {
      etag: this.#etag,
      mtime: this.#mtime,
    });
  }

  #make(): Response {
    const { body, status, statusText } = this.#parts;
    return new Response(body as BodyInit | null, {
      status,
      statusText,
      headers: this.#fields,
    });
  }
}
