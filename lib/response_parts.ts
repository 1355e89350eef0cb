// SPDX-License-Identifier: Apache-2.0
// response_parts.ts - takes apart the Response that a handler returned, where
// possible without touching its Headers, its stream or a Promise; called by
// the connection for every response.

/** A header field. */
export type Field = [name: string, value: string];

/** What the connection must know of a response to write it. */
export interface ResponseParts {
  status: number;
  statusText: string;
  /** The content-type when it is the only field, else null. */
  contentType: string | null;
  /** All fields as the handler wrote them, null when there are none but it. */
  fields: Field[] | null;
  body: string | Uint8Array | ReadableStream<Uint8Array> | null;
}

/** Reads `response` into `parts`; its body then counts as used. */
export type TakeParts = (response: Response, parts: ResponseParts) => void;

/**
 * Own symbols under which Deno's Response keeps what it was made of. A simple
 * one has a `fastStatus` other than 0 and its body and content type beside it;
 * for every other there is the inner response.
 */
export interface ResponseSlots {
  inner: symbol;
  fastStatus: symbol;
  fastBody: symbol;
  fastHeaderKind: symbol;
  fastContentType: symbol;
  fastConsumed: symbol;
  native: symbol;
}

const DESCRIPTIONS: Record<keyof ResponseSlots, string> = {
  inner: "response",
  fastStatus: "serve fast status",
  fastBody: "serve fast body",
  fastHeaderKind: "serve fast header kind",
  fastContentType: "serve fast content type",
  fastConsumed: "serve fast consumed",
  native: "serve native response",
};

// The `fastHeaderKind` of the default content type; for every other one stands
// in `fastContentType`.
const DEFAULT_TEXT = 1;

/** The type of text that has been given none. */
export const TEXT_PLAIN = "text/plain;charset=UTF-8";

// What Deno's fetch() decodes.
const DECODED = /^(?:gzip|br)$/i;
const CODING_FIELDS = new Set([
  "content-encoding",
  "content-length",
  "transfer-encoding",
]);

const UTF8 = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

/** The parts of an empty response. */
export const NO_PARTS: Readonly<ResponseParts> = {
  status: 200,
  statusText: "",
  contentType: null,
  fields: null,
  body: null,
};

interface StaticBody {
  body: string | Uint8Array;
  consumed: boolean;
}

interface InnerBody {
  streamOrStatic: StaticBody | ReadableStream<Uint8Array>;
  source: unknown;
}

interface InnerResponse {
  type: string;
  body: InnerBody | null;
  headerList: Field[];
  status: number;
  statusMessage: string;
  bodyDecoded: boolean;
}

/** Whether a handler returned a Response. */
export function isResponse(value: unknown): value is Response {
  return value instanceof Response;
}

/** Throws what Deno.serve throws at a handler that returned something else. */
export function requireResponse(value: unknown): void {
  if (isResponse(value)) return;
  throw new TypeError(
    "Return value from serve handler must be a response or a promise resolving to a response",
  );
}

/** Drops a response that nobody will get: a stream's producer is told, and can close what it reads from. */
export function discardResponse(value: unknown, reason: unknown): void {
  if (!isResponse(value)) return;
  try {
    // Rejects when somebody else has the stream, who then has to care for it.
    value.body?.cancel(reason).catch(() => {});
  } catch {
    // It only inherits from Response, and has no body.
  }
}

/** All fields of a response. */
export function fieldsOf({ fields, contentType }: ResponseParts): Field[] {
  return fields ??
    (contentType === null ? [] : [["content-type", contentType]]);
}

/** A body that is not to be written as text. */
export function bytesOf(
  body: ResponseParts["body"],
): ReadableStream<Uint8Array> | Uint8Array {
  return typeof body === "string" ? UTF8.encode(body) : body ?? NO_BYTES;
}

