// SPDX-License-Identifier: Apache-2.0
// ws_client_socket.ts - what the application holds of a WebSocket client; made by ws_client.ts, stands on a
// ws_client_session.ts while there is no connection.

import { BaseWebSocket, type SocketGround } from "./ws_base_socket.ts";
import type { ClientSession } from "./ws_client_session.ts";
import { CONNECTING } from "./ws_connection.ts";
import type { SocketStatistics } from "./ws_socket.ts";

/**
 * A WebSocket of a client, made by {@linkcode connectWebSocket}. It is the same object for as long as the client lives,
 * however often it connects again. While there is no connection, `send()` and its like return `"dropped"`.
 *
 * @typeParam Data What was given among the options, and the application keeps with the socket.
 */
export class ClientWebSocket<Data = unknown> extends BaseWebSocket<Data> {
  /** Value of `readyState` before the handshake is done, and while waiting to connect again. */
  static readonly CONNECTING: number = CONNECTING;

  readonly #session: ClientSession<Data>;

  /** Made by `connectWebSocket()`. */
  constructor(session: ClientSession<Data>, ground: SocketGround, data: Data) {
    super(ground, data);
    this.#session = session;
  }

  /** The URL that it connects to. */
  get url(): string {
    return this.#session.url;
  }

  /** The subprotocol of the latest handshake, or "". */
  get protocol(): string {
    return this.#session.protocol;
  }

  /** The server's address, as of the latest connection; null before the first one. */
  get remoteAddr(): Deno.Addr | null {
    return this.#session.remoteAddr;
  }

  /**
   * Resolves when the first handshake is done. Rejects when there will be none, with the error of the last attempt, or
   * with the reason of the signal. An error that neither this nor the callback `error` was asked for is logged.
   */
  get opened(): Promise<void> {
    return this.#session.opened;
  }

  /** Resolves when nothing is left of the client: it is closed and will not connect again. Never rejects. */
  get finished(): Promise<void> {
    return this.#session.finished;
  }

  /** A copy of the socket's counters; of all its connections together. */
  override statistics(): SocketStatistics {
    return this.#session.statistics();
  }

  /**
   * Begins the closing handshake, or gives up connecting; the client will not connect again. `close` is called back
   * when the connection is gone.
   *
   * @param code 1000 to 1003, 1007 to 1014, or 3000 to 4999.
   * @param reason Text of at most 123 bytes in UTF-8.
   */
  override close(code = 1000, reason = ""): void {
    super.close(code, reason);
    this.#session.leave();
  }

  /**
   * Closes the connection at once, without a closing handshake, or gives up connecting; the client will not connect
   * again. The server sees 1006.
   */
  override terminate(): void {
    super.terminate();
    this.#session.leave();
  }
}
