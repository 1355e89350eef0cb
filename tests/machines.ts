// SPDX-License-Identifier: Apache-2.0
// machines.ts - machines that are not here: made up at random, and as hwloc
// reads them from tests/topologies/ and from its synthetic descriptions.

import { assertEquals } from "@std/assert";
import type { Topology, TopologyCpu } from "../mod.ts";
import { runChild } from "./child.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;

/** What hwloc is told to show: its environment variables. */
export type Variables = Partial<
  Record<"HWLOC_SYNTHETIC" | "HWLOC_XMLFILE" | "HWLOC_THISSYSTEM", string>
>;

/** A file of tests/topologies/. */
export function xml(name: string): Variables {
  const url = new URL(`./topologies/${name}.xml`, import.meta.url);
  return { HWLOC_XMLFILE: url.pathname };
}

/** What `topology()` returns for each, in a process of its own. */
export async function readMachines(
  machines: readonly Variables[],
): Promise<Topology[]> {
  const body = `
    const { topology } = await import(${JSON.stringify(MODULE)});
    const machines = ${JSON.stringify(machines)};
    console.log(JSON.stringify(machines.map((variables) => {
      const all = Object.entries(variables);
      for (const [name, value] of all) Deno.env.set(name, value);
      const machine = topology();
      for (const [name] of all) Deno.env.delete(name);
      return machine;
    })));`;
  const { code, out, err } = await runChild(body, { backend: "epoll" });
  assertEquals([code, err], [0, ""]);
  return JSON.parse(out);
}

/** A small generator whose seed reproduces a run (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** An integer from 0 to limit - 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    t = (t + Math.imul(t ^ t >>> 7, 61 | t)) ^ t;
    return ((t ^ t >>> 14) >>> 0) % limit;
  }

  /** True once in so many times. */
  once(times: number): boolean {
    return this.below(times) === 0;
  }
}

/** A machine of 1 to 4 packages whose parts differ, of which some may not be used. */
export function randomMachine(random: Random): Topology {
  const cpus = randomCpus(random);
  const ids = [...new Set(cpus.map((cpu) => cpu.node))];
  // Some memory is without CPUs.
  if (random.once(5)) ids.push(Math.max(...ids) + 1);
  const nodes = ids.sort((a, b) => a - b).map((id) => ({
    id,
    memory: random.once(6) ? 0 : 1 + random.below(100),
    allowed: !random.once(8),
    cpus: cpus.filter((cpu) => cpu.node === id).map((cpu) => cpu.id),
    distances: ids.map((to) => id === to ? 10 : 11 + random.below(30)),
  }));
  return {
    source: "hwloc",
    cpus,
    nodes,
    caches: randomCaches(random, cpus),
    quota: random.once(3) ? 0.1 + random.below(100) / 10 : null,
  };
}

function randomCpus(random: Random): TopologyCpu[] {
  const threads = 1 + random.below(3);
  const nodesEach = 1 + random.below(3);
  const oneIn = 1 + random.below(6);
  const cpus: TopologyCpu[] = [];
  const packages = 1 + random.below(4);
  for (let node = 0; node < packages * nodesEach; node++) {
    for (let core = random.below(8); core >= 0; core--) {
      const first = cpus.length;
      for (let thread = random.below(threads); thread >= 0; thread--) {
        cpus.push({
          id: cpus.length,
          package: Math.floor(node / nodesEach),
          core: first,
          node,
          allowed: oneIn === 1 || !random.once(oneIn),
        });
      }
    }
  }
  cpus[random.below(cpus.length)]!.allowed = true;
  return random.once(2) ? cpus : renumbered(cpus, random);
}

// The kernel may number CPUs in any way; they stand in the order of their numbers.
function renumbered(cpus: TopologyCpu[], random: Random): TopologyCpu[] {
  const names = cpus.map((cpu) => cpu.id * 2 + random.below(2));
  for (let at = names.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [names[at], names[other]] = [names[other]!, names[at]!];
  }
  const cores = Map.groupBy(cpus, (cpu) => cpu.core);
  const coreName = (core: number): number =>
    Math.min(...cores.get(core)!.map((cpu) => names[cpu.id]!));
  return cpus.map((cpu) => ({
    ...cpu,
    id: names[cpu.id]!,
    core: coreName(cpu.core),
  })).sort((a, b) => a.id - b.id);
}

// Caches of each core, and of some cores of a node together.
function randomCaches(
  random: Random,
  cpus: readonly TopologyCpu[],
): Topology["caches"] {
  const size = 1 + random.below(4);
  const groups = [
    Map.groupBy(cpus, (cpu) => cpu.core),
    Map.groupBy(cpus, (cpu) => `${cpu.node} ${cpu.core % size}`),
  ].slice(0, random.below(3));
  return groups.flatMap((caches, at) =>
    [...caches.values()].map((sharers) => ({
      level: at + 1,
      bytes: 1 << 20,
      lineBytes: 64,
      cpus: sharers.map((cpu) => cpu.id),
    }))
  );
}
