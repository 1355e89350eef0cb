// SPDX-License-Identifier: Apache-2.0
// Tests of the executor that all workers of a server share: its bounds, its statistics, and what becomes of calls when
// a worker dies or is replaced.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { rpcClient, RpcError } from "../lib/rpc.ts";
import type { ServeAllOptions, WorkersServer } from "../lib/workers.ts";
import { Gate } from "./executor_gate.ts";
import { RawClient } from "./raw_client.ts";
import { until } from "./testing.ts";
import { get, testWorkers, type WorkersContext } from "./workers_testing.ts";

const JOBS = new URL("./executor_jobs.ts", import.meta.url);
const APP = new URL("./workers_executor_app.ts", import.meta.url);

interface Answer {
  value?: unknown;
  error?: { name: string; message: string; code?: number };
}

/** A connection to one of the workers. */
class Caller implements Disposable {
  readonly #client: RawClient;

  private constructor(client: RawClient) {
    this.#client = client;
  }

  static async connect(server: WorkersServer): Promise<Caller> {
    return new Caller(await RawClient.connect(server));
  }

  async ask(path: string): Promise<Answer> {
    const response = await this.#client.request(get(path));
    return JSON.parse(response.text) as Answer;
  }

  /** Has the worker run a function. */
  run(name: string, more: Record<string, string> = {}): Promise<Answer> {
    return this.ask(`/run?${new URLSearchParams({ name, ...more })}`);
  }

