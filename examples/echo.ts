// SPDX-License-Identifier: Apache-2.0
// echo.ts - the demo server: a page, a few HTTP routes and a WebSocket echo; `deno task start` runs it.

import { parseArgs } from "@std/cli/parse-args";
import plotCss from "npm:uplot@1.6.32/dist/uPlot.min.css" with { type: "text" };
import plotJs from "npm:uplot@1.6.32/dist/uPlot.iife.min.js" with {
  type: "text",
};
import {
  type HttpServer,
  readTopology,
  serve,
  type ServeTcpOptions,
  websocket,
} from "../mod.ts";
import page from "./echo.html" with { type: "text" };

const USAGE = `Usage: deno task start [options]

  --addr HOST:PORT  where to listen: ":9001", "127.0.0.1:9001", "[::1]:9001" (default ":9001")
  --batch N         connections served in one turn of the loop (default 32)
  --ring N          entries of the submission queue, a power of two (default 1024)
  --backend NAME    auto, io_uring or epoll (default auto)
  --workers N       threads, 0 for as many as there are cores; no effect yet (default 0)
  --numa N          NUMA node to prefer, -1 for any; no effect yet (default -1)
  --help            print this`;

const FLAGS = [
  "addr",
  "batch",
  "ring",
  "backend",
  "workers",
  "numa",
] as const;

const BACKENDS = ["auto", "io_uring", "epoll"] as const;

type Flags = Record<typeof FLAGS[number], string | undefined>;

// Large echoes shall work too, and a few of them may wait for a slow reader.
const MESSAGE_BYTES = 16 * 1024 * 1024;
const QUEUE_BYTES = 64 * 1024 * 1024;

// A terminal sends Ctrl+C to all processes of a group, and a parent such as `deno task` passes it on once more.
const FORWARDED_MS = 500;

/** A mistake on the command line. */
class UsageError extends Error {}

/** What the flags ask for. */
interface Settings {
  options: ServeTcpOptions & { hostname: string };
  /** Flags that have no effect yet. */
  inert: string[];
}

function readSettings(args: readonly string[]): Settings | "help" {
  const flags = parseArgs(joinNegatives(args), {
    string: FLAGS,
    boolean: ["help"],
    alias: { help: "h" },
    unknown: (arg): never => {
      throw new UsageError(`unknown argument "${arg}"`);
    },
  });
  if (flags.help) return "help";
  for (const name of FLAGS) {
    if (flags[name] === "") throw new UsageError(`--${name} needs a value`);
  }
  integer(flags, "workers", 0);
  integer(flags, "numa", -1);
  return {
    options: {
      ...parseAddress(flags.addr ?? ":9001"),
      batch: integer(flags, "batch", 1) ?? 32,
      ring: integer(flags, "ring", 8) ?? 1024,
      backend: backend(flags.backend ?? "auto"),
    },
    inert: [`workers ${flags.workers ?? 0}`, `numa ${flags.numa ?? -1}`],
  };
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

function integer(
  flags: Flags,
  name: keyof Flags,
  min: number,
): number | undefined {
  const text = flags[name];
  if (text === undefined) return undefined;
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

const echo = websocket({
  message(socket, message): void {
    const status = socket.send(message);
    if (status === "dropped") socket.close(1013, "Too many unread echoes");
  },
}, { maxMessageBytes: MESSAGE_BYTES, maxQueueBytes: QUEUE_BYTES });

interface Route {
  methods: string[];
  handler: (request: Request) => Response | Promise<Response>;
}

const ROUTES = new Map<string, Route>([
  ["/", get(() => file(page, "text/html"))],
  ["/uplot.js", get(() => file(plotJs, "text/javascript"))],
  ["/uplot.css", get(() => file(plotCss, "text/css"))],
  ["/plaintext", get(() => new Response("Hello, World!"))],
  ["/json", get(() => Response.json({ message: "Hello, World!" }))],
  [
    "/headers",
    get(({ headers }) => Response.json(Object.fromEntries(headers))),
  ],
  ["/echo", { methods: ["POST"], handler: echoBody }],
  ["/ws", { methods: ["GET"], handler: (request) => echo.upgrade(request) }],
]);

// The server leaves out the body of an answer to HEAD by itself.
function get(handler: Route["handler"]): Route {
  return { methods: ["GET", "HEAD"], handler };
}

function handle(request: Request): Response | Promise<Response> {
  const route = ROUTES.get(URL.parse(request.url)?.pathname ?? "");
  if (route === undefined) return new Response("Not Found", { status: 404 });
  if (route.methods.includes(request.method)) return route.handler(request);
  return new Response("Method Not Allowed", {
    status: 405,
    headers: { allow: route.methods.join(", ") },
  });
}

function file(text: string, type: string): Response {
  return new Response(text, {
    headers: {
      "content-type": `${type}; charset=utf-8`,
      // Isolated pages get a clock of 5 µs instead of 100 µs in most browsers.
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    },
  });
}

async function echoBody(request: Request): Promise<Response> {
  const type = request.headers.get("content-type");
  return new Response(await request.bytes(), {
    headers: type === null ? {} : { "content-type": type },
  });
}

function start({ options, inert }: Settings): void {
  const server = serve({ ...options, onListen: () => {} }, handle);
  stopOnSignal(server);
  const { backend, backendReason } = server;
  const { source, ...machine } = readTopology();
  const { hostname, port } = server.addr;
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  const everywhere = hostname === "0.0.0.0" || hostname === "::";
  const open = `${everywhere ? "localhost" : host}:${port}`;
  console.log(`Listening on http://${host}:${port}/
  Page       http://${open}/
  WebSocket  ws://${open}/ws
  Backend    ${backend} (${backendReason})
  Loop       batch ${options.batch}, ring ${options.ring}
  Machine    ${describe(machine)} (from ${source})`);
  console.log(`  Note       no effect yet: ${inert.join(", ")}`);
  console.log("Ctrl+C stops it");
}

// { packages: 1, nodes: 1, … } as "packages 1, nodes 1, …"
function describe(machine: Record<string, number>): string {
  return Object.entries(machine).map((entry) => entry.join(" ")).join(", ");
}

function stopOnSignal(server: HttpServer): void {
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

async function drain(server: HttpServer): Promise<void> {
  const { connections, requests, forced } = await server.shutdown();
  const { accepted, receivedBytes, sentBytes } = server.statistics();
  console.log(
    `Drained: connections ${connections}, requests in flight ${requests}, cut ${forced}`,
  );
  console.log(
    `Served: connections ${accepted}, bytes received ${receivedBytes}, bytes sent ${sentBytes}`,
  );
}

function main(args: readonly string[]): void {
  try {
    const settings = readSettings(args);
    if (settings === "help") console.log(USAGE);
    else start(settings);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    console.error(error.message);
    // serve() itself knows the ranges of its options.
    const isUsage = error instanceof UsageError || error instanceof RangeError;
    if (isUsage) console.error("Try --help");
    Deno.exit(isUsage ? 2 : 1);
  }
}

if (import.meta.main) main(Deno.args);
