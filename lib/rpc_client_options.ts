// SPDX-License-Identifier: Apache-2.0
// rpc_client_options.ts - everything that can be said to rpcClient(), with defaults; checked here, once.

import type { BackendName } from "../ffi/mod.ts";
import { type Codec, json, requireCodec } from "./codec.ts";
import { checkedBackend } from "./options.ts";
import { requirePacketBytes } from "./packet.ts";
import { requireInteger, requireKnown, requireTypes } from "./route_options.ts";
import type { RpcClient } from "./rpc_client.ts";
import { requireTimeout } from "./rpc_router.ts";
import { MOST_OWNERS } from "./rpc_sequences.ts";
import { CALLBACKS } from "./rpc_options.ts";
import { MOST_PACKET_BYTES } from "./rpc_transport.ts";
import {
  type ReconnectOptions,
  type ReconnectSettings,
  resolveReconnect,
} from "./ws_reconnect.ts";

/** Takes what the server sends of its own accord. */
export type PushHandler<Body = unknown> = (body: Body) => void | Promise<void>;

/** What a client is like. */
export interface RpcClientOptions {
  /**
   * Makes values of bodies; the same as the server's.
   *
   * @default {json}
   */
  codec?: Codec;
  /** The subprotocol to ask a WebSocket server for, by which it chooses its codec. */
  protocol?: string;
  /**
   * Milliseconds that a call may take, unless it says otherwise; 0 means no limit.
   *
   * @default {30000}
   */
  timeout?: number;
  /**
   * Milliseconds that connecting may take.
   *
   * @default {10000}
   */
  connectTimeout?: number;
  /** The IP address of this machine to connect from; by default the system chooses. Not with a Unix socket. */
  localAddress?: string;
  /**
   * The kernel interface to connect with.
   *
   * @default {"auto"}
   */
  backend?: "auto" | BackendName;
  /**
   * Calls that may be in flight at a time, at most 16384; the next ones wait until it is their turn.
   *
   * @default {1024}
   */
  maxInFlight?: number;
  /**
   * Largest packet in bytes, its 8 bytes of length, action and sequence counted; a larger one closes the connection. 8 to
   * 1073741824.
   *
   * @default {1048576}
   */
  maxPacketBytes?: number;
  /**
   * Connects anew when the connection is lost. Calls that were sent are rejected, as nobody knows what became of them;
   * those that wait go on waiting.
   *
   * @default {false}
   */
  reconnect?: boolean | ReconnectOptions;
  /**
   * Functions that are called with what the server sends of its own accord, by action, as if they had been given to
   * `on()` before connecting: what a server sends at once comes too early for who waits for the client.
   */
  pushes?: Record<number, PushHandler>;
  /** Told each time that the connection stands; what it calls goes first. */
  onOpen?(client: RpcClient): void | Promise<void>;
  /** Told when a connection is gone; the error is null when one side has closed it in order. */
  onClose?(error: Error | null): void | Promise<void>;
  /** Told of packets that could not be read, and what callbacks and handlers of pushes have thrown. By default logs it. */
  onError?(error: unknown): void | Promise<void>;
}

/** All options of a client, none missing. */
export interface RpcClientSettings {
  codec: Codec;
  protocol: string | undefined;
  timeout: number;
  connectTimeout: number;
  localAddress: string | undefined;
  backend: "auto" | BackendName;
  maxInFlight: number;
  maxPacketBytes: number;
  /** Null when the first connection is to be the only one. */
  reconnect: ReconnectSettings | null;
  pushes: Record<number, PushHandler>;
  onOpen: RpcClientOptions["onOpen"];
  onClose: RpcClientOptions["onClose"];
  onError: RpcClientOptions["onError"];
}

const MAKE = "make a client";
const OPTIONS = [
  "codec",
  "protocol",
  "timeout",
  "connectTimeout",
  "localAddress",
  "backend",
  "maxInFlight",
  "maxPacketBytes",
  "reconnect",
  "pushes",
  "onOpen",
  "onClose",
  "onError",
];

/** Fills in defaults. Throws a RangeError or TypeError that names the option that is wrong. */
export function resolveRpcClient(options: RpcClientOptions): RpcClientSettings {
  requireKnown(MAKE, options, OPTIONS);
  const {
    codec = json,
    protocol,
    timeout = 30_000,
    connectTimeout = 10_000,
    localAddress,
    backend = "auto",
    maxInFlight = 1024,
    maxPacketBytes = 1024 * 1024,
    reconnect,
    pushes = {},
    onOpen,
    onClose,
    onError,
  } = options;
  requireCodec(codec, MAKE);
  requireTimeout(timeout, MAKE);
  requireTimeout(connectTimeout, MAKE, "connectTimeout");
  requireInteger(MAKE, "maxInFlight", maxInFlight, 1, MOST_OWNERS);
  requirePacketBytes(MAKE, maxPacketBytes, MOST_PACKET_BYTES);
  requireTypes(MAKE, options, CALLBACKS);
  return {
    codec,
    protocol,
    timeout,
    connectTimeout,
    localAddress,
    backend: checkedBackend(backend, MAKE),
    maxInFlight,
    maxPacketBytes,
    reconnect: resolveReconnect(reconnect, "a client"),
    pushes,
    onOpen,
    onClose,
    onError,
  };
}
