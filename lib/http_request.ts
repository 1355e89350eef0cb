// SPDX-License-Identifier: Apache-2.0
// http_request.ts - a request head as a standard Request, built only where
// somebody looks; made by the connection for every request, handed to fetch
// handlers.

import { type BodyFlow, RequestBody } from "./http_body.ts";
import type { Upgrade } from "./upgrade.ts";

/** What a request asks of the connection that it came in on. */
export interface RequestContext {
  /** What the server adds to URLs. */
  readonly base: UrlBase;
  /** What the requests of the connection have in common. */
  readonly urls: UrlCache;
  /** Whether the connection can be turned over to another protocol. */
  readonly upgradable: boolean;
  /** What it was asked to be turned over to. */
  readonly upgrade: Upgrade | null;
  /** The handler asks to turn it over to `upgrade`. */
  offer(upgrade: Upgrade): void;
  /** The signal of the request; asked at most once for each request. */
  abortSignal(): AbortSignal;
}

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
  return { lines: "\n", url: "", hostLine: "\n", origin: "" };
}

/** A header field: lower-case name, value without surrounding blanks. */
export type Field = [name: string, value: string];

/** Own symbols under which Deno's Headers keeps its state. */
export interface HeadersSlots {
  list: symbol;
  target: symbol;
  guard: symbol;
}

/** What a genuine Request is made from. */
export interface GenuineInit {
  method: string;
  url: string;
  headers: Headers;
  bodyUsed: boolean;
  /** Null when there is none, or when it has been used. */
  body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
  signal: AbortSignal | null;
}

type Slots = Record<symbol, unknown>;

const HORIZONTAL_TAB = 9;
const LINE_FEED = 10;
const SPACE = 32;
const COLON = 58;

const VERSION_LENGTH = " HTTP/1.1\r\n".length;

const PLACEHOLDER_URL = "http://localhost/";

const NO_FLOW: BodyFlow = {
  pause(): void {},
  resume(): void {},
  consume(): void {},
};

// The state of a request. Under symbols, not in private fields: a Proxy passes
// them on, as it does what Deno's own Request keeps.
const TEXT = Symbol("text");
const START = Symbol("start");
const END = Symbol("end");
const METHOD_LENGTH = Symbol("method length");
const TARGET_LENGTH = Symbol("target length");
const CONTEXT = Symbol("context");
const BODY = Symbol("body");
const URL_TEXT = Symbol("url");
const HEADERS = Symbol("headers");
const SIGNAL = Symbol("signal");
const GENUINE = Symbol("genuine");

/** Everything not defined in the class comes from `Request.prototype`. */
export interface LazyRequest extends Request {}

/**
 * A Request over the text of its head. Nothing is parsed, copied or allocated
 * before it is asked for. Whatever Deno's own code must know of it (`clone()`,
 * `fetch(request)`, `new Request(request)`, …) goes through one genuine Request
 * made on first need, to which the internal slots are forwarded.
 *
 * Differences from the Request that Deno.serve makes, all towards the standard:
 * it can be read for ever, `redirect` is "follow", and `json()` ignores a byte
 * order mark. As there, GET, HEAD and CONNECT have no body whatever was sent.
 */
export class LazyRequest {
  readonly [TEXT]: string;
  readonly [START]: number;
  readonly [END]: number;
  readonly [METHOD_LENGTH]: number;
  readonly [TARGET_LENGTH]: number;
  readonly [CONTEXT]: RequestContext;
  [BODY]: RequestBody | null;
  [URL_TEXT]: string | null = null;
  [HEADERS]: Headers | null = null;
  [SIGNAL]: AbortSignal | null = null;
  [GENUINE]: Request | null = null;

  /**
   * `text.slice(start, end)` is the head, from the first byte of the method to
   * the empty line, one character for each byte (Latin-1), already validated
   * and with its field names in lower case.
   */
  constructor(
    text: string,
    start: number,
    end: number,
    methodLength: number,
    targetLength: number,
    body: RequestBody | null,
    context: RequestContext,
  ) {
    this[TEXT] = text;
    this[START] = start;
    this[END] = end;
    this[METHOD_LENGTH] = methodLength;
    this[TARGET_LENGTH] = targetLength;
    this[BODY] = body;
    this[CONTEXT] = context;
  }

  get method(): string {
    const text = this[TEXT];
    const start = this[START];
    const length = this[METHOD_LENGTH];
    // Most requests are GET, and a constant costs neither slice nor memory.
    if (length === 3 && text.startsWith("GET", start)) return "GET";
    return text.slice(start, start + length);
  }

