// SPDX-License-Identifier: Apache-2.0
// cli_serve.ts - `serve app.ts`: flags, signals, and a server on many workers; a command of cli.ts.

import { isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "@std/cli/parse-args";
import { serveAll } from "./workers.ts";
import type { ServeAllOptions, WorkerEvent } from "./workers_options.ts";
import { NO_ERROR, type WorkersServer } from "./workers_server.ts";

const USAGE = `Usage: millrace serve MODULE [options]

MODULE exports { fetch, websocket, socket, rpc, … } by default, as for deno serve.

  --port N           port; 0 takes any free one (8000)
  --hostname NAME    host name or address (0.0.0.0); also --host
  --path PATH        a Unix socket instead
  --workers N        threads; auto takes one for each core (auto)
  --balance NAME     reuseport: the kernel chooses who serves; least: who has the fewest (reuseport)
  --affinity NAME    what workers are bound to: core, numa, none, or pack (core)
  --numa N           NUMA node to whose processors they are bound; -1 for any (-1)
  --cpus LIST        processors to which they are bound instead, as 0,2,4-7
  --executor N       threads at most for work that takes the processor for long, beside the workers
  --backend NAME     auto, io_uring or epoll (auto)
  --batch N          connections that are served in one turn (256)
  --ring N           entries of the submission queue (1024)
  --max-connections N  of all workers together (65536)
  -h, --help         print this

SIGHUP loads the module anew, worker by worker; SIGINT and SIGTERM drain, a second one stops at once.
Exits with 0 when it was stopped, 1 when it could not serve, 2 for a wrong command line.`;

const NUMBERS = ["port", "numa", "batch", "ring", "max-connections"] as const;
const TEXTS = [
  "hostname",
  "path",
  "balance",
  "affinity",
  "backend",
  "workers",
] as const;
// As many as the shim has room for.
const CPU_MAX = 4095;
const EXECUTOR = "executor";

/** A mistake on the command line. */
class UsageError extends Error {}

/** Serves until a signal comes. */
export async function serveCommand(
  args: readonly string[],
): Promise<number | null> {
  try {
    const command = readServe(args);
    if (command === "help") {
      console.log(USAGE);
      return 0;
    }
    const server = await serveAll(command.module, {
      ...command.options,
      onWorker: log,
    });
    // Before anybody is told that it serves.
    obeySignals(server);
    const { backend, backendReason } = server;
    const count = server.workers().length;
    const workers = count === 1 ? "worker" : "workers";
    console.log(`${count} ${workers} on ${backend} (${backendReason})`);
    return null;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const wrong = error instanceof UsageError || error instanceof RangeError ||
      error instanceof TypeError && error.message.startsWith("Cannot serve w");
    console.error(wrong ? `${error.message}\nTry --help` : error);
    return wrong ? 2 : 1;
  }
}

/** Reads the command line; "help" when that is asked for. Throws for a mistake in it. */
export function readServe(
  args: readonly string[],
): { module: URL; options: ServeAllOptions } | "help" {
  const parsed = parseArgs(joinNegatives(args), {
    string: [...NUMBERS, ...TEXTS, "cpus", EXECUTOR],
    boolean: ["help"],
    alias: { help: "h", hostname: "host" },
    unknown: (arg, key): boolean => {
      if (key === undefined) return true; // a plain argument
      throw new UsageError(`unknown option ${arg}`);
    },
  });
  if (parsed.help) return "help";
  const [module, ...rest] = parsed._.map(String);
  if (module === undefined || rest.length > 0) {
    throw new UsageError("one module must be given");
  }
  const options: Record<string, unknown> = {};
  for (const name of TEXTS) {
    if (parsed[name] !== undefined) options[name] = parsed[name];
  }
  for (const name of NUMBERS) {
    if (parsed[name] === undefined) continue;
    options[camel(name)] = integer(name, parsed[name]);
  }
  if (parsed.workers !== undefined && parsed.workers !== "auto") {
    options.workers = integer("workers", parsed.workers);
  }
  if (parsed.cpus !== undefined) {
    if (parsed.affinity !== undefined) {
      throw new UsageError("--affinity and --cpus exclude each other");
    }
    options.affinity = { cpus: cpuList(parsed.cpus) };
  }
  if (parsed[EXECUTOR] !== undefined) {
    options.executor = { maximum: integer(EXECUTOR, parsed[EXECUTOR]) };
  }
  return { module: moduleUrl(module), options };
}

// A path, or a URL.
function moduleUrl(text: string): URL {
  if (!isAbsolute(text) && URL.canParse(text)) return new URL(text);
  return pathToFileURL(resolve(text));
}

function integer(name: string, text: string): number {
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`--${name} must be an integer, is "${text}"`);
}

// In the order in which they are named.
function cpuList(text: string): number[] {
  return text.split(",").flatMap((part) => {
    const range = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part);
    const first = Number(range?.[1] ?? NaN);
    const last = Number(range?.[2] ?? first);
    if (first <= last && last <= CPU_MAX) {
      return Array.from({ length: last - first + 1 }, (_, at) => first + at);
    }
    throw new UsageError(`--cpus must be like 0,2,4-7, is "${text}"`);
  });
}

function camel(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

// "-1" behind a flag is its value and not a flag of its own.
function joinNegatives(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (const arg of args) {
    const flag = /^-\d/.test(arg) ? joined.pop() : undefined;
    joined.push(flag === undefined ? arg : `${flag}=${arg}`);
  }
  return joined;
}

function log({ kind, worker, error }: WorkerEvent): void {
  if (kind === "died") {
    console.error(`worker ${worker} has died:`, error ?? NO_ERROR);
  } else if (kind === "unbound") {
    console.error(`worker ${worker}: ${error!.message}`);
  } else if (kind !== "stopped") console.log(`worker ${worker} ${kind}`);
}

function obeySignals(server: WorkersServer): void {
  let draining = false;
  const reload = (): void => {
    server.reload().then(
      () => console.log("reloaded"),
      (error) => console.error("not reloaded:", error),
    );
  };
  const drain = (): void => {
    if (draining) Deno.exit(1);
    draining = true;
    void server.shutdown().then(({ connections, requests, forced }) => {
      console.log(
        `drained: connections ${connections}, requests in flight ${requests}, cut ${forced}`,
      );
      Deno.exit(0);
    });
  };
  Deno.addSignalListener("SIGHUP", reload);
  Deno.addSignalListener("SIGINT", drain);
  Deno.addSignalListener("SIGTERM", drain);
}
