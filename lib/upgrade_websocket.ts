// SPDX-License-Identifier: Apache-2.0
// upgrade_websocket.ts - upgradeWebSocket(), with the signature and the behaviour of Deno.upgradeWebSocket(); called by
// the application.

import type { LazyRequest } from "./http_request.ts";
import { requireKnown } from "./route_options.ts";
import { HANDLERS, refused, StandardWebSocket } from "./standard_websocket.ts";
import { listOf, upgradable } from "./upgrade.ts";
import { hasToken } from "./ws_handshake.ts";
import { resolveWebSocket } from "./ws_options.ts";
import { Route } from "./ws_route.ts";

/** What an upgrade is to be like, as for `Deno.upgradeWebSocket()`. */
export interface UpgradeWebSocketOptions {
  /** Subprotocol, one of those that the client offers. */
  protocol?: string;
  /**
   * Seconds without a byte from the client after which its socket is closed; it is pinged after half of them. 0 means
   * never.
   *
   * @default {30}
   */
  idleTimeout?: number;
}

/** A socket that is to be opened, and the response that does so. */
export interface WebSocketUpgrade {
  /** What the handler has to return. */
  response: Response;
  /** The socket; it opens once the handler has returned the response. */
  socket: WebSocket;
}

const OPTIONS = ["protocol", "idleTimeout"];
const IDLE_SECONDS = 30;
const IDLE_SECONDS_MAX = 0xffffffff / 1000;

// Those of Deno, as far as it has any.
const SETTINGS = resolveWebSocket({
  maxMessageBytes: 64 * 1024 * 1024 - 1,
  maxFragments: 0xffffffff,
  maxQueueBytes: 0xffffffff,
  slowConsumer: "close",
  ordered: true,
  origin: "any",
});

/**
 * Upgrades a request to a standard `WebSocket`, as `Deno.upgradeWebSocket()` does: code that was written for that runs
 * with this import in its place. `websocket()` does more, and faster.
 *
 * Pages of any origin may open the socket: look at the request's `Origin` where cookies are of importance.
 *
 * @example An echo
 * ```ts
 * import { serve, upgradeWebSocket } from "@millrace/millrace";
 *
 * serve({ port: 9001 }, (request) => {
 *   const { socket, response } = upgradeWebSocket(request);
 *   socket.addEventListener("message", (event) => socket.send(event.data));
 *   return response;
 * });
 * ```
 *
 * @param request The request that the handler was given.
 * @param options Subprotocol and timeout.
 * @returns The response to return, and the socket, which opens then. A handshake that breaks a rule of RFC 6455 gets
 *   400 or 426, and its socket an error; so does the socket of a client that leaves before there is an answer.
 * @throws {TypeError} When the request does not ask for a WebSocket, was answered already, or is not the handler's own,
 *   when the client does not offer the subprotocol, or when an option is unknown.
 * @throws {RangeError} When `idleTimeout` is out of range.
 * @throws {Deno.errors.Http} When the request was upgraded before.
 */
export function upgradeWebSocket(
  request: Request,
  options: UpgradeWebSocketOptions = {},
): WebSocketUpgrade {
  const own = upgradable(request);
  const { protocol, idleTimeout = IDLE_SECONDS } = options;
  requireKnown("upgrade", options, OPTIONS);
  requireUpgrade(own);
  const chosen = protocol ? offered(own, protocol) : undefined;
  if (own.offered) throw new Deno.errors.Http("Already upgraded");
  const route = new Route(HANDLERS, {
    ...SETTINGS,
    idleTimeout: milliseconds(idleTimeout),
  });
  const socket = new StandardWebSocket(chosen ?? "");
  const response = route.upgrade(own, {
    data: socket,
    ...(chosen === undefined ? {} : { protocol: chosen }),
  });
  if (response.status === 101) awaitAnswer(own, socket);
  else refused(socket, `Handshake refused with status ${response.status}`);
  return { response, socket };
}

// The client may leave, or the handler's time be over, before there is an answer that opens the socket.
function awaitAnswer({ signal }: LazyRequest, socket: StandardWebSocket): void {
  const refuse = (): void => refused(socket, (signal.reason as Error).message);
  if (signal.aborted) refuse();
  else signal.addEventListener("abort", refuse);
}

function requireUpgrade(request: LazyRequest): void {
  if (!hasToken(request.field("upgrade"), "websocket")) {
    throw invalid("'upgrade' header must contain 'websocket'");
  }
  if (!hasToken(request.field("connection"), "upgrade")) {
    throw invalid("'connection' header must contain 'Upgrade'");
  }
  if (request.field("sec-websocket-key") === null) {
    throw invalid("'sec-websocket-key' header must be set");
  }
}

function invalid(what: string): TypeError {
  return new TypeError(`Invalid Header: ${what}`);
}

function offered(request: LazyRequest, protocol: string): string {
  if (listOf(request.field("sec-websocket-protocol")).includes(protocol)) {
    return protocol;
  }
  throw new TypeError(
    `Protocol '${protocol}' not in the request's protocol list (non negotiable)`,
  );
}

function milliseconds(seconds: number): number {
  if (
    typeof seconds === "number" && seconds >= 0 && seconds <= IDLE_SECONDS_MAX
  ) return Math.ceil(seconds * 1000);
  throw new RangeError(
    `Cannot upgrade: "idleTimeout" must be a number of seconds from 0 to ${IDLE_SECONDS_MAX}, is ${
      Deno.inspect(seconds)
    }`,
  );
}