  get url(): string {
    return this[URL_TEXT] ??= makeUrl(this);
  }

  get headers(): Headers {
    return this[HEADERS] ??= makeHeaders(
      new FieldSource(headOf(this), targetEndOf(this)),
    );
  }

  get signal(): AbortSignal {
    return this[SIGNAL] ??= this[CONTEXT].abortSignal();
  }

  get body(): ReadableStream<Uint8Array<ArrayBuffer>> | null {
    if (hidesBody(this)) return null;
    const { body } = genuineOf(this);
    this[BODY]?.show(body);
    return body;
  }

  get bodyUsed(): boolean {
    const genuine = this[GENUINE];
    return genuine === null ? this[BODY]?.used ?? false : genuine.bodyUsed;
  }

  text(): Promise<string> {
    return (this[GENUINE] ?? readableOf(this)).text();
  }

  json(): Promise<unknown> {
    return (this[GENUINE] ?? readableOf(this)).json();
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return (this[GENUINE] ?? readableOf(this)).bytes();
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return (this[GENUINE] ?? readableOf(this)).arrayBuffer();
  }

  async blob(): Promise<Blob> {
    return await genuineOf(this).blob();
  }

  async formData(): Promise<FormData> {
    return await genuineOf(this).formData();
  }

  /**
   * The value of a field by its lower-case name, null when there is none.
   * Repeated fields are combined.
   */
  field(name: string): string | null {
    return findField(headOf(this), targetEndOf(this), name);
  }

  /** Whether the connection can be turned over to another protocol. */
  get upgradable(): boolean {
    return this[CONTEXT].upgradable;
  }

  /** Whether the connection was asked to be turned over. */
  get offered(): boolean {
    return this[CONTEXT].upgrade !== null;
  }

  /** Has the connection turned over to `upgrade` when the response is a 101. */
  offer(upgrade: Upgrade): void {
    this[CONTEXT].offer(upgrade);
  }
}

// A slice shares the characters and bounds every search: the text goes on with
// other requests.
function headOf(request: LazyRequest): string {
  return request[TEXT].slice(request[START], request[END]);
}

// Where, in the head, the search for fields begins.
function targetEndOf(request: LazyRequest): number {
  return request[METHOD_LENGTH] + 1 + request[TARGET_LENGTH];
}

// As Deno.serve does: put together from what was received, not normalised.
function makeUrl(request: LazyRequest): string {
  const { urls } = request[CONTEXT];
  const text = request[TEXT];
  const start = request[START] + request[METHOD_LENGTH] + 1;
  if (hasAt(text, urls.lines, start)) return urls.url;
  const target = text.slice(start, start + request[TARGET_LENGTH]);
  if (target.startsWith("/")) return makeOriginUrl(request, target);
  if (target === "*") return originOf(request) + "/*";
  const { scheme } = request[CONTEXT].base;
  if (request.method === "CONNECT") return `${scheme}://${target}`;
  return /:\/\/[^/?]*$/.test(target) ? target + "/" : target;
}

function makeOriginUrl(request: LazyRequest, target: string): string {
  const { urls } = request[CONTEXT];
  const text = request[TEXT];
  const start = request[START] + request[METHOD_LENGTH] + 1;
  const hostLine = start + target.length + VERSION_LENGTH;
  const url = originOf(request) + target;
  if (hasAt(text, urls.hostLine, hostLine)) {
    urls.lines = text.slice(start, hostLine + urls.hostLine.length);
    urls.url = url;
  }
  return url;
}

function originOf(request: LazyRequest): string {
  const { base, urls } = request[CONTEXT];
  const text = request[TEXT];
  const at = request[START] + targetEndOf(request) + VERSION_LENGTH;
  if (hasAt(text, urls.hostLine, at)) return urls.origin;
  const host = request.field("host") || base.authority;
  const origin = `${base.scheme}://${host}`;
  if (text.startsWith("host:", at)) {
    urls.hostLine = text.slice(at, text.indexOf("\n", at) + 1);
    urls.origin = origin;
  }
  return origin;
}

// A third of what startsWith() costs, which compares character by character.
function hasAt(text: string, part: string, at: number): boolean {
  return text.slice(at, at + part.length) === part;
}

function hidesBody({ method }: LazyRequest): boolean {
  return method === "GET" || method === "HEAD" || method === "CONNECT";
}

// Every method that shows a body has one, if only an empty one: it too can be
// read once.
function readableOf(request: LazyRequest): RequestBody {
  return hidesBody(request) ? emptyBody() : request[BODY] ??= emptyBody();
}

