// SPDX-License-Identifier: Apache-2.0
// Tests of a server's memory: what it says that it is made of, what the options
// do, and memory that is used again. What the kernel can refuse is in
// tests/c/pages_test.c.

import { Worker } from "node:worker_threads";
import { assert, assertEquals } from "@std/assert";
import { topology } from "../mod.ts";
import type { MemoryStatistics, ServeTcpOptions } from "../mod.ts";
import { deadline, testBackends } from "./testing.ts";
import type { Context, TcpServer } from "./testing.ts";
import { testWorkers } from "./workers_testing.ts";

const MIB = 1 << 20;
const SMALL: Partial<ServeTcpOptions> = {
  bufferBytes: 8 * MIB,
  maxConnections: 1000,
};

function memoryOf(server: TcpServer): MemoryStatistics {
  const { memory } = server.statistics();
  assertEquals(memory.length, 1);
  return memory[0]!;
}

/** The memory of a server that has answered a request. */
async function used(
  { serve }: Context,
  options: Partial<ServeTcpOptions>,
): Promise<MemoryStatistics> {
  await using server = serve(() => new Response("x"), options);
  const { port } = server.addr;
  assertEquals(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "x");
  return memoryOf(server);
}

// Before Linux 6.7 the kernel does not tell.
function sizes({ residentBytes, hugeBytes, bytes }: MemoryStatistics): {
  bytes: number;
  resident: number;
  huge: number;
} | null {
  if (residentBytes === null || hugeBytes === null) return null;
  return { bytes, resident: residentBytes, huge: hugeBytes };
}

testBackends("a server tells what its memory is made of", async (context) => {
  const memory = await used(context, {});
  assertEquals(memory.memoryNode, -1);
  assertEquals(memory.memoryNodeError, null);
  const { bytes, resident, huge } = sizes(memory) ?? {};
  if (bytes === undefined) return;
  assert(bytes > 128 * MIB && resident! < bytes && huge! <= resident!);
  assertEquals(huge! > 0, memory.pages !== "small");
  assertEquals(huge! % (2 * MIB), 0);
});

testBackends("hugePages: never takes pages of 4 KiB", async (context) => {
  const memory = await used(context, { hugePages: "never" });
  assertEquals(memory.pages, "small");
  const { resident, huge } = sizes(memory) ?? {};
  if (resident === undefined) return;
  assertEquals(huge, 0);
  assert(resident < MIB, "only what was touched is there");
});

testBackends(
  "hugePages: transparent leaves the pool alone",
  async (context) => {
    const { pages } = await used(context, { hugePages: "transparent" });
    assert(pages !== "hugetlb");
  },
);

testBackends("prefault takes all memory at once", async (context) => {
  for (const hugePages of ["transparent", "never"] as const) {
    const server = context.serve(() => new Response("x"), {
      ...SMALL,
      hugePages,
      prefault: true,
    });
    const memory = memoryOf(server);
    assertEquals(memory.residentBytes ?? memory.bytes, memory.bytes);
    const pages = Object.values(memory.nodes ?? {});
    // One of every two MiB that connections share.
    if (pages.length > 0) assert(pages.reduce((a, b) => a + b) > 4);
    await server.shutdown();
  }
});

testBackends(
  "memory comes from the node that is asked for",
  async (context) => {
    const { memoryNode, memoryNodeError, nodes } = await used(context, {
      ...SMALL,
      memoryNode: 0,
    });
    assertEquals(memoryNode, 0);
    // A container may forbid to ask, and to look.
    if (memoryNodeError === null && nodes !== null) {
      assertEquals(Object.keys(nodes), ["0"]);
    }
  },
);

testBackends("a node that there is not is told of", async (context) => {
  const { memoryNode, memoryNodeError } = await used(context, {
    ...SMALL,
    memoryNode: 1023,
  });
  assertEquals(memoryNode, 1023);
  assert(["EINVAL", "EPERM", "ENOSYS"].includes(memoryNodeError!));
});

testBackends("memory that is used again is asked for anew", async (context) => {
  const { memoryNode } = await used(context, { ...SMALL, memoryNode: 1023 });
  assertEquals(memoryNode, 1023);
  const again = await used(context, SMALL);
  assertEquals(again.memoryNode, -1);
  // Nor does anything of another choice of pages go to this server.
  const small = await used(context, { ...SMALL, hugePages: "never" });
  assertEquals(small.pages, "small");
});

testBackends("a closed server still tells", async ({ serve }) => {
  const server = serve(() => new Response(), { ...SMALL, memoryNode: 1023 });
  await server.shutdown();
  assertEquals(memoryOf(server).memoryNode, 1023);
});

testWorkers(
  "statistics have the memory of each worker",
  async ({ serveAll }) => {
    const server = await serveAll({
      bufferBytes: 8 * MIB,
      hugePages: "never",
      memoryNode: 1023,
    });
    // The application listens by itself as well, with other options.
    const memory = server.statistics().memory
      .filter(({ memoryNode }) => memoryNode === 1023);
    assertEquals(memory.map(({ pages }) => pages), ["small", "small"]);
    for (const { residentBytes } of memory) assert(residentBytes !== 0);
  },
);

testWorkers("workers have memory of their nodes", async ({ serveAll }) => {
  const { nodes } = topology();
  const bound = await serveAll({ bufferBytes: 8 * MIB, affinity: "core" });
  for (const { memoryNode } of bound.statistics().memory) {
    assert(nodes.some(({ id }) => id === memoryNode));
  }
  const free = await serveAll({ bufferBytes: 8 * MIB, affinity: "none" });
  for (const { memoryNode } of free.statistics().memory) {
    assertEquals(memoryNode, -1);
  }
});

Deno.test("a worker's loops have memory of its node, or of another that is asked for", async () => {
  const module = new URL("./memory_worker.ts", import.meta.url);
  const worker = new Worker(module);
  const { promise, resolve, reject } = Promise.withResolvers<number[]>();
  worker.once("message", resolve);
  worker.once("error", reject);
  assertEquals(await deadline(promise, "the nodes"), [7, 3]);
  await worker.terminate();
});
