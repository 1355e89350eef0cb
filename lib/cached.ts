// SPDX-License-Identifier: Apache-2.0
// cached.ts - cached(): a handler whose responses are kept for a while; needs nothing of the server.
/**
 * A micro-cache: `cached()` wraps a handler, keeps what it returns for a time, and calls it once for all who ask at the
 * same time.
 *
 * @example
 * ```ts
 * import { serve } from "@millrace/millrace";
 * import { cached } from "@millrace/millrace/cached";
 *
 * const prices = cached(async () => Response.json(await readPrices()), {
 *   ttl: 1000,
 * });
 *
 * serve({ port: 9001 }, (request) => prices(request));
 *
 * function readPrices(): Promise<number[]> {
 *   return Promise.resolve([1, 2, 3]);
 * }
 * ```
 *
 * @module
 */

import { LRUCache } from "lru-cache";
import { lifetimeOf, sizeOf } from "./cached_policy.ts";
import { LazyRequest } from "./http_request.ts";
import { isWhole, KnownResponse, type WholeParts } from "./known_response.ts";
import {
  discardResponse,
  isResponse,
  NO_PARTS,
  type ResponseParts,
  takeParts,
} from "./response_parts.ts";
import { requireInteger, requireKnown, requireTypes } from "./route_options.ts";

/** How long responses are kept, for whom, and how many. */
export interface CachedOptions {
  /**
   * Milliseconds for which a response is given to all who ask. `s-maxage`, `max-age` or `Expires` of a response may
   * shorten it.
   */
  ttl: number;
  /**
   * Milliseconds behind that for which it is still given while the handler is called for a new one.
   *
   * @default {0}
   */
  staleWhileRevalidate?: number;
  /**
   * What requests have in common that may have the same response; null for one that gets its own. By default the URL,
   * and null with a field `Authorization` or `Cookie`. Who gives a key says with it that nothing else matters: neither
   * these two fields nor those that `Vary` names.
   */
  key?: (request: Request) => string | null;
  /**
   * Responses that are kept; then those that were asked for least recently go.
   *
   * @default {1000}
   */
  maxEntries?: number;
  /**
   * Bytes of memory for them, as estimated.
   *
   * @default {16777216}
   */
  maxBytes?: number;
}

/**
 * A handler with a cache before it.
 *
 * @typeParam Rest What it takes beside the request.
 */
export interface CachedHandler<Rest extends unknown[]> {
  (request: Request, ...rest: Rest): Response | Promise<Response>;
  /**
   * Forgets the response of one key. A call that is under way is not kept either.
   *
   * @param key The key.
   * @returns Whether there was one.
   */
  delete(key: string): boolean;
  /** Forgets all responses. */
  clear(): void;
}

interface Entry {
  response: KnownResponse;
  /** When it was made, in milliseconds since 1970. */
  made: number;
  /** The age up to which it is given without a question. */
  fresh: number;
}

// What all who wait for the same response have of it: null when each needs its own, "again" when nobody tries to get
// it any more.
type Outcome = KnownResponse | null | "again";

// A call of the handler that others with the same key may wait for.
interface Flight {
  /** When it began, in milliseconds since 1970. */
  began: number;
  outcome: Promise<Outcome>;
}

type Handler<Rest extends unknown[]> = (
  request: Request,
  ...rest: Rest
) => Response | Promise<Response>;

const MAX = 0xffffffff;
// The library sets room aside for all of them at once.
const ENTRIES_MAX = 1 << 24;
const SWEEP_MIN_MS = 1000;
// A call that takes longer may never end, and is no reason to let others wait for it.
const FLIGHT_MS = 30_000;
const DEFAULTS = {
  staleWhileRevalidate: 0,
  maxEntries: 1000,
  maxBytes: 16 * 1024 * 1024,
};

