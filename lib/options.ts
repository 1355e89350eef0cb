// SPDX-License-Identifier: Apache-2.0
// options.ts - everything that can be said to serve(), and most to listen(), with defaults and ranges; checked here, once.

import { type BackendName, type HugePages, layout } from "../ffi/mod.ts";
import type { CompressOptions } from "./compression.ts";
import type { PollLoopOptions } from "./poll_loop.ts";
import { requireTypes, TIMER_MAX_MS } from "./route_options.ts";

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
   * Milliseconds between two pieces of a request body, while somebody reads it; longer ones are answered with 408.
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
   * Milliseconds for which a peer may take none of the bytes that wait for it; then it is reset.
   *
   * @default {20000}
   */
  stallTimeout?: number;
  /**
   * Bytes a second that a request body has to come with on the whole, once `rateGrace` is over; a slower one is
   * answered with 408. Time in which nobody reads the body does not count. 0 means no limit.
   *
   * @default {512}
   */
  minBodyRate?: number;
  /**
   * Bytes a second that a peer has to take on the whole while bytes wait for it, once `rateGrace` is over; a slower
   * one is reset. 0 means no limit.
   *
   * @default {512}
   */
  minSendRate?: number;
  /**
   * Milliseconds before `minBodyRate` and `minSendRate` count.
   *
   * @default {5000}
   */
  rateGrace?: number;
  /**
   * Milliseconds for a handler that returned a promise; then the answer is 503, the request's signal aborts with a
   * TimeoutError, and what the handler returns later is dropped. 0 means no limit.
   *
   * @default {0}
   */
  handlerTimeout?: number;
  /**
   * Milliseconds for the rest of a request body after the response; then the connection is closed.
   *
   * @default {2000}
   */
  drainTimeout?: number;
  /**
   * Milliseconds for which the end of a closed connection's peer is waited for.
   *
   * @default {2000}
   */
  lingerTimeout?: number;
  /**
   * Requests of one connection; the response to the last of them says `Connection: close`. 0 means no limit.
   *
   * @default {100000}
   */
  maxRequests?: number;
  /**
   * Requests of one connection that are read before the first of them is answered; the others wait in the socket.
   *
   * @default {64}
   */
  maxPipelined?: number;
  /**
   * Connections that one address may have at a time, for IPv6 those of the same 64-bit prefix; more are closed at
   * once. 0 means no limit. Of no meaning on a Unix socket.
   *
   * @default {0}
   */
  maxConnectionsPerAddress?: number;
  /**
   * Bytes of a request body that are read and dropped after the response, to keep the connection; when more is left,
   * it is closed.
   *
   * @default {65536}
   */
  maxDrainBytes?: number;
  /**
   * Bytes that a peer may still send after our end, so that it can read a refusal; then the connection is closed. 0
   * means no limit.
   *
   * @default {16777216}
   */
  maxLingerBytes?: number;
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
  /**
   * Memory for the compression of WebSocket messages. Beyond it new sockets get no context takeover, and messages are
   * sent as they are. Taken from the system as it is used.
   *
   * @default {67108864}
   */
  maxDeflateBytes?: number;
  /**
   * Which pages of 2 MiB to ask for: those of the system's pool, or else what the kernel puts together (`"auto"`); only
   * the latter (`"transparent"`); or none (`"never"`).
   *
   * @default {"auto"}
   */
  hugePages?: HugePages;
  /**
   * Takes all memory from the system when the server opens, so that neither time nor memory is missing later. Needs
   * Linux 5.14.
   *
   * @default {false}
   */
  prefault?: boolean;
  /**
   * The NUMA node whose memory to use while it has some, -1 for that of whatever processor touches it first.
   *
   * @default {-1}
   */
  memoryNode?: number;
  /**
   * Compresses responses with Brotli or gzip, as the client accepts it; `true` does so with all defaults.
   *
   * @default {false}
   */
  compress?: boolean | CompressOptions;
}

/** All options, none missing. */
export interface Settings extends PollLoopOptions {
  highWatermark: number;
  handlerTimeout: number;
  maxRequests: number;
  maxConnectionsPerAddress: number;
  maxDrainBytes: number;
}

const BLOCK_BYTES = 16384;
// C cuts a connection whose queue is longer: the last resort. Bodies wait at the high watermark and WebSocket
// messages are dropped before that, give or take the piece that is on its way.
const QUEUE_SLACK = 1024 * 1024;
const MAX_FRAGMENTS = 1024;
const RECEIVE_BUFFERS = 256;
const OUTBOX_BYTES = 1024 * 1024;

// Options that are no numbers.
const OTHERS = ["backend", "compress", "hugePages", "prefault"] as const;

