// SPDX-License-Identifier: Apache-2.0
// ws_client_session.ts - the life of a WebSocket client: connect, shake hands, be open, end, and all that again; made
// by ws_client.ts.

import type { ClientLoop } from "./client_loop.ts";
import { Dial, type Dialer } from "./dial.ts";
import { thrownError } from "./thrown.ts";
import {
  type SocketGround,
  type SocketSender,
  stand,
} from "./ws_base_socket.ts";
import { Callbacks } from "./ws_callbacks.ts";
import type { WebSocketClientHandlers } from "./ws_client.ts";
import { WebSocketHandshakeError } from "./ws_client_handshake.ts";
import { type Agreement, type Opener, Opening } from "./ws_client_opening.ts";
import type { ClientSettings } from "./ws_client_options.ts";
import { ClientWebSocket } from "./ws_client_socket.ts";
import { NORMAL_CLOSURE, POLICY_VIOLATION } from "./ws_codes.ts";
import { Common } from "./ws_common.ts";
import {
  CLOSED,
  CLOSING,
  CONNECTING,
  WebSocketConnection,
} from "./ws_connection.ts";
import { reconnectDelay } from "./ws_reconnect.ts";
import type { SendStatus, SocketStatistics } from "./ws_socket.ts";

// Request Timeout, Too Early, Too Many Requests: the same request may do later.
const PASSING_STATUSES = [408, 425, 429];

