// SPDX-License-Identifier: Apache-2.0
// Tests of plan(): what has to hold for every placement, on hundreds of
// machines made up at random and on odd ones as hwloc describes them.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type Placement,
  type PlacementPolicy,
  plan,
  type Topology,
  type TopologyCpu,
} from "../mod.ts";
import { Random, randomMachine, readMachines, xml } from "./machines.ts";

const SEED = 20;
const MACHINES = 500;

/** The CPUs that a policy leaves to choose from. */
function choice(policy: PlacementPolicy, { cpus }: Topology): TopologyCpu[] {
  const allowed = cpus.filter((cpu) => cpu.allowed);
  if (typeof policy === "string") return allowed;
  if ("node" in policy) {
    return allowed.filter((cpu) => cpu.node === policy.node);
  }
  return allowed.filter((cpu) => policy.cpus.includes(cpu.id));
}

/** How many places of each kind have been taken. */
function counts<K>(keys: readonly K[]): Map<K, number> {
  const found = new Map<K, number>();
  for (const key of keys) found.set(key, (found.get(key) ?? 0) + 1);
  return found;
}

/** Every worker has an allowed CPU, and none is taken twice while one is free. */
function checkCpus(places: Placement[], free: TopologyCpu[]): void {
  const ids = new Set(free.map((cpu) => cpu.id));
  const taken = counts(places.map((place) => place.cpu));
  for (const cpu of taken.keys()) assert(ids.has(cpu), `CPU ${cpu}`);
  const least = taken.size < ids.size ? 0 : Math.min(...taken.values());
  assert(Math.max(...taken.values()) <= least + 1, "a CPU is taken too often");
}

/** Memory comes from the worker's own node if that has some, else from the nearest that has. */
function checkMemory(places: Placement[], machine: Topology): void {
  const usable = machine.nodes.filter((node) =>
    node.allowed && node.memory > 0
  );
  const nodeOf = new Map(machine.cpus.map((cpu) => [cpu.id, cpu.node]));
  for (const { cpu, node, memoryNode } of places) {
    assert(nodeOf.get(cpu) === node);
    const own = machine.nodes.find(({ id }) => id === node)!;
    if (usable.length === 0 || usable.includes(own)) {
      assert(memoryNode === node);
      continue;
    }
    const distance = (id: number): number =>
      own.distances[machine.nodes.findIndex((other) => other.id === id)]!;
    const least = Math.min(...usable.map(({ id }) => distance(id)));
    assert(usable.some(({ id }) => id === memoryNode));
    assert(distance(memoryNode) === least);
  }
}

/** No core is taken a second time while another one, of these, has not been taken. */
function checkCores(places: Placement[], free: TopologyCpu[]): void {
  const coreOf = new Map(free.map((cpu) => [cpu.id, cpu.core]));
  const size = counts(free.map((cpu) => cpu.core));
  const taken = counts(places.map((place) => coreOf.get(place.cpu)!));
  const most = Math.max(...taken.values());
  for (const [core, cpus] of size) {
    const has = taken.get(core) ?? 0;
    assert(has >= Math.min(cpus, most - 1), `core ${core} was passed over`);
  }
}

/** Nodes that have cores left have been given as many workers, but for one. */
function checkNodes(places: Placement[], free: TopologyCpu[]): void {
  const cores = counts(
    [...new Map(free.map((cpu) => [cpu.core, cpu.node])).values()],
  );
  // While cores suffice: their siblings follow what the cores have left uneven.
  const first = places.slice(0, [...cores.values()].reduce((a, b) => a + b, 0));
  const taken = counts(first.map((place) => place.node));
  const most = Math.max(...taken.values());
  for (const [node, size] of cores) {
    assert((taken.get(node) ?? 0) >= Math.min(size, most - 1), `node ${node}`);
  }
}

/** No node is begun before the one in use is full. */
function checkPacked(places: Placement[], free: TopologyCpu[]): void {
  const sizes = counts(free.map((cpu) => cpu.node));
  const taken = counts(places.slice(0, free.length).map(({ node }) => node));
  const open = [...taken].filter(([node, count]) => count < sizes.get(node)!);
  assert(open.length <= 1, "two nodes are in use in part");
}

function checkAll(machine: Topology, random: Random): void {
  const some = machine.cpus.filter((cpu) => cpu.allowed);
  const one = some[random.below(some.length)]!;
  const policies: PlacementPolicy[] = [
    "spread",
    "pack",
    { node: one.node },
    {
      cpus: some.filter((cpu) => cpu === one || random.once(2)).map(({ id }) =>
        id
      ),
    },
  ];
  for (const policy of policies) {
    const free = choice(policy, machine);
    const workers = 1 + random.below(2 * free.length + 2);
    const places = plan(workers, policy, machine);
    assertEquals(places.length, workers);
    checkCpus(places, free);
    checkMemory(places, machine);
    // More workers than CPUs change nothing about the first ones.
    assertEquals(places, plan(2 * workers, policy, machine).slice(0, workers));
    if (policy === "spread") checkNodes(places, free);
    if (policy === "pack") {
      checkPacked(places, free);
      for (
        const [node, on] of Map.groupBy(
          places.slice(0, free.length),
          ({ node }) => node,
        )
      ) {
        checkCores(on, free.filter((cpu) => cpu.node === node));
      }
    } else if (typeof policy === "string" || "node" in policy) {
      checkCores(places.slice(0, free.length), free);
    } else {
      const ids = places.slice(0, policy.cpus.length).map(({ cpu }) => cpu);
      assertEquals(ids, policy.cpus.slice(0, ids.length));
    }
    checkAuto(machine, policy, free);
  }
}

