// SPDX-License-Identifier: Apache-2.0
// ws_route.ts - what stands behind a route of websocket.ts: the upgrade, and the calls of its handlers; called by
// ws_connection.ts.

import { layout } from "../ffi/mod.ts";
import type { PollLoop } from "./poll_loop.ts";
import { refuse, upgradable, upgradeResponse } from "./upgrade.ts";
import type { UpgradeOptions, WebSocketHandlers } from "./websocket.ts";
import { type SocketHost, WebSocketConnection } from "./ws_connection.ts";
import type { MessageBatch } from "./ws_batch.ts";
import type { SlowConsumerPolicy } from "./ws_backlog.ts";
import { Deflater } from "./ws_deflate.ts";
import {
  acceptHead,
  checkProtocol,
  EXTENSIONS,
  refuseHandshake,
} from "./ws_handshake.ts";
import type { Reception } from "./ws_inbound.ts";
import type { RouteSettings } from "./ws_options.ts";
import type { Outgoing } from "./ws_outbound.ts";
import { PreparedMessage } from "./ws_prepared.ts";
import { type Message, ServerWebSocket, watch } from "./ws_socket.ts";

const INTERNAL_ERROR = 1011;

/** The handlers of a route, called so that none of them can harm another socket. */
export class Route<Data> implements SocketHost<Data> {
  readonly highWatermark: number;
  readonly lowWatermark: number | null;
  readonly maxQueueBytes: number;
  readonly closeTimeout: number;
  readonly slowConsumer: SlowConsumerPolicy;
  readonly hearsControl: boolean;
  readonly careful: boolean;
  readonly reception: Reception;
  readonly ordered: boolean;
  readonly debug: boolean;
  readonly messageRate: number;
  readonly #settings: RouteSettings;
  readonly #handlers: WebSocketHandlers<Data>;

  constructor(handlers: WebSocketHandlers<Data>, settings: RouteSettings) {
    this.highWatermark = settings.highWatermark;
    this.lowWatermark = settings.lowWatermark;
    this.maxQueueBytes = settings.maxQueueBytes;
    this.closeTimeout = settings.closeTimeout;
    this.slowConsumer = settings.slowConsumer;
    this.hearsControl = handlers.ping !== undefined ||
      handlers.pong !== undefined;
    this.reception = receptionOf(handlers);
    this.ordered = settings.ordered;
    this.debug = settings.debug;
    this.messageRate = settings.maxMessagesPerSecond;
    this.careful = this.ordered || this.debug || this.messageRate > 0 ||
      this.reception !== "message";
    this.#settings = settings;
    this.#handlers = handlers;
  }

  /** The response that turns the request's connection into a socket of this route, or that refuses to. */
  upgrade(request: Request, options: UpgradeOptions<Data> = {}): Response {
    const own = upgradable(request);
    const refusal = refuseHandshake(own);
    if (refusal !== null) return refusal;
    if (!this.#settings.allows(own)) {
      return refuse(403, "Origin not allowed");
    }
    const { protocol } = options;
    checkProtocol(own, protocol);
    return upgradeResponse(own, {
      status: 101,
      accept: (handle, loop, address, headers): WebSocketConnection<Data> => {
        const agreed = Deflater.open(
          loop.reactor,
          handle,
          own.field(EXTENSIONS),
          this.#settings.compression,
        );
        const head = acceptHead(own, protocol, headers, agreed?.answer);
        const connection = new WebSocketConnection<Data>(
          handle,
          loop,
          this,
          agreed?.deflater ?? null,
        );
        const data = options.data as Data;
        connection.socket = new ServerWebSocket(
          connection,
          data,
          address,
          { url: own.url, protocol: protocol ?? "" },
        );
        this.#begin(connection, loop, head);
        return connection;
      },
    }, options.headers);
  }

