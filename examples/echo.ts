// SPDX-License-Identifier: Apache-2.0
// echo.ts - the demo server as a program: flags, and as many workers of echo_app.ts; `deno task start` runs it.

import { readTopology } from "../mod.ts";
import { listenAll, type ListenOptions, run } from "./command.ts";

const USAGE = `Usage: deno task start [options]

  --addr HOST:PORT  where to listen: ":9001", "127.0.0.1:9001", "[::1]:9001" (default ":9001")
  --batch N         connections served in one turn of the loop (default 32)
  --ring N          entries of the submission queue, a power of two (default 1024)
  --backend NAME    auto, io_uring or epoll (default auto)
  --workers N       threads, 0 for as many as there are processors (default 0)
  --numa N          NUMA node to prefer, -1 for any (default -1)
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
  const { source, ...machine } = readTopology();
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
    Machine: `${describe(machine)} (from ${source})`,
  });
}

// { packages: 1, nodes: 1, … } as "packages 1, nodes 1, …"
function describe(machine: Record<string, number>): string {
  return Object.entries(machine).map((entry) => entry.join(" ")).join(", ");
}

if (import.meta.main) {
  await run({ usage: USAGE, addr: ":9001", integers: INTEGERS, start });
}