/** One client. */
export class ClientSession<Data> extends Callbacks<ClientWebSocket<Data>>
  implements Dialer, Opener {
  /** What the application holds of it. */
  readonly socket: ClientWebSocket<Data>;
  /** The subprotocol of the latest handshake. */
  protocol = "";
  /** The server's address, as of the latest connection. */
  remoteAddr: Deno.Addr | null = null;
  readonly #settings: ClientSettings;
  readonly #handlers: WebSocketClientHandlers<Data>;
  readonly #ground = new Nowhere();
  readonly #finished = Promise.withResolvers<void>();
  readonly #abort = (): void => this.#onAbort();
  // What is under way; at most one of these.
  #opening: Dial | Opening | null = null;
  #connection: WebSocketConnection<ClientWebSocket<Data>> | null = null;
  #wait: ReturnType<typeof setTimeout> | undefined;
  // Why this side wants no connection any more.
  #left: Error | null = null;
  // Why there was none in the end.
  #failure: Error | null = null;
  #opened: PromiseWithResolvers<void> | null = null;
  #wasOpen = false;
  #openSince = 0;
  // Attempts in a row, the first one not among them.
  #attempts = 0;
  // Of the connections that are gone.
  #before: SocketStatistics = noStatistics();

  /** Begins to connect. */
  constructor(
    handlers: WebSocketClientHandlers<Data>,
    settings: ClientSettings,
    data: Data,
  ) {
    super("a WebSocket client", handlers, settings);
    this.#handlers = handlers;
    this.#settings = settings;
    this.socket = new ClientWebSocket(this, this.#ground, data);
    settings.signal?.addEventListener("abort", this.#abort, { once: true });
    this.#dial();
  }

  get url(): string {
    return this.#settings.url;
  }

  get opened(): Promise<void> {
    if (this.#opened === null) {
      this.#opened = Promise.withResolvers();
      if (this.#wasOpen) this.#opened.resolve();
      else if (this.#failure !== null) this.#opened.reject(this.#failure);
    }
    return this.#opened.promise;
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** The counters of all connections together. */
  statistics(): SocketStatistics {
    const now = this.#connection?.statistics() ?? noStatistics();
    const sum = { ...this.#before };
    for (const name of Object.keys(sum) as (keyof SocketStatistics)[]) {
      sum[name] += now[name];
    }
    sum.droppedMessages += this.#ground.dropped;
    return sum;
  }

  /** The application wants no connection any more; it has closed the one that there is. */
  leave(): void {
    this.#leave(
      new DOMException("The WebSocket was closed by this side", "AbortError"),
    );
  }

  connected(handle: number, client: ClientLoop): Opening {
    const opening = new Opening(handle, client, this.#settings, this);
    this.#opening = opening;
    return opening;
  }

  agreed({ handle, client }: Opening, agreement: Agreement): void {
    const { loop, masker } = client;
    const { deflater, protocol } = agreement;
    const connection = new WebSocketConnection<ClientWebSocket<Data>>(
      handle,
      new Common(this, loop, masker),
      deflater,
    );
    connection.socket = this.socket;
    this.#opening = null;
    this.#connection = connection;
    this.#openSince = performance.now();
    this.protocol = protocol;
    this.remoteAddr = this.#parseAddress(loop.reactor.peerAddress(handle));
    stand(this.socket, connection);
    loop.replace(connection);
    this.#wasOpen = true;
    this.#opened?.resolve();
    connection.waitFor(this.open(this.socket));
  }

  failed(error: Error): void {
    this.#opening = null;
    if (this.#left === null && mayPass(error)) this.#again(error);
    else this.#end(this.#left ?? error);
  }

  override close(
    socket: ClientWebSocket<Data>,
    code: number,
    reason: string,
  ): void {
    this.#before = this.statistics();
    this.#before.droppedMessages -= this.#ground.dropped;
    this.#connection = null;
    this.#ground.readyState = CLOSED;
    stand(socket, this.#ground);
    super.close(socket, code, reason);
    const stays = code === NORMAL_CLOSURE || code === POLICY_VIOLATION;
    if (this.#left === null && !stays) this.#again(null);
    else this.#end(null);
  }

  #dial(): void {
    const { backend, connectTimeout, localAddress, target } = this.#settings;
    const options = {
      backend,
      source: localAddress,
      timeout: connectTimeout,
      response: true,
    };
    this.#opening = new Dial(target, options, this);
  }

  // Tries again after a while, if that is wanted; the error is why there is no connection, null after one.
  #again(error: Error | null): void {
    const { reconnect } = this.#settings;
    if (reconnect === null) return this.#end(error);
    const stood = performance.now() - this.#openSince;
    if (error === null && stood >= reconnect.maxDelay) this.#attempts = 0;
    const attempt = ++this.#attempts;
    if (attempt > reconnect.maxAttempts) return this.#end(error);
    const delay = reconnectDelay(reconnect, attempt, Math.random());
    this.#ground.readyState = CONNECTING;
    this.#wait = setTimeout(() => {
      this.#wait = undefined;
      this.#dial();
    }, delay);
    this.call(
      this.socket,
      () =>
        this.#handlers.reconnecting?.(this.socket, { attempt, delay, error }),
    );
  }

  #leave(error: Error): void {
    this.#left ??= error;
    if (this.#wait !== undefined) return this.#end(this.#left);
    if (this.#opening === null) return;
    this.#ground.readyState = CLOSING;
    this.#opening.abort(this.#left);
  }

  #onAbort(): void {
    this.#leave(thrownError(this.#settings.signal!.reason));
    this.#connection?.terminate();
  }

  // Nothing is left of the client.
  #end(error: Error | null): void {
    clearTimeout(this.#wait);
    this.#wait = undefined;
    this.#ground.readyState = CLOSED;
    this.#settings.signal?.removeEventListener("abort", this.#abort);
    this.#failure = error;
    if (error !== null) this.#tellFailure(error);
    this.#finished.resolve();
  }

  // Whoever has given up knows.
  #tellFailure(error: Error): void {
    const asked = this.#opened !== null && !this.#wasOpen;
    if (!this.#wasOpen) this.#opened?.reject(error);
    if (this.#left !== null) return;
    if (this.#handlers.error !== undefined) this.tell(this.socket, error);
    else if (!asked) console.error("A WebSocket client has failed", error);
  }

  #parseAddress(text: string): Deno.Addr {
    const { target } = this.#settings;
    if (target.transport === "unix") return { ...target };
    const [hostname = "", port = "0"] = text.split(" ");
    return { transport: "tcp", hostname, port: Number(port) };
  }
}

/** What a socket stands on while there is no connection. */
class Nowhere implements SocketGround, SocketSender {
  readyState = CONNECTING;
  /** Messages that were to be sent. */
  dropped = 0;
  readonly outbound = this;
  readonly buffered = 0;

  statistics(): SocketStatistics {
    return noStatistics();
  }

  sendText(): SendStatus {
    return this.#drop();
  }

  sendBytes(): SendStatus {
    return this.#drop();
  }

  sendPrepared(): SendStatus {
    return this.#drop();
  }

  sendFragment(): SendStatus {
    return this.#drop();
  }

  ping(): SendStatus {
    return "dropped";
  }

  pong(): SendStatus {
    return "dropped";
  }

  // The session hears of it from the socket.
  close(): void {}

  terminate(): void {}

  pause(): void {}

  resume(): void {}

  // There is no loop that would have to yield to it.
  watch(): void {}

  #drop(): SendStatus {
    this.dropped++;
    return "dropped";
  }
}

function noStatistics(): SocketStatistics {
  return {
    receivedMessages: 0,
    receivedBytes: 0,
    sentMessages: 0,
    sentBytes: 0,
    droppedMessages: 0,
  };
}

// Whether another attempt could do better.
function mayPass(error: Error): boolean {
  if (error instanceof Deno.errors.NotCapable) return false;
  if (!(error instanceof WebSocketHandshakeError)) return true;
  const { status } = error;
  return status === 0 || status >= 500 || PASSING_STATUSES.includes(status);
}
