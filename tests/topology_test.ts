// SPDX-License-Identifier: Apache-2.0
// Tests of topology(): of this machine, of odd ones through hwloc, and of
// what a process is left of its machine.

import { assert, assertEquals, assertObjectMatch } from "@std/assert";
import { type Topology, topology, type TopologyCpu } from "../mod.ts";
import { runChild } from "./child.ts";
import { readMachines, xml } from "./machines.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;

const GIB = 2 ** 30;

function ids(cpus: readonly TopologyCpu[]): number[] {
  return cpus.map((cpu) => cpu.id);
}

function allowed({ cpus }: Topology): number[] {
  return ids(cpus.filter((cpu) => cpu.allowed));
}

function cores({ cpus }: Topology): number[] {
  return [...new Set(cpus.map((cpu) => cpu.core))];
}

async function machineOf(name: string): Promise<Topology> {
  const [machine] = await readMachines([xml(name)]);
  return machine!;
}

Deno.test("topology() knows this machine", () => {
  const machine = topology();
  const { cpus, nodes, caches } = machine;
  const status = Deno.readTextFileSync("/proc/self/status");
  const mask = /^Cpus_allowed:\s*(\S+)/m.exec(status)![1]!;
  const bits = BigInt(`0x${mask.replaceAll(",", "")}`);
  assertEquals(
    allowed(machine),
    ids(cpus).filter((id) => (bits >> BigInt(id) & 1n) === 1n),
  );
  assertEquals(
    nodes.flatMap((node) => node.cpus).sort((a, b) => a - b),
    ids(cpus),
  );
  // The kernel counts what it keeps for itself once more and once less.
  const memory = nodes.reduce((sum, node) => sum + node.memory, 0);
  const ratio = memory / Deno.systemMemoryInfo().total;
  assert(ratio > 0.9 && ratio < 1.1, `${memory} bytes`);
  for (const [at, node] of nodes.entries()) {
    assertEquals(node.distances[at], 10);
    assertEquals(node.distances.length, nodes.length);
  }
  for (const cache of caches) assert(cache.cpus.length > 0);
});

Deno.test("a process that was given less of the machine still sees the whole", async () => {
  const first = Math.min(...allowed(topology()));
  const { out } = await runChild(
    `const { topology } = await import(${JSON.stringify(MODULE)});
    console.log(JSON.stringify(topology()));`,
    { backend: "epoll", under: ["taskset", "-c", String(first)] },
  );
  const machine: Topology = JSON.parse(out);
  assertEquals(allowed(machine), [first]);
  assertEquals(ids(machine.cpus), ids(topology().cpus));
});

Deno.test("a cpuset leaves some CPUs, and the others are still there", async () => {
  const machine = await machineOf("restricted");
  assertEquals(allowed(machine), [1, 2, 6]);
  assertEquals(ids(machine.cpus), [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(cores(machine), [0, 1, 2, 3]);
});

Deno.test("CPUs that are offline are not there", async () => {
  const machine = await machineOf("offline");
  assertEquals(ids(machine.cpus), [0, 1, 3, 4, 6, 7]);
  assertEquals(cores(machine), [0, 1, 3, 6]);
  assertEquals(machine.nodes.map((node) => node.cpus), [[0, 1, 4], [3, 6, 7]]);
});

Deno.test("a node without memory keeps its CPUs, and distances are those of the machine", async () => {
  const { nodes } = await machineOf("memoryless");
  assertEquals(nodes.map((node) => node.memory), [8 * GIB, 8 * GIB, 0]);
  assertEquals(nodes[2]!.cpus, [4, 5]);
  assertEquals(nodes.map((node) => node.distances), [
    [10, 20, 32],
    [20, 10, 16],
    [32, 16, 10],
  ]);
});

Deno.test("a node of memory alone has no CPUs", async () => {
  const { nodes } = await machineOf("memory_only");
  assertEquals(nodes.map((node) => node.cpus), [[0, 1], [2, 3], [], []]);
  assertEquals(nodes.map((node) => node.memory / GIB), [8, 8, 2, 2]);
});

Deno.test("packages may take turns in the numbers of their CPUs", async () => {
  const machine = await machineOf("interleaved");
  assertEquals(machine.cpus.map((cpu) => cpu.package), [
    0,
    1,
    0,
    1,
    0,
    1,
    0,
    1,
  ]);
  assertEquals(machine.cpus.map((cpu) => cpu.core), [0, 1, 2, 3, 0, 1, 2, 3]);
});

Deno.test("caches tell who shares them", async () => {
  const { caches } = await machineOf("hybrid");
  assertEquals(caches.map(({ level, cpus }) => [level, cpus]), [
    [2, [0, 1]],
    [2, [2, 3]],
    [2, [4, 5, 6, 7]],
    [3, [0, 1, 2, 3, 4, 5, 6, 7]],
  ]);
  assertObjectMatch(caches[2]!, { bytes: 2 * 2 ** 20, lineBytes: 64 });
});

Deno.test("the mask of the process counts where the description is of this system", async () => {
  const all = { HWLOC_SYNTHETIC: "pack:1 core:64 pu:2" };
  const [elsewhere, here] = await readMachines([
    all,
    { ...all, HWLOC_THISSYSTEM: "1" },
  ]);
  assertEquals(allowed(elsewhere!).length, 128);
  assertEquals(allowed(here!), allowed(topology()));
});

Deno.test("CPUs beyond those that there is room for are left out", async () => {
  const [machine] = await readMachines([
    { HWLOC_SYNTHETIC: "pu:4(indexes=0,4096,4095,9)" },
  ]);
  assertEquals(ids(machine!.cpus), [0, 9, 4095]);
});
