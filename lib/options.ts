// SPDX-License-Identifier: Apache-2.0
// options.ts - everything that can be said to serve(), with defaults and ranges; checked here, once.

import type { BackendName } from "../ffi/mod.ts";
import type { PollLoopOptions } from "./poll_loop.ts";

/** Options that Millrace has beside those of `Deno.serve`. */
export interface EngineOptions {
  /**
   * The kernel interface: `"auto"` takes io_uring where the kernel allows it and epoll elsewhere.
   *
   * @default {"auto"}
   */
  backend?: "auto" | BackendName;
  /**
   * Connections that are served in one turn of the loop; the others wait for the next one.
   *
   * @default {256}
   */
  batch?: number;
  /**
   * Entries of the submission queue, a power of two; the queues between C and JavaScript grow with it.
   *
   * @default {1024}
   */
  ring?: number;
  /**
   * Microseconds for which to look for work before sleeping. More gives a shorter round trip and takes CPU time
   * while idle connections are being waited for.
   *
   * @default {0}
   */
  spin?: number;
  /**
   * Connections at a time; beyond it no more are accepted.
   *
   * @default {65536}
   */
  maxConnections?: number;
  /**
   * Bytes of a request head; a longer one is answered with 431.
   *
   * @default {16384}
   */
  maxHeadBytes?: number;
  /**
   * Bytes of a request target; a longer one is answered with 414.
   *
   * @default {8192}
   */
  maxTargetBytes?: number;
  /**
   * Header fields of a request; more are answered with 431.
   *
   * @default {100}
   */
  maxHeaderFields?: number;
  /**
   * Bytes of a request body; a longer one is answered with 413. 0 means no limit.
   *
   * @default {67108864}
   */
  maxBodyBytes?: number;
  /**
   * Milliseconds from a connection's first byte to the end of the request head, or from its beginning to that
   * byte; a head that comes later is answered with 408, and a connection that says nothing is closed.
   *
   * @default {10000}
   */
  headTimeout?: number;
  /**
   * Milliseconds between two pieces of a request body; longer ones are answered with 408.
   *
   * @default {30000}
   */
  bodyTimeout?: number;
  /**
   * Milliseconds for which a connection without a request is kept.
   *
   * @default {65000}
   */
  idleTimeout?: number;
  /**
   * Milliseconds for which a peer may take none of the bytes that wait for it.
   *
   * @default {20000}
   */
  stallTimeout?: number;
  /**
   * Bytes that wait for a peer from which on a streamed body is not read further.
   *
   * @default {1048576}
   */
  highWatermark?: number;
  /**
   * Bytes that wait for a peer at which reading goes on.
   *
   * @default {262144}
   */
  lowWatermark?: number;
  /**
   * Bytes that may wait for one peer; what would exceed it is not accepted.
   *
   * @default {67108864}
   */
  maxQueueBytes?: number;
  /**
   * Memory for bytes on their way in or out, shared by all connections. Taken from the system as it is used.
   *
   * @default {134217728}
   */
  bufferBytes?: number;
}

/** All options, none missing. */
export interface Settings extends PollLoopOptions {
  highWatermark: number;
}

const BLOCK_BYTES = 16384;
// C cuts a connection whose queue is longer: the last resort. Bodies wait at the high watermark and WebSocket
// messages are dropped before that, give or take the piece that is on its way.
const QUEUE_SLACK = 1024 * 1024;
const LINGER_MS = 2000;
const MAX_FRAGMENTS = 1024;
const RECEIVE_BUFFERS = 256;
const OUTBOX_BYTES = 1024 * 1024;

const DEFAULTS: Required<Omit<EngineOptions, "backend">> = {
  batch: 256,
  ring: 1024,
  spin: 0,
  maxConnections: 65536,
  maxHeadBytes: 16384,
  maxTargetBytes: 8192,
  maxHeaderFields: 100,
  maxBodyBytes: 64 * 1024 * 1024,
  headTimeout: 10_000,
  bodyTimeout: 30_000,
  idleTimeout: 65_000,
  stallTimeout: 20_000,
  highWatermark: 1024 * 1024,
  lowWatermark: 256 * 1024,
  maxQueueBytes: 64 * 1024 * 1024,
  bufferBytes: 128 * 1024 * 1024,
};

