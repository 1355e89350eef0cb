// SPDX-License-Identifier: Apache-2.0
// websocket.ts - a WebSocket route: one object of handlers for all its sockets; made by the application, its
// sockets live in ws_socket.ts.

import { layout } from "../ffi/mod.ts";
import type { PollLoop } from "./poll_loop.ts";
import {
  acceptHead,
  checkProtocol,
  refuseHandshake,
  upgradeResponse,
} from "./ws_handshake.ts";
import { type Message, ServerWebSocket, type SocketHost } from "./ws_socket.ts";

/**
 * Callbacks of a route, made once and shared by all its sockets. One that throws or rejects closes its socket
 * with 1011 and harms no other.
 *
 * @typeParam Data What the application keeps with each socket.
 */
export interface WebSocketHandlers<Data> {
  /** The handshake is done. Exactly one `close` will follow. */
  open?(socket: ServerWebSocket<Data>): void | Promise<void>;
  /**
   * A whole message arrived. Text is a string; binary is a view that is valid until this returns: copy it with
   * `.slice()` to keep it.
   */
  message?(
    socket: ServerWebSocket<Data>,
    message: Message,
  ): void | Promise<void>;
  /** After a `send()` that returned `"queued"`: the queue has fallen to the low watermark. */
  drain?(socket: ServerWebSocket<Data>): void | Promise<void>;
  /** The connection is gone. 1005: the peer gave no code; 1006: it left without a closing handshake. */
  close?(
    socket: ServerWebSocket<Data>,
    code: number,
    reason: string,
  ): void | Promise<void>;
}

/** Limits of a route. */
export interface WebSocketOptions {
  /**
   * Largest message in bytes; a larger one closes the socket with 1009.
   *
   * @default {1048576}
   */
  maxMessageBytes?: number;
  /**
   * Milliseconds without a byte from the peer after which the connection is closed; 0 means never.
   *
   * @default {120000}
   */
  idleTimeout?: number;
  /**
   * Milliseconds that the peer has to answer a close frame.
   *
   * @default {5000}
   */
  closeTimeout?: number;
  /**
   * Bytes waiting to be sent from which on `send()` returns `"queued"`.
   *
   * @default {1048576}
   */
  highWatermark?: number;
  /**
   * Bytes waiting to be sent beyond which `send()` returns `"dropped"`; at most the server's `maxQueueBytes`.
   *
   * @default {16777216}
   */
  maxQueueBytes?: number;
}

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
   * @returns 101, or 400 or 426 when the request is no WebSocket handshake.
   */
  upgrade(request: Request, options?: UpgradeOptions<Data>): Response;
}

const DEFAULTS: Required<WebSocketOptions> = {
  maxMessageBytes: 1024 * 1024,
  idleTimeout: 120_000,
  closeTimeout: 5_000,
  highWatermark: 1024 * 1024,
  maxQueueBytes: 16 * 1024 * 1024,
};

const INTERNAL_ERROR = 1011;

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
 * @param options Limits of the route.
 * @returns The route.
 */
export function websocket<Data = undefined>(
  handlers: WebSocketHandlers<Data>,
  options: WebSocketOptions = {},
): WebSocketRoute<Data> {
  return new Route(handlers, options);
}

class Route<Data> implements WebSocketRoute<Data>, SocketHost<Data> {
  readonly highWatermark: number;
  readonly maxQueueBytes: number;
  readonly idleTimeout: number;
  readonly closeTimeout: number;
  readonly #maxMessageBytes: number;
  readonly #handlers: WebSocketHandlers<Data>;

  constructor(handlers: WebSocketHandlers<Data>, options: WebSocketOptions) {
    const all = { ...DEFAULTS, ...options };
    for (const [name, value] of Object.entries(all)) checkOption(name, value);
    this.highWatermark = all.highWatermark;
    this.maxQueueBytes = all.maxQueueBytes;
    this.idleTimeout = all.idleTimeout;
    this.closeTimeout = all.closeTimeout;
    this.#maxMessageBytes = all.maxMessageBytes;
    this.#handlers = handlers;
  }

  upgrade(request: Request, options: UpgradeOptions<Data> = {}): Response {
    const refusal = refuseHandshake(request);
    if (refusal !== null) return refusal;
    const { protocol } = options;
    checkProtocol(request, protocol);
    const headers = options.headers === undefined
      ? null
      : new Headers(options.headers);
    const head = acceptHead(request, protocol, headers);
    return upgradeResponse({
      accept: (handle, loop, address): void => {
        const data = options.data as Data;
        this.#accept(
          new ServerWebSocket(
            handle,
            loop,
            this,
            data,
            address,
            protocol ?? "",
          ),
          loop,
          head,
        );
      },
    });
  }

  open(socket: ServerWebSocket<Data>): void {
    const { open } = this.#handlers;
    if (open !== undefined) {
      this.#call(socket, () => open.call(this.#handlers, socket));
    }
  }

  // The hot path of a WebSocket server: no closure, and no promise unless the handler made one.
  message(socket: ServerWebSocket<Data>, message: Message): void {
    try {
      const result = this.#handlers.message?.(socket, message);
      if (result !== undefined) this.#watch(socket, result);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  drain(socket: ServerWebSocket<Data>): void {
    this.#call(socket, () => this.#handlers.drain?.(socket));
  }

  close(socket: ServerWebSocket<Data>, code: number, reason: string): void {
    this.#call(socket, () => this.#handlers.close?.(socket, code, reason));
  }

  #accept(socket: ServerWebSocket<Data>, loop: PollLoop, head: string): void {
    const { outbox } = loop.reactor;
    outbox.writeText(socket.handle, head, 0);
    outbox.command(socket.handle, layout.CMD_IDLE, this.idleTimeout);
    outbox.command(socket.handle, layout.CMD_WEBSOCKET, this.#maxMessageBytes);
    loop.replace(socket);
    loop.kick();
    this.open(socket);
  }

  #call(
    socket: ServerWebSocket<Data>,
    handler: () => void | Promise<void>,
  ): void {
    try {
      const result = handler();
      if (result !== undefined) this.#watch(socket, result);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  #watch(socket: ServerWebSocket<Data>, result: Promise<void>): void {
    socket.watch(
      Promise.resolve(result).catch((error) => this.#fail(socket, error)),
    );
  }

  #fail(socket: ServerWebSocket<Data>, error: unknown): void {
    console.error("Exception in a WebSocket handler", error);
    socket.close(INTERNAL_ERROR, "Internal error");
  }
}

function checkOption(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) return;
  throw new RangeError(
    `Cannot make a WebSocket route: "${name}" must be an integer from 0 to 4294967295, is ${value}`,
  );
}
