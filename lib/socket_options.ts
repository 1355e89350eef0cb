// SPDX-License-Identifier: Apache-2.0
// socket_options.ts - what sockets can be given, however they come to be: callbacks, limits, options of the kernel;
// used by raw_socket.ts, listen.ts and socket.ts.

import type { KeepAlive, SocketTuning } from "../ffi/mod.ts";
import {
  requireCallbacks,
  requireInteger,
  requireKnown,
  requireTypes,
} from "./route_options.ts";
import type { SocketHandlers, SocketOptions } from "./socket.ts";

/** Options that the kernel has for a socket. */
export interface TuningOptions {
  /**
   * Has bytes leave at once, instead of waiting for others to share a packet with (TCP_NODELAY).
   *
   * @default {true}
   */
  noDelay?: boolean;
  /**
   * Has the kernel look whether a silent peer is still there, and end the connection when it is not (SO_KEEPALIVE).
   * TCP only.
   *
   * @default {false}
   */
  keepAlive?: KeepAlive | false;
  /** Bytes that the kernel holds for the peer (SO_SNDBUF); it takes twice as much memory, and has limits of its own. */
  sendBufferBytes?: number;
  /** Bytes that the kernel holds from the peer (SO_RCVBUF); it takes twice as much memory, and has limits of its own. */
  receiveBufferBytes?: number;
}

const CALLBACKS = [
  "open",
  "data",
  "read",
  "drain",
  "end",
  "timeout",
  "error",
  "close",
  "shutdown",
] as const;

/** What holds where nothing is said. */
export const SOCKET_DEFAULTS: Required<Omit<SocketOptions, "lowWatermark">> = {
  idleTimeout: 120_000,
  highWatermark: 1024 * 1024,
  maxQueueBytes: 16 * 1024 * 1024,
  maxUnreadBytes: 1024 * 1024,
};

/** The names of {@linkcode SocketOptions}. */
export const LIMIT_NAMES: readonly string[] = [
  ...Object.keys(SOCKET_DEFAULTS),
  "lowWatermark",
];

/** The names of {@linkcode TuningOptions}. */
export const TUNING_NAMES: readonly string[] = [
  "noDelay",
  "keepAlive",
  "sendBufferBytes",
  "receiveBufferBytes",
];

// The most that the kernel takes.
const KEEP_SECONDS_MAX = 32767;
const KEEP_COUNT_MAX = 127;
const BUFFER_MAX = 1 << 30;

const LIMIT_MAX = 0xffffffff;

/** Throws a TypeError unless these are callbacks of sockets. `what` is what they are for, with its article. */
export function requireSocketCallbacks<Data>(
  what: string,
  handlers: SocketHandlers<Data>,
): void {
  requireCallbacks(what, handlers, CALLBACKS);
  if (handlers.data === undefined || handlers.read === undefined) return;
  throw new TypeError(
    `Cannot make ${what}: bytes are given to "data" or to "read", not to both`,
  );
}

/** Checks the limits and fills in defaults. `action` is what they are for. */
export function limitsOf(
  action: string,
  options: SocketOptions,
): Required<SocketOptions> {
  const limits = { ...SOCKET_DEFAULTS };
  for (const name of Object.keys(limits) as (keyof typeof limits)[]) {
    const value = options[name];
    if (value === undefined) continue;
    const min = name === "idleTimeout" ? 0 : 1;
    requireInteger(action, name, value, min, LIMIT_MAX);
    limits[name] = value;
  }
  const { highWatermark } = limits;
  const { lowWatermark = Math.floor(highWatermark / 4) } = options;
  requireInteger(action, "lowWatermark", lowWatermark, 0, highWatermark);
  return { ...limits, lowWatermark };
}

/** Checks the options and says them in the reactor's terms. `action` is what they are for. */
export function tuningOf(
  action: string,
  options: TuningOptions,
): SocketTuning {
  const { noDelay, keepAlive, sendBufferBytes, receiveBufferBytes } = options;
  const tuning: SocketTuning = {};
  requireTypes(action, options, { noDelay: "boolean" });
  if (noDelay !== undefined) tuning.noDelay = noDelay;
  if (keepAlive !== undefined) {
    tuning.keepAlive = checkedKeepAlive(action, keepAlive);
  }
  if (sendBufferBytes !== undefined) {
    requireInteger(action, "sendBufferBytes", sendBufferBytes, 1, BUFFER_MAX);
    tuning.sendBufferBytes = sendBufferBytes;
  }
  if (receiveBufferBytes !== undefined) {
    const name = "receiveBufferBytes";
    requireInteger(action, name, receiveBufferBytes, 1, BUFFER_MAX);
    tuning.receiveBufferBytes = receiveBufferBytes;
  }
  return tuning;
}

function checkedKeepAlive(
  action: string,
  keepAlive: KeepAlive | false,
): KeepAlive | null {
  if (keepAlive === false) return null;
  if (typeof keepAlive !== "object" || keepAlive === null) {
    throw new TypeError(
      `Cannot ${action}: "keepAlive" must be an object or false, is ${
        Deno.inspect(keepAlive)
      }`,
    );
  }
  requireKnown(action, keepAlive, ["idle", "interval", "count"]);
  const { idle, interval = 1, count = 1 } = keepAlive;
  requireInteger(action, "keepAlive.idle", idle, 1, KEEP_SECONDS_MAX);
  requireInteger(action, "keepAlive.interval", interval, 1, KEEP_SECONDS_MAX);
  requireInteger(action, "keepAlive.count", count, 1, KEEP_COUNT_MAX);
  return keepAlive;
}
