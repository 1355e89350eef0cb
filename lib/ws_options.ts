// SPDX-License-Identifier: Apache-2.0
// ws_options.ts - everything that can be said to websocket(), with defaults; checked here, once.

import { resolveRoute } from "./route_options.ts";
import {
  type OriginCheck,
  originCheck,
  type OriginPolicy,
} from "./ws_origin.ts";

/** Limits and rules of a route. */
export interface WebSocketOptions {
  /**
   * Largest message in bytes; a larger one closes the socket with 1009.
   *
   * @default {1048576}
   */
  maxMessageBytes?: number;
  /**
   * Milliseconds without a byte from the peer after which the connection is closed; 0 means never.
   *
   * @default {120000}
   */
  idleTimeout?: number;
  /**
   * Milliseconds that the peer has to answer a close frame.
   *
   * @default {5000}
   */
  closeTimeout?: number;
  /**
   * Bytes waiting to be sent from which on `send()` returns `"queued"`.
   *
   * @default {1048576}
   */
  highWatermark?: number;
  /**
   * Bytes waiting to be sent beyond which `send()` returns `"dropped"`; at most the server's `maxQueueBytes`.
   *
   * @default {16777216}
   */
  maxQueueBytes?: number;
  /**
   * Which pages may open a socket; those of others are answered with 403. Behind a proxy that speaks TLS a page's
   * origin is not that of this server: list it, as in `["https://example.org"]`.
   *
   * @default {"same"}
   */
  origin?: OriginPolicy;
}

type Limits = Omit<WebSocketOptions, "origin">;

/** All options of a route, none missing. */
export interface RouteSettings extends Required<Limits> {
  allows: OriginCheck;
}

const DEFAULTS: Required<Limits> = {
  maxMessageBytes: 1024 * 1024,
  idleTimeout: 120_000,
  closeTimeout: 5_000,
  highWatermark: 1024 * 1024,
  maxQueueBytes: 16 * 1024 * 1024,
};

const MAY_BE_0 = new Set(["maxMessageBytes", "idleTimeout"]);

/** Fills in defaults. Throws a RangeError or TypeError that names the option that is wrong. */
export function resolveWebSocket(options: WebSocketOptions): RouteSettings {
  const { origin = "same", ...limits } = options;
  return {
    ...resolveRoute("a WebSocket route", limits, DEFAULTS, MAY_BE_0),
    allows: originCheck(origin),
  };
}
