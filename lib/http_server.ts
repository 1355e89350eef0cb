// SPDX-License-Identifier: Apache-2.0
// http_server.ts - a server of HTTP: what its connections share; made by serve.ts.

import "./globals.ts";
import { layout } from "../ffi/mod.ts";
import { type Compression, compressionOf } from "./compression.ts";
import type { Connection } from "./connection.ts";
import { HeadText } from "./head_text.ts";
import { HttpConnection } from "./http_connection.ts";
import type { Handler, HttpHost } from "./http_host.ts";
import type { UrlBase } from "./http_request.ts";
import type { ServerAddress } from "./listen_address.ts";
import {
  ListeningServer,
  type RunningServer,
  type ShutdownOptions,
  type ShutdownReport,
} from "./listening_server.ts";
import { type EngineOptions, resolveOptions } from "./options.ts";
import { type AllTimeouts, timeoutsOf } from "./request_timeouts.ts";
import { type StaticRoutes, staticRoutesOf } from "./static_routes.ts";
import type { TopicListener } from "./topics.ts";
import type { Sendable, SendOptions } from "./ws_socket.ts";

/**
 * A running server, as `Deno.serve` returns it, and a little more.
 *
 * @typeParam Addr What its address is like.
 */
export interface HttpServer<Addr extends Deno.Addr = Deno.Addr>
  extends RunningServer<Addr> {
  /**
   * Stops accepting, lets requests in flight finish, closes idle connections at once and WebSockets with 1001, and
   * waits for raw sockets.
   *
   * @param options When to stop waiting.
   * @returns What was open and what had to be cut.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownReport>;
  /**
   * Sends a message to all WebSockets that are subscribed to a topic, with `serveAll()` those of other workers too.
   *
   * @param topic The topic, without a wildcard.
   * @param message The message; encoded once, however many subscribers there are.
   * @param options How it is to be sent.
   * @returns How many sockets accepted it; of other workers, how many subscribers those have that it was posted to.
   */
  publish(topic: string, message: Sendable, options?: SendOptions): number;
  /**
   * How many WebSockets would be sent a message for a topic; of a topic with a wildcard, how many have subscribed to
   * just that. In other workers, whoever matches by several patterns counts for each of them.
   *
   * @param topic The topic.
   * @returns Their number.
   */
  subscriberCount(topic: string): number;
}

/** Where to listen, and what to do then. */
export interface ServerInit<Addr extends Deno.Addr> {
  address: ServerAddress;
  handler: Handler;
  /** The option `routes`, of whatever type it is. */
  routes: unknown;
  onError: (error: unknown) => Response | Promise<Response>;
  onListen: (addr: Addr) => void;
  onTopic: TopicListener | undefined;
  signal: AbortSignal | undefined;
  engine: EngineOptions;
}

/** Opens a server. */
export function openServer<Addr extends Deno.Addr>(
  init: ServerInit<Addr>,
): HttpServer<Addr> {
  return new Server(init);
}

class Server<Addr extends Deno.Addr> extends ListeningServer<Addr>
  implements HttpServer<Addr>, HttpHost {
  readonly heads: HeadText = new HeadText();
  readonly handler: Handler;
  readonly routes: StaticRoutes | null;
  readonly onError: (error: unknown) => Response | Promise<Response>;
  readonly compression: Compression | null;
  readonly base: UrlBase;
  readonly highWatermark: number;
  readonly maxDrainBytes: number;
  readonly maxRequests: number;
  readonly timeouts: AllTimeouts;

  constructor(init: ServerInit<Addr>) {
    const settings = resolveOptions(init.engine);
    const compression = compressionOf(init.engine.compress);
    const routes = staticRoutesOf(init.routes);
    init.signal?.throwIfAborted();
    super({ address: init.address, settings, stream: false, tuning: {} });
    this.handler = init.handler;
    this.onError = init.onError;
    this.compression = compression;
    this.highWatermark = settings.highWatermark;
    this.maxDrainBytes = settings.maxDrainBytes;
    this.maxRequests = settings.maxRequests;
    this.timeouts = timeoutsOf(settings);
    this.loop.topics.listener = init.onTopic ?? null;
    this.base = baseOf(this.addr);
    this.routes = routes;
    routes?.register(this.loop.reactor, compression);
    this.begin(init.signal, init.onListen);
  }

  publish(topic: string, message: Sendable, options?: SendOptions): number {
    return this.loop.topics.publish(topic, message, options, null);
  }

  subscriberCount(topic: string): number {
    return this.loop.topics.count(topic);
  }

  expectsMore(index: number): boolean {
    return this.draining && this.loop.isFollowed(index, layout.HEAD);
  }

  protected override open(handle: number): Connection {
    return new HttpConnection(handle, this);
  }

  protected override requests(connections: Connection[]): number {
    return connections.reduce(
      (sum, c) => sum + (c instanceof HttpConnection ? c.inFlight : 0),
      0,
    );
  }
}

// As those of Deno.serve.
function baseOf(addr: Deno.Addr): UrlBase {
  if (addr.transport === "tcp") {
    const { port } = addr as Deno.NetAddr;
    return { scheme: "http", authority: `localhost:${port}` };
  }
  const { path } = addr as Deno.UnixAddr;
  return { scheme: "http+unix", authority: escaped(path) };
}

function escaped(path: string): string {
  const bytes = Array.from(new TextEncoder().encode(path), (byte) => {
    const character = String.fromCharCode(byte);
    const hex = byte.toString(16).toUpperCase().padStart(2, "0");
    return /[A-Za-z0-9]/.test(character) ? character : `%${hex}`;
  });
  return bytes.join("");
}
