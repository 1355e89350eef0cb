// SPDX-License-Identifier: Apache-2.0
// ws_options.ts - everything that can be said to websocket(), with defaults; checked here, once.

import {
  requireTypes,
  resolveRoute,
  resolveWatermark,
  TIMER_MAX_MS,
} from "./route_options.ts";
import type { SlowConsumerPolicy } from "./ws_backlog.ts";
import {
  type CompressionSettings,
  resolveCompression,
  type WebSocketCompression,
} from "./ws_deflate.ts";
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
   * Bytes waiting to be sent at which, after a `send()` that returned `"queued"`, `drain` is called; at most
   * `highWatermark`. Unless given, it is that of the server.
   */
  lowWatermark?: number;
  /**
   * Bytes waiting to be sent beyond which `send()` returns `"dropped"`; at most the server's `maxQueueBytes`.
   *
   * @default {16777216}
   */
  maxQueueBytes?: number;
  /**
   * What becomes of messages for a peer that takes them too slowly. Each one that is given up is counted, and told by
   * `dropped`.
   *
   * @default {"drop-newest"}
   */
  slowConsumer?: SlowConsumerPolicy;
  /**
   * Frames that a message may consist of; more close the socket with 1008.
   *
   * @default {1024}
   */
  maxFragments?: number;
  /**
   * Milliseconds after which a socket is closed with 1001, whatever it does; at most 2147483647. 0 means never.
   *
   * @default {0}
   */
  maxLifetime?: number;
  /**
   * Messages that may come a second, and at once; a peer that goes on sending faster is closed with 1008. 0 means no
   * limit.
   *
   * @default {0}
   */
  maxMessagesPerSecond?: number;
  /**
   * Has a message wait for the promise of the handler that was given the one before, the first one for that of `open`,
   * and `close` for that of the last. Meanwhile the peer is held up.
   *
   * @default {false}
   */
  ordered?: boolean;
  /**
   * Overwrites the bytes of a message with 0xDB once its handler has returned, so that it shows where they are used
   * for longer.
   *
   * @default {false}
   */
  debug?: boolean;
  /**
   * Which pages may open a socket; those of others are answered with 403. Behind a proxy that speaks TLS a page's
   * origin is not that of this server: list it, as in `["https://example.org"]`.
   *
   * @default {"same"}
   */
  origin?: OriginPolicy;
  /**
   * Compresses messages with clients that offer permessage-deflate (RFC 7692); `true` does so with all defaults.
   *
   * @default {false}
   */
  compression?: boolean | WebSocketCompression;
}

type Limits = Omit<
  WebSocketOptions,
  | "compression"
  | "origin"
  | "ordered"
  | "debug"
  | "slowConsumer"
  | "lowWatermark"
>;

/** What sockets of either side are told, none missing. */
export interface SocketSettings {
  closeTimeout: number;
  highWatermark: number;
  /** Null for that of the loop. */
  lowWatermark: number | null;
  maxQueueBytes: number;
  maxMessagesPerSecond: number;
  slowConsumer: SlowConsumerPolicy;
  ordered: boolean;
  debug: boolean;
}

/** All options of a route, none missing. */
export interface RouteSettings extends Required<Limits>, SocketSettings {
  allows: OriginCheck;
  /** Null when nothing is compressed. */
  compression: CompressionSettings | null;
}

const DEFAULTS: Required<Limits> = {
  maxMessageBytes: 1024 * 1024,
  idleTimeout: 120_000,
  closeTimeout: 5_000,
  highWatermark: 1024 * 1024,
  maxQueueBytes: 16 * 1024 * 1024,
  maxFragments: 1024,
  maxLifetime: 0,
  maxMessagesPerSecond: 0,
};

const MAY_BE_0 = new Set([
  "maxMessageBytes",
  "idleTimeout",
  "maxLifetime",
  "maxMessagesPerSecond",
]);

const POLICIES: readonly unknown[] = [
  "drop-newest",
  "drop-oldest",
  "coalesce",
  "close",
];

/** Options that are on or off. */
export const FLAGS = { ordered: "boolean", debug: "boolean" } as const;

/** Fills in defaults. Throws a RangeError or TypeError that names the option that is wrong. */
export function resolveWebSocket(options: WebSocketOptions): RouteSettings {
  const {
    compression,
    origin = "same",
    slowConsumer = "drop-newest",
    ordered = false,
    debug = false,
    lowWatermark,
    ...rest
  } = options;
  const what = "a WebSocket route";
  const limits = resolveRoute(what, rest, DEFAULTS, MAY_BE_0);
  if (limits.maxLifetime > TIMER_MAX_MS) {
    throw new RangeError(
      `Cannot make a WebSocket route: "maxLifetime" must be at most ${TIMER_MAX_MS}, is ${limits.maxLifetime}`,
    );
  }
  requireTypes(`make ${what}`, options, FLAGS);
  return {
    ...limits,
    lowWatermark: resolveWatermark(what, lowWatermark, limits.highWatermark),
    slowConsumer: checkedPolicy(what, slowConsumer),
    ordered,
    debug,
    allows: originCheck(origin),
    compression: resolveCompression(compression),
  };
}

/** The option `slowConsumer`; `what` is the thing to be made, with its article. */
export function checkedPolicy(
  what: string,
  policy: SlowConsumerPolicy,
): SlowConsumerPolicy {
  if (POLICIES.includes(policy)) return policy;
  throw new TypeError(
    `Cannot make ${what}: "slowConsumer" must be one of ${
      POLICIES.join(", ")
    }, is ${String(policy)}`,
  );
}
