// SPDX-License-Identifier: Apache-2.0
// workers_options.ts - what can be said to serveAll(), checked; used by workers.ts and cli_serve.ts.

import { type Balance, layout } from "../ffi/mod.ts";
import type { PlacementPolicy } from "./placement.ts";
import { compressionOf } from "./compression.ts";
import { type ExecutorOptions, resolveExecutor } from "./executor_options.ts";
import type { MailOptions, MailStatistics } from "./mail_office.ts";
import { addressOf } from "./listen_address.ts";
import {
  ENGINE_OPTION_NAMES,
  type EngineOptions,
  resolveOptions,
} from "./options.ts";
import {
  requireInteger,
  requireKnown,
  requireSignal,
  requireTypes,
  TIMER_MAX_MS,
} from "./route_options.ts";
import type { TopicListener } from "./topics.ts";
import type { MessageHandler } from "./worker_mail.ts";
import {
  type AffinityPolicy,
  placementsOf,
  type WorkerPlacement,
} from "./workers_placement.ts";

/** What has become of a worker. */
export interface WorkerEvent {
  /**
   * - `"started"`: it serves.
   * - `"died"`: it has ended without having been told to, or could not start; another one follows. Of one that
   *   `serveAll()` or `reload()` cannot start, these tell by rejecting.
   * - `"stalled"`: it has taken no turn for `workerTimeout`.
   * - `"recovered"`: it has taken one after all.
   * - `"stopped"`: it has ended as it was told to.
   * - `"unbound"`: it serves, but not on the processors it was to be bound to.
   */
  kind: "started" | "died" | "stalled" | "recovered" | "stopped" | "unbound";
  /** Its number, from 0 on; the one that follows it has the same. */
  worker: number;
  /** Why it has died, where that is known, or is not bound. */
  error: Error | null;
}

/** What a worker does for its connections. */
export interface WorkerStatus {
  /** Its number, from 0 on. */
  worker: number;
  /** Whether it starts, serves, or serves what it has and takes no more. */
  state: "starting" | "serving" | "leaving";
  /** Connections that it has. */
  connections: number;
  /** Milliseconds since its last turn; one that sleeps is woken now and then. */
  quiet: number;
  /** Whether that was longer than `workerTimeout`. */
  stalled: boolean;
  /** The processors that it is bound to; null for any. */
  cpus: number[] | null;
  /** The NUMA node of these; null for any. */
  node: number | null;
  /** The NUMA node from which its memory is to come; null for any. */
  memoryNode: number | null;
  /** Why it is bound to nothing although it was to be; null when that is as it was meant. */
  unbound: string | null;
  /** What others and the main thread have sent to it. */
  messages: MailStatistics;
}

