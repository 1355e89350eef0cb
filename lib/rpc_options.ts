// SPDX-License-Identifier: Apache-2.0
// rpc_options.ts - everything that can be said to rpc(), with the checks; used by rpc_app.ts.

import { type Codec, requireCodec } from "./codec.ts";
import type { Executor } from "./executor.ts";
import { requirePacketBytes } from "./packet.ts";
import { requireInteger, requireKnown, requireTypes } from "./route_options.ts";
import type { RpcConnection } from "./rpc_connection.ts";
import type { RpcContext } from "./rpc_context.ts";
import type { ReplyOrder } from "./rpc_peer.ts";
import { requireTimeout } from "./rpc_router.ts";
import { MOST_PACKET_BYTES } from "./rpc_transport.ts";

/** What an application of the action router is like. */
export interface RpcOptions {
  /**
   * Makes values of bodies. Listeners, connections and routes may have another one.
   *
   * @default {json}
   */
  codec?: Codec;
  /** Codecs that WebSocket clients choose between, by the name of the subprotocol. */
  codecs?: Record<string, Codec>;
  /**
   * In which order the replies of one connection are sent: as handlers are done, or as requests came. Handlers run
   * beside one another either way.
   *
   * @default {"completion"}
   */
  order?: ReplyOrder;
  /**
   * Requests of one connection that may be in flight; its next one is not read before one of them is answered.
   *
   * @default {64}
   */
  maxInFlight?: number;
  /**
   * Largest packet in bytes, its 8 bytes of length, action and sequence counted; a connection that sends a larger one
   * is closed. 8 to 1073741824.
   *
   * @default {1048576}
   */
  maxPacketBytes?: number;
  /**
   * Milliseconds that a handler's promise may take; 0 means no limit.
   *
   * @default {0}
   */
  timeout?: number;
  /** Runs the routes that have a `worker`, and outlives the application, which without it has one of its own. */
  executor?: Executor;
  /** Told of each connection, before its first request. When it throws, or its promise rejects, that is cut. */
  onOpen?(connection: RpcConnection): void | Promise<void>;
  /** Told when a connection is gone. The error is null when the peer has closed it in order, or this side has. */
  onClose?(
    connection: RpcConnection,
    error: Error | null,
  ): void | Promise<void>;
  /**
   * Told what handlers have thrown, unless it is an RpcError, and of results that cannot be encoded. By default logs it.
   */
  onError?(error: unknown, context: RpcContext): void | Promise<void>;
}

const MAKE = "make an application";

/** Options of applications and of clients that are called. */
export const CALLBACKS = {
  onOpen: "function",
  onClose: "function",
  onError: "function",
} as const;

const MOST_IN_FLIGHT = 0x10000;
const OPTIONS = [
  "codec",
  "codecs",
  "order",
  "maxInFlight",
  "maxPacketBytes",
  "timeout",
  "executor",
  "onOpen",
  "onClose",
  "onError",
];

/** Throws a RangeError or TypeError that names the option that is wrong. */
export function checkOptions(options: RpcOptions): void {
  requireKnown(MAKE, options, OPTIONS);
  const { codec, codecs, order, timeout, maxInFlight, maxPacketBytes } =
    options;
  if (codec !== undefined) requireCodec(codec, MAKE);
  for (const one of Object.values(codecs ?? {})) requireCodec(one, MAKE);
  if (order !== undefined && order !== "completion" && order !== "request") {
    throw new TypeError(
      `Cannot ${MAKE}: "order" must be "completion" or "request", is ${
        Deno.inspect(order)
      }`,
    );
  }
  if (timeout !== undefined) requireTimeout(timeout, MAKE);
  if (maxInFlight !== undefined) {
    requireInteger(MAKE, "maxInFlight", maxInFlight, 1, MOST_IN_FLIGHT);
  }
  if (maxPacketBytes !== undefined) {
    requirePacketBytes(MAKE, maxPacketBytes, MOST_PACKET_BYTES);
  }
  requireTypes(MAKE, options, CALLBACKS);
}
