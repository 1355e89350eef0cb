// SPDX-License-Identifier: Apache-2.0
// ws_callbacks.ts - the callbacks that WebSockets share, called so that none of them can harm another socket; made by
// ws_route.ts and ws_client_session.ts, called by ws_connection.ts.

import type { WebSocketCallbacks } from "./websocket.ts";
import type { SlowConsumerPolicy } from "./ws_backlog.ts";
import { type BaseWebSocket, watch } from "./ws_base_socket.ts";
import type { MessageBatch } from "./ws_batch.ts";
import { INTERNAL_ERROR } from "./ws_codes.ts";
import type { SocketHost } from "./ws_connection.ts";
import type { Reception } from "./ws_inbound.ts";
import type { SocketSettings } from "./ws_options.ts";
import type { Outgoing } from "./ws_outbound.ts";
import { PreparedMessage } from "./ws_prepared.ts";
import type { Message } from "./ws_socket.ts";

/** The callbacks and limits of some sockets. */
export class Callbacks<Socket extends BaseWebSocket>
  implements SocketHost<Socket> {
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
  readonly #handlers: WebSocketCallbacks<Socket>;

  /** `what` is the thing to be made, with its article. */
  constructor(
    what: string,
    handlers: WebSocketCallbacks<Socket>,
    settings: SocketSettings,
  ) {
    this.highWatermark = settings.highWatermark;
    this.lowWatermark = settings.lowWatermark;
    this.maxQueueBytes = settings.maxQueueBytes;
    this.closeTimeout = settings.closeTimeout;
    this.slowConsumer = settings.slowConsumer;
    this.hearsControl = handlers.ping !== undefined ||
      handlers.pong !== undefined;
    this.reception = receptionOf(what, handlers);
    this.ordered = settings.ordered;
    this.debug = settings.debug;
    this.messageRate = settings.maxMessagesPerSecond;
    this.careful = this.ordered || this.debug || this.messageRate > 0 ||
      this.reception !== "message";
    this.#handlers = handlers;
  }

  open(socket: Socket): Promise<void> | undefined {
    return this.call(socket, () => this.#handlers.open?.(socket));
  }

  // The hot path: no closure, and no promise unless the handler made one.
  message(
    socket: Socket,
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
    socket: Socket,
    batch: MessageBatch,
  ): Promise<void> | undefined {
    return this.call(socket, () => this.#handlers.messages?.(socket, batch));
  }

  fragment(
    socket: Socket,
    chunk: Message,
    fin: boolean,
  ): Promise<void> | undefined {
    return this.call(
      socket,
      () => this.#handlers.fragment?.(socket, chunk, fin),
    );
  }

  ping(socket: Socket, payload: Uint8Array<ArrayBuffer>): void {
    this.call(socket, () => this.#handlers.ping?.(socket, payload));
  }

  pong(socket: Socket, payload: Uint8Array<ArrayBuffer>): void {
    this.call(socket, () => this.#handlers.pong?.(socket, payload));
  }

  dropped(socket: Socket, message: Outgoing): void {
    if (this.#handlers.dropped === undefined) return;
    const its = message instanceof PreparedMessage ? message.message : message;
    this.call(socket, () => this.#handlers.dropped!(socket, its));
  }

  drain(socket: Socket): void {
    this.call(socket, () => this.#handlers.drain?.(socket));
  }

  close(socket: Socket, code: number, reason: string): void {
    this.call(socket, () => this.#handlers.close?.(socket, code, reason));
  }

  /** Calls a handler; returns its promise, if it made one. */
  protected call(
    socket: Socket,
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
    socket: Socket,
    result: Promise<void>,
  ): Promise<void> {
    const caught = Promise.resolve(result).catch((error) =>
      this.#fail(socket, error)
    );
    watch(socket, caught);
    return caught;
  }

  #fail(socket: Socket, error: unknown): void {
    if (this.#handlers.error === undefined) {
      console.error("Exception in a WebSocket handler", error);
    } else {
      this.tell(socket, error);
    }
    socket.close(INTERNAL_ERROR, "Internal error");
  }

  /** Tells the handler of errors, which there is, of one. */
  protected tell(socket: Socket, error: unknown): void {
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

function receptionOf<Socket>(
  what: string,
  handlers: WebSocketCallbacks<Socket>,
): Reception {
  const given = (["message", "messages", "fragment"] as const).filter((name) =>
    handlers[name] !== undefined
  );
  if (given.length > 1) {
    throw new TypeError(
      `Cannot make ${what}: "${
        given.join('" and "')
      }" would be given the same messages; ` +
        "leave one of them",
    );
  }
  return given[0] ?? "message";
}
