// SPDX-License-Identifier: Apache-2.0
// rpc_listen.ts - where the connections of the action router come from: plain sockets, and WebSockets of a server of
// their own or of the application's; used by rpc_app.ts.

import { type Codec, requireCodec } from "./codec.ts";
import {
  listen,
  type ListenInheritedOptions,
  type ListenTcpOptions,
  type ListenUnixOptions,
} from "./listen.ts";
import { LENGTH_BYTES } from "./packet.ts";
import { requireKnown } from "./route_options.ts";
import {
  closeError,
  MessageTransport,
  queueFor,
  StreamTransport,
  type Transport,
  type TransportEvents,
} from "./rpc_transport.ts";
import { serve, type ServeHandler, type ServeTcpOptions } from "./serve.ts";
import { type Socket, watch as watchSocket } from "./socket.ts";
import { listOf } from "./upgrade.ts";
import { websocket, type WebSocketRoute } from "./websocket.ts";
import type { WebSocketOptions } from "./ws_options.ts";
import { watch as watchWebSocket } from "./ws_base_socket.ts";
import type { ServerWebSocket } from "./ws_socket.ts";

/** What an application does with connections. */
export interface Acceptor {
  readonly draining: boolean;
  readonly maxPacketBytes: number;
  /** By the name of the subprotocol. */
  readonly codecs: ReadonlyMap<string, Codec>;
  accept(transport: Transport, codec: Codec | undefined): TransportEvents;
}

/** Something that listens. */
export interface Listener {
  readonly addr: Deno.Addr;
  /** Accepts no more, and has those that are connected leave once they are answered. */
  drain(timeout: number): void;
  /** Resolves when nobody is connected any more, at the latest after so many milliseconds. */
  stop(timeout: number): Promise<void>;
}

/** What listeners of the action router can be told beside where they listen. */
export interface RpcListenOptions {
  /** Makes values of the bodies of their connections, in place of the application's codec. */
  codec?: Codec;
}

/** Options of `listenTcp()`: those of `listen()` and a codec. */
export type RpcTcpListenOptions =
  & RpcListenOptions
  & (
    | Omit<ListenTcpOptions, "data" | "signal">
    | Omit<ListenUnixOptions, "data" | "signal">
    | Omit<ListenInheritedOptions, "data" | "signal">
  );

/** Options of a route for WebSockets. Packets are neither given up nor kept waiting for one another. */
export interface RpcWebSocketOptions
  extends
    RpcListenOptions,
    Omit<WebSocketOptions, "maxMessageBytes" | "ordered" | "slowConsumer"> {}

/** Options of `listenWebSocket()`: those of `serve()`, and more. */
export interface RpcWebSocketListenOptions
  extends RpcListenOptions, Omit<ServeTcpOptions, "signal"> {
  /**
   * The path of the WebSocket. Requests for others are given to `handler`.
   *
   * @default {"/"}
   */
  path?: string;
  /** Limits and rules of the WebSockets. */
  websocket?: RpcWebSocketOptions;
  /** Answers requests that are no WebSocket's. Without it they are answered with 404. */
  handler?: ServeHandler<Deno.NetAddr>;
}

/** A route for WebSockets that carry packets. */
export interface RpcWebSocketRoute {
  /**
   * Answers an opening handshake, as `WebSocketRoute.upgrade()` does. The first subprotocol that the client offers and
   * that is among the application's `codecs` is chosen, and its codec with it.
   *
   * @param request The request that the handler was given.
   * @param options Additional fields of the response.
   * @returns 101; 503 while the application shuts down; else the refusal.
   */
  upgrade(request: Request, options?: { headers?: HeadersInit }): Response;
}

const WEBSOCKET_OPTIONS = [
  "idleTimeout",
  "closeTimeout",
  "highWatermark",
  "maxQueueBytes",
  "maxFragments",
  "maxLifetime",
  "maxMessagesPerSecond",
  "debug",
  "origin",
  "compression",
];

