// SPDX-License-Identifier: Apache-2.0
// workers_app.ts - what the module of an application exports, and the servers that are made of it; used by
// workers_thread.ts.

import type { HttpServer } from "./http_server.ts";
import { listen, type ListenTcpOptions } from "./listen.ts";
import {
  DEFAULT_PORT,
  serve,
  type ServeHandler,
  type ServeOptions,
  type ServeTcpOptions,
} from "./serve.ts";
import type { SocketHandlers } from "./socket.ts";
import type { SocketServer } from "./socket_server.ts";
import { requireKnown, requireTypes } from "./route_options.ts";
import type { TopicListener } from "./topics.ts";
import type { MessageHandler } from "./worker_mail.ts";
import {
  websocket,
  type WebSocketHandlers,
  type WebSocketRoute,
} from "./websocket.ts";
import type { WorkerListenOptions } from "./workers_options.ts";

/** An application of the action router, as far as workers have to do with it. */
export interface WorkerRpc {
  /** Opens its listeners. */
  start(): Promise<void>;
  /** Closes them. */
  shutdown(options?: { timeout?: number }): Promise<void>;
}

/**
 * What a module exports by default for {@linkcode serveAll}; of an object of a class, such as the application of a
 * framework, only `fetch` is taken. Whatever else it listens on while it is imported, or
 * later, it shares with the other workers too.
 */
export interface WorkerModule {
  /** Answers requests. */
  fetch?: ServeHandler;
  /** Has requests for a WebSocket be answered by this, and not by `fetch`: a route, or its callbacks. */
  websocket?: WebSocketRoute<undefined> | WebSocketHandlers<undefined>;
  /** Responses that are known beforehand, as for `serve()`. */
  routes?: Readonly<Record<string, Response>>;
  /** Answers for a `fetch` that threw or rejected, as for `serve()`. */
  onError?: (error: unknown) => Response | Promise<Response>;
  /**
   * Told of topics that have got their first subscriber in all workers, or lost their last one, as for `serve()`: in the
   * worker whose subscriber it was. When that has ended with its worker, another one is told.
   */
  onTopic?: TopicListener;
  /** Hears what other workers and the main thread send to this one. */
  onMessage?: MessageHandler;
  /** Called when this worker listens. */
  onListen?: (localAddr: Deno.Addr) => void;
  /** The callbacks of plain sockets, in place of `fetch`. */
  socket?: SocketHandlers<undefined>;
  /** An application of the action router, which each worker starts and shuts down. */
  rpc?: WorkerRpc;
}

const NAMES = [
  "fetch",
  "websocket",
  "routes",
  "onError",
  "onTopic",
  "onMessage",
  "onListen",
  "socket",
  "rpc",
];

const CALLBACKS = {
  fetch: "function",
  onError: "function",
  onTopic: "function",
  onMessage: "function",
  onListen: "function",
} as const;

/** Checks what a module exports by default. Throws a TypeError when that is not for us. */
export function requireModule(url: string, exported: unknown): WorkerModule {
  const action = `serve ${url}`;
  if (exported === undefined) return {};
  if (typeof exported !== "object" || exported === null) {
    throw new TypeError(
      `Cannot ${action}: its default export must be an object such as { fetch }`,
    );
  }
  const app = isPlain(exported) ? exported : fetchOf(exported);
  requireKnown(action, app, NAMES);
  requireTypes(action, app, CALLBACKS);
  if (app.fetch !== undefined && app.socket !== undefined) {
    throw new TypeError(
      `Cannot ${action}: "fetch" and "socket" cannot both have its port`,
    );
  }
  if (app.fetch === undefined && app.websocket !== undefined) {
    return { fetch: notFound, ...app };
  }
  return app;
}

function isPlain(value: object): value is WorkerModule {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

// The application of a framework, as deno serve takes it too: what else such an object has is its own.
function fetchOf(application: { fetch?: unknown }): WorkerModule {
  const { fetch } = application;
  const bound = typeof fetch === "function" ? fetch.bind(application) : fetch;
  return { fetch: bound } as WorkerModule;
}

/** Opens the server that the module has on the address given to all; null when it has none. */
export function openApp(
  app: WorkerModule,
  options: WorkerListenOptions,
): HttpServer | SocketServer | null {
  if (app.fetch !== undefined) return openHttp(app, app.fetch, options);
  if (app.socket === undefined) return null;
  const where = options.path === undefined
    ? { port: DEFAULT_PORT, ...options }
    : options;
  const server = listen(where as ListenTcpOptions, app.socket);
  app.onListen?.(server.addr);
  return server;
}

function openHttp(
  app: WorkerModule,
  fetch: ServeHandler,
  options: WorkerListenOptions,
): HttpServer {
  const { routes, onError, onTopic, onListen = ignore } = app;
  const own: ServeOptions = {
    onListen,
    ...routes !== undefined && { routes },
    ...onError !== undefined && { onError },
    ...onTopic !== undefined && { onTopic },
  };
  return serve(
    { ...options, ...own } as ServeTcpOptions,
    withWebSockets(app, fetch),
  );
}

function withWebSockets(
  { websocket: given }: WorkerModule,
  fetch: ServeHandler,
): ServeHandler {
  if (given === undefined) return fetch;
  const route = "upgrade" in given ? given : websocket(given);
  return (request, info) =>
    request.headers.get("upgrade")?.toLowerCase() === "websocket"
      ? route.upgrade(request)
      : fetch(request, info);
}

function notFound(): Response {
  return new Response("Not found", { status: 404 });
}

function ignore(): void {}
