// SPDX-License-Identifier: Apache-2.0
// Tests of workers whose starts, reloads and ends overlap, and of modules that say strange things to their supervisor.

import { assertEquals } from "@std/assert";
import { Executor } from "../lib/executor.ts";
import { fetchOnce, testWorkers } from "./workers_testing.ts";

function moduleOf(source: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(source)}`);
}

// What Millrace's own threads say, but for what they say it with.
const STRANGE = `
  import { parentPort } from "node:worker_threads";
  export function say() {
    for (const millrace of
      ["ready", "failed", "left", "run", "cancel", "resize", "topics", "message", "x", null]
    ) parentPort.postMessage({ millrace });
    for (const job of [0, 1, 2]) parentPort.postMessage({ job });
    for (const data of [null, 1, "left", [], ["", {}], [undefined, null]]) {
      parentPort.postMessage(data);
    }
  }`;

testWorkers("messages of a module to its supervisor do no harm", async (t) => {
  const server = await t.serveAll(
    { workers: 1 },
    moduleOf(`${STRANGE}
      say();
      addEventListener("message", ({ data }) => {
        if (data?.millrace === "leave") say();
      });
      export default { fetch() { say(); return new Response("said"); } };`),
  );
  assertEquals(await fetchOnce(server), "said");
  await server.reload({ grace: 0 });
  assertEquals(await fetchOnce(server), "said");
  const report = await server.shutdown({ timeout: 5000 });
  assertEquals(report, { connections: 0, requests: 0, forced: 0 });
  assertEquals(
    t.events.map(({ kind }) => kind),
    ["started", "started", "stopped", "stopped"],
  );
});

Deno.test("messages of a function to its executor do no harm", async () => {
  await using executor = new Executor({ maximum: 1 });
  const module = moduleOf(
    `${STRANGE} export function run() { say(); return "done"; }`,
  );
  for (let i = 0; i < 3; i++) {
    assertEquals(await executor.run(module, "run"), "done");
  }
});
