// SPDX-License-Identifier: Apache-2.0
// websocket.ts - a WebSocket route: one object of handlers for all its sockets; made by the application, see
// ws_route.ts for what happens behind it.

import { requireCallbacks } from "./route_options.ts";
import type { MessageBatch } from "./ws_batch.ts";
import { resolveWebSocket, type WebSocketOptions } from "./ws_options.ts";
import { Route } from "./ws_route.ts";
import type { Message, ServerWebSocket } from "./ws_socket.ts";

/**
 * Callbacks of a WebSocket, of either side. One that throws or rejects closes its socket with 1011 and harms no other.
 *
 * Bytes that a callback is given are a view that is valid until it returns: `retain()` them to keep them.
 *
 * @typeParam Socket The class of the socket.
 */
export interface WebSocketCallbacks<Socket> {
  /** The handshake is done. Exactly one `close` will follow. */
  open?(socket: Socket): void | Promise<void>;
  /**
   * A whole message arrived. Text is a string; binary is a view that is valid until this returns: `retain()` it to keep
   * it.
   */
  message?(
    socket: Socket,
    message: Message,
  ): void | Promise<void>;
  /**
   * In place of `message`: all messages that arrived at once. Nothing is decoded or allocated for one before the
   * handler asks for it.
   */
  messages?(
    socket: Socket,
    batch: MessageBatch,
  ): void | Promise<void>;
  /**
   * In place of `message`: pieces of messages as they come, for messages that are too large to hold, which
   * `maxMessageBytes` has to allow. The pieces are those in which bytes arrived, whatever the frames of the peer. Text
   * comes as strings, and no character is cut; a piece may be empty.
   */
  fragment?(
    socket: Socket,
    chunk: Message,
    fin: boolean,
  ): void | Promise<void>;
  /** A ping arrived; it has been answered already. */
  ping?(
    socket: Socket,
    payload: Uint8Array<ArrayBuffer>,
  ): void | Promise<void>;
  /** A pong arrived, in answer to a ping or of the peer's own accord. */
  pong?(
    socket: Socket,
    payload: Uint8Array<ArrayBuffer>,
  ): void | Promise<void>;
  /**
   * A message for a slow peer was given up while the socket is open: the one that `send()` was given, before that
   * returns `"dropped"`, or an older one, as the option `slowConsumer` says. Messages that are dropped while it runs
   * are counted, and not told of; so are those that still wait when the connection ends.
   */
  dropped?(
    socket: Socket,
    message: string | Uint8Array,
  ): void | Promise<void>;
  /** After a `send()` that returned `"queued"`: the queue has fallen to the low watermark. */
  drain?(socket: Socket): void | Promise<void>;
  /** The connection is gone. 1005: the peer gave no code; 1006: it left without a closing handshake. */
  close?(
    socket: Socket,
    code: number,
    reason: string,
  ): void | Promise<void>;
  /**
   * Another callback of the socket threw or rejected, `close` included; the socket is closed with 1011 after this.
   * Without it the error is logged. What the peer does wrong is no error of the application: `close` is told of it,
   * with the code of the violation and its reason.
   */
  error?(socket: Socket, error: unknown): void | Promise<void>;
}

/**
 * Callbacks of a route, made once and shared by all its sockets.
 *
 * @typeParam Data What the application keeps with each socket.
 */
export type WebSocketHandlers<Data> = WebSocketCallbacks<ServerWebSocket<Data>>;

/** What an upgrade is to be like. */
export interface UpgradeOptions<Data> {
  /** What the application keeps with the socket. */
  data?: Data;
  /** Subprotocol, one of those that the client offers. */
  protocol?: string;
  /** Additional fields of the 101 response. */
  headers?: HeadersInit;
}

/** A route made by {@linkcode websocket}. */
export interface WebSocketRoute<Data> {
  /**
   * Answers an opening handshake. The handler returns the response: the socket is open once it does. To refuse,
   * it returns any other response.
   *
   * @param request The request that the handler was given.
   * @param options Data, subprotocol and header fields.
   * @returns 101, or 400 or 426 when the request is no WebSocket handshake, or 403 when it comes from a page whose
   *   origin is not allowed.
   */
  upgrade(request: Request, options?: UpgradeOptions<Data>): Response;
}

/** The names of all callbacks. */
export const CALLBACKS = [
  "open",
  "message",
  "messages",
  "fragment",
  "ping",
  "pong",
  "dropped",
  "drain",
  "close",
  "error",
] as const;

/**
 * Makes a WebSocket route.
 *
 * @example An echo server
 * ```ts
 * import { serve, websocket } from "@millrace/millrace";
 *
 * const echo = websocket({
 *   message(socket, message) {
 *     socket.send(message);
 *   },
 * });
 *
 * serve((request) => echo.upgrade(request));
 * ```
 *
 * @typeParam Data What the application keeps with each socket.
 * @param handlers The callbacks of all sockets of the route.
 * @param options Limits and rules of the route.
 * @returns The route.
 * @throws {TypeError} When an option is unknown, or a callback is no function.
 * @throws {RangeError} When a limit is out of range.
 */
export function websocket<Data = undefined>(
  handlers: WebSocketHandlers<Data>,
  options: WebSocketOptions = {},
): WebSocketRoute<Data> {
  requireCallbacks("a WebSocket route", handlers, CALLBACKS);
  const route = new Route(handlers, resolveWebSocket(options));
  return { upgrade: (request, init) => route.upgrade(request, init) };
}