/** A `takeParts()` over Deno's slots or, when null, over the public API. */
export function makeTakeParts(slots: ResponseSlots | null): TakeParts {
  return slots === null ? takeStandardParts : makeTakeFastParts(slots);
}

function makeTakeFastParts(slots: ResponseSlots): TakeParts {
  // Constants of the closure: a property of `slots` would be one load more for
  // each of them.
  const { inner: INNER, fastStatus: STATUS, fastBody: BODY } = slots;
  const { fastHeaderKind: HEADER_KIND, fastContentType: TYPE } = slots;
  const { fastConsumed: CONSUMED, native: NATIVE } = slots;

  return function takeFastParts(response, parts): void {
    const state = response as unknown as Record<symbol, unknown>;
    const inner = state[INNER] as InnerResponse | undefined;
    if (inner === undefined) throw notConstructed();
    if (inner.type === "error") throw isErrorResponse();
    if (state[CONSUMED] === true) throw alreadyConsumed();

    const status = state[STATUS] as number;
    if (status !== 0) {
      parts.body = inner.body === null
        ? state[BODY] as string
        : useBody(response, inner.body);
      // What bodyUsed looks at as long as there is no inner body.
      state[CONSUMED] = true;
      parts.status = status;
      parts.statusText = inner.statusMessage;
      parts.fields = null;
      const kind = state[HEADER_KIND];
      parts.contentType = kind === DEFAULT_TEXT
        ? TEXT_PLAIN
        : state[TYPE] as string | null;
      return;
    }

    // Deno has already made a native response, which holds a second copy of the
    // body until the garbage collector comes by. Reading `headers` frees it.
    if (state[NATIVE] !== null) void response.headers;
    parts.body = inner.body === null ? null : useBody(response, inner.body);
    parts.status = inner.status;
    parts.statusText = inner.statusMessage;
    takeFields(
      inner.bodyDecoded ? withoutCoding(inner.headerList) : inner.headerList,
      parts,
    );
  };
}

// The body in its simplest form, marked as used.
function useBody(response: Response, body: InnerBody): ResponseParts["body"] {
  const content = body.streamOrStatic;
  if (!(content instanceof ReadableStream)) {
    if (content.consumed) throw alreadyConsumed();
    content.consumed = true;
    return content.body;
  }
  if (response.bodyUsed) throw alreadyConsumed();
  const { source } = body;
  if (typeof source === "string" || source instanceof Uint8Array) {
    // Somebody looked at `response.body`, but nobody has read it.
    body.streamOrStatic = { body: source, consumed: true };
    return source;
  }
  if (content.locked) throw isLocked();
  return content;
}

function takeStandardParts(response: Response, parts: ResponseParts): void {
  if (response.type === "error") throw isErrorResponse();
  if (response.bodyUsed) throw alreadyConsumed();
  const { body } = response;
  if (body?.locked) throw isLocked();
  const fields = [...response.headers];
  parts.body = body;
  parts.status = response.status;
  parts.statusText = response.statusText;
  takeFields(wasDecoded(response) ? withoutCoding(fields) : fields, parts);
}

function takeFields(fields: Field[], parts: ResponseParts): void {
  const only = fields.length === 1 ? fields[0]! : null;
  if (only !== null && only[0].toLowerCase() === "content-type") {
    parts.contentType = only[1];
    parts.fields = null;
    return;
  }
  parts.contentType = null;
  parts.fields = fields.length === 0 ? null : fields;
}

// fetch() decodes a body and leaves the fields that describe the coded one.
function withoutCoding(fields: Field[]): Field[] {
  return fields.filter(([name]) => !CODING_FIELDS.has(name.toLowerCase()));
}

function wasDecoded(response: Response): boolean {
  const coding = response.headers.get("content-encoding");
  return response.url !== "" && coding !== null && DECODED.test(coding);
}

