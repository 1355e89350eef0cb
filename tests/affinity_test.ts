// SPDX-License-Identifier: Apache-2.0
// Tests of affinity: threads are pinned, one at a time, and let go.

import { assert, assertEquals } from "@std/assert";
import { runChild } from "./child.ts";
import { topology } from "../mod.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;

/** Runs code in a process of its own, in which `affinity`, `topology` and `mask()` are defined; returns what it prints. */
async function pinned(code: string): Promise<unknown> {
  const preamble = `
    const { affinity, topology } = await import(${JSON.stringify(MODULE)});
    // The kernel's own word for the calling thread, as text.
    const mask = () => /Cpus_allowed_list:\\s*(\\S+)/.exec(
      Deno.readTextFileSync("/proc/thread-self/status"))[1];
    void affinity; void topology; void mask;`;
  const { code: exit, out, err } = await runChild(preamble + code, {
    backend: "epoll",
  });
  assertEquals([exit, err], [0, ""]);
  return JSON.parse(out);
}

const ALLOWED = topology().cpus.filter((cpu) => cpu.allowed);
const LAST = ALLOWED.at(-1)!;

Deno.test("pin() holds the thread on a CPU, and unpin() gives back what there was", async () => {
  const [before, during, after, pin, unpin] = await pinned(`
    const before = mask();
    const pin = affinity.pin({ cpu: ${LAST.id} });
    const during = mask();
    const unpin = affinity.unpin();
    console.log(JSON.stringify([before, during, mask(), pin, unpin]));
  `) as string[];
  assertEquals(during, String(LAST.id));
  assertEquals(after, before);
  assertEquals<unknown>(pin, { ok: true, cpus: [LAST.id] });
  assertEquals<unknown>(unpin, {
    ok: true,
    cpus: ALLOWED.map((cpu) => cpu.id),
  });
});

Deno.test("pin() to a node takes its CPUs, also when the thread is pinned already", async () => {
  const cpus = ALLOWED.filter((cpu) => cpu.node === LAST.node).map(({ id }) =>
    id
  );
  assertEquals(
    await pinned(`
      affinity.pin({ cpu: ${LAST.id} });
      console.log(JSON.stringify(affinity.pin({ node: ${LAST.node} })));
    `),
    { ok: true, cpus },
  );
});

Deno.test("a worker of a pinned thread is pinned as that is, and can leave", async () => {
  const worker = `
    import { affinity } from ${JSON.stringify(MODULE)};
    const mask = () => /Cpus_allowed_list:\\s*(\\S+)/.exec(
      Deno.readTextFileSync("/proc/thread-self/status"))[1];
    const before = mask();
    affinity.unpin();
    postMessage([before, mask()]);`;
  const [start, main, [inherited, free]] = await pinned(`
    const start = mask();
    affinity.pin({ cpu: ${LAST.id} });
    const url = "data:application/typescript," + encodeURIComponent(${
    JSON.stringify(worker)
  });
    const worker = new Worker(url, { type: "module" });
    const said = await new Promise((resolve) => worker.onmessage = (event) => resolve(event.data));
    worker.terminate();
    console.log(JSON.stringify([start, mask(), said]));
  `) as [string, string, [string, string]];
  assertEquals([main, inherited], [String(LAST.id), String(LAST.id)]);
  assertEquals(free, start);
});

Deno.test("a failure is told and changes nothing", async () => {
  const [same, ...results] = await pinned(`
    const before = mask();
    const results = [
      affinity.pin({ cpu: 4095 }), affinity.pin({ node: -1 }), affinity.pin({ cpu: NaN }),
      affinity.pin({}), affinity.pin(null), affinity.pin("0"), affinity.pin({ cpu: "0" }),
    ];
    console.log(JSON.stringify([before === mask(), ...results]));
  `) as [boolean, ...{ ok: boolean; reason: string }[]];
  assert(same);
  assertEquals(results.map((result) => result.ok), results.map(() => false));
  assertEquals(
    results[0]!.reason,
    "Cannot pin the thread to CPU 4095: there is none that is online",
  );
});
