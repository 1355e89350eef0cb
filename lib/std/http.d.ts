// See assert.d.ts for why these declarations exist.

declare module "@std/http/cookie" {
  export interface Cookie {
    name: string;
    value: string;
    /** A date, or milliseconds since 1970. */
    expires?: Date | number;
    /** Seconds to live, a whole number of at least 0. */
    maxAge?: number;
    domain?: string;
    path?: string;
    secure?: boolean;
    httpOnly?: boolean;
    partitioned?: boolean;
    sameSite?: "Strict" | "Lax" | "None";
    /** Further attributes, written as they are. */
    unparsed?: string[];
  }

  export function getCookies(
    headers: Headers,
  ): Partial<Record<string, string>>;
  export function setCookie(headers: Headers, cookie: Cookie): void;
  export function deleteCookie(
    headers: Headers,
    name: string,
    attributes?: Pick<
      Cookie,
      "path" | "domain" | "secure" | "httpOnly" | "partitioned"
    >,
  ): void;
  export function getSetCookies(headers: Headers): Cookie[];
}

declare module "@std/http/etag" {
  export interface FileInfo {
    mtime: Date | null;
    size: number;
  }

  export interface ETagOptions {
    algorithm?: "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
    /** A weak tag; the default for file information alone. */
    weak?: boolean;
  }

  export function eTag(
    entity: string | Uint8Array,
    options?: ETagOptions,
  ): Promise<string>;
  /** Undefined when the file has no time of change. */
  export function eTag(
    entity: FileInfo,
    options?: ETagOptions,
  ): Promise<string | undefined>;

  export function ifMatch(
    value: string | null,
    etag: string | undefined,
  ): boolean;
  export function ifNoneMatch(
    value: string | null,
    etag: string | undefined,
  ): boolean;
}

declare module "@std/http/negotiation" {
  // All three need no more of a request than its headers.
  type WithHeaders = Pick<Request, "headers">;

  export function accepts(request: WithHeaders): string[];
  export function accepts(
    request: WithHeaders,
    ...types: string[]
  ): string | undefined;

  export function acceptsEncodings(request: WithHeaders): string[];
  export function acceptsEncodings(
    request: WithHeaders,
    ...encodings: string[]
  ): string | undefined;

  export function acceptsLanguages(request: WithHeaders): string[];
  export function acceptsLanguages(
    request: WithHeaders,
    ...langs: string[]
  ): string | undefined;
}

declare module "@std/http/server-sent-event-stream" {
  export interface ServerSentEventMessage {
    comment?: string;
    event?: string;
    data?: string;
    id?: string | number;
    /** Milliseconds to wait before the client connects again. */
    retry?: number;
  }

  export class ServerSentEventStream
    extends TransformStream<ServerSentEventMessage, Uint8Array<ArrayBuffer>> {
    constructor();
  }
}
