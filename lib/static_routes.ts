// SPDX-License-Identifier: Apache-2.0
// static_routes.ts - the option `routes`: responses that are known beforehand, which the reactor gives by itself
// where it can, and http_connection.ts from here where it cannot; made by http_server.ts.

import { layout, type Reactor, type RouteResponse } from "../ffi/mod.ts";
import type { Compression } from "./compression.ts";
import { asksToClose, headBytes } from "./http_response.ts";
import { KnownResponse } from "./known_response.ts";
import {
  isResponse,
  NO_PARTS,
  type ResponseParts,
  takeParts,
} from "./response_parts.ts";

const UTF8 = new TextEncoder();
const NO_BYTES = new Uint8Array(0);
const ORIGIN = "http://localhost";

type BytesParts = ResponseParts & { body: Uint8Array | null };

interface Route {
  path: string;
  parts: BytesParts;
  known: KnownResponse;
}

/** Responses by the numbers that the reactor knows their paths by. */
export class StaticRoutes {
  readonly #routes: Route[] = [];

  /** Takes copies of the responses. Throws a TypeError for one that is not known beforehand. */
  constructor(routes: Readonly<Record<string, Response>>) {
    for (const [path, response] of Object.entries(routes)) {
      requireExactPath(path);
      const parts = partsOf(path, response);
      this.#routes.push({ path, parts, known: new KnownResponse(parts) });
    }
    if (this.#routes.length <= layout.ROUTES_MAX) return;
    throw new RangeError(
      `Cannot serve: "routes" has ${this.#routes.length} paths, at most ${layout.ROUTES_MAX} are possible`,
    );
  }

  /** Tells the reactor of them, which numbers them from 1 on in the order in which they are told. */
  register(reactor: Reactor, compression: Compression | null): void {
    for (const { path, parts, known } of this.#routes) {
      reactor.addRoute({
        path: UTF8.encode(path),
        response: imageOf(parts, compression),
        conditional: known.isConditional,
      });
    }
  }

  /** The answer to a request that the reactor has not answered. */
  answer(number: number, request: Request): Response {
    return this.#routes[number - 1]!.known.respond(request);
  }
}

/** The routes of the option, null when there are none. */
export function staticRoutesOf(option: unknown): StaticRoutes | null {
  if (option === undefined) return null;
  // What is in a Map would be overlooked.
  if (
    typeof option !== "object" || option === null || Symbol.iterator in option
  ) {
    throw new TypeError(
      `Cannot serve: "routes" must be an object of responses by path, is ${
        Deno.inspect(option)
      }`,
    );
  }
  return Object.keys(option).length === 0
    ? null
    : new StaticRoutes(option as Record<string, Response>);
}

// One that no request could have would never be asked for, without anybody being told.
function requireExactPath(path: string): void {
  const cannot = `Cannot serve: the route ${JSON.stringify(path)}`;
  if (!path.startsWith("/")) {
    throw new TypeError(`${cannot} must begin with "/"`);
  }
  if (/\/[:*]|\*$/.test(path)) {
    throw new TypeError(
      `${cannot} is no exact path; for parameters and wildcards use a router, such as that of Hono, in the handler`,
    );
  }
  const { pathname } = new URL(ORIGIN + path);
  if (pathname === path) return;
  throw new TypeError(
    `${cannot} is not what clients send: give its path alone, as ${
      JSON.stringify(pathname)
    }`,
  );
}

function partsOf(path: string, response: unknown): BytesParts {
  const cannot = `Cannot serve: the route ${JSON.stringify(path)}`;
  if (!isResponse(response)) {
    throw new TypeError(
      `${cannot} must be a Response, is ${
        Deno.inspect(response)
      }; what depends on the request is for the handler`,
    );
  }
  const parts: ResponseParts = { ...NO_PARTS };
  try {
    // The application may serve the same ones with another server.
    takeParts(response.clone(), parts);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    throw new TypeError(`${cannot} cannot be read: ${why}`, { cause });
  }
  if (parts.status < 200) {
    throw new TypeError(
      `${cannot} has the status ${parts.status}, which the request has to ask for: upgrade it in the handler`,
    );
  }
  const { body } = parts;
  if (body instanceof ReadableStream) {
    throw new TypeError(
      `${cannot} has a body that is not known beforehand: give text or bytes, such as "await response.bytes()", in ` +
        "place of a stream or Blob",
    );
  }
  const bytes = typeof body === "string" ? UTF8.encode(body) : body?.slice();
  return { ...parts, body: bytes ?? null };
}

// Null for a response that has to be looked at each time.
function imageOf(
  parts: BytesParts,
  compression: Compression | null,
): RouteResponse | null {
  if (asksToClose(parts.fields) || compression?.concerns(parts)) return null;
  const { head, date } = headBytes(parts, parts.body);
  const body = parts.body ?? NO_BYTES;
  return head.length + body.length > layout.ROUTE_BYTES
    ? null
    : { head, date, body };
}
