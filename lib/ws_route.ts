// SPDX-License-Identifier: Apache-2.0
// ws_route.ts - what stands behind a route of websocket.ts: the upgrade; its handlers are called by ws_callbacks.ts.

import { layout } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import { writeLatin1 } from "./http_response.ts";
import type { PollLoop } from "./poll_loop.ts";
import { refuse, upgradable, upgradeResponse } from "./upgrade.ts";
import type { UpgradeOptions, WebSocketHandlers } from "./websocket.ts";
import { Callbacks } from "./ws_callbacks.ts";
import { Common } from "./ws_common.ts";
import { WebSocketConnection } from "./ws_connection.ts";
import { Deflater } from "./ws_deflate.ts";
import {
  acceptHead,
  checkProtocol,
  EXTENSIONS,
  refuseHandshake,
} from "./ws_handshake.ts";
import type { RouteSettings } from "./ws_options.ts";
import { ServerWebSocket, type UpgradedRequest } from "./ws_socket.ts";

/** The handlers of a route, and the upgrade to one of its sockets. */
export class Route<Data> extends Callbacks<ServerWebSocket<Data>> {
  readonly #settings: RouteSettings;
  // Of the last upgrade. Most sockets of a route have the same, which is kept once for all that follow one another.
  #request: UpgradedRequest = { url: "", protocol: "" };
  // A route may serve several servers.
  readonly #commons = new WeakMap<PollLoop, Common<ServerWebSocket<Data>>>();

  constructor(handlers: WebSocketHandlers<Data>, settings: RouteSettings) {
    super("a WebSocket route", handlers, settings);
    this.#settings = settings;
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
      accept: (handle, loop, peer, headers): Connection => {
        const agreed = Deflater.open(
          loop.reactor,
          handle,
          own.field(EXTENSIONS),
          this.#settings.compression,
        );
        const head = acceptHead(own, protocol, headers, agreed?.answer);
        const connection = new WebSocketConnection<ServerWebSocket<Data>>(
          handle,
          this.#commonOn(loop),
          agreed?.deflater ?? null,
        );
        const data = options.data as Data;
        connection.socket = new ServerWebSocket(
          connection,
          data,
          peer,
          this.#requestOf(own.url, protocol ?? ""),
        );
        this.#begin(connection, loop, head);
        return connection;
      },
    }, options.headers);
  }

  #requestOf(url: string, protocol: string): UpgradedRequest {
    if (url !== this.#request.url || protocol !== this.#request.protocol) {
      this.#request = { url, protocol };
    }
    return this.#request;
  }

  #commonOn(loop: PollLoop): Common<ServerWebSocket<Data>> {
    let common = this.#commons.get(loop);
    if (common === undefined) {
      common = new Common<ServerWebSocket<Data>>(this, loop);
      this.#commons.set(loop, common);
    }
    return common;
  }

  #begin(
    connection: WebSocketConnection<ServerWebSocket<Data>>,
    loop: PollLoop,
    head: string,
  ): void {
    const { handle, socket } = connection;
    const { outbox } = loop.reactor;
    const { idleTimeout, maxMessageBytes, maxFragments, maxLifetime } =
      this.#settings;
    writeLatin1(outbox, handle, head, 0);
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
    connection.waitFor(this.open(socket));
  }
}
