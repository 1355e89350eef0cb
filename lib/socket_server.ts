// SPDX-License-Identifier: Apache-2.0
// socket_server.ts - a server whose connections carry plain bytes; made by listen.ts.

import type { SocketTuning } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import type { ServerAddress } from "./listen_address.ts";
import {
  ListeningServer,
  type RunningServer,
  type ShutdownOptions,
  type ShutdownReport,
} from "./listening_server.ts";
import type { Settings } from "./options.ts";
import { Socket } from "./socket.ts";
import { SocketConnection } from "./socket_connection.ts";
import type { SocketHost } from "./socket_host.ts";

/**
 * A running server of plain sockets.
 *
 * @typeParam Addr What its address is like.
 */
export interface SocketServer<Addr extends Deno.Addr = Deno.Addr>
  extends RunningServer<Addr> {
  /**
   * Stops accepting, calls `shutdown` for each socket and waits until all are closed. Sockets without such a callback
   * are waited for as well, until the deadline: who they are to be ended by only the application knows.
   *
   * @param options When to stop waiting.
   * @returns What was open and what had to be cut.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownReport>;
  /** Stops accepting and cuts all connections at once. */
  close(): Promise<void>;
}

/** Where to listen, and what to do then. */
export interface SocketServerInit<Data> {
  address: ServerAddress;
  settings: Settings;
  tuning: SocketTuning;
  host: SocketHost<Data>;
  signal: AbortSignal | undefined;
}

/** Opens a server. */
export function openSocketServer<Data, Addr extends Deno.Addr>(
  init: SocketServerInit<Data>,
): SocketServer<Addr> {
  return new Server(init);
}

class Server<Data, Addr extends Deno.Addr> extends ListeningServer<Addr>
  implements SocketServer<Addr> {
  readonly #host: SocketHost<Data>;
  // What accepted sockets do not have from the listening one.
  readonly #tuning: SocketTuning | null;

  constructor(init: SocketServerInit<Data>) {
    const { address, settings, tuning } = init;
    init.signal?.throwIfAborted();
    super({ address, settings, stream: true, tuning });
    this.#host = init.host;
    const unix = this.addr.transport === "unix";
    this.#tuning = unix && Object.keys(tuning).length > 0 ? tuning : null;
    this.begin(init.signal);
  }

  protected override open(handle: number): Connection {
    const { loop } = this;
    const address = this.parseAddress(loop.reactor.peerAddress(handle));
    const host = this.#host;
    const connection = new SocketConnection<Data>(handle, loop, host, false);
    connection.socket = new Socket(connection, undefined as Data, address);
    if (this.#tuning !== null) this.#tune(connection, this.#tuning);
    // Otherwise the reactor's own idle timeout holds, at no cost for each connection.
    if (host.tellsTimeout) connection.setTimeout(host.idleTimeout);
    host.open(connection.socket);
    // Taken from the listener's queue when it was closed, after all others have been told.
    if (this.draining) connection.drain();
    return connection;
  }

  #tune(connection: SocketConnection<Data>, tuning: SocketTuning): void {
    try {
      connection.tune(tuning);
    } catch (error) {
      connection.fail(error);
    }
  }
}