  async value(path: string): Promise<unknown> {
    const { value, error } = await this.ask(path);
    assertEquals(error, undefined);
    return value;
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function serveAll(
  t: WorkersContext,
  executor: ServeAllOptions["executor"] = {},
  options: ServeAllOptions = {},
): Promise<WorkersServer> {
  return t.serveAll({ balance: "least", executor, ...options }, APP);
}

/** Keeps a thread of the pool until the gate opens. */
function occupy(server: WorkersServer, gate: Gate): Promise<unknown> {
  return server.executor.run(JOBS, "wait", [gate.buffer]);
}

testWorkers("executors of all workers share one pool", async (t) => {
  const server = await serveAll(t, { maximum: 1 });
  using first = await Caller.connect(server);
  using second = await Caller.connect(server);
  assert(await first.value("/id") !== await second.value("/id"));
  // The same thread answers all, and counts.
  assertEquals(await first.run("count"), { value: 1 });
  assertEquals(await second.run("count"), { value: 2 });
  assertEquals(await second.run("count", { other: "1" }), { value: 3 });
  assertEquals(await server.executor.run(JOBS, "count"), 4);
  const expected = {
    maximum: 1,
    workers: 1,
    busy: 0,
    queued: 0,
    completed: 4,
    failed: 0,
    cancelled: 0,
    refused: 0,
  };
  assertEquals(server.executor.statistics(), expected);
  assertEquals(await first.value("/statistics"), expected);
});

testWorkers("calls of workers bring what they are given", async (t) => {
  const server = await serveAll(t);
  using caller = await Caller.connect(server);
  const args = '[{"a":[1,null,"x"]}]';
  assertEquals(await caller.run("later", { args }), {
    value: { a: [1, null, "x"] },
  });
  assertEquals(await caller.value("/moved"), [0, 1000, 7]);
  const thrown = await caller.run("fail", { args: '["mine"]' });
  assertEquals(thrown.error, { name: "RangeError", message: "mine" });
  const { error } = await caller.ask("/uncloneable");
  assertEquals(error!.name, "DataCloneError");
  const { message } = (await caller.run("exit")).error!;
  assert(message.includes("before the function returned"), message);
  assertEquals(await caller.run("count"), { value: 1 });
  assertEquals((await caller.run("refuse")).error!.code, 123);
});

testWorkers("bounds are those of all workers", async (t) => {
  const server = await serveAll(t, { maximum: 1, maxQueue: 2 });
  using gate = new Gate();
  const kept = occupy(server, gate);
  using first = await Caller.connect(server);
  using second = await Caller.connect(server);
  using third = await Caller.connect(server);
  const waiting = [first.run("count"), second.run("count")];
  await until(() => server.executor.statistics().queued === 2, "both");
  const { error } = await third.run("count");
  assertEquals(error!.name, "ExecutorBusyError");
  await assertRejects(
    () => server.executor.run(JOBS, "count"),
    Error,
    "2 calls wait",
  );
  assertEquals(server.executor.statistics().refused, 2);
  gate.open();
  await kept;
  const values = await Promise.all(waiting);
  assertEquals(new Set(values.map(({ value }) => value)), new Set([2, 3]));
});

testWorkers("calls of eight workers do not get mixed up", async (t) => {
  const server = await serveAll(t, { maximum: 2 }, { workers: 8 });
  const callers = await Promise.all(
    Array.from({ length: 16 }, () => Caller.connect(server)),
  );
  await Promise.all(callers.map(async (caller, at) => {
    for (let n = 0; n < 20; n++) {
      const args = JSON.stringify([at * 100 + n]);
      const name = n % 5 === 0 ? "fail" : "double";
      const { value, error } = await caller.run(name, { args });
      if (name === "fail") assertEquals(error!.message, `${at * 100 + n}`);
      else assertEquals(value, (at * 100 + n) * 2);
    }
  }));
  for (const caller of callers) caller[Symbol.dispose]();
  const { busy, queued, completed, failed } = server.executor.statistics();
  assertEquals([busy, queued, completed, failed], [0, 0, 256, 64]);
});

testWorkers("a worker gives a call up, waiting or running", async (t) => {
  const server = await serveAll(t, { maximum: 1 });
  using caller = await Caller.connect(server);
  using same = await connectTo(server, await caller.value("/id"));
  const running = caller.run("forever", { key: "running" });
  await until(() => server.executor.statistics().busy === 1, "the function");
  using third = await connectTo(server, await same.value("/id"));
  const waiting = third.run("count", { key: "waiting" });
  await until(() => server.executor.statistics().queued === 1, "the other");
  await same.ask("/abort?key=waiting");
  assertEquals((await waiting).error!.message, "enough");
  await same.ask("/abort?key=running");
  assertEquals((await running).error!.name, "RangeError");
  await until(() => server.executor.statistics().cancelled === 2, "the end");
  // Another thread has taken the place of the one that was stopped.
  assertEquals(await same.run("count"), { value: 1 });
  const { busy, queued, workers } = server.executor.statistics();
  assertEquals([busy, queued, workers], [0, 0, 1]);
});

/** A connection to the worker that has this name. */
async function connectTo(server: WorkersServer, id: unknown): Promise<Caller> {
  const others: Caller[] = [];
  try {
    for (;;) {
      const caller = await Caller.connect(server);
      if (await caller.value("/id") === id) return caller;
      others.push(caller);
    }
  } finally {
    for (const caller of others) caller[Symbol.dispose]();
  }
}

testWorkers("an executor of a worker closes for itself alone", async (t) => {
  const server = await serveAll(t, { maximum: 2 });
  using caller = await Caller.connect(server);
  using same = await connectTo(server, await caller.value("/id"));
  const running = caller.run("forever");
  await until(() => server.executor.statistics().busy === 1, "the function");
  await same.ask("/close");
  assertEquals((await running).error!.name, "Interrupted");
  const { error } = await same.run("count");
  assert(error!.message.includes("closed"), error!.message);
  assertEquals(await same.run("double", { args: "[4]", other: "1" }), {
    value: 8,
  });
});

testWorkers("a worker that dies gives up its calls", async (t) => {
  const server = await serveAll(t, { maximum: 1 });
  for (let deaths = 1; deaths <= 3; deaths++) {
    using caller = await Caller.connect(server);
    using same = await connectTo(server, await caller.value("/id"));
    using third = await connectTo(server, await caller.value("/id"));
    const calls = [caller.run("forever"), same.run("forever")];
    for (const call of calls) call.catch(() => {});
    await until(() => server.executor.statistics().queued === 1, "both");
    await third.ask("/exit").catch(() => {});
    await Promise.allSettled(calls);
    await until(
      () => server.executor.statistics().cancelled === 2 * deaths,
      "their end",
    );
    const { busy, queued, workers } = server.executor.statistics();
    assertEquals([busy, queued, workers], [0, 0, 0]);
    assertEquals(await server.executor.run(JOBS, "count"), 1);
    await server.executor.run(JOBS, "exit").catch(() => {});
  }
});

testWorkers("the pool is resized while it works", async (t) => {
  const server = await serveAll(t, { maximum: 1 });
  using gate = new Gate();
  const calls = [1, 2, 3].map(() => occupy(server, gate));
  await until(() => gate.started === 1, "the first");
  server.executor.resize(2);
  await until(() => gate.started === 2, "the second");
  using caller = await Caller.connect(server);
  await caller.ask("/resize?to=3");
  await until(() => gate.started === 3, "the third");
  const wrong = await caller.ask("/resize?to=0");
  assertEquals(wrong.error!.name, "RangeError");
  await caller.ask("/resize?to=1");
  await until(() => server.executor.statistics().maximum === 1, "the bound");
  assertEquals(server.executor.statistics().busy, 3);
  gate.open();
  await Promise.all(calls);
  assertEquals(server.executor.statistics().workers, 1);
});

testWorkers("routes of the action router share the pool", async (t) => {
  const server = await serveAll(t, { maximum: 1, maxQueue: 0 });
  using caller = await Caller.connect(server);
  const { port } = await caller.value("/rpc") as Deno.NetAddr;
  await using client = await rpcClient(`tcp://127.0.0.1:${port}`);
  assertEquals(await client.call(1, 21), 42);
  assertEquals(server.executor.statistics().completed, 1);
  const refused = await assertRejects(() => client.call(2, 1), RpcError);
  assertEquals([refused.code, refused.message], [123, "refused"]);
  using gate = new Gate();
  const kept = occupy(server, gate);
  const busy = await assertRejects(() => client.call(1, 1), RpcError);
  assertEquals(busy.message, "Too busy");
  gate.open();
  await kept;
  assertEquals(await client.call(1, 4), 8);
});

testWorkers("a reload has functions loaded anew", async (t) => {
  const directory = await Deno.makeTempDir();
  const file = join(directory, "jobs.ts");
  const write = (text: string): Promise<void> =>
    Deno.writeTextFile(file, `export const text = () => "${text}";`);
  const more = { module: pathToFileURL(file).href };
  try {
    await write("old");
    const server = await serveAll(t, { maximum: 2 });
    using gate = new Gate();
    const kept = occupy(server, gate);
    const before = await Caller.connect(server);
    assertEquals(await before.run("text", more), { value: "old" });
    await write("new");
    assertEquals(await before.run("text", more), { value: "old" });
    before[Symbol.dispose]();
    await server.reload({ grace: 0 });
    using after = await Caller.connect(server);
    assertEquals(await after.run("text", more), { value: "new" });
    // A call is not interrupted; its thread has no other one.
    assertEquals(server.executor.statistics().busy, 1);
    gate.open();
    await kept;
    assertEquals(server.executor.statistics().workers, 1);
    assertEquals(await after.run("text", more), { value: "new" });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testWorkers("new workers are not given old threads", async (t) => {
  const server = await serveAll(t, { maximum: 2 }, { workers: 1 });
  using caller = await Caller.connect(server);
  using same = await Caller.connect(server);
  const held = caller.run("forever", { key: "held" });
  await until(() => server.executor.statistics().busy === 1, "the function");
  assertEquals(await same.run("count"), { value: 1 });
  const reloaded = server.reload({ grace: 30_000 });
  await until(
    () => t.events.filter(({ kind }) => kind === "started").length === 2,
    "a new worker",
  );
  // One thread is at the old worker's call, and the other one has to go.
  using next = await Caller.connect(server);
  assertEquals(await next.run("count"), { value: 1 });
  const { busy, workers } = server.executor.statistics();
  assertEquals([busy, workers], [1, 2]);
  await same.ask("/abort?key=held");
  assertEquals((await held).error!.message, "enough");
  await reloaded;
  assertEquals(await next.run("count"), { value: 2 });
});

testWorkers("a reload that fails leaves the pool as it was", async (t) => {
  const directory = await Deno.makeTempDir();
  const file = join(directory, "app.ts");
  try {
    await Deno.writeTextFile(
      file,
      `export { default } from ${JSON.stringify(APP.href)};`,
    );
    const server = await t.serveAll(
      { executor: { maximum: 1 } },
      pathToFileURL(file),
    );
    using caller = await Caller.connect(server);
    assertEquals(await caller.run("count"), { value: 1 });
    await Deno.writeTextFile(file, 'throw new Error("broken");');
    await assertRejects(() => server.reload(), Error, "broken");
    assertEquals(await caller.run("count"), { value: 2 });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testWorkers("shutdown ends the pool", async (t) => {
  const server = await serveAll(t, { maximum: 1, minimum: 1 });
  assertEquals(server.executor.statistics().workers, 1);
  const call = server.executor.run(JOBS, "forever");
  const rejected = assertRejects(() => call, Deno.errors.Interrupted);
  await server.shutdown();
  await rejected;
  assertEquals(server.executor.statistics().workers, 0);
  await assertRejects(
    () => server.executor.run(JOBS, "count"),
    TypeError,
    "closed",
  );
});
