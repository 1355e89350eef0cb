// SPDX-License-Identifier: Apache-2.0
// command.ts - what the examples share as programs: flags, where they listen, and an end on Ctrl+C.

import { parseArgs } from "@std/cli/parse-args";
import {
  type HttpServer,
  type RunningServer,
  serve,
  type ServeHandler,
  type ServeTcpOptions,
} from "../mod.ts";
import { serveAll, type ServeAllOptions } from "../lib/workers.ts";

/** A program with flags. */
export interface Command<Name extends string> {
  /** What `--help` prints. */
  usage: string;
  /** Where it listens unless `--addr` says otherwise. */
  addr: string;
  /** Flags that take an integer: what it is unless given, and at least. */
  integers: Record<Name, { preset: number; min: number }>;
  /** Begins, once the flags are found right. */
  start(
    listen: ListenOptions,
    integers: Readonly<Record<Name, number>>,
  ): void | Promise<void>;
}

/** What `--addr` and `--backend` ask for. */
export type ListenOptions = ServeTcpOptions & { hostname: string };

const BACKENDS = ["auto", "io_uring", "epoll"] as const;

// A terminal sends Ctrl+C to all processes of a group, and a parent such as `deno task` passes it on once more.
const FORWARDED_MS = 500;

/** A mistake on the command line. */
class UsageError extends Error {}

/** Reads the flags and starts; ends the process when that cannot be done. */
export async function run<Name extends string>(
  command: Command<Name>,
  args: readonly string[] = Deno.args,
): Promise<void> {
  try {
    const flags = readFlags(args, Object.keys(command.integers));
    if (flags === "help") return console.log(command.usage);
    const listen = {
      ...parseAddress(flags.addr ?? command.addr),
      backend: backend(flags.backend ?? "auto"),
    };
    await command.start(listen, integersOf(command, flags));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    console.error(error.message);
    // serve() itself knows the ranges of its options.
    const isUsage = error instanceof UsageError || error instanceof RangeError;
    if (isUsage) console.error("Try --help");
    Deno.exit(isUsage ? 2 : 1);
  }
}

type Flags = Record<string, string | undefined>;

function readFlags(
  args: readonly string[],
  integers: readonly string[],
): Flags | "help" {
  const names = ["addr", "backend", ...integers];
  const flags = parseArgs(joinNegatives(args), {
    string: names,
    boolean: ["help"],
    alias: { help: "h" },
    unknown: (arg): never => {
      throw new UsageError(`unknown argument "${arg}"`);
    },
  });
  if (flags.help) return "help";
  for (const name of names) {
    if (flags[name] === "") throw new UsageError(`--${name} needs a value`);
  }
  return flags as Flags;
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

function integersOf<Name extends string>(
  { integers }: Command<Name>,
  flags: Flags,
): Record<Name, number> {
  const values = {} as Record<Name, number>;
  for (const name of Object.keys(integers) as Name[]) {
    const { preset, min } = integers[name];
    values[name] = integer(name, flags[name] ?? String(preset), min);
  }
  return values;
}

function integer(name: string, text: string, min: number): number {
  if (/^-?\d{1,9}$/.test(text) && Number(text) >= min) return Number(text);
  throw new UsageError(
    `--${name} must be an integer of at least ${min}, is "${text}"`,
  );
}

function backend(text: string): typeof BACKENDS[number] {
  const found = BACKENDS.find((name) => name === text);
  if (found !== undefined) return found;
  throw new UsageError(
    `--backend must be ${BACKENDS.join(", ")}, is "${text}"`,
  );
}

function parseAddress(text: string): { hostname: string; port: number } {
  const parts = /^(?:\[([\da-f:.]+)\]|([^:[\]\s]*)):(\d{1,5})$/i.exec(text);
  const port = Number(parts?.[3] ?? NaN);
  if (parts === null || port > 65535) {
    throw new UsageError(
      `--addr must be like ":9001", "127.0.0.1:9001" or "[::1]:9001", is "${text}"`,
    );
  }
  return { hostname: parts[1] || parts[2] || "0.0.0.0", port };
}

/** Serves until a signal comes, and says where. */
export function listen(
  options: ListenOptions,
  handler: ServeHandler<Deno.NetAddr>,
  notes: Record<string, string> = {},
): HttpServer<Deno.NetAddr> {
  const server = serve({ ...options, onListen: () => {} }, handler);
  announce(server, notes);
  return server;
}

/** The same with a module that many workers serve. */
export async function listenAll(
  module: URL,
  options: ServeAllOptions,
  notes: Record<string, string> = {},
): Promise<void> {
  const server = await serveAll(module, { ...options, onListen: () => {} });
  const workers = server.workers();
  const cpus = new Set(workers.flatMap(({ cpus }) => cpus ?? []));
  const where = cpus.size === 0 ? "" : `, bound to CPUs ${[...cpus].join(" ")}`;
  announce(server, { ...notes, Workers: `${workers.length}${where}` });
}

function announce(
  server: RunningServer<Deno.Addr>,
  notes: Record<string, string>,
): void {
  stopOnSignal(server);
  const { hostname, port } = server.addr as Deno.NetAddr;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const everywhere = hostname === "0.0.0.0" || hostname === "::";
  const open = `${everywhere ? "localhost" : host}:${port}`;
  console.log(`Listening on http://${host}:${port}/`);
  const lines = {
    Page: `http://${open}/`,
    WebSocket: `ws://${open}/ws`,
    Backend: `${server.backend} (${server.backendReason})`,
    ...notes,
  };
  for (const [name, text] of Object.entries(lines)) {
    console.log(`  ${name.padEnd(10)} ${text}`);
  }
  console.log("Ctrl+C stops it");
}

function stopOnSignal(server: RunningServer): void {
  let first: { signal: Deno.Signal; at: number } | null = null;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      const at = performance.now();
      if (first === null) {
        first = { signal, at };
        console.log(`${signal}: draining; a second signal stops at once`);
        void drain(server);
      } else if (signal !== first.signal || at - first.at > FORWARDED_MS) {
        console.log(`${signal} again: stopped at once`);
        Deno.exit(1);
      }
    });
  }
}

async function drain(server: RunningServer): Promise<void> {
  const { connections, requests, forced } = await server.shutdown();
  const { accepted, receivedBytes, sentBytes } = server.statistics();
  console.log(
    `Drained: connections ${connections}, requests in flight ${requests}, cut ${forced}`,
  );
  console.log(
    `Served: connections ${accepted}, bytes received ${receivedBytes}, bytes sent ${sentBytes}`,
  );
}
