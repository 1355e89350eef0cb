// SPDX-License-Identifier: Apache-2.0
// ws_origin.ts - from which pages a WebSocket may be opened (RFC 6455 section 10.2); called by ws_options.ts and
// ws_route.ts.
//
// A browser sends cookies along whichever page opens the socket, and nothing but this check stops a foreign one.

import type { LazyRequest } from "./http_request.ts";

/**
 * Which pages may open sockets of a route:
 * - `"same"`: those that this server has sent, as far as scheme, host and port tell;
 * - `"any"`: all;
 * - a list: those of these origins, such as `"https://example.org"`, and no others;
 * - a function: those for which it returns true. It is given null when the request has no Origin.
 *
 * But for a function, a request without an Origin is allowed: browsers always send one, and a program could forge it.
 */
export type OriginPolicy =
  | "same"
  | "any"
  | readonly string[]
  | ((origin: string | null, request: Request) => boolean);

/** A policy as it is asked. */
export type OriginCheck = (request: LazyRequest) => boolean;

// Scheme, host and port without anything behind them (RFC 6454 section 6.2).
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@]+$/;

/** The check that a policy asks for. Throws a TypeError for what is none. */
export function originCheck(policy: OriginPolicy): OriginCheck {
  if (policy === "any") return () => true;
  if (policy === "same") return isSame;
  if (typeof policy === "function") {
    return (request) => policy(request.field("origin"), request) === true;
  }
  if (!Array.isArray(policy)) {
    throw new TypeError(
      'Cannot make a WebSocket route: "origin" must be "same", "any", a list of origins or a function',
    );
  }
  const allowed = new Set<string>(policy.map(checkedOrigin));
  return (request) => {
    const origin = request.field("origin");
    return origin === null || allowed.has(origin);
  };
}

function isSame(request: LazyRequest): boolean {
  const origin = request.field("origin");
  if (origin === null) return true;
  const host = (request.field("host") ?? "").toLowerCase();
  // An origin does not name the port that its scheme has by default.
  return origin === `http://${host.replace(/:80$/, "")}`;
}

// Browsers write origins in one way alone, and what is not written so would never match.
function checkedOrigin(origin: unknown): string {
  const text = String(origin);
  if (text === "null") return text;
  const written = ORIGIN.test(text) && isWeb(text)
    ? URL.parse(text)?.origin
    : text;
  if (!ORIGIN.test(text) || written !== text) {
    throw new TypeError(
      `Cannot make a WebSocket route: "${text}" is no origin such as "https://example.org" or ` +
        '"http://localhost:8000", in lower case and without a default port',
    );
  }
  return text;
}

function isWeb(text: string): boolean {
  return text.startsWith("http://") || text.startsWith("https://");
}
