// SPDX-License-Identifier: Apache-2.0
/**
 * Millrace: HTTP and WebSocket for Deno on io_uring or epoll.
 *
 * @example
 * ```ts
 * import { serve, websocket } from "@millrace/millrace";
 *
 * const echo = websocket({
 *   message(socket, message) {
 *     socket.send(message);
 *   },
 * });
 *
 * serve({ port: 9001 }, (request) => {
 *   if (new URL(request.url).pathname === "/ws") return echo.upgrade(request);
 *   return new Response("Hello, World!");
 * });
 * ```
 *
 * @module
 */

export { type BackendName, readTopology, type Topology } from "./ffi/mod.ts";
export type {
  HttpServer,
  ServerStatistics,
  ShutdownOptions,
  ShutdownReport,
} from "./lib/http_server.ts";
export type { EngineOptions } from "./lib/options.ts";
export {
  serve,
  type ServeHandler,
  type ServeHandlerInfo,
  type ServeOptions,
  type ServeTcpOptions,
  type ServeUnixOptions,
  type WithHandler,
} from "./lib/serve.ts";
export {
  type UpgradeOptions,
  websocket,
  type WebSocketHandlers,
  type WebSocketOptions,
  type WebSocketRoute,
} from "./lib/websocket.ts";
export {
  type Message,
  type SendStatus,
  ServerWebSocket,
} from "./lib/ws_socket.ts";