/** An answer that promises another protocol, to a request that was not upgraded. */
export function notUpgraded(status: number): TypeError {
  return new TypeError(
    `Cannot answer ${status}: the request was not upgraded; use upgradeWebSocket() of Millrace, or upgrade() of ` +
      "websocket() or rawSocket(), since Deno.upgradeWebSocket() has no effect here",
  );
}

function notConstructed(): TypeError {
  return new TypeError(
    "Return value from serve handler must be a Response constructed via the " +
      "Response constructor in this realm",
  );
}

function isErrorResponse(): TypeError {
  return new TypeError(
    "Return value from serve handler must not be an error response " +
      "(like Response.error())",
  );
}

function alreadyConsumed(): TypeError {
  return new TypeError(
    "The body of the Response returned from the serve handler has already " +
      "been consumed",
  );
}

function isLocked(): TypeError {
  return new TypeError("ReadableStream is locked");
}

/**
 * Deno's slots, or null when they are not what they were. `descriptions`
 * replaces some of those that they are known by.
 */
export function findResponseSlots(
  descriptions: Partial<Record<keyof ResponseSlots, string>> = {},
): ResponseSlots | null {
  const all = Object.getOwnPropertySymbols(new Response("probe"));
  const slots: Partial<ResponseSlots> = {};
  const wanted = Object.entries({ ...DESCRIPTIONS, ...descriptions });
  for (const [name, description] of wanted) {
    const slot = all.find((symbol) => symbol.description === description);
    if (slot === undefined) return null;
    slots[name as keyof ResponseSlots] = slot;
  }
  const complete = slots as ResponseSlots;
  return slotsWork(complete) ? complete : null;
}

// Takes responses of every kind apart and looks at what comes out.
function slotsWork(slots: ResponseSlots): boolean {
  const take = makeTakeFastParts(slots);
  try {
    return probes().every(([response, expected]) => {
      const parts = { ...NO_PARTS };
      take(response, parts);
      return JSON.stringify(parts) === JSON.stringify(expected) &&
        response.bodyUsed === (expected.body !== null);
    });
  } catch {
    return false;
  }
}

// One response of each kind that Deno keeps differently, and its parts.
function probes(): [response: Response, parts: ResponseParts][] {
  const headers = { "x-a": "1", "x-b": "2" };
  const changed = new Response("text");
  changed.headers.set("x-a", "1");
  const looked = new Response("text");
  void looked.body;
  const plain: ResponseParts = { ...NO_PARTS, contentType: TEXT_PLAIN };
  const type: Field = ["Content-Type", TEXT_PLAIN];
  const bytes = Uint8Array.of(1, 2);
  return [
    [new Response("text"), { ...plain, body: "text" }],
    [looked, { ...plain, body: "text" }],
    [new Response(bytes), { ...NO_PARTS, body: bytes }],
    [new Response(bytes, { headers }), {
      ...NO_PARTS,
      fields: Object.entries(headers),
      body: bytes,
    }],
    [Response.json(1), {
      ...NO_PARTS,
      contentType: "application/json",
      body: "1",
    }],
    [changed, { ...NO_PARTS, fields: [type, ["x-a", "1"]], body: "text" }],
    ...[200, 201].map((status): [Response, ResponseParts] => [
      new Response("text", { status, statusText: "Made" }),
      { ...plain, status, statusText: "Made", body: "text" },
    ]),
    [new Response(null, { status: 204 }), { ...NO_PARTS, status: 204 }],
  ];
}

const SLOTS = findResponseSlots();

/** How `takeParts()` reads a response; "standard" is right but slow. */
export const responsePath: "fast" | "standard" = SLOTS === null
  ? "standard"
  : "fast";

/**
 * Reads what a handler returned into `parts`, an object to be used again and
 * again. The body then counts as used, except a stream, which the caller has to
 * read.
 *
 * Throws a TypeError, with the words of Deno.serve, when the body has already
 * been used or locked, and for an error response.
 */
export const takeParts: TakeParts = makeTakeParts(SLOTS);
