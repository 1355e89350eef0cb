// SPDX-License-Identifier: Apache-2.0
// url_cache.ts - the URL that a connection was last asked for; made by http_connection.ts, used by http_request.ts.

/** What a URL has of the server that got the request. */
export interface UrlBase {
  /** "http", or "http+unix" for a Unix socket. */
  readonly scheme: string;
  /** Host and port for a request that names none. */
  readonly authority: string;
}

/**
 * The URL of the last request of a connection, when its Host was the first field, as nearly always: clients repeat
 * themselves, and putting a URL together costs as much as all the rest of a request.
 */
export interface UrlCache {
  /** The text that its head was in. */
  text: string;
  /** Where in it. */
  start: number;
  /** From the target to the end of the Host line, or what no head can have. */
  lines: string;
  /** The URL that they lead to. */
  url: string;
  /** The Host line alone. */
  hostLine: string;
  /** Scheme and authority that it leads to. */
  origin: string;
}

/** A cache in which nothing is yet: no head begins a line with its end. */
export function emptyUrlCache(): UrlCache {
  return {
    text: "",
    start: -1,
    lines: "\n",
    url: "",
    hostLine: "\n",
    origin: "",
  };
}
