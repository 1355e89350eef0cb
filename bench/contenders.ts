// SPDX-License-Identifier: Apache-2.0
// contenders.ts - who is measured, and how a fresh process of each is started on its core and stopped again.
import { buildFloor } from "./build.ts";
import { findGnet, findHon } from "./go_peers.ts";
import { benchPath } from "./paths.ts";
import { findBun, findNode, PEERS } from "./peers.ts";
import type { Workload } from "./workloads.ts";

const READY_MS_MAX = 20_000;
const STOP_MS_MAX = 3_000;
const SPIN_US = 50;
const PLAIN_ROUTES = ["/plaintext", "/ws"];
// Deno.serve declines permessage-deflate.
const COMPRESSED_ROUTE = "/ws-json";
const TOPIC_ROUTE = "/subscribe";
const WORKERS = [1, 2, 4];
const PEER_WORKERS = 2;

/** A server program that prints its port when it listens. */
export interface Contender {
  readonly name: string;
  readonly command: readonly string[];
  /** The one for workloads without a protocol. */
  readonly tcp: readonly string[];
  /** The one for the action router, where there is one. */
  readonly rpc?: readonly string[];
  /** Name of the C floor that runs the same backend. */
  readonly floor?: string;
  /** How many workers serve; without it, the one thread of a server without workers. */
  readonly workers?: number;
  /** Who is the same with one worker, the measure in workloads for many; those without it take no part there. */
  readonly single?: string;
  /** How often the port is printed: by each thread, where each listens by itself. */
  readonly listeners?: number;
  /** Whether its programs answer a workload. */
  readonly takes: (workload: Workload) => boolean;
  readonly version: string;
}

/** A contender that cannot be measured here, and why. */
export interface Absent {
  readonly name: string;
  readonly reason: string;
}

/** A running server. */
export interface Running {
  readonly pid: number;
  readonly port: number;
  stop(): Promise<void>;
}

const running = new Set<Deno.ChildProcess>();

/** Ends every server at once, for a benchmark that is interrupted. */
export function killAll(): void {
  for (const child of running) kill(child, "SIGKILL");
}

/** Prepares the contenders whose names are wanted. */
export async function listContenders(
  wanted: (name: string) => boolean,
): Promise<{ contenders: Contender[]; absent: Absent[] }> {
  const contenders: Contender[] = [];
  const absent: Absent[] = [];
  for (const [name, make] of MAKERS.filter(([name]) => wanted(name))) {
    try {
      contenders.push(await make(name));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      absent.push({ name, reason });
    }
  }
  return { contenders, absent };
}

type Maker = (name: string) => Contender | Promise<Contender>;

const MAKERS: readonly [name: string, make: Maker][] = [
  ["millrace-io_uring", (name) => millrace(name, "io_uring")],
  ["millrace-epoll", (name) => millrace(name, "epoll")],
  ["millrace-spin", spinning],
  ["floor-io_uring", (name) => floor(name, "io_uring")],
  ["floor-epoll", (name) => floor(name, "epoll")],
  ["deno", denoServe],
  ["bun", bunServe],
  ["node", onNode],
  ["gnet", gnet],
  ["hon", hon],
  ...WORKERS.flatMap((workers) =>
    ["io_uring", "epoll"].map((backend): [string, Maker] => [
      `millrace-${backend}-x${workers}`,
      (name): Contender => millraceWorkers(name, backend, workers),
    ])
  ),
  [`deno-x${PEER_WORKERS}`, denoWorkers],
  [`bun-x${PEER_WORKERS}`, bunWorkers],
];

/** Names of all contenders, the absent ones too. */
export const CONTENDER_NAMES: readonly string[] = MAKERS.map(([name]) => name);

/** Name of who is the same as a contender with one worker, or is on one thread as one worker would be. */
export function singleOf(name: string): string {
  const plain = name.replace(/-x\d+$/, "");
  return plain.startsWith("millrace") ? `${plain}-x1` : plain;
}

function millrace(name: string, backend: string, spin = 0): Contender {
  const settings = [backend, String(spin)];
  return {
    name,
    command: onDeno("millrace.ts", ...settings),
    tcp: onDeno("tcp_millrace.ts", ...settings),
    rpc: onDeno("rpc_millrace.ts", ...settings),
    floor: `floor-${backend}`,
    single: singleOf(`millrace-${backend}`),
    takes: () => true,
    version: Deno.version.deno,
  };
}

function millraceWorkers(
  name: string,
  backend: string,
  workers: number,
): Contender {
  const settings = [backend, String(workers)];
  return {
    name,
    command: onDeno("workers_millrace.ts", ...settings, "http"),
    tcp: onDeno("workers_millrace.ts", ...settings, "tcp"),
    workers,
    single: singleOf(name),
    takes: () => true,
    version: Deno.version.deno,
  };
}

// Spinning is for latency: a busy server never gets to it.
function spinning(name: string): Contender {
  return {
    ...millrace(name, "io_uring", SPIN_US),
    takes: ({ connections }) => connections === 1,
  };
}

async function floor(name: string, backend: string): Promise<Contender> {
  const command = [await buildFloor(), "--backend", backend];
  return {
    name,
    command,
    tcp: [...command, "tcp"],
    takes: (workload) => workload.protocol === "tcp" || isPlain(workload),
    version: "",
  };
}

