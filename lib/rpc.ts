// SPDX-License-Identifier: Apache-2.0
// rpc.ts - the action router: rpc(), and all that belongs to it; imported by applications.

/**
 * The action router: numbered actions with handlers, over TCP and WebSocket at once. Packets are those of znet.
 *
 * @example
 * ```ts
 * import { rpc } from "@millrace/millrace/rpc";
 *
 * const app = rpc();
 * app.route(1, () => ({ foo: "bar" }));
 * app.listenTcp({ port: 8081 });
 * app.listenWebSocket({ port: 8082 });
 * const stop = new AbortController();
 * Deno.addSignalListener("SIGINT", () => stop.abort());
 * await app.run(stop.signal);
 * ```
 *
 * @module
 */

import { RpcApp } from "./rpc_app.ts";
import { connect, RpcClient } from "./rpc_client.ts";
import {
  resolveRpcClient,
  type RpcClientOptions,
} from "./rpc_client_options.ts";
import { dialOf } from "./rpc_dial.ts";
import type { RpcOptions } from "./rpc_options.ts";

/**
 * Makes an application: routes are given to it, and listeners.
 *
 * @param options What it is like.
 * @returns The application, which does not listen yet.
 * @throws {TypeError} When an option is unknown or of another type.
 * @throws {RangeError} When a number is out of range.
 */
export function rpc(options: RpcOptions = {}): RpcApp {
  return new RpcApp(options);
}

/**
 * Connects to a server of the action router.
 *
 * @example
 * ```ts
 * import { rpcClient } from "@millrace/millrace/rpc";
 *
 * await using client = await rpcClient("tcp://localhost:8081");
 * client.on(101, (message) => console.log(message));
 * console.log(await client.call(1, { foo: "bar" }, { timeout: 1000 }));
 * ```
 *
 * @param address `ws://host:port/path`, `tcp://host:port` or `unix:path`, where a path that begins with "@" is an
 *   abstract one.
 * @param options What the client is like.
 * @returns The client, once it is connected. It keeps the process alive until it is closed.
 * @throws {TypeError} When the address is none, or an option is wrong.
 * @throws {RangeError} When a number is out of range.
 * @throws {Error} When there is no connection.
 */
export async function rpcClient(
  address: string | URL,
  options: RpcClientOptions = {},
): Promise<RpcClient> {
  const settings = resolveRpcClient(options);
  const client = new RpcClient(dialOf(address, settings), settings);
  await connect(client);
  return client;
}

export { type BodyKind, type Codec, json, raw } from "./codec.ts";
export {
  decodePacket,
  encodePacket,
  type Packet,
  packetFramer,
} from "./packet.ts";
export {
  RpcApp,
  type RpcEvent,
  type RpcListener,
  type RpcStatistics,
} from "./rpc_app.ts";
export {
  type RpcCallOptions,
  RpcClient,
  type RpcClientStatistics,
} from "./rpc_client.ts";
export type { PushHandler, RpcClientOptions } from "./rpc_client_options.ts";
export { RpcConnection } from "./rpc_connection.ts";
export { RpcContext } from "./rpc_context.ts";
export { RpcCode, RpcError } from "./rpc_error.ts";
export type {
  RpcListenOptions,
  RpcTcpListenOptions,
  RpcWebSocketListenOptions,
  RpcWebSocketOptions,
  RpcWebSocketRoute,
} from "./rpc_listen.ts";
export type { RpcOptions } from "./rpc_options.ts";
export type { ReplyOrder } from "./rpc_peer.ts";
export type {
  RpcHandler,
  RpcMiddleware,
  RpcRouteOptions,
} from "./rpc_router.ts";
export type { TransportKind } from "./rpc_transport.ts";
