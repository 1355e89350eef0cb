// SPDX-License-Identifier: Apache-2.0
// ws_client.ts - connectWebSocket(); see ws_client_session.ts for what happens behind it.

import { requireTarget } from "./dial.ts";
import { requireCallbacks } from "./route_options.ts";
import { CALLBACKS, type WebSocketCallbacks } from "./websocket.ts";
import {
  resolveClient,
  type WebSocketClientOptions,
} from "./ws_client_options.ts";
import { ClientSession } from "./ws_client_session.ts";
import type { ClientWebSocket } from "./ws_client_socket.ts";

/** What is told before a client connects again. */
export interface Reconnection {
  /** Number of the attempt in its row, from 1. */
  attempt: number;
  /** Milliseconds until then. */
  delay: number;
  /** Why the last attempt failed; null after a connection that was open, whose end `close` was told of. */
  error: Error | null;
}

/**
 * Callbacks of a client. `open` and `close` are called once for each connection, several times when it reconnects.
 *
 * `error` is told of more than what callbacks throw: of why there is no connection and will be none, once.
 *
 * @typeParam Data What the application keeps with the socket.
 */
export interface WebSocketClientHandlers<Data>
  extends WebSocketCallbacks<ClientWebSocket<Data>> {
  /** There is no connection, and the client is going to try again; `close()` and `terminate()` keep it from that. */
  reconnecting?(
    socket: ClientWebSocket<Data>,
    reconnection: Reconnection,
  ): void | Promise<void>;
}

/**
 * Connects to a WebSocket server. The socket is returned at once; it is open when the callback `open` says so, or the
 * promise `opened`. It keeps the process alive until it is closed.
 *
 * @example
 * ```ts
 * import { connectWebSocket } from "@millrace/millrace";
 *
 * const socket = connectWebSocket("ws://localhost:8000/quotes", {
 *   open: (socket) => void socket.sendJson({ follow: "EUR" }),
 *   message: (_socket, message) => console.log(message),
 *   close: (_socket, code, reason) => console.log(code, reason),
 * }, { reconnect: true });
 *
 * await socket.opened;
 * ```
 *
 * @typeParam Data What the application keeps with the socket.
 * @param url Where to connect to: `ws://host:port/path?query`.
 * @param handlers The callbacks.
 * @param options Limits and rules.
 * @returns The socket, which is connecting.
 * @throws {SyntaxError} When the URL is none of a WebSocket, or a subprotocol is malformed.
 * @throws {TypeError} When an option is unknown, or a callback is no function.
 * @throws {RangeError} When a limit is out of range.
 * @throws {Deno.errors.NotCapable} When connecting there is not allowed.
 */
export function connectWebSocket<Data = undefined>(
  url: string | URL,
  handlers: WebSocketClientHandlers<Data>,
  options: WebSocketClientOptions<Data> = {},
): ClientWebSocket<Data> {
  requireCallbacks("a WebSocket client", handlers, [
    ...CALLBACKS,
    "reconnecting",
  ]);
  const settings = resolveClient(url, options);
  settings.signal?.throwIfAborted();
  requireTarget(settings.target);
  return new ClientSession(handlers, settings, options.data as Data).socket;
}