/**
 * Wraps a handler so that GET and HEAD are answered by what it returned for an earlier request, as long as that is not
 * older than `ttl`. While it runs, others with the same key wait for it; they get its error, too, which is not kept,
 * unless it was the first one's own request that ended: then the next one calls it. Who comes when it has run for 30
 * seconds does not wait for it, but calls it anew. HEAD is answered from what GET got.
 *
 * Kept are text, bytes or nothing as a body, with a status that caches may keep (RFC 9110 section 15.1), and without
 * `Set-Cookie`, `Vary` (unless `key` is given) or a `Cache-Control` of `no-store`, `no-cache` or `private`. Any other
 * response goes to its own request alone. What a request says of caches does not count.
 *
 * @typeParam Rest What the handler takes beside the request.
 * @param handler Makes responses.
 * @param options How long they are kept, and how many.
 * @returns The handler, to be used in its place.
 * @throws {TypeError | RangeError} For an option that is none.
 */
export function cached<Rest extends unknown[]>(
  handler: (request: Request, ...rest: Rest) => Response | Promise<Response>,
  options: CachedOptions,
): CachedHandler<Rest> {
  if (typeof handler !== "function") {
    throw new TypeError("Cannot make a cache: a handler must be given");
  }
  const cache = new ResponseCache(handler, resolve(options));
  const answer: Handler<Rest> = (request, ...rest) =>
    cache.answer(request, rest);
  return Object.assign(answer, {
    delete: (key: string): boolean => cache.delete(key),
    clear: (): void => cache.clear(),
  });
}

class ResponseCache<Rest extends unknown[]> {
  readonly #handler: Handler<Rest>;
  readonly #options: Required<CachedOptions>;
  readonly #entries: LRUCache<string, Entry>;
  readonly #flights = new Map<string, Flight>();
  #swept = 0;

  constructor(handler: Handler<Rest>, options: Required<CachedOptions>) {
    this.#handler = handler;
    this.#options = options;
    this.#entries = new LRUCache({
      max: options.maxEntries,
      maxSize: options.maxBytes,
    });
  }

  answer(request: Request, rest: Rest): Response | Promise<Response> {
    const { method } = request;
    const key = method === "GET" || method === "HEAD"
      ? this.#options.key(request)
      : null;
    if (key === null) return this.#handler(request, ...rest);
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      const age = ageOf(entry);
      if (age < entry.fresh) return entry.response.respond(request);
      if (age < entry.fresh + this.#options.staleWhileRevalidate) {
        if (method === "GET") this.#renew(key, request, rest);
        return entry.response.respond(request);
      }
    }
    const flight = this.#flightOf(key);
    if (flight !== null) return this.#join(flight, request, rest);
    // What HEAD is answered with may lack the body that GET is to have.
    return method === "HEAD"
      ? this.#handler(request, ...rest)
      : this.#lead(key, request, rest);
  }

  delete(key: string): boolean {
    this.#flights.delete(key);
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#flights.clear();
    this.#entries.clear();
  }

  // What is worth waiting for; all else is forgotten.
  #flightOf(key: string): Flight | null {
    const flight = this.#flights.get(key);
    if (flight === undefined) return null;
    const age = Date.now() - flight.began;
    if (age >= 0 && age < FLIGHT_MS) return flight;
    this.#flights.delete(key);
    return null;
  }

  // The first of those who want the same response.
  #lead(
    key: string,
    request: Request,
    rest: Rest,
  ): Response | Promise<Response> {
    const result = this.#handler(request, ...rest);
    // Nobody can have come meanwhile.
    if (isResponse(result)) {
      return this.#keep(key, result)?.respond(request) ?? result;
    }
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    // Often nobody waits for it, and the first one has the error too.
    promise.catch(() => {});
    const flight = { began: Date.now(), outcome: promise };
    this.#flights.set(key, flight);
    return Promise.resolve(result).then((response) => {
      const outcome = this.#land(key, flight, response);
      resolve(outcome);
      return isKnown(outcome) ? outcome.respond(request) : response;
    }, (error) => {
      const outcome = this.#land(key, flight, null);
      if (outcome === "again" || request.signal.aborted) resolve("again");
      else reject(error);
      throw error;
    });
  }

  async #join(
    flight: Flight,
    request: Request,
    rest: Rest,
  ): Promise<Response> {
    const outcome = await flight.outcome;
    if (outcome === "again") return await this.answer(request, rest);
    return outcome === null
      ? await this.#handler(request, ...rest)
      : outcome.respond(request);
  }

  // Behind the answer to this request, and for those to come.
  #renew(key: string, request: Request, rest: Rest): void {
    if (this.#flightOf(key) !== null) return;
    const outcome: Promise<Outcome> = Promise.resolve()
      .then(() => this.#handler(request, ...rest))
      .then((response) => {
        const outcome = this.#land(key, flight, response);
        // Nobody will read it.
        if (!isKnown(outcome)) discardResponse(response, null);
        return outcome;
      }, (error) => {
        this.#land(key, flight, null);
        console.error("Exception while renewing a cached response", error);
        return "again";
      });
    const flight = { began: Date.now(), outcome };
    this.#flights.set(key, flight);
  }

  // Ends a flight. What was asked for before the key was forgotten is not kept, and who waits for it asks again.
  #land(key: string, flight: Flight, response: Response | null): Outcome {
    if (this.#flights.get(key) !== flight) return "again";
    this.#flights.delete(key);
    return response === null ? null : this.#keep(key, response);
  }

  // Null for a response that is not to be given to others, and is left as it is.
  #keep(key: string, response: Response): KnownResponse | null {
    const { key: keyOf, ttl } = this.#options;
    const lifetime = lifetimeOf(response, ttl, keyOf !== urlOfAnyone);
    const parts = lifetime === 0 ? null : wholePartsOf(response);
    if (parts === null) return null;
    const known = new KnownResponse(parts);
    this.#sweep();
    this.#entries.set(
      key,
      { response: known, made: Date.now(), fresh: lifetime },
      { size: sizeOf(key, parts) },
    );
    return known;
  }

  // Those that nobody asks for any more would stay until there are too many.
  #sweep(): void {
    const { ttl, staleWhileRevalidate } = this.#options;
    const sinceSwept = Date.now() - this.#swept;
    const every = Math.max(SWEEP_MIN_MS, ttl + staleWhileRevalidate);
    if (sinceSwept >= 0 && sinceSwept < every) return;
    this.#swept = Date.now();
    for (const [key, entry] of [...this.#entries.entries()]) {
      const useful = entry.fresh + staleWhileRevalidate;
      if (ageOf(entry) >= useful) this.#entries.delete(key);
    }
  }
}