/** Makes a route whose sockets are the application's connections. */
export function webSocketRoute(
  acceptor: Acceptor,
  options: RpcWebSocketOptions,
): RpcWebSocketRoute {
  const { codec, ...rest } = options;
  requireKnown("make a WebSocket route", rest, WEBSOCKET_OPTIONS);
  if (codec !== undefined) requireCodec(codec, "make a WebSocket route");
  interface Carried {
    codec: Codec | undefined;
    transport: MessageTransport | undefined;
  }
  const open = (socket: ServerWebSocket<Carried>): void => {
    socket.data.transport = new MessageTransport(
      socket,
      (transport) => acceptor.accept(transport, socket.data.codec),
      (promise) => watchWebSocket(socket, promise),
    );
  };
  const route: WebSocketRoute<Carried> = websocket<Carried>({
    open,
    message: (socket, message) => socket.data.transport?.message(message),
    drain: (socket) => socket.data.transport?.drain(),
    close: (socket, code, reason) =>
      socket.data.transport?.closed(closeError(code, reason)),
  }, {
    maxQueueBytes: queueFor(acceptor.maxPacketBytes),
    ...rest,
    maxMessageBytes: acceptor.maxPacketBytes - LENGTH_BYTES,
  });
  return {
    upgrade(request, { headers } = {}): Response {
      if (acceptor.draining) return unavailable();
      const protocol = listOf(request.headers.get("sec-websocket-protocol"))
        .find((name) => acceptor.codecs.has(name));
      const chosen = protocol === undefined
        ? codec
        : acceptor.codecs.get(protocol);
      return route.upgrade(request, {
        data: { codec: chosen, transport: undefined },
        ...protocol !== undefined && { protocol },
        ...headers !== undefined && { headers },
      });
    },
  };
}

/** Listens for WebSockets. */
export function openWebSocketListener(
  acceptor: Acceptor,
  options: RpcWebSocketListenOptions,
): Listener {
  const { codec, path = "/", websocket: own, handler, ...rest } = options;
  const route = webSocketRoute(acceptor, {
    ...codec !== undefined && { codec },
    ...own,
  });
  const server = serve({ onListen: () => {}, ...rest }, (request, info) => {
    const wanted = new URL(request.url).pathname === path &&
      (handler === undefined || request.headers.has("upgrade"));
    if (wanted) return route.upgrade(request);
    return handler?.(request, info) ??
      new Response("Not found", { status: 404 });
  });
  return {
    addr: server.addr,
    // A server that shuts down closes its WebSockets at once, whatever they wait for.
    drain: () => {},
    stop: async (timeout) => void await server.shutdown({ timeout }),
  };
}

/** Listens for plain sockets. */
export function openTcpListener(
  acceptor: Acceptor,
  options: RpcTcpListenOptions,
): Listener {
  const { codec, ...rest } = options;
  if (codec !== undefined) requireCodec(codec, "listen");
  if ("data" in rest) {
    throw new TypeError(
      'Cannot listen: "data" is for plain sockets; a connection has its "state"',
    );
  }
  type Data = StreamTransport | undefined;
  const server = listen<Data>({
    maxQueueBytes: queueFor(acceptor.maxPacketBytes),
    ...rest as ListenTcpOptions<Data>,
  }, {
    open(socket): void {
      socket.data = new StreamTransport(
        socket,
        acceptor.maxPacketBytes,
        (transport) => acceptor.accept(transport, codec),
        (promise) => watchSocket(socket as Socket<unknown>, promise),
      );
    },
    data: (socket, chunk) => socket.data?.data(chunk),
    drain: (socket) => socket.data?.drain(),
    end: (socket) => socket.data?.end(),
    close: (socket, error) => socket.data?.closed(error),
  });
  let stopped: Promise<unknown> | undefined;
  const stop = (timeout: number): Promise<unknown> =>
    stopped ??= server.shutdown({ timeout });
  return {
    addr: server.addr,
    drain: (timeout) => void stop(timeout),
    stop: async (timeout) => void await stop(timeout),
  };
}

function unavailable(): Response {
  return new Response("The server shuts down", {
    status: 503,
    headers: { connection: "close" },
  });
}