function genuineOf(request: LazyRequest): Request {
  return request[GENUINE] ??= makeGenuine({
    method: request.method,
    url: request.url,
    headers: request.headers,
    bodyUsed: request.bodyUsed,
    body: handOver(request),
    signal: SIGNAL_HAS_SLOT ? null : request.signal,
  }, INNER_SLOT);
}

// The body as the genuine Request takes it. All bytes at once where they are
// there: no stream is needed to read those.
function handOver(request: LazyRequest): GenuineInit["body"] {
  if (hidesBody(request) || request.bodyUsed) return null;
  const body = readableOf(request);
  return body.takeWhole() ?? body.stream();
}

/** The value of one field of a head, searched from `from` on. */
function findField(head: string, from: number, name: string): string | null {
  let at = findName(head, from, name);
  if (at === -1) return null;
  let combined = valueAt(head, at + name.length + 1);
  while ((at = findName(head, at + name.length, name)) !== -1) {
    combined += separatorOf(name) + valueAt(head, at + name.length + 1);
  }
  return combined;
}

// Index of the next field line with that name, or -1.
function findName(head: string, from: number, name: string): number {
  let at = head.indexOf(name, from);
  while (at !== -1 && at < head.length) {
    const isField = head.charCodeAt(at - 1) === LINE_FEED &&
      head.charCodeAt(at + name.length) === COLON;
    if (isField) return at;
    at = head.indexOf(name, at + 1);
  }
  return -1;
}

function valueAt(head: string, from: number): string {
  let start = from;
  let end = head.indexOf("\r\n", start);
  while (start < end && isBlank(head.charCodeAt(start))) start++;
  while (end > start && isBlank(head.charCodeAt(end - 1))) end--;
  return head.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === HORIZONTAL_TAB;
}

// Cookies are the one list whose members a comma cannot separate.
function separatorOf(name: string): string {
  return name === "cookie" ? "; " : ", ";
}

/** All fields of one head in their order, the cookies in one. */
function parseFields(head: string, from: number): Field[] {
  const fields: Field[] = [];
  let cookie: Field | null = null;
  const end = head.length - 2;
  for (let at = head.indexOf("\r\n", from) + 2; at < end;) {
    const colon = head.indexOf(":", at);
    const field: Field = [head.slice(at, colon), valueAt(head, colon + 1)];
    if (field[0] !== "cookie") fields.push(field);
    else if (cookie !== null) cookie[1] += "; " + field[1];
    else fields.push(cookie = field);
    at = head.indexOf("\r\n", colon) + 2;
  }
  return fields;
}

/** The fields of one head, in the form that Deno's Headers reads lazily. */
export class FieldSource {
  readonly #head: string;
  readonly #from: number;

  constructor(head: string, from: number) {
    this.#head = head;
    this.#from = from;
  }

