// SPDX-License-Identifier: Apache-2.0
// echo.ts - the demo server as a program: flags, and as many workers of echo_app.ts; `deno task start` runs it.

import { type Topology, topology } from "../mod.ts";
import { listenAll, type ListenOptions, run } from "./command.ts";

const USAGE = `Usage: deno task start [options]

  --addr HOST:PORT  where to listen: ":9001", "127.0.0.1:9001", "[::1]:9001" (default ":9001")
  --batch N         connections served in one turn of the loop (default 32)
  --ring N          entries of the submission queue, a power of two (default 1024)
  --backend NAME    auto, io_uring or epoll (default auto)
  --workers N       threads, 0 for as many as there are cores (default 0)
  --numa N          NUMA node to whose processors they are bound, -1 for any (default -1)
  --help            print this`;

const INTEGERS = {
  batch: { preset: 32, min: 1 },
  ring: { preset: 1024, min: 8 },
  workers: { preset: 0, min: 0 },
  numa: { preset: -1, min: -1 },
};

function start(
  { hostname, port = 9001, backend = "auto" }: ListenOptions,
  { batch, ring, workers, numa }: Record<keyof typeof INTEGERS, number>,
): Promise<void> {
  return listenAll(new URL("./echo_app.ts", import.meta.url), {
    hostname,
    port,
    backend,
    batch,
    ring,
    workers: workers === 0 ? "auto" : workers,
    numa,
  }, {
    Loop: `batch ${batch}, ring ${ring}`,
    Machine: describe(topology()),
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
  await run({ usage: USAGE, addr: ":9001", integers: INTEGERS, start });
}
