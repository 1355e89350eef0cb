// SPDX-License-Identifier: Apache-2.0
// ws_socket.ts - what the application holds of a WebSocket connection; made by websocket.ts over a
// ws_connection.ts.

import { addressOf, type PeerAddress } from "./upgrade.ts";
import { BaseWebSocket } from "./ws_base_socket.ts";
import type { WebSocketConnection } from "./ws_connection.ts";
import type { PreparedMessage } from "./ws_prepared.ts";

/**
 * What became of what was given to `send()` or `write()`:
 * - `"sent"`: accepted, and less than the high watermark waits to be sent;
 * - `"queued"`: accepted, but the peer is slow: wait for `drain` before sending more;
 * - `"dropped"`: not accepted; the socket is closed or closing, or its queue is full.
 */
export type SendStatus = "sent" | "queued" | "dropped";

/**
 * A received message: text as a string, binary as bytes. Bytes are valid until the callback returns. Short texts that
 * arrive together may be parts of one string of up to 1 KiB, which stays in memory as long as one of them is kept.
 */
export type Message = string | Uint8Array<ArrayBuffer>;

/** A message to be sent: a string as text, bytes as binary. Bytes are copied before the call returns. */
export type Sendable = string | Uint8Array | ArrayBuffer | PreparedMessage;

/** How a message is to be sent. */
export interface SendOptions {
  /**
   * What the message is about. On a route whose `slowConsumer` is `"coalesce"` it takes the place of one with the same
   * key that still waits.
   */
  key?: string;
  /**
   * Whether to compress it where that was agreed on and makes it shorter. Unless given, the route's threshold decides.
   */
  compress?: boolean;
}

/** How a message is to be published by a socket. */
export interface PublishOptions extends SendOptions {
  /**
   * Whether the socket itself is sent the message too, if it is subscribed.
   *
   * @default {false}
   */
  self?: boolean;
}

/** What a socket has counted since it was opened. Bytes are those of messages, without frames. */
export interface SocketStatistics {
  /** Messages that have arrived. */
  receivedMessages: number;
  /** Bytes of messages that have arrived. */
  receivedBytes: number;
  /** Messages that were accepted for sending. */
  sentMessages: number;
  /** Their bytes. */
  sentBytes: number;
  /** Messages that were not accepted, or were given up before the peer took them. */
  droppedMessages: number;
}

/** What a socket keeps of the request that was upgraded. */
export interface UpgradedRequest {
  readonly url: string;
  readonly protocol: string;
}

/** Begins the closing handshake without a code. For standard_websocket.ts. */
export let closeWithoutCode: (socket: ServerWebSocket<unknown>) => void;

/** Whether the peer's close frame has come. For standard_websocket.ts. */
export let wasClean: (socket: ServerWebSocket<unknown>) => boolean;

/**
 * One WebSocket connection of a server. The same object is given to every callback of its route from `open` to `close`.
 *
 * @typeParam Data What was given to `upgrade()`, and the application keeps with the socket.
 */
export class ServerWebSocket<Data = unknown> extends BaseWebSocket<Data> {
  #peer: PeerAddress;
  readonly #request: UpgradedRequest;
  readonly #connection: WebSocketConnection<ServerWebSocket<Data>>;

  static {
    wasClean = (socket) => socket.#connection.wasClean;
    closeWithoutCode = (socket) => socket.#connection.close(null, "");
  }

  /** Made by `WebSocketRoute.upgrade()`. */
  constructor(
    connection: WebSocketConnection<ServerWebSocket<Data>>,
    data: Data,
    peer: PeerAddress,
    request: UpgradedRequest,
  ) {
    super(connection, data);
    this.#peer = peer;
    this.#request = request;
    this.#connection = connection;
  }

  /** The peer's address. */
  get remoteAddr(): Deno.Addr {
    return this.#peer = addressOf(this.#peer);
  }

  /** URL of the request that was upgraded. */
  get url(): string {
    return this.#request.url;
  }

  /** The negotiated subprotocol, or "". */
  get protocol(): string {
    return this.#request.protocol;
  }

  /**
   * Has the socket be sent what is published to a topic. Levels of a topic are separated by "/"; in place of the last
   * one `*` stands for any one level, and `#` for all that follow: `prices/*` and `prices/#` both match `prices/eur`,
   * the latter `prices/eur/usd` too, and neither `prices`. It ends with the connection.
   *
   * @param topic The topic.
   * @returns False when it was subscribed to the topic already, or is not open.
   */
  subscribe(topic: string): boolean {
    return this.#connection.subscribe(topic);
  }

  /**
   * Ends a subscription.
   *
   * @param topic The topic, as it was subscribed to.
   * @returns False when there was none.
   */
  unsubscribe(topic: string): boolean {
    return this.#connection.unsubscribe(topic);
  }

  /**
   * Whether the socket is subscribed to a topic, by that name.
   *
   * @param topic The topic, as it was subscribed to.
   * @returns Whether it is.
   */
  isSubscribed(topic: string): boolean {
    return this.#connection.topics.has(topic);
  }

  /** The topics that it is subscribed to, in the order of subscription; the callback `close` still sees them. */
  get subscriptions(): string[] {
    return [...this.#connection.topics];
  }

  /**
   * Sends a message to all sockets of the server that are subscribed to a topic, whatever their route, with `serveAll()`
   * those of other workers too, but not to this one unless asked to. It need not be subscribed itself. A slow subscriber
   * delays no other one: what becomes of its message is up to `slowConsumer` of its route.
   *
   * @param topic The topic, without a wildcard.
   * @param message The message; encoded once.
   * @param options How it is to be sent.
   * @returns How many sockets accepted it; of other workers, how many subscribers those have that it was posted to.
   */
  publish(
    topic: string,
    message: Sendable,
    options?: PublishOptions,
  ): number {
    return this.#connection.publish(topic, message, options);
  }
}