function isKnown(outcome: Outcome): outcome is KnownResponse {
  return outcome instanceof KnownResponse;
}

// A clock that is set back makes it too old, not young again. Asking a clock that never is costs twice as much.
function ageOf({ made }: Entry): number {
  const age = Date.now() - made;
  return age < 0 ? Infinity : age;
}

// A stream can be read once, and nobody knows how long it is.
function wholePartsOf(response: Response): WholeParts | null {
  const parts: ResponseParts = { ...NO_PARTS };
  try {
    takeParts(response, parts);
  } catch {
    // Whoever is to send it says what is wrong.
    return null;
  }
  return isWhole(parts) ? parts : null;
}

function urlOfAnyone(request: Request): string | null {
  return fieldOfRequest(request, "authorization") === null &&
      fieldOfRequest(request, "cookie") === null
    ? request.url
    : null;
}

function fieldOfRequest(request: Request, name: string): string | null {
  return request instanceof LazyRequest
    ? request.field(name)
    : request.headers.get(name);
}

function resolve(options: CachedOptions): Required<CachedOptions> {
  const action = "make a cache";
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot ${action}: options with a "ttl" must be given`);
  }
  const all = { ...DEFAULTS, key: urlOfAnyone, ...defined(options) };
  requireKnown(action, all, ["ttl", "key", ...Object.keys(DEFAULTS)]);
  requireTypes(action, all, { key: "function" });
  requireInteger(action, "ttl", all.ttl, 1, MAX);
  const { staleWhileRevalidate, maxEntries, maxBytes } = all;
  requireInteger(action, "staleWhileRevalidate", staleWhileRevalidate, 0, MAX);
  requireInteger(action, "maxEntries", maxEntries, 1, ENTRIES_MAX);
  requireInteger(action, "maxBytes", maxBytes, 1, Number.MAX_SAFE_INTEGER);
  return all;
}

function defined(options: CachedOptions): CachedOptions {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as unknown as CachedOptions;
}