type Name = keyof typeof DEFAULTS;

/** The names of all options of the engine. */
export const ENGINE_OPTION_NAMES: readonly string[] = [
  "backend",
  ...Object.keys(DEFAULTS),
];

const WORD = 0xffffffff;

const RANGES: Record<Name, [min: number, max: number]> = {
  batch: [1, 65536],
  ring: [8, 32768],
  spin: [0, 1_000_000],
  maxConnections: [1, 1 << 20],
  maxHeadBytes: [256, BLOCK_BYTES],
  maxTargetBytes: [1, BLOCK_BYTES],
  maxHeaderFields: [1, 256],
  maxBodyBytes: [0, Number.MAX_SAFE_INTEGER],
  headTimeout: [0, WORD],
  bodyTimeout: [0, WORD],
  idleTimeout: [0, WORD],
  stallTimeout: [0, WORD],
  highWatermark: [1, WORD],
  lowWatermark: [0, WORD],
  maxQueueBytes: [1, 1 << 30],
  bufferBytes: [2 * RECEIVE_BUFFERS * BLOCK_BYTES, 65535 * BLOCK_BYTES],
};

/** Fills in defaults. Throws a RangeError or TypeError that names the option that is wrong. */
export function resolveOptions(options: EngineOptions): Settings {
  const all = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as Name[]) {
    const value = options[name];
    if (value !== undefined) all[name] = checked(name, value);
  }
  if ((all.ring & (all.ring - 1)) !== 0) {
    throw new RangeError(
      `Cannot serve: "ring" must be a power of two, is ${all.ring}`,
    );
  }
  if (
    all.lowWatermark > all.highWatermark ||
    all.highWatermark > all.maxQueueBytes
  ) {
    throw new RangeError(
      `Cannot serve: "lowWatermark" (${all.lowWatermark}), "highWatermark" (${all.highWatermark}) and ` +
        `"maxQueueBytes" (${all.maxQueueBytes}) must ascend`,
    );
  }
  return {
    backend: checkedBackend(options.backend ?? "auto"),
    ringEntries: all.ring,
    batch: all.batch,
    spin: all.spin,
    maxConnections: all.maxConnections,
    blockCount: Math.floor(all.bufferBytes / BLOCK_BYTES),
    receiveBuffers: RECEIVE_BUFFERS,
    outboxBytes: OUTBOX_BYTES,
    maxHeadBytes: all.maxHeadBytes,
    maxTargetBytes: Math.min(all.maxTargetBytes, all.maxHeadBytes),
    maxFields: all.maxHeaderFields,
    maxQueueBytes: all.maxQueueBytes + QUEUE_SLACK,
    highWatermark: all.highWatermark,
    lowWatermark: all.lowWatermark,
    maxFragments: MAX_FRAGMENTS,
    headTimeout: all.headTimeout,
    bodyTimeout: all.bodyTimeout,
    idleTimeout: all.idleTimeout,
    stallTimeout: all.stallTimeout,
    lingerTimeout: LINGER_MS,
    maxBodyBytes: all.maxBodyBytes,
  };
}

function checked(name: Name, value: unknown): number {
  const [min, max] = RANGES[name];
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new TypeError(
      `Cannot serve: "${name}" must be an integer, is ${String(value)}`,
    );
  }
  if (value < min || value > max) {
    throw new RangeError(
      `Cannot serve: "${name}" must be from ${min} to ${max}, is ${value}`,
    );
  }
  return value;
}

function checkedBackend(backend: string): "auto" | BackendName {
  if (backend === "auto" || backend === "io_uring" || backend === "epoll") {
    return backend;
  }
  throw new TypeError(
    `Cannot serve: "backend" must be "auto", "io_uring" or "epoll", is "${backend}"`,
  );
}
