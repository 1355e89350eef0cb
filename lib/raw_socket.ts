// SPDX-License-Identifier: Apache-2.0
// raw_socket.ts - a route whose requests leave HTTP for plain bytes, by Upgrade or CONNECT; made by the
// application.

import { layout } from "../ffi/mod.ts";
import type { LazyRequest } from "./http_request.ts";
import { writeLatin1 } from "./http_response.ts";
import type { PollLoop } from "./poll_loop.ts";
import { requireKnown } from "./route_options.ts";
import { Socket, type SocketHandlers, type SocketOptions } from "./socket.ts";
import { SocketConnection } from "./socket_connection.ts";
import { SocketHost } from "./socket_host.ts";
import {
  LIMIT_NAMES,
  limitsOf,
  requireSocketCallbacks,
} from "./socket_options.ts";
import {
  addressOf,
  extraLines,
  listOf,
  refuse,
  upgradable,
  upgradeResponse,
} from "./upgrade.ts";

/** What an upgrade to plain bytes is to be like. */
export interface RawUpgradeOptions<Data> {
  /** What the application keeps with the socket. */
  data?: Data;
  /**
   * The protocol to switch to, one of those that the client offers in `Upgrade`; a request that does not offer it
   * is refused. Without it, the first that the client offers is taken, and CONNECT is accepted too.
   */
  protocol?: string;
  /** Additional fields of the answer. */
  headers?: HeadersInit;
}

/** A route made by {@linkcode rawSocket}. */
export interface RawSocketRoute<Data> {
  /**
   * Takes the connection of a request over. The handler returns the response: from then on the connection carries
   * the application's bytes, first those that the client has already sent behind its request. Until then they
   * wait. To refuse, the handler returns any other response.
   *
   * When the client leaves before the handler has returned, no callback is called: what the handler has opened for
   * the connection is to be closed when `request.signal` aborts.
   *
   * @param request The request that the handler was given.
   * @param options Data, protocol and header fields.
   * @returns 101 with `Upgrade`, or 200 without a body for CONNECT; 400 or 426 when the request cannot be upgraded.
   * @throws {TypeError} When the request is not one of Millrace's, or `protocol` is not a protocol name.
   */
  upgrade(request: Request, options?: RawUpgradeOptions<Data>): Response;
}

// protocol-name and protocol-version of RFC 9110 section 7.8.
const PROTOCOL = /^[\w!#$%&'*+.^`|~-]+(\/[\w!#$%&'*+.^`|~-]+)?$/;

// What the answer itself says. Neither 101 nor a 2xx to CONNECT has a body (RFC 9110 sections 8.6 and 9.3.6).
const OWN_FIELDS = new Set([
  "connection",
  "content-length",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Makes a route whose requests leave HTTP: the application reads and writes the bytes of the connection itself.
 *
 * @example An echo that reads no faster than its peer does
 * ```ts
 * import { rawSocket, serve } from "@millrace/millrace";
 *
 * const echo = rawSocket({
 *   data(socket, chunk) {
 *     if (socket.write(chunk) !== "sent") socket.pause();
 *   },
 *   drain: (socket) => socket.resume(),
 * });
 *
 * serve((request) => echo.upgrade(request, { protocol: "echo" }));
 * ```
 *
 * @typeParam Data What the application keeps with each socket.
 * @param handlers The callbacks of all sockets of the route.
 * @param options Limits of the route.
 * @returns The route.
 * @throws {TypeError} When an option is unknown, or a callback is no function.
 * @throws {RangeError} When a limit is out of range.
 */
export function rawSocket<Data = undefined>(
  handlers: SocketHandlers<Data>,
  options: SocketOptions = {},
): RawSocketRoute<Data> {
  const what = "a raw socket route";
  requireSocketCallbacks(what, handlers);
  requireKnown(`make ${what}`, options, LIMIT_NAMES);
  const limits = limitsOf(`make ${what}`, options);
  const host = new SocketHost(handlers, limits);
  return { upgrade: (request, init) => upgrade(host, request, init) };
}

function upgrade<Data>(
  host: SocketHost<Data>,
  request: Request,
  options: RawUpgradeOptions<Data> = {},
): Response {
  const own = upgradable(request);
  const { protocol } = options;
  if (protocol !== undefined && !PROTOCOL.test(protocol)) {
    throw new TypeError(`Cannot upgrade: "${protocol}" is not a protocol name`);
  }
  const connects = own.method === "CONNECT" && protocol === undefined;
  const chosen = connects ? null : chooseProtocol(own, protocol);
  if (chosen === undefined) return refuseProtocol(protocol);
  if (!own.upgradable) {
    return refuse(
      400,
      connects
        ? "CONNECT without a body expected"
        : "HTTP/1.1 without a body expected, and Connection to name upgrade",
    );
  }
  return upgradeResponse(own, {
    status: connects ? 200 : 101,
    accept: (handle, loop, peer, headers): SocketConnection<Data> => {
      const head = acceptHead(chosen, headers);
      const connection = new SocketConnection<Data>(handle, loop, host, true);
      const data = options.data as Data;
      connection.socket = new Socket(connection, data, addressOf(peer));
      begin(connection, loop, host, head);
      return connection;
    },
  }, options.headers);
}

// Undefined when the client offers none that will do. Names differ in case at will (RFC 9110 section 7.8).
function chooseProtocol(
  request: LazyRequest,
  wanted: string | undefined,
): string | undefined {
  const offered = listOf(request.field("upgrade"));
  return wanted === undefined
    ? offered.find((name) => PROTOCOL.test(name))
    : offered.find((name) => name.toLowerCase() === wanted.toLowerCase()) &&
      wanted;
}

// 426 has to say what would do (RFC 9110 section 15.5.22).
function refuseProtocol(protocol: string | undefined): Response {
  if (protocol === undefined) return refuse(400, "Upgrade or CONNECT expected");
  return refuse(426, `Upgrade to ${protocol} expected`, {
    upgrade: protocol,
    connection: "upgrade",
  });
}

function acceptHead(
  protocol: string | null,
  headers: Headers,
): string {
  const start = protocol === null
    ? "HTTP/1.1 200 Connection Established\r\n"
    : `HTTP/1.1 101 Switching Protocols\r\nupgrade: ${protocol}\r\nconnection: Upgrade\r\n`;
  return start + extraLines(headers, OWN_FIELDS) + "\r\n";
}

function begin<Data>(
  connection: SocketConnection<Data>,
  loop: PollLoop,
  host: SocketHost<Data>,
  head: string,
): void {
  const { handle, socket } = connection;
  const { outbox } = loop.reactor;
  writeLatin1(outbox, handle, head, 0);
  connection.setTimeout(host.idleTimeout);
  outbox.command(handle, layout.CMD_STREAM);
  loop.replace(connection);
  loop.kick();
  host.open(socket);
}