  // The hot path of a WebSocket server: no closure, and no promise unless the handler made one.
  message(
    socket: ServerWebSocket<Data>,
    message: Message,
  ): Promise<void> | undefined {
    try {
      const result = this.#handlers.message?.(socket, message);
      if (result !== undefined) return this.#await(socket, result);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  messages(
    socket: ServerWebSocket<Data>,
    batch: MessageBatch,
  ): Promise<void> | undefined {
    return this.#call(socket, () => this.#handlers.messages?.(socket, batch));
  }

  fragment(
    socket: ServerWebSocket<Data>,
    chunk: Message,
    fin: boolean,
  ): Promise<void> | undefined {
    return this.#call(
      socket,
      () => this.#handlers.fragment?.(socket, chunk, fin),
    );
  }

  ping(socket: ServerWebSocket<Data>, payload: Uint8Array<ArrayBuffer>): void {
    this.#call(socket, () => this.#handlers.ping?.(socket, payload));
  }

  pong(socket: ServerWebSocket<Data>, payload: Uint8Array<ArrayBuffer>): void {
    this.#call(socket, () => this.#handlers.pong?.(socket, payload));
  }

  dropped(socket: ServerWebSocket<Data>, message: Outgoing): void {
    if (this.#handlers.dropped === undefined) return;
    const its = message instanceof PreparedMessage ? message.message : message;
    this.#call(socket, () => this.#handlers.dropped!(socket, its));
  }

  drain(socket: ServerWebSocket<Data>): void {
    this.#call(socket, () => this.#handlers.drain?.(socket));
  }

  close(socket: ServerWebSocket<Data>, code: number, reason: string): void {
    this.#call(socket, () => this.#handlers.close?.(socket, code, reason));
  }

  #begin(
    connection: WebSocketConnection<Data>,
    loop: PollLoop,
    head: Uint8Array,
  ): void {
    const { handle, socket } = connection;
    const { outbox } = loop.reactor;
    const { idleTimeout, maxMessageBytes, maxFragments, maxLifetime } =
      this.#settings;
    outbox.write(handle, head, 0);
    outbox.command(handle, layout.CMD_IDLE, idleTimeout);
    outbox.command(
      handle,
      layout.CMD_WEBSOCKET,
      maxMessageBytes,
      maxFragments,
    );
    if (maxLifetime > 0) connection.limitLife(maxLifetime);
    loop.replace(connection);
    loop.kick();
    const opened = this.#call(socket, () => this.#handlers.open?.(socket));
    connection.waitFor(opened);
  }

  #call(
    socket: ServerWebSocket<Data>,
    handler: () => void | Promise<void>,
  ): Promise<void> | undefined {
    try {
      const result = handler();
      if (result !== undefined) return this.#await(socket, result);
    } catch (error) {
      this.#fail(socket, error);
    }
  }

  #await(
    socket: ServerWebSocket<Data>,
    result: Promise<void>,
  ): Promise<void> {
    const caught = Promise.resolve(result).catch((error) =>
      this.#fail(socket, error)
    );
    watch(socket, caught);
    return caught;
  }

  #fail(socket: ServerWebSocket<Data>, error: unknown): void {
    if (this.#handlers.error === undefined) {
      console.error("Exception in a WebSocket handler", error);
    } else {
      this.#tell(socket, error);
    }
    socket.close(INTERNAL_ERROR, "Internal error");
  }

  #tell(socket: ServerWebSocket<Data>, error: unknown): void {
    const log = (again: unknown): void =>
      console.error("Exception in the error handler of a WebSocket", again);
    try {
      const result = this.#handlers.error!(socket, error);
      if (result !== undefined) {
        watch(socket, Promise.resolve(result).catch(log));
      }
    } catch (again) {
      log(again);
    }
  }
}

function receptionOf<Data>(handlers: WebSocketHandlers<Data>): Reception {
  const given = (["message", "messages", "fragment"] as const).filter((name) =>
    handlers[name] !== undefined
  );
  if (given.length > 1) {
    throw new TypeError(
      `Cannot make a WebSocket route: "${
        given.join('" and "')
      }" would be given the same messages; ` +
        "leave one of them",
    );
  }
  return given[0] ?? "message";
}