const DEFAULTS: Required<Omit<EngineOptions, typeof OTHERS[number]>> = {
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
  minBodyRate: 512,
  minSendRate: 512,
  rateGrace: 5000,
  handlerTimeout: 0,
  drainTimeout: 2000,
  lingerTimeout: 2000,
  maxRequests: 100_000,
  maxPipelined: 64,
  maxConnectionsPerAddress: 0,
  maxDrainBytes: 64 * 1024,
  maxLingerBytes: 16 * 1024 * 1024,
  highWatermark: 1024 * 1024,
  lowWatermark: 256 * 1024,
  maxQueueBytes: 64 * 1024 * 1024,
  bufferBytes: 128 * 1024 * 1024,
  maxDeflateBytes: 64 * 1024 * 1024,
  memoryNode: -1,
};

type Name = keyof typeof DEFAULTS;

/** The names of all options of the engine. */
export const ENGINE_OPTION_NAMES: readonly string[] = [
  ...OTHERS,
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
  minBodyRate: [0, WORD],
  minSendRate: [0, WORD],
  rateGrace: [0, WORD],
  handlerTimeout: [0, TIMER_MAX_MS],
  drainTimeout: [0, WORD],
  lingerTimeout: [0, WORD],
  maxRequests: [0, WORD],
  maxPipelined: [1, 65536],
  maxConnectionsPerAddress: [0, 1 << 20],
  maxDrainBytes: [0, WORD],
  maxLingerBytes: [0, WORD],
  highWatermark: [1, WORD],
  lowWatermark: [0, WORD],
  maxQueueBytes: [1, 1 << 30],
  bufferBytes: [2 * RECEIVE_BUFFERS * BLOCK_BYTES, 65535 * BLOCK_BYTES],
  maxDeflateBytes: [0, Number.MAX_SAFE_INTEGER],
  memoryNode: [-1, layout.NODES_MAX - 1],
};

/** Fills in defaults. Throws a RangeError or TypeError that says what could not be done for which option. */
export function resolveOptions(
  options: EngineOptions,
  doing: string = "serve",
): Settings {
  requireTypes(doing, options, { prefault: "boolean" });
  const all = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS) as Name[]) {
    const value = options[name];
    if (value !== undefined) all[name] = checkedOption(name, value, doing);
  }
  if ((all.ring & (all.ring - 1)) !== 0) {
    throw new RangeError(
      `Cannot ${doing}: "ring" must be a power of two, is ${all.ring}`,
    );
  }
  if (
    all.lowWatermark > all.highWatermark ||
    all.highWatermark > all.maxQueueBytes
  ) {
    throw new RangeError(
      `Cannot ${doing}: "lowWatermark" (${all.lowWatermark}), "highWatermark" (${all.highWatermark}) and ` +
        `"maxQueueBytes" (${all.maxQueueBytes}) must ascend`,
    );
  }
  return {
    backend: checkedBackend(options.backend ?? "auto", doing),
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
    lingerTimeout: all.lingerTimeout,
    maxLingerBytes: all.maxLingerBytes,
    drainTimeout: all.drainTimeout,
    minBodyRate: all.minBodyRate,
    minSendRate: all.minSendRate,
    rateGrace: all.rateGrace,
    maxPipelined: all.maxPipelined,
    handlerTimeout: all.handlerTimeout,
    maxRequests: all.maxRequests === 0 ? Infinity : all.maxRequests,
    maxConnectionsPerAddress: all.maxConnectionsPerAddress,
    maxDrainBytes: all.maxDrainBytes,
    maxBodyBytes: all.maxBodyBytes,
    maxDeflateBytes: all.maxDeflateBytes,
    hugePages: checkedHugePages(options.hugePages ?? "auto", doing),
    prefault: options.prefault ?? false,
    memoryNode: all.memoryNode,
  };
}

/** The value of one option. Throws a RangeError or TypeError that says what could not be done. */
export function checkedOption(
  name: Name,
  value: unknown,
  doing: string = "serve",
): number {
  const [min, max] = RANGES[name];
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw new TypeError(
      `Cannot ${doing}: "${name}" must be an integer, is ${
        Deno.inspect(value)
      }`,
    );
  }
  if (value < min || value > max) {
    throw new RangeError(
      `Cannot ${doing}: "${name}" must be from ${min} to ${max}, is ${value}`,
    );
  }
  return value;
}

/** The option `backend`. Throws a TypeError that says what could not be done. */
export function checkedBackend(
  backend: string,
  doing: string = "serve",
): "auto" | BackendName {
  if (backend === "auto" || backend === "io_uring" || backend === "epoll") {
    return backend;
  }
  throw new TypeError(
    `Cannot ${doing}: "backend" must be "auto", "io_uring" or "epoll", is "${backend}"`,
  );
}

function checkedHugePages(hugePages: string, doing: string): HugePages {
  if (
    hugePages === "auto" || hugePages === "transparent" || hugePages === "never"
  ) {
    return hugePages;
  }
  throw new TypeError(
    `Cannot ${doing}: "hugePages" must be "auto", "transparent" or "never", is "${hugePages}"`,
  );
}
