// SPDX-License-Identifier: Apache-2.0
// trailers.ts - fields behind a chunked body (RFC 9110 section 6.5): those of a request, and those of a response;
// made by exchange.ts where somebody wants them.

/** What response trailers are made from: fields, or a function that is called when the body has been sent. */
export type TrailersInit =
  | HeadersInit
  | (() => HeadersInit | Promise<HeadersInit>);

// Framing, routing, authentication, request modifiers, response controls, and how the body is to be read: too late
// behind it (RFC 9110 section 6.5.1). Digests are not among them (RFC 9530 section 6.5).
const FORBIDDEN = new Set([
  "age",
  "authorization",
  "cache-control",
  "connection",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "expect",
  "expires",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "keep-alive",
  "location",
  "max-forwards",
  "pragma",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "range",
  "retry-after",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "vary",
  "www-authenticate",
]);

/** The trailers of one request. */
export class RequestTrailers {
  #text = "";
  #outcome: Error | null | undefined;
  #asked: PromiseWithResolvers<Headers> | null = null;

  /** The next bytes of the section, which C has checked and bounded. */
  push(bytes: Uint8Array): void {
    this.#text += String.fromCharCode(...bytes);
  }

  /** The body is complete (null), or never will be. */
  settle(error: Error | null): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = error;
    if (this.#asked !== null) this.#answer(this.#asked);
  }

  /** The fields, once the body is complete. */
  get headers(): Promise<Headers> {
    if (this.#asked === null) {
      this.#asked = Promise.withResolvers();
      // A body that breaks off is not an unhandled rejection.
      this.#asked.promise.catch(() => {});
      if (this.#outcome !== undefined) this.#answer(this.#asked);
    }
    return this.#asked.promise;
  }

  #answer(asked: PromiseWithResolvers<Headers>): void {
    if (this.#outcome) asked.reject(this.#outcome);
    else asked.resolve(parseTrailers(this.#text));
  }
}

/** The fields of a valid trailer section, without those that must not be in one. */
export function parseTrailers(text: string): Headers {
  const headers = new Headers();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    if (colon > 0 && !FORBIDDEN.has(name)) {
      headers.append(name, line.slice(colon + 1));
    }
  }
  return headers;
}

/** The trailers of one response. */
export class ResponseTrailers {
  /** A `Trailer` field line with their names, or "" while those are not known. */
  readonly announcement: string;
  readonly #lines: () => string | Promise<string>;

  constructor(init: TrailersInit) {
    if (typeof init === "function") {
      this.announcement = "";
      this.#lines = async () => toLines(new Headers(await init()));
      return;
    }
    const headers = new Headers(init);
    const lines = toLines(headers);
    const names = [...new Set(headers.keys())].join(", ");
    this.announcement = names === "" ? "" : `trailer: ${names}\r\n`;
    this.#lines = () => lines;
  }

  /** The field lines; asked once, when all of the body is staged. */
  lines(): string | Promise<string> {
    return this.#lines();
  }
}

function toLines(headers: Headers): string {
  let lines = "";
  for (const [name, value] of headers) {
    if (FORBIDDEN.has(name)) {
      throw new TypeError(`Cannot send "${name}" as a trailer`);
    }
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}
