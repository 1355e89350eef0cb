// SPDX-License-Identifier: Apache-2.0
// rpc_router.ts - which handler answers which action, and what runs around it; used by rpc_app.ts, asked by
// rpc_peer.ts.

import { type Codec, requireCodec } from "./codec.ts";
import { isInt16 } from "./packet.ts";
import { requireKnown, TIMER_MAX_MS } from "./route_options.ts";
import { abortion, type RpcContext } from "./rpc_context.ts";
import { ERROR_ACTION, RpcCode, RpcError } from "./rpc_error.ts";

/**
 * Answers a request: what it returns is the body of the reply.
 *
 * @typeParam Request What the body of the request is.
 * @typeParam Reply What the body of the reply is.
 */
export type RpcHandler<Request = unknown, Reply = unknown> = (
  context: RpcContext<Request>,
) => Reply | Promise<Reply>;

/**
 * Runs around handlers. What it does after `await next()` happens once the handler has returned, and `context.reply` is
 * what that has returned. One that does not call `next()` keeps the handler from being called; one that calls it waits
 * for it, or sets a reply, or aborts.
 */
export type RpcMiddleware = (
  context: RpcContext,
  next: () => Promise<void>,
) => void | Promise<void>;

/**
 * How a route differs from the application's others.
 *
 * @typeParam Request What the body of the request is.
 */
export interface RpcRouteOptions<Request = unknown> {
  /** Runs around this handler, within what `app.use()` was given. */
  middleware?: RpcMiddleware[];
  /**
   * Makes values of this route's requests and replies, in place of the connection's codec, which pushes go on having.
   */
  codec?: Codec;
  /** Checks and types the body of a request. What it throws is answered as a bad request, with its message. */
  parse?: (body: unknown) => Request;
  /**
   * Milliseconds after which a promise of the handler is given up, its signal aborts, and an error is answered; 0 means
   * never. Without it, the application's.
   */
  timeout?: number;
  /**
   * Whether requests are answered. With false the action is for notifications, and errors are not told either.
   *
   * @default {true}
   */
  reply?: boolean;
  /**
   * A module whose function answers, in a worker: the handler is then the name under which it is exported. It is called
   * with the body and returns the reply, both as structured clones, and is cut off when the signal aborts.
   */
  worker?: URL;
}

/** A handler with all that surrounds it. */
export class Route {
  readonly codec: Codec | null;
  readonly parse: ((body: unknown) => unknown) | null;
  readonly timeout: number;
  readonly replies: boolean;
  readonly #handler: RpcHandler;
  readonly #own: readonly RpcMiddleware[];
  #chain: readonly RpcMiddleware[] = [];

  constructor(handler: RpcHandler, options: RpcRouteOptions, timeout: number) {
    this.codec = options.codec ?? null;
    this.parse = options.parse ?? null;
    this.timeout = options.timeout ?? timeout;
    this.replies = options.reply ?? true;
    this.#handler = handler;
    this.#own = [...options.middleware ?? []];
  }

  /** Has the application's middleware run first. */
  surround(middleware: readonly RpcMiddleware[]): void {
    this.#chain = [...middleware, ...this.#own];
  }

  /** What to reply. Without middleware, and with a handler that returns no promise, none is made. */
  run(context: RpcContext): unknown {
    return this.#chain.length > 0
      ? this.#runChain(context)
      : this.#handler(context);
  }

  async #runChain(context: RpcContext): Promise<unknown> {
    await this.#runFrom(0, this.#chain, context);
    return context.reply;
  }

  async #runFrom(
    at: number,
    chain: readonly RpcMiddleware[],
    context: RpcContext,
  ): Promise<void> {
    if (context.aborted) return;
    if (at < chain.length) {
      return await runOne(
        chain[at]!,
        context,
        () => this.#runFrom(at + 1, chain, context),
      );
    }
    const reply = await this.#handler(context);
    if (reply !== undefined) context.reply = reply;
  }
}

async function runOne(
  middleware: RpcMiddleware,
  context: RpcContext,
  inner: () => Promise<void>,
): Promise<void> {
  const life = { called: false, runs: false, over: false };
  const next = async (): Promise<void> => {
    if (life.called) {
      throw new Error("next() was called twice by the same middleware");
    }
    if (life.over) {
      throw new Error("next() was called after its middleware has returned");
    }
    life.called = life.runs = true;
    try {
      await inner();
    } finally {
      life.runs = false;
    }
  };
  const done = middleware(context, () => {
    const promise = next();
    // Where nobody waits for it, that is told below, and must not end the process.
    promise.catch(() => {});
    return promise;
  });
  if (done !== undefined) await done;
  life.over = true;
  // One that does not wait on purpose, as for too long, has an answer instead.
  if (!life.runs || context.reply !== undefined || context.aborted) return;
  throw new Error("A middleware has not waited for next(): await it");
}

