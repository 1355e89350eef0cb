// SPDX-License-Identifier: Apache-2.0
// echo.ts - the demo server: a page, a few HTTP routes and a WebSocket echo; `deno task start` runs it.

import { type Topology, topology, websocket } from "../mod.ts";
import { listen, type ListenOptions, run } from "./command.ts";
import html from "./echo.html" with { type: "text" };
import { plot } from "./plot.ts";
import { get, page, router, upgrade } from "./routes.ts";

const USAGE = `Usage: deno task start [options]

  --addr HOST:PORT  where to listen: ":9001", "127.0.0.1:9001", "[::1]:9001" (default ":9001")
  --batch N         connections served in one turn of the loop (default 32)
  --ring N          entries of the submission queue, a power of two (default 1024)
  --backend NAME    auto, io_uring or epoll (default auto)
  --workers N       threads, 0 for as many as there are cores; no effect yet (default 0)
  --numa N          NUMA node to prefer, -1 for any; no effect yet (default -1)
  --help            print this`;

const INTEGERS = {
  batch: { preset: 32, min: 1 },
  ring: { preset: 1024, min: 8 },
  workers: { preset: 0, min: 0 },
  numa: { preset: -1, min: -1 },
};

// Large echoes shall work too, and a few of them may wait for a slow reader.
const MESSAGE_BYTES = 16 * 1024 * 1024;
const QUEUE_BYTES = 64 * 1024 * 1024;

const echo = websocket({
  message(socket, message): void {
    const status = socket.send(message);
    if (status === "dropped") socket.close(1013, "Too many unread echoes");
  },
}, { maxMessageBytes: MESSAGE_BYTES, maxQueueBytes: QUEUE_BYTES });

const handle = router({
  ...page(html),
  ...plot,
  "/plaintext": get(() => new Response("Hello, World!")),
  "/json": get(() => Response.json({ message: "Hello, World!" })),
  "/headers": get(({ headers }) => Response.json(Object.fromEntries(headers))),
  "/echo": { methods: ["POST"], handler: echoBody },
  "/ws": upgrade((request) => echo.upgrade(request)),
});

async function echoBody(request: Request): Promise<Response> {
  const type = request.headers.get("content-type");
  return new Response(await request.bytes(), {
    headers: type === null ? {} : { "content-type": type },
  });
}

function start(
  options: ListenOptions,
  { batch, ring, workers, numa }: Record<keyof typeof INTEGERS, number>,
): void {
  listen({ ...options, batch, ring }, handle, {
    Loop: `batch ${batch}, ring ${ring}`,
    Machine: describe(topology()),
    Note: `no effect yet: workers ${workers}, numa ${numa}`,
  });
}

function describe({ source, cpus, nodes }: Topology): string {
  const packages = new Set(cpus.map((cpu) => cpu.package)).size;
  const cores = new Set(cpus.map((cpu) => cpu.core)).size;
  const allowed = cpus.filter((cpu) => cpu.allowed).length;
  return `packages ${packages}, nodes ${nodes.length}, cores ${cores}, ` +
    `CPUs ${cpus.length}, allowed ${allowed} (from ${source})`;
}

if (import.meta.main) {
  run({ usage: USAGE, addr: ":9001", integers: INTEGERS, start });
}