  header(name: string): string | null {
    return findField(this.#head, this.#from, name.toLowerCase());
  }

  get headerList(): Field[] {
    return parseFields(this.#head, this.#from);
  }
}

/**
 * A function that makes the Headers of a request: with Deno's slots immutable
 * and searching the head until somebody wants the whole list, without them
 * (null) an ordinary, mutable copy.
 */
export function headersMaker(
  slots: HeadersSlots | null,
): (source: FieldSource) => Headers {
  if (slots === null) return (source) => new Headers(source.headerList);
  const { list, target, guard } = slots;
  return (source) => {
    const headers = new Headers();
    const state = slotsOf(headers);
    state[list] = null;
    state[target] = source;
    state[guard] = "immutable";
    return headers;
  };
}

/** Deno's slots of a Headers, or null when they are not what they were. */
export function findHeadersSlots(): HeadersSlots | null {
  const probe = new Headers();
  const list = slotNamed(probe, "header list");
  const target = slotNamed(probe, "header target");
  const guard = slotNamed(probe, "guard");
  if (list === null || target === null || guard === null) return null;
  const slots = { list, target, guard };
  return headersWork(headersMaker(slots)) ? slots : null;
}

function headersWork(make: (source: FieldSource) => Headers): boolean {
  const head = "GET / HTTP/1.1\r\na: 1\r\nb:2\r\na:3\r\n\r\n";
  try {
    const headers = make(new FieldSource(head, 5));
    const found = headers.get("A") === "1, 3" && headers.get("c") === null;
    return found && throwsTypeError(() => headers.set("c", "4")) &&
      JSON.stringify([...headers]) === '[["a","1, 3"],["b","2"]]';
  } catch {
    return false;
  }
}

const makeHeaders = headersMaker(findHeadersSlots());

/**
 * A genuine Request. `slot` is where Deno keeps the inner request: there the
 * method and the URL are written as received, which the constructor would
 * refuse (TRACE, CONNECT) or normalise. With null the constructor decides.
 */
export function makeGenuine(
  parts: GenuineInit,
  slot: symbol | null,
): Request {
  const { method, url, headers, signal, bodyUsed } = parts;
  const request = new Request(slot === null ? url : PLACEHOLDER_URL, {
    method: slot === null ? method : "POST",
    headers,
    body: bodyUsed ? new Uint8Array(0) : parts.body,
    signal,
  });
  // Nobody waits for it: reading marks the body as used at once.
  if (bodyUsed) request.bytes();
  if (slot !== null) rewriteInner(request, slot, method, url);
  return request;
}

interface InnerRequest {
  method: string;
  urlListProcessed: string[];
}

function rewriteInner(
  request: Request,
  slot: symbol,
  method: string,
  url: string,
): void {
  const inner = slotsOf(request)[slot] as InnerRequest;
  inner.method = method;
  inner.urlListProcessed[0] = url;
}

/** Where Deno keeps the inner request, or null when it is not what it was. */
export function findInnerSlot(): symbol | null {
  const slot = slotNamed(new Request(PLACEHOLDER_URL), "request");
  return slot !== null && innerWorks(slot) ? slot : null;
}

function innerWorks(slot: symbol): boolean {
  const url = "http://host/a/../b";
  const parts = { url, method: "TRACE", headers: new Headers() };
  try {
    const request = makeGenuine({
      ...parts,
      body: null,
      bodyUsed: false,
      signal: null,
    }, slot);
    const copy = new Request(request);
    return [request, copy, request.clone()].every((r) =>
      r.method === "TRACE" && r.url === url
    );
  } catch {
    return false;
  }
}

const INNER_SLOT = findInnerSlot();
const PROBE = new Request(PLACEHOLDER_URL, {
  signal: new AbortController().signal,
});
const SLOTS = Object.getOwnPropertySymbols(PROBE);
const SIGNAL_HAS_SLOT = SLOTS.some((slot) =>
  slotsOf(PROBE)[slot] instanceof AbortSignal
);

inheritRequest();

/** Makes a LazyRequest pass for a Request, to Deno's own code as well. */
function inheritRequest(): void {
  const lazy = LazyRequest.prototype;
  Object.setPrototypeOf(lazy, Request.prototype);
  Object.defineProperty(lazy, "constructor", {
    value: Request,
    configurable: true,
    writable: true,
  });
  for (const slot of SLOTS) {
    const descriptor = slotDescriptor(slot, slotsOf(PROBE)[slot]);
    Object.defineProperty(lazy, slot, descriptor);
  }
  const names = Object.entries(Object.getOwnPropertyDescriptors(
    Request.prototype,
  ));
  for (const [name, { get, enumerable }] of names) {
    if (Object.hasOwn(lazy, name)) {
      Object.defineProperty(lazy, name, { enumerable: enumerable ?? false });
    } else if (get !== undefined) {
      Object.defineProperty(lazy, name, constantAttribute(name));
    }
  }
}

// Deno's own code reads a Request through own symbols. A lazy one answers with
// what it has, or else with what its genuine Request has.
function slotDescriptor(
  slot: symbol,
  sample: unknown,
): PropertyDescriptor & ThisType<LazyRequest> {
  const isBrand = sample === slot;
  if (isBrand) return { value: slot };
  return {
    get(): unknown {
      if (sample instanceof Headers) return this.headers;
      if (sample instanceof AbortSignal) return this.signal;
      return slotsOf(genuineOf(this))[slot];
    },
    set(value: unknown): void {
      slotsOf(genuineOf(this))[slot] = value;
    },
  };
}

// `cache`, `mode`, `redirect` and the like: the same for every request that a
// server receives, so that reading them needs no genuine Request.
function constantAttribute(name: string): PropertyDescriptor {
  const value = Reflect.get(PROBE, name);
  return { get: () => value, enumerable: true, configurable: true };
}

function emptyBody(): RequestBody {
  const body = new RequestBody(0, NO_FLOW);
  body.end();
  return body;
}

function slotsOf(object: object): Slots {
  return object as Slots;
}

function slotNamed(object: object, description: string): symbol | null {
  const isNamed = (slot: symbol): boolean => slot.description === description;
  return Object.getOwnPropertySymbols(object).find(isNamed) ?? null;
}

function throwsTypeError(action: () => void): boolean {
  try {
    action();
    return false;
  } catch (error) {
    return error instanceof TypeError;
  }
}
