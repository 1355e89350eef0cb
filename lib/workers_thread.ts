// SPDX-License-Identifier: Apache-2.0
// workers_thread.ts - what runs in each worker of workers_server.ts: imports the application and serves it.

import { parentPort, workerData } from "node:worker_threads";
import { type BackendName, Crew } from "../ffi/mod.ts";
import { pinTo } from "./affinity.ts";
import { type ExecutorRequest, shareExecutor } from "./executor_shared.ts";
import type { ShutdownReport } from "./listening_server.ts";
import { share, type Sharing } from "./sharing.ts";
import type { Marked } from "./thread.ts";
import { textOf, type ThrownText } from "./thrown_text.ts";
import { type MailInit, type MailNote, WorkerMail } from "./worker_mail.ts";
import { openApp, requireModule, type WorkerModule } from "./workers_app.ts";
import { Gate } from "./workers_gate.ts";
import type { WorkerListenOptions } from "./workers_options.ts";
import type { WorkerPlacement } from "./workers_placement.ts";

/** What a worker is told when it begins. */
export interface WorkerInit {
  /** The address of the crew. */
  crew: bigint;
  /** Whether it may still enter that: the memory of a Gate. */
  gate: SharedArrayBuffer;
  place: number;
  slot: number;
  /** What its messages bear. */
  mark: string;
  /** What it is to be bound to before it takes memory; null for nothing. */
  placement: WorkerPlacement | null;
  /** Where its servers count. */
  counts: SharedArrayBuffer;
  /** The statistics of the executor. */
  executor: SharedArrayBuffer;
  mail: MailInit;
  module: string;
  listen: WorkerListenOptions;
}

/** How it is to end. */
export interface Leave {
  millrace: "leave";
  timeout: number;
  grace: number;
}

/** Topics have ended with another worker. */
export interface TellTopics {
  millrace: "topics";
}

/** What it tells. */
export type WorkerMessage =
  | {
    millrace: "ready";
    /** Of all its servers; that of the address given to all is the first. */
    addrs: Deno.Addr[];
    /** What is spoken there. */
    protocol: "http" | "tcp";
    backend: BackendName;
    backendReason: string;
    /** Why it runs elsewhere than it was meant to; null when it does not. */
    unbound: string | null;
  }
  | { millrace: "failed"; error: ThrownText }
  | { millrace: "left"; report: ShutdownReport }
  | ExecutorRequest
  | MailNote;

async function start(init: WorkerInit): Promise<void> {
  const unbound = bind(init.placement);
  if (!enter(init)) return;
  const memoryNode = unbound === null ? init.placement?.memoryNode : null;
  const mail = new WorkerMail(init.mail, init.slot, tell);
  const servers = share(init.counts, memoryNode ?? null, mail);
  shareExecutor(init.executor, tell);
  const exports = await import(init.module) as { default?: unknown };
  const app = requireModule(init.module, exports.default);
  if (app.onMessage !== undefined) mail.handlers.add(app.onMessage);
  const own = servers.own = openApp(app, init.listen);
  await app.rpc?.start();
  const [first] = servers.servers;
  if (first === undefined) {
    throw new TypeError(
      `Cannot serve ${init.module}: it exports neither "fetch" nor "socket" nor "rpc" by default, and listens nowhere`,
    );
  }
  const main = own ?? first;
  const others = servers.servers.filter(({ addr }) => addr !== main.addr);
  globalThis.addEventListener("message", (event) => {
    const { data } = event as MessageEvent<Partial<Leave | TellTopics>>;
    if (data?.millrace === "topics") mail.tellChanges();
    if (data?.millrace === "leave") void leave(app, servers, data as Leave);
  });
  tell({
    millrace: "ready",
    addrs: [main, ...others].map(({ addr }) => addr),
    // Only those of HTTP have topics.
    protocol: "publish" in main ? "http" : "tcp",
    backend: main.backend,
    backendReason: main.backendReason,
    unbound,
  });
}

// False when the supervisor has given it up meanwhile.
function enter({ gate, crew, place, slot }: WorkerInit): boolean {
  const way = new Gate(gate);
  if (!way.enter()) return false;
  try {
    Crew.at(crew).enter(place, slot);
  } catch (error) {
    way.leave();
    throw error;
  }
  return true;
}

// Returns why that has failed, or null.
function bind(placement: WorkerPlacement | null): string | null {
  if (placement === null) return null;
  const pinned = pinTo(placement.cpus);
  return pinned.ok ? null : pinned.reason;
}

async function leave(
  { rpc }: WorkerModule,
  { servers }: Sharing,
  { timeout, grace }: Leave,
): Promise<void> {
  const all = [...servers];
  // Its requests are answered before its connections are closed, those on servers of others among them.
  if (rpc !== undefined) await rpc.shutdown({ timeout });
  const reports = await Promise.all(
    all.map((server) => server.shutdown({ timeout, grace })),
  );
  const report: ShutdownReport = { connections: 0, requests: 0, forced: 0 };
  for (const { connections, requests, forced } of reports) {
    report.connections += connections;
    report.requests += requests;
    report.forced += forced;
  }
  tell({ millrace: "left", report });
}

function tell(message: WorkerMessage, transfer: ArrayBuffer[] = []): void {
  const marked: Marked<WorkerMessage> = [mark, message];
  parentPort!.postMessage(marked, transfer);
}

const { mark } = workerData as WorkerInit;
start(workerData as WorkerInit).catch((error) =>
  tell({ millrace: "failed", error: textOf(error) })
);
