// SPDX-License-Identifier: Apache-2.0
// Tests of workers whose starts, reloads and ends overlap, and of modules that say strange things to their supervisor.

import { assertEquals, assertRejects } from "@std/assert";
import { Executor } from "../lib/executor.ts";
import { RawClient } from "./raw_client.ts";
import { deadline, until } from "./testing.ts";
import { fetchOnce, get, testWorkers } from "./workers_testing.ts";

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
  const { requests, forced } = await server.shutdown({ timeout: 5000 });
  assertEquals([requests, forced], [0, 0]);
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

testWorkers("an abort ends workers that start", async (t) => {
  const abort = new AbortController();
  const started = t.serveAll(
    { signal: abort.signal },
    moduleOf(`await new Promise((resolve) => setTimeout(resolve, 20_000));`),
  );
  const reason = new Error("Nobody waits any more");
  setTimeout(() => abort.abort(reason), 100);
  const error = await assertRejects(() => deadline(started, "the end"));
  assertEquals(error, reason);
  assertEquals(t.events.filter(({ kind }) => kind !== "stopped"), []);
});

testWorkers("who throws in onListen has no server", async (t) => {
  const fail = (): never => {
    throw new Error("not there");
  };
  const serving = t.serveAll({ onListen: fail });
  await assertRejects(() => serving, Error, "not there");
  await until(() => t.events.length === 4, "the end of the workers");
  assertEquals(
    t.events.map(({ kind }) => kind),
    ["started", "started", "stopped", "stopped"],
  );
});

// A module whose workers, but for the first one, start when it is open, and which answers requests to hold then.
class Gate implements Disposable {
  readonly module: URL;
  readonly #directory = Deno.makeTempDirSync();

  constructor() {
    const [first, open] = ["first", "open"].map((name) =>
      JSON.stringify(`${this.#directory}/${name}`)
    );
    this.module = moduleOf(`
      import { existsSync } from "node:fs";
      async function opened() {
        while (!existsSync(${open})) {
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }
      if (!existsSync(${first})) Deno.writeTextFileSync(${first}, "");
      else await opened();
      export default { async fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === "/die") setTimeout(() => { throw new Error("died"); });
        if (pathname === "/hold") await opened();
        return new Response("served");
      } };`);
  }

  open(): void {
    Deno.writeTextFileSync(`${this.#directory}/open`, "");
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#directory, { recursive: true });
  }
}

testWorkers("a reload waits for a worker that starts", async (t) => {
  using gate = new Gate();
  const server = await t.serveAll({ workers: 1 }, gate.module);
  await fetchOnce(server, "/die").catch(() => {});
  const states = (): string => server.workers().map((w) => w.state).join();
  await until(() => states() === "starting", "its successor");
  const reloaded = server.reload({ timeout: 0, grace: 0 });
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(states(), "starting");
  gate.open();
  await reloaded;
  assertEquals(
    t.events.map(({ kind }) => kind),
    ["started", "died", "started", "started", "stopped"],
  );
  await until(() => states() === "serving", "the end of its thread");
});

testWorkers("nobody starts while the server shuts down", async (t) => {
  using gate = new Gate();
  const server = await t.serveAll({ workers: 1 }, gate.module);
  using client = await RawClient.connect(server);
  const held = client.request(get("/hold"));
  await until(() => server.statistics().receivedBytes > 0, "the request");
  const reloaded = server.reload();
  await until(() => server.workers().length === 2, "its successor");
  const down = server.shutdown();
  await assertRejects(() => reloaded);
  gate.open();
  assertEquals((await held).text, "served");
  const { connections, forced } = await down;
  assertEquals([connections, forced], [1, 0]);
  const others = t.events.filter(({ kind }) => kind !== "stopped");
  assertEquals(others.map(({ kind }) => kind), ["started"]);
});

testWorkers(
  "a module whose fields are of the wrong type is refused",
  async (t) => {
    for (
      const field of ["fetch", "onError", "onTopic", "onMessage", "onListen"]
    ) {
      const fields = `{ fetch: () => new Response(), ${field}: 5 }`;
      await assertRejects(
        () => t.serveAll({ workers: 1 }, moduleOf(`export default ${fields};`)),
        Error,
        `"${field}" must be a function, is 5`,
      );
    }
  },
);
