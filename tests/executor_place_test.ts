// SPDX-License-Identifier: Apache-2.0
// Tests of where the threads of a shared executor run: on processors that network workers leave, while there are such.

import { assertEquals } from "@std/assert";
import { topology } from "../mod.ts";
import { resolveExecutor } from "../lib/executor_options.ts";
import { placesBeside, SharedExecutor } from "../lib/workers_executor.ts";
import { Random, randomMachine } from "./machines.ts";

const JOBS = new URL("./executor_jobs.ts", import.meta.url);
const SEED = 21;
const MACHINES = 300;

Deno.test("threads take what is left, whole cores first", () => {
  const random = new Random(SEED);
  for (let n = 0; n < MACHINES; n++) {
    const machine = randomMachine(random);
    const allowed = machine.cpus.filter((cpu) => cpu.allowed);
    const taken = new Set(
      allowed.filter(() => random.once(2)).map(({ id }) => id),
    );
    const order = placesBeside(taken, machine);
    const free = allowed.filter(({ id }) => !taken.has(id));
    assertEquals(
      order.toSorted((a, b) => a - b),
      free.map(({ id }) => id).sort((a, b) => a - b),
    );
    const coreOf = new Map(machine.cpus.map(({ id, core }) => [id, core]));
    const cores = new Set([...taken].map((id) => coreOf.get(id)));
    const shares = order.map((id) => cores.has(coreOf.get(id)));
    // Whoever shares a core with a network worker comes last.
    assertEquals(shares, shares.toSorted());
  }
});

/** The processors of a thread beside network workers on these. */
async function processorsBeside(
  taken: readonly number[],
  maximum: number,
): Promise<string> {
  const settings = resolveExecutor("test", { maximum }, 1);
  const executor = new SharedExecutor(settings, taken);
  try {
    return await executor.run<string>(JOBS, "processors");
  } finally {
    await executor.close();
  }
}

Deno.test("a thread is pinned to what is left, or to nothing", async () => {
  const all = await processorsBeside([], 1);
  const allowed = topology().cpus.filter((cpu) => cpu.allowed);
  const ids = allowed.map(({ id }) => id);
  // Nothing is left.
  assertEquals(await processorsBeside(ids, 1), all);
  const [first] = placesBeside(new Set([ids[0]!]), topology());
  assertEquals(
    await processorsBeside([ids[0]!], 1),
    first === undefined ? all : String(first),
  );
});
