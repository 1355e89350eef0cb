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

export {
  type BackendName,
  type HugePages,
  type KeepAlive,
  type MemoryStatistics,
  type NodeStatistics,
  type ReactorCounters,
} from "./ffi/mod.ts";
export {
  type Affinity,
  affinity,
  type AffinityResult,
  type AffinityTarget,
} from "./lib/affinity.ts";
export {
  BufferPool,
  type BufferPoolOptions,
  retain,
  RetainedBytes,
} from "./lib/buffer_pool.ts";
export {
  adopt,
  type ClientSocketOptions,
  connect,
  type Connecting,
  type ConnectOptions,
  type ConnectTcpOptions,
  type ConnectUnixOptions,
} from "./lib/connect.ts";
export type { HttpServer } from "./lib/http_server.ts";
export {
  listen,
  type ListenInheritedOptions,
  type ListenOptions,
  type ListenTcpOptions,
  type ListenUnixOptions,
  type SocketEngineOptions,
} from "./lib/listen.ts";
export type { CompressOptions, ContentCoding } from "./lib/compression.ts";
export type {
  RunningServer,
  ShutdownOptions,
  ShutdownReport,
} from "./lib/listening_server.ts";
export type { EngineOptions } from "./lib/options.ts";
export type { RequestTimeouts } from "./lib/request_timeouts.ts";
export { type Placement, type PlacementPolicy, plan } from "./lib/placement.ts";
export {
  rawSocket,
  type RawSocketRoute,
  type RawUpgradeOptions,
} from "./lib/raw_socket.ts";
export {
  serve,
  type ServeHandler,
  type ServeHandlerInfo,
  type ServeOptions,
  type ServeTcpOptions,
  type ServeUnixOptions,
  type WithHandler,
} from "./lib/serve.ts";
export type { ServerStatistics } from "./lib/statistics.ts";
export {
  Socket,
  type SocketCounters,
  type SocketHandlers,
  type SocketOptions,
} from "./lib/socket.ts";
export type { TuningOptions } from "./lib/socket_options.ts";
export { SocketReader } from "./lib/socket_reader.ts";
export { StreamConn, streams } from "./lib/socket_streams.ts";
export type { SocketServer } from "./lib/socket_server.ts";
export { type InheritedSocket, systemdSockets } from "./lib/systemd.ts";
export {
  type Topology,
  topology,
  type TopologyCache,
  type TopologyCpu,
  type TopologyNode,
} from "./lib/topology.ts";
export type { TopicListener } from "./lib/topics.ts";
export type { TrailersInit } from "./lib/trailers.ts";
export {
  upgradeWebSocket,
  type UpgradeWebSocketOptions,
  type WebSocketUpgrade,
} from "./lib/upgrade_websocket.ts";
export {
  type UpgradeOptions,
  websocket,
  type WebSocketCallbacks,
  type WebSocketHandlers,
  type WebSocketRoute,
} from "./lib/websocket.ts";
export { BaseWebSocket } from "./lib/ws_base_socket.ts";
export {
  connectWebSocket,
  type Reconnection,
  type WebSocketClientHandlers,
} from "./lib/ws_client.ts";
export type { WebSocketClientCompression } from "./lib/ws_client_deflate.ts";
export { WebSocketHandshakeError } from "./lib/ws_client_handshake.ts";
export type { WebSocketClientOptions } from "./lib/ws_client_options.ts";
export { ClientWebSocket } from "./lib/ws_client_socket.ts";
export type { ReconnectOptions } from "./lib/ws_reconnect.ts";
export type { SlowConsumerPolicy } from "./lib/ws_backlog.ts";
export { MessageBatch } from "./lib/ws_batch.ts";
export type { WebSocketCompression } from "./lib/ws_deflate.ts";
export type { WebSocketOptions } from "./lib/ws_options.ts";
export type { OriginPolicy } from "./lib/ws_origin.ts";
export { prepare, PreparedMessage } from "./lib/ws_prepared.ts";
export {
  type Message,
  type PublishOptions,
  type Sendable,
  type SendOptions,
  type SendStatus,
  ServerWebSocket,
  type SocketStatistics,
} from "./lib/ws_socket.ts";
