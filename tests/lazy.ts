// SPDX-License-Identifier: Apache-2.0
// lazy.ts - what the tests of lib/http_request.ts share: requests made of text,
// and the Request that Deno.serve makes of the same bytes.

import { assertInstanceOf } from "@std/assert";
import { RequestBody } from "../lib/http_body.ts";
import {
  emptyUrlCache,
  LazyRequest,
  type RequestContext,
} from "../lib/http_request.ts";
import { latin1 } from "./testing.ts";

export const NO_FLOW = {
  pause: (): void => {},
  resume: (): void => {},
  consume: (): void => {},
};

export class Context implements RequestContext {
  readonly base = { scheme: "http", authority: "localhost:8000" };
  readonly upgradable = false;
  readonly upgrade = null;
  offer(): void {}
  readonly urls = emptyUrlCache();
  readonly controller = new AbortController();
  signals = 0;

  abortSignal(): AbortSignal {
    this.signals++;
    return this.controller.signal;
  }
}

/** A head as the C shim leaves it: field names in lower case. */
export function tokenised(head: string): string {
  return head.replace(/\r\n[^\r:]+:/g, (name) => name.toLowerCase());
}

export function bodyOf(text: string): RequestBody {
  const body = new RequestBody(text.length, NO_FLOW);
  body.push(latin1(text));
  body.end();
  return body;
}

// Stands before and after every head, and must never be seen.
const NEIGHBOUR = "PUT /n HTTP/1.1\r\nhost: n\r\nx-neighbour: 1\r\n\r\n";

export function lazy(
  message: string,
  given: { context?: RequestContext; body?: RequestBody } = {},
): LazyRequest {
  const bodyStart = message.indexOf("\r\n\r\n") + 4;
  const head = tokenised(message.slice(0, bodyStart));
  const content = message.slice(bodyStart);
  const [method = "", target = ""] = head.split(" ");
  return new LazyRequest(
    NEIGHBOUR + head + NEIGHBOUR,
    NEIGHBOUR.length,
    NEIGHBOUR.length + head.length,
    method.length,
    target.length,
    given.body ?? (content === "" ? null : bodyOf(content)),
    given.context ?? new Context(),
  );
}

/** What `look` makes of the request that Deno.serve receives as `message`. */
export async function throughDenoServe<T>(
  message: string,
  look: (request: Request, port: number) => Promise<T>,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: (): void => {} },
    async (request) => {
      await look(request, server.addr.port).then(resolve, reject);
      return new Response();
    },
  );
  const conn = await Deno.connect({ port: server.addr.port });
  try {
    await conn.write(latin1(message));
    return await promise;
  } finally {
    // The answer must be there before the connection goes.
    await conn.read(new Uint8Array(1024));
    conn.close();
    await server.shutdown();
  }
}

export async function outcome(promise: Promise<unknown>): Promise<unknown> {
  try {
    return { value: await promise };
  } catch (error) {
    assertInstanceOf(error, Error);
    return { name: error.name, message: error.message };
  }
}

const FIELD_NAMES =
  "host Host x X-Long cookie set-cookie content-type absent x-neighbour"
    .split(" ");

const HEAD_ATTRIBUTES = [
  ..."method url cache credentials destination integrity".split(" "),
  ..."keepalive mode referrer referrerPolicy".split(" "),
];

/** Everything about a request that can be seen without its body. */
export function lookAtHead(request: Request): Record<string, unknown> {
  const get = (): (string | null)[] =>
    FIELD_NAMES.map((name) => request.headers.get(name));
  return {
    attributes: HEAD_ATTRIBUTES.map((name) => Reflect.get(request, name)),
    beforeList: get(),
    has: FIELD_NAMES.map((name) => request.headers.has(name)),
    list: [...request.headers],
    afterList: get(),
    cookies: request.headers.getSetCookie(),
  };
}

export const HOST = "Host: a.example:81\r\n";

export const POST = `POST /a/../b?c HTTP/1.1\r\n${HOST}X: y\r\n\r\nabc`;

/** Has the body "abc" arrive in two pieces. */
export function fill(body: RequestBody): void {
  body.push(latin1("ab"));
  body.push(latin1("c"));
  body.end();
}