/** Options of {@linkcode serveAll}: where to listen, those of the engine, and how workers are to be kept. */
export interface ServeAllOptions extends EngineOptions {
  /**
   * How many workers serve; `"auto"` takes one for each core that the process may use, as `plan()` does: SMT siblings
   * do not count, and neither does what the quota of control groups does not leave.
   *
   * @default {"auto"}
   */
  workers?: number | "auto";
  /**
   * Who serves a connection: `"reuseport"` has the kernel choose by the addresses, without a detour; `"least"` gives it
   * to the worker with the fewest, by way of a thread that accepts for all. On Unix sockets it is always that.
   *
   * @default {"reuseport"}
   */
  balance?: Balance;
  /**
   * What each worker is bound to.
   *
   * - `"core"`: a processor of its own, as far apart as there is room; SMT siblings come last.
   * - `"numa"`: all processors of a NUMA node; nodes take turns.
   * - `"none"`: nothing.
   * - A policy of `plan()`, as `{ cpus: [2, 4] }`: a processor of its own, in that order.
   *
   * When there are more workers than processors, each is bound to all of these that are of its node.
   *
   * @default {"core"}
   */
  affinity?: AffinityPolicy | PlacementPolicy;
  /**
   * The NUMA node to whose processors all workers are bound, with `"core"` or `"numa"`; -1 for any.
   *
   * @default {-1}
   */
  numa?: number;
  /**
   * Port; 0 takes any free one, the same for all.
   *
   * @default {8000}
   */
  port?: number;
  /**
   * Host name or address to listen on, IPv4 or IPv6.
   *
   * @default {"0.0.0.0"}
   */
  hostname?: string;
  /** Path of a Unix socket to listen on instead; a leading "@" names an abstract one. */
  path?: string;
  /**
   * Whether the port may be one that other processes of the same user share, and is shared with them. Without it, a
   * port that another one has is in use.
   *
   * @default {false}
   */
  reusePort?: boolean;
  /**
   * Connections that wait to be accepted, for each worker.
   *
   * @default {511}
   */
  tcpBacklog?: number;
  /**
   * Milliseconds without a turn after which a worker is reported as stalled; 0 means never.
   *
   * @default {10000}
   */
  workerTimeout?: number;
  /**
   * Has a worker that stalls be replaced. Its connections are cut once its code awaits or returns: Deno 2.9 stops no
   * thread before that.
   *
   * @default {false}
   */
  replaceStalled?: boolean;
  /**
   * Milliseconds that a worker may take to load the module and to listen.
   *
   * @default {30000}
   */
  startTimeout?: number;
  /**
   * Bounds of the executor that all workers share: the threads that run routes with a `worker` and the calls of every
   * `Executor`. Its `maximum` is as many as workers leave processors, and at least 1, unless given.
   */
  executor?: ExecutorOptions;
  /** Told when all workers listen. By default logs the address. */
  onListen?: (localAddr: Deno.Addr) => void;
  /** Told what becomes of workers. By default logs those that die or stall. */
  onWorker?: (event: WorkerEvent) => void;
  /** Ends all workers and their connections at once when it aborts. */
  signal?: AbortSignal;
  /**
   * Messages of other workers that may wait for one worker, rounded up to a power of two. Whatever is more is dropped
   * for that worker, and counted.
   *
   * @default {8192}
   */
  mailboxMessages?: number;
  /**
   * The same in bytes; no single message can be longer.
   *
   * @default {67108864}
   */
  mailboxBytes?: number;
  /**
   * Told of topics that have got their first subscriber in all workers, or lost their last one, a little later than the
   * module. A topic that has both begun and ended in between is not told of.
   */
  onTopic?: TopicListener;
  /** Hears what workers send to `"main"`, with the number of the worker. */
  onMessage?: MessageHandler;
}

/** How a reload is to go. */
export interface ReloadOptions {
  /**
   * Milliseconds after which connections of a worker that is replaced are cut; 0 means to wait however long.
   *
   * @default {30000}
   */
  timeout?: number;
  /**
   * Milliseconds for which clients may use connections of such a worker once more, to be told to leave.
   *
   * @default {1000}
   */
  grace?: number;
}

/** What the servers of a worker are opened with. */
export type WorkerListenOptions =
  & EngineOptions
  & Pick<
    ServeAllOptions,
    "port" | "hostname" | "path" | "reusePort" | "tcpBacklog"
  >;

/** All that is to be known, none missing. */
export interface WorkersSettings {
  /** Of each worker. */
  placements: readonly (WorkerPlacement | null)[];
  balance: Balance;
  workerTimeout: number;
  replaceStalled: boolean;
  startTimeout: number;
  executor: Required<ExecutorOptions>;
  listen: WorkerListenOptions;
  onListen: ((localAddr: Deno.Addr) => void) | undefined;
  onWorker: ((event: WorkerEvent) => void) | undefined;
  signal: AbortSignal | undefined;
  mail: MailOptions;
  onMessage: MessageHandler | undefined;
}