/** What to answer when a route has run. Throws what abort() has said, unless there is a reply in spite of it. */
export function outcome(context: RpcContext, reply: unknown): unknown {
  const value = reply === undefined ? context.reply : reply;
  const error = abortion(context);
  if (error !== null && value === undefined) throw error;
  return value;
}

/** Makes the handler of a route that is answered by a worker. */
export type WorkerHandler = (module: URL, name: string) => RpcHandler;

const ROUTE_OPTIONS = [
  "middleware",
  "codec",
  "parse",
  "timeout",
  "reply",
  "worker",
];

/** The routes of an application. */
export class Router {
  readonly #routes = new Map<number, Route>();
  readonly #middleware: RpcMiddleware[] = [];
  readonly #timeout: number;
  readonly #inWorker: WorkerHandler;
  #notFound: Route;

  constructor(timeout: number, inWorker: WorkerHandler) {
    this.#timeout = timeout;
    this.#inWorker = inWorker;
    this.#notFound = this.#make((context) => {
      throw new RpcError(
        RpcCode.NotFound,
        `No route has the action ${context.action}`,
      );
    }, {});
  }

  /** The route of an action; the one for all that have none, if there is none. */
  find(action: number): Route {
    return this.#routes.get(action) ?? this.#notFound;
  }

  /** Whether there is no route of its own for this one's action. */
  isFallback(route: Route): boolean {
    return route === this.#notFound;
  }

  /** Adds a route. */
  add(
    action: number,
    handler: RpcHandler | string,
    options: RpcRouteOptions,
  ): void {
    requireAction(action, "route the action");
    if (this.#routes.has(action)) {
      throw new TypeError(
        `Cannot route the action: ${action} has a route already`,
      );
    }
    this.#routes.set(action, this.#make(handler, options));
  }

  /** Has a handler answer actions without a route. */
  setNotFound(handler: RpcHandler): void {
    this.#notFound = this.#make(handler, {});
  }

  /** Has middleware run around all handlers. */
  use(middleware: readonly RpcMiddleware[]): void {
    requireMiddleware(middleware, "use the middleware");
    this.#middleware.push(...middleware);
    for (const route of [...this.#routes.values(), this.#notFound]) {
      route.surround(this.#middleware);
    }
  }

  #make(handler: RpcHandler | string, options: RpcRouteOptions): Route {
    checkRouteOptions(options);
    const { worker } = options;
    if ((worker === undefined) !== (typeof handler === "function")) {
      throw new TypeError(
        "Cannot route the action: a handler function must be given, or the name of a function with the option " +
          '"worker"',
      );
    }
    const own = typeof handler === "function"
      ? handler
      : this.#inWorker(worker!, handler);
    const route = new Route(own, options, this.#timeout);
    route.surround(this.#middleware);
    return route;
  }
}

/** Throws a RangeError unless application packets may have this action. */
export function requireAction(action: number, what: string): void {
  if (isInt16(action) && action !== ERROR_ACTION) return;
  throw new RangeError(
    `Cannot ${what}: it must be an integer from -32768 to 32767, and not -1, is ${
      String(action)
    }`,
  );
}

function checkRouteOptions(options: RpcRouteOptions): void {
  const action = "route the action";
  requireKnown(action, options, ROUTE_OPTIONS);
  const { middleware, codec, parse, timeout, reply, worker } = options;
  if (middleware !== undefined) requireMiddleware(middleware, action);
  if (codec !== undefined) requireCodec(codec, action);
  if (parse !== undefined && typeof parse !== "function") {
    throw new TypeError(`Cannot ${action}: "parse" must be a function`);
  }
  if (timeout !== undefined) requireTimeout(timeout, action);
  if (reply !== undefined && typeof reply !== "boolean") {
    throw new TypeError(`Cannot ${action}: "reply" must be a boolean`);
  }
  if (worker !== undefined && !(worker instanceof URL)) {
    throw new TypeError(`Cannot ${action}: "worker" must be a URL`);
  }
}

/** Throws a RangeError unless the value is a time in milliseconds, or 0. */
export function requireTimeout(
  value: unknown,
  action: string,
  name: string = "timeout",
): void {
  if (
    typeof value === "number" && value >= 0 && value <= TIMER_MAX_MS
  ) return;
  throw new RangeError(
    `Cannot ${action}: "${name}" must be a number from 0 to ${TIMER_MAX_MS}, is ${
      String(value)
    }`,
  );
}

function requireMiddleware(
  middleware: readonly RpcMiddleware[],
  action: string,
): void {
  if (
    Array.isArray(middleware) &&
    middleware.every((one) => typeof one === "function")
  ) return;
  throw new TypeError(`Cannot ${action}: it must be functions`);
}