/** As many as cores (or listed CPUs), and no more than the quota. */
function checkAuto(
  machine: Topology,
  policy: PlacementPolicy,
  free: TopologyCpu[],
): void {
  const isList = typeof policy === "object" && "cpus" in policy;
  const keys = free.map((cpu) => isList ? cpu.id : cpu.core);
  const most = Math.max(1, Math.floor(machine.quota ?? Infinity));
  const expected = Math.min(new Set(keys).size, most);
  assertEquals(plan("auto", policy, machine).length, expected);
}

Deno.test("every placement keeps the rules, on machines made up at random", () => {
  const random = new Random(SEED);
  for (let at = 0; at < MACHINES; at++) {
    const machine = randomMachine(random);
    try {
      checkAll(machine, random);
    } catch (error) {
      const text = JSON.stringify(machine);
      throw new Error(`Machine ${at} of seed ${SEED}: ${text}`, {
        cause: error,
      });
    }
  }
});

Deno.test("every placement keeps the rules, on machines as hwloc describes them", async () => {
  const random = new Random(SEED);
  const machines = await readMachines([
    ...["restricted", "memoryless", "offline"].map(xml),
    ...["hybrid", "memory_only", "interleaved"].map(xml),
    { HWLOC_SYNTHETIC: "pu:1" },
    { HWLOC_SYNTHETIC: "pack:1 core:4 pu:2" },
    { HWLOC_SYNTHETIC: "pack:2 numa:1 l3:8 l2:8 core:1 pu:2" }, // 2 × 64 cores
    { HWLOC_SYNTHETIC: "pack:4 numa:2 l3:2 core:3 pu:4" },
    { HWLOC_SYNTHETIC: "numa:3 pack:1 core:5 pu:1" },
    { HWLOC_SYNTHETIC: "pack:8 numa:1 core:64 pu:2" }, // 1,024 CPUs
  ]);
  assertEquals(machines.at(-1)!.cpus.length, 1024);
  for (const machine of machines) {
    for (let times = 0; times < 20; times++) checkAll(machine, random);
  }
});

/** Two packages of two nodes with two cores of two threads. */
async function example(): Promise<Topology> {
  const [machine] = await readMachines([
    { HWLOC_SYNTHETIC: "pack:2 numa:2 core:2 pu:2" },
  ]);
  return { ...machine!, quota: null };
}

function cpusOf(places: readonly Placement[]): number[] {
  return places.map((place) => place.cpu);
}

Deno.test('"spread" takes turns among packages, then nodes, then cores', async () => {
  assertEquals(
    cpusOf(plan(17, "spread", await example())),
    [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15, 0],
  );
});

Deno.test('"pack" fills one node after the other', async () => {
  assertEquals(
    cpusOf(plan(17, "pack", await example())),
    [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15, 0],
  );
});

Deno.test('"pack" begins with the node that has most cores to be used', async () => {
  const machine = await example();
  const cpus = machine.cpus.map((cpu) => ({ ...cpu, allowed: cpu.id > 1 }));
  assertEquals(
    cpusOf(plan(6, "pack", { ...machine, cpus })),
    [4, 6, 5, 7, 8, 10],
  );
});

Deno.test('"spread" gives each last cache a worker before any has two', async () => {
  const [machine] = await readMachines([
    { HWLOC_SYNTHETIC: "pack:1 l3:4 core:2 pu:1" },
  ]);
  assertEquals(cpusOf(plan(5, "spread", machine)), [0, 2, 4, 6, 1]);
  assertEquals(cpusOf(plan(5, "pack", machine)), [0, 1, 2, 3, 4]);
});

Deno.test('"auto" takes no more workers than the quota has whole CPUs', async () => {
  const machine = await example();
  const auto = (quota: number | null): number =>
    plan("auto", "spread", { ...machine, quota }).length;
  assertEquals([null, 100, 8, 7.9, 2, 1.5, 0.1].map(auto), [
    8,
    8,
    8,
    7,
    2,
    1,
    1,
  ]);
});

Deno.test("plan() tells what is wrong", async () => {
  const [restricted] = await readMachines([xml("restricted")]);
  const refused = (
    workers: number,
    policy: PlacementPolicy,
    kind: typeof TypeError,
    message: string,
  ): void =>
    void assertThrows(() => plan(workers, policy, restricted), kind, message);
  refused(
    1,
    { cpus: [3] },
    RangeError,
    "CPU 3 may not be used by this process; what may be used is 1, 2, 6",
  );
  refused(1, { cpus: [1, 99] }, RangeError, "CPU 99 is not online");
  refused(1, { cpus: [] }, TypeError, "the list of CPUs is empty");
  refused(
    1,
    { node: 7 },
    RangeError,
    "node 7: it has no CPU that this process may use; nodes that have: 0",
  );
  refused(0, "spread", RangeError, 'an integer from 1 to 4096 or "auto", is 0');
  refused(1.5, "pack", RangeError, "is 1.5");
  refused(
    1,
    "far" as "pack",
    TypeError,
    'the policy must be "spread", "pack", { node } or { cpus }, is "far"',
  );
  refused(1, null as unknown as "pack", TypeError, "is null");
  const none = { ...restricted!, cpus: [] };
  assertThrows(
    () => plan("auto", "spread", none),
    RangeError,
    "there is no CPU that this process may use",
  );
});