const ACTION = "serve with workers";
const LISTEN = ["port", "hostname", "path", "reusePort", "tcpBacklog"];
const AFFINITIES = ["core", "numa", "none", "spread", "pack"];
const OWN = [
  "workers",
  "balance",
  "affinity",
  "numa",
  "workerTimeout",
  "replaceStalled",
  "startTimeout",
  "onListen",
  "onWorker",
  "signal",
  "executor",
  "mailboxMessages",
  "mailboxBytes",
  "onTopic",
  "onMessage",
];
const TYPES = {
  hostname: "string",
  path: "string",
  reusePort: "boolean",
  replaceStalled: "boolean",
  onListen: "function",
  onWorker: "function",
  onTopic: "function",
  onMessage: "function",
} as const;
const MAILBOX_MESSAGES_MAX = 32 * 1024;
const MAILBOX_BYTES_MIN = 64 * 1024;
const MAILBOX_BYTES_MAX = 2 ** 31 - 1;

/** The options with defaults. Throws for one that is unknown, of the wrong type or out of range. */
export function settingsOf(options: ServeAllOptions): WorkersSettings {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot ${ACTION}: the options must be an object`);
  }
  requireKnown(ACTION, options, [...OWN, ...LISTEN, ...ENGINE_OPTION_NAMES]);
  requireTypes(ACTION, options, TYPES);
  requireSignal(ACTION, options.signal);
  const { workers = "auto", balance = "reuseport" } = options;
  const { affinity = "core", numa = -1 } = options;
  const { workerTimeout = 10_000, startTimeout = 30_000 } = options;
  if (workers !== "auto") {
    requireInteger(ACTION, "workers", workers, 1, layout.CREW_SLOTS_MAX);
  }
  requireOneOf("balance", balance, ["reuseport", "least"]);
  if (typeof affinity !== "object") {
    requireOneOf("affinity", affinity, AFFINITIES);
  }
  requireInteger(ACTION, "numa", numa, -1, 1023);
  if (numa !== -1 && affinity !== "core" && affinity !== "numa") {
    throw new TypeError(
      `Cannot ${ACTION}: "numa" needs an "affinity" of core or numa, which is ${
        Deno.inspect(affinity)
      }`,
    );
  }
  requireInteger(ACTION, "workerTimeout", workerTimeout, 0, TIMER_MAX_MS);
  requireInteger(ACTION, "startTimeout", startTimeout, 1, TIMER_MAX_MS);
  const placements = placementsOf(
    { workers, affinity, numa },
    layout.CREW_SLOTS_MAX,
  );
  return {
    placements,
    balance,
    workerTimeout,
    replaceStalled: options.replaceStalled ?? false,
    startTimeout,
    executor: resolveExecutor(
      ACTION,
      options.executor ?? {},
      placements.length,
    ),
    listen: listenOptionsOf(options),
    onListen: options.onListen,
    onWorker: options.onWorker,
    signal: options.signal,
    mail: mailOf(options, placements.length),
    onMessage: options.onMessage,
  };
}

function mailOf(options: ServeAllOptions, workers: number): MailOptions {
  const { mailboxMessages = 8192, mailboxBytes = 64 << 20, onTopic } = options;
  const require = (name: string, value: number, least: number, most: number) =>
    requireInteger(ACTION, name, value, least, most);
  require("mailboxMessages", mailboxMessages, 2, MAILBOX_MESSAGES_MAX);
  require("mailboxBytes", mailboxBytes, MAILBOX_BYTES_MIN, MAILBOX_BYTES_MAX);
  const messages = 2 ** Math.ceil(Math.log2(mailboxMessages));
  return { workers, messages, bytes: mailboxBytes, onTopic };
}

function requireOneOf(
  name: string,
  value: string,
  allowed: readonly string[],
): void {
  if (allowed.includes(value)) return;
  throw new TypeError(
    `Cannot ${ACTION}: "${name}" must be one of ${allowed.join(", ")}, is ${
      Deno.inspect(value)
    }`,
  );
}

// Checked here, where somebody sees it, and not by each worker.
function listenOptionsOf(options: ServeAllOptions): WorkerListenOptions {
  resolveOptions(options, ACTION);
  compressionOf(options.compress);
  addressOf(ACTION, options, 0);
  const given = Object.entries(options).filter(([name, value]) =>
    value !== undefined && !OWN.includes(name)
  );
  return Object.fromEntries(given);
}
