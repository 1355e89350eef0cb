// SPDX-License-Identifier: Apache-2.0
// sources.ts - what all sockets of the load are connected with, and from which address; used by the *_wire.ts.

import type { ConnectOptions } from "../connect.ts";
import type { Plan } from "./options.ts";

/** What may wait for the peer on one connection. */
export const QUEUE_BYTES = 64 * 1024 * 1024;

/** The local address of a connection, if some are given: each in its turn. */
export function localAddressOf(
  { sources }: Plan,
  index: number,
): { localAddress?: string } {
  if (sources.length === 0) return {};
  return { localAddress: sources[index % sources.length]! };
}

/** Options of `connect()` for a plain socket of the load. */
export function socketOptionsOf(
  plan: Plan,
  index: number,
): Omit<ConnectOptions, "data"> {
  return {
    ...localAddressOf(plan, index),
    connectTimeout: plan.timeout,
    // Connections that are only held have nothing to say.
    idleTimeout: 0,
    maxQueueBytes: QUEUE_BYTES,
    backend: plan.backend,
  };
}
