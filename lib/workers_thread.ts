// SPDX-License-Identifier: Apache-2.0
// workers_thread.ts - what runs in each worker of workers_server.ts: imports the application and serves it.

import { parentPort, workerData } from "node:worker_threads";
import { type BackendName, Crew } from "../ffi/mod.ts";
import type { ShutdownReport } from "./listening_server.ts";
import { share, type Sharing } from "./sharing.ts";
import { type MailInit, type MailNote, WorkerMail } from "./worker_mail.ts";
import { openApp, requireModule, type WorkerModule } from "./workers_app.ts";
import type { WorkerListenOptions } from "./workers_options.ts";

/** What a worker is told when it begins. */
export interface WorkerInit {
  /** The address of the crew. */
  crew: bigint;
  place: number;
  slot: number;
  /** The processor it is to be bound to before it takes memory. */
  cpu: number | null;
  /** Where its servers count. */
  counts: SharedArrayBuffer;
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

/** What it tells. The application may send messages of its own, which are without the mark. */
export type WorkerMessage =
  | {
    millrace: "ready";
    /** Of all its servers; that of the address given to all is the first. */
    addrs: Deno.Addr[];
    backend: BackendName;
    backendReason: string;
  }
  | { millrace: "failed"; error: ThrownText }
  | { millrace: "left"; report: ShutdownReport }
  | MailNote;

/** What of an error survives. */
export interface ThrownText {
  name: string;
  message: string;
  stack: string | undefined;
}

async function start(init: WorkerInit): Promise<void> {
  Crew.at(init.crew).enter(init.place, init.slot);
  const mail = new WorkerMail(init.mail, init.slot, tell);
  const servers = share(init.counts, mail);
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
  parentPort!.on("message", (message: Partial<Leave | TellTopics>) => {
    if (message.millrace === "topics") mail.tellChanges();
    if (message.millrace === "leave") {
      void leave(app, servers, message as Leave);
    }
  });
  tell({
    millrace: "ready",
    addrs: [main, ...others].map(({ addr }) => addr),
    backend: main.backend,
    backendReason: main.backendReason,
  });
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

function tell(message: WorkerMessage): void {
  parentPort!.postMessage(message);
}

function textOf(error: unknown): ThrownText {
  if (error instanceof Error) {
    const { name, message, stack } = error;
    return { name, message, stack };
  }
  const message = `Something that is no Error was thrown: ${
    Deno.inspect(error)
  }`;
  return { name: "Error", message, stack: undefined };
}

start(workerData as WorkerInit).catch((error) =>
  tell({ millrace: "failed", error: textOf(error) })
);
