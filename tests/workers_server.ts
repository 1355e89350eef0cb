// SPDX-License-Identifier: Apache-2.0
// workers_server.ts - a server on many workers in a process of its own, which does what its standard input says, line
// by line, and answers each with one. Started by workers_child.ts with a module and options as arguments.

import type { ServerStatistics } from "../lib/statistics.ts";
import {
  type ReloadOptions,
  serveAll,
  type ServeAllOptions,
  type WorkerEvent,
  type WorkersServer,
  type WorkerStatus,
} from "../lib/workers.ts";
import type { ShutdownOptions, ShutdownReport } from "../mod.ts";
import { collectGarbage, descriptors, statusBytes } from "./holdings.ts";
import { linesOf } from "./soak_child.ts";

/** What is to be done. */
export type Order =
  | { act: "look"; clean: boolean }
  | { act: "reload"; options: ReloadOptions }
  | { act: "shutdown"; options: ShutdownOptions }
  | { act: "cycle"; times: number };

/** An event of a worker, and when it was told of. */
export interface Event extends Omit<WorkerEvent, "error"> {
  error: string | null;
  at: number;
}

/** What the process has. */
export interface View {
  workers: WorkerStatus[];
  statistics: ServerStatistics;
  /** All since the beginning. */
  events: Event[];
  held: Held;
}

/** What the process holds. */
export interface Held {
  descriptors: Record<string, number>;
  threads: number;
  /** Resident memory that is its own. */
  rss: number;
  /** Address space. */
  mapped: number;
}

const [module = "", given = "{}"] = Deno.args;
const options = JSON.parse(given) as ServeAllOptions;
const events: Event[] = [];

function start(): Promise<WorkersServer> {
  return serveAll(new URL(module), {
    ...options,
    onListen: () => {},
    onWorker({ error, ...event }): void {
      events.push({ ...event, error: error?.message ?? null, at: Date.now() });
    },
  });
}

function held(): Held {
  return {
    descriptors: descriptors(),
    threads: [...Deno.readDirSync("/proc/self/task")].length,
    rss: statusBytes("RssAnon"),
    mapped: statusBytes("VmSize"),
  };
}

/** Serves and ends so many times. */
async function cycle(times: number): Promise<Held> {
  for (let i = 0; i < times; i++) await (await start()).shutdown();
  collectGarbage();
  return held();
}

async function obey(
  order: Order,
  server: WorkersServer,
): Promise<View | ShutdownReport | Held | null> {
  switch (order.act) {
    case "look":
      if (order.clean) collectGarbage();
      return {
        workers: server.workers(),
        statistics: server.statistics(),
        events,
        held: held(),
      };
    case "reload":
      await server.reload(order.options);
      return null;
    case "shutdown":
      return await server.shutdown(order.options);
    case "cycle":
      return await cycle(order.times);
  }
}

function say(value: unknown): void {
  console.log(JSON.stringify(value));
}

const server = await start();
say(server.addr);
for await (const line of linesOf(Deno.stdin.readable)) {
  try {
    say({ value: await obey(JSON.parse(line), server) });
  } catch (error) {
    say({ error: String(error) });
  }
}
await server.shutdown({ timeout: 1 });