function denoServe(name: string): Contender {
  return {
    name,
    command: onDeno("deno_serve.ts"),
    tcp: onDeno("tcp_deno.ts"),
    single: singleOf(name),
    takes: ({ path }) => path !== COMPRESSED_ROUTE,
    version: Deno.version.deno,
  };
}

// What they publish does not reach the subscribers of other threads.
function denoWorkers(name: string): Contender {
  // Without --unstable-net no port is shared.
  const run = [Deno.execPath(), "run", "-A", "--no-prompt", "--unstable-net"];
  return {
    name,
    command: [...run, ...threads("deno_serve.ts")],
    tcp: [...run, ...threads("tcp_deno.ts")],
    workers: PEER_WORKERS,
    single: singleOf(name),
    listeners: PEER_WORKERS,
    takes: ({ path }) => path !== TOPIC_ROUTE,
    version: Deno.version.deno,
  };
}

async function bunServe(name: string): Promise<Contender> {
  const bun = await findBun();
  if ("reason" in bun) throw new Error(bun.reason);
  return {
    name,
    command: [bun.path, "run", benchPath("servers/bun_serve.ts")],
    tcp: [bun.path, "run", benchPath("servers/tcp_bun.ts")],
    single: singleOf(name),
    takes: () => true,
    version: bun.version,
  };
}

// Bun.listen() shares no port.
async function bunWorkers(name: string): Promise<Contender> {
  const one = await bunServe(name);
  const [bun = ""] = one.command;
  return {
    ...one,
    command: [bun, "run", ...threads("bun_serve.ts")],
    tcp: [],
    workers: PEER_WORKERS,
    single: singleOf(name),
    listeners: PEER_WORKERS,
    takes: ({ path, protocol }) => protocol !== "tcp" && path !== TOPIC_ROUTE,
  };
}

function threads(server: string): string[] {
  return [benchPath("servers/workers_peer.ts"), String(PEER_WORKERS), server];
}

async function onNode(name: string): Promise<Contender> {
  const node = await findNode();
  if ("reason" in node) throw new Error(node.reason);
  return {
    name,
    command: [node.path, benchPath("servers/node_http.mjs")],
    tcp: [node.path, benchPath("servers/tcp_node.mjs")],
    takes: ({ app }) => app !== "hono",
    version: node.version,
  };
}

async function gnet(name: string): Promise<Contender> {
  const program = await findGnet();
  if ("reason" in program) throw new Error(program.reason);
  return {
    name,
    command: [program.path],
    tcp: [program.path, "tcp"],
    takes: (workload) => workload.protocol === "tcp" || isPlain(workload),
    version: program.version,
  };
}

async function hon(name: string): Promise<Contender> {
  const program = await findHon();
  if ("reason" in program) throw new Error(program.reason);
  return {
    name,
    command: [program.path],
    tcp: [],
    takes: isPlain,
    version: program.version,
  };
}

// Asks for nothing but what a server in C or Go has a route for.
function isPlain({ protocol, path, app, probe }: Workload): boolean {
  return protocol !== "tcp" && PLAIN_ROUTES.includes(path) &&
    app !== "hono" && probe === undefined;
}

function onDeno(script: string, ...args: string[]): string[] {
  const path = benchPath(`servers/${script}`);
  return [Deno.execPath(), "run", "-A", "--no-prompt", path, ...args];
}

/** Whether a contender is measured under a workload. */
export function takes(contender: Contender, workload: Workload): boolean {
  const able = workload.workers !== undefined
    ? contender.single !== undefined
    : contender.workers === undefined;
  return able && contender.takes(workload) &&
    (workload.codec === undefined || contender.rpc !== undefined);
}

function commandFor(contender: Contender, workload: Workload): string[] {
  const { app, codec, protocol } = workload;
  if (codec !== undefined && contender.rpc !== undefined) {
    return [...contender.rpc, protocol, codec];
  }
  if (protocol === "tcp") return [...contender.tcp];
  return [...contender.command, ...(app === undefined ? [] : [app])];
}

/** Starts a fresh process of a contender on one core and waits until it accepts a connection. */
export async function start(
  contender: Contender,
  workload: Workload,
  core: number,
): Promise<Running> {
  // taskset replaces itself with the server, so that the process id is the server's.
  const child = new Deno.Command("taskset", {
    args: ["-c", String(core), ...commandFor(contender, workload)],
    env: { NODE_PATH: PEERS },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  running.add(child);
  const timer = setTimeout(() => kill(child, "SIGKILL"), READY_MS_MAX);
  try {
    const port = await readPort(child, contender.listeners ?? 1);
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    connection.close();
    return { pid: child.pid, port, stop: (): Promise<void> => stop(child) };
  } catch (error) {
    await stop(child);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function readPort(
  child: Deno.ChildProcess,
  lines: number,
): Promise<number> {
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.split("\n").length <= lines) {
    const { value, done } = await reader.read();
    if (done) throw new Error("Cannot start: the server printed no port");
    text += value;
  }
  // Whatever else the server prints is thrown away, so that it never waits for a reader.
  drain(reader);
  return Number(text.slice(0, text.indexOf("\n")));
}

async function drain(
  reader: ReadableStreamDefaultReader<string>,
): Promise<void> {
  while (!(await reader.read()).done);
}

async function stop(child: Deno.ChildProcess): Promise<void> {
  kill(child, "SIGTERM");
  const timer = setTimeout(() => kill(child, "SIGKILL"), STOP_MS_MAX);
  await child.status;
  clearTimeout(timer);
  running.delete(child);
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch {
    // It has already ended.
  }
}
