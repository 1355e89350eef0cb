// SPDX-License-Identifier: Apache-2.0
// Tests of Executor: functions in a pool of workers that return, throw, hang
// and exit, its bounds, and routes that are answered by one.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  Executor,
  ExecutorBusyError,
  type ExecutorOptions,
} from "../lib/executor.ts";
import { RpcCode } from "../lib/rpc.ts";
import { Gate } from "./executor_gate.ts";
import { asError, asJson, testCarriers } from "./packet_client.ts";
import { turn, until, withoutErrors } from "./testing.ts";

const JOBS = new URL("./executor_jobs.ts", import.meta.url);

function test(
  name: string,
  options: ExecutorOptions,
  fn: (executor: Executor) => Promise<void>,
): void {
  Deno.test(name, async () => {
    await using executor = new Executor(options);
    await fn(executor);
  });
}

test(
  "a function is run, and its result returned",
  { maximum: 2 },
  async (executor) => {
    assertEquals(await executor.run(JOBS, "double", [21]), 42);
    const value = { a: [1, new Date(0)], b: new Uint8Array(3) };
    assertEquals(await executor.run(JOBS, "later", [value]), value);
    assertEquals(await executor.run(JOBS, "chatter"), "done");
    const all = Array.from(
      { length: 20 },
      (_, n) => executor.run(JOBS, "double", [n]),
    );
    assertEquals(
      await Promise.all(all),
      Array.from({ length: 20 }, (_, n) => n * 2),
    );
    const { workers, busy, queued, completed } = executor.statistics();
    assertEquals([workers, busy, queued, completed], [2, 0, 0, 23]);
  },
);

test("a buffer may be moved", { maximum: 1 }, async (executor) => {
  const buffer = new ArrayBuffer(10);
  const options = { transfer: [buffer] };
  assertEquals(await executor.run(JOBS, "lengthOf", [buffer], options), 10);
  assertEquals(buffer.byteLength, 0);
});

test(
  "what a function throws is thrown, and its worker goes on",
  { maximum: 1 },
  async (executor) => {
    await executor.run(JOBS, "count");
    const error = await assertRejects(
      () => executor.run(JOBS, "fail", ["mine"]),
      Error,
      "mine",
    );
    assertEquals(error.name, "RangeError");
    await assertRejects(
      () => executor.run(JOBS, "failOddly"),
      Error,
      "odd: true",
    );
    await assertRejects(
      () => executor.run(JOBS, "notCloneable"),
      Error,
      "cloned",
    );
    await assertRejects(
      () => executor.run(JOBS, "double", [() => {}]),
      DOMException,
      "cloned",
    );
    for (const name of ["missing", "value"]) {
      await assertRejects(
        () => executor.run(JOBS, name),
        Error,
        "no such function",
      );
    }
    await assertRejects(
      () => executor.run(new URL("./missing.ts", JOBS), "double"),
      Error,
      "missing.ts",
    );
    assertEquals(await executor.run(JOBS, "count"), 2);
    assertEquals(executor.statistics().failed, 7);
  },
);

test("a worker that exits fails its call alone, and is replaced", {
  maximum: 1,
}, async (executor) => {
  await executor.run(JOBS, "count");
  for (const name of ["exit", "crashLater"]) {
    const lost = executor.run(JOBS, name);
    const next = executor.run(JOBS, "count");
    await withoutErrors(() =>
      assertRejects(() => lost, Error, "before the function returned").then()
    );
    assertEquals(await next, 1);
  }
});

test(
  "a function that hangs is cut off by its signal",
  { maximum: 1 },
  async (executor) => {
    using gate = new Gate();
    const abort = new AbortController();
    const { signal } = abort;
    const hung = executor.run(JOBS, "hang", [gate.buffer], { signal });
    const waiting = executor.run(JOBS, "double", [1], { signal });
    const next = executor.run(JOBS, "count");
    await until(() => gate.started === 1, "the function");
    abort.abort(new RangeError("enough"));
    await assertRejects(() => hung, RangeError, "enough");
    await assertRejects(() => waiting, RangeError, "enough");
    assertEquals(await next, 1);
    await assertRejects(
      () => executor.run(JOBS, "double", [1], { signal }),
      RangeError,
      "enough",
    );
    const { cancelled, completed, workers } = executor.statistics();
    assertEquals([cancelled, completed, workers], [3, 1, 1]);
  },
);

test("as many run at a time as there may be workers, and as many wait as may", {
  maximum: 2,
  maxQueue: 1,
}, async (executor) => {
  using gate = new Gate();
  const run = (): Promise<unknown> => executor.run(JOBS, "wait", [gate.buffer]);
  const calls = [run(), run(), run()];
  await assertRejects(run, ExecutorBusyError, "1 calls wait");
  await until(() => gate.started === 2, "two functions");
  const { workers, busy, queued, refused } = executor.statistics();
  assertEquals([workers, busy, queued, refused], [2, 2, 1, 1]);
  gate.open();
  await Promise.all(calls);
  assertEquals(gate.started, 3);
});

test("a pool is resized while it works", { maximum: 1 }, async (executor) => {
  using gate = new Gate();
  const run = (): Promise<unknown> => executor.run(JOBS, "wait", [gate.buffer]);
  const calls = [run(), run(), run()];
  await until(() => gate.started === 1, "the first");
  executor.resize(3);
  await until(() => gate.started === 3, "all");
  executor.resize(1);
  assertEquals(executor.statistics().workers, 3);
  gate.open();
  await Promise.all(calls);
  assertEquals(executor.statistics().workers, 1);
  assertThrows(() => executor.resize(0), RangeError, "maximum");
});

test(
  "a worker without work is stopped, and another started when there is some",
  {
    maximum: 1,
    idleTimeout: 1,
  },
  async (executor) => {
    assertEquals(await executor.run(JOBS, "count"), 1);
    await until(() => executor.statistics().workers === 0, "its end");
    assertEquals(await executor.run(JOBS, "count"), 1);
  },
);

test(
  "as many workers as are always wanted are there",
  { maximum: 2, minimum: 1, idleTimeout: 1 },
  async (executor) => {
    assertEquals(executor.statistics().workers, 1);
    using gate = new Gate();
    const run = (): Promise<unknown> =>
      executor.run(JOBS, "wait", [gate.buffer]);
    const calls = [run(), run()];
    await until(() => gate.started === 2, "both");
    assertEquals(executor.statistics().workers, 2);
    gate.open();
    await Promise.all(calls);
    await until(() => executor.statistics().workers === 1, "the end of one");
    const before = await executor.run<number>(JOBS, "count");
    await until(() => executor.statistics().busy === 0, "rest");
    for (let turns = 0; turns < 20; turns++) await turn();
    assertEquals(await executor.run(JOBS, "count"), before + 1);
    await assertRejects(() => executor.run(JOBS, "exit"));
    await until(() => executor.statistics().workers === 1, "another one");
  },
);

Deno.test("close() rejects what is not done", async () => {
  const executor = new Executor({ maximum: 1 });
  using gate = new Gate();
  const calls = ["hang", "wait"].map((name) =>
    executor.run(JOBS, name, [gate.buffer])
  );
  await until(() => gate.started === 1, "the first");
  const closed = executor.close();
  for (const call of calls) {
    await assertRejects(() => call, Deno.errors.Interrupted, "closed");
  }
  await closed;
  await assertRejects(() => executor.run(JOBS, "count"), TypeError, "closed");
  assertEquals(executor.statistics().workers, 0);
});

Deno.test("without the permission to read its module a call rejects", async () => {
  const script = `
    import { Executor } from "./lib/executor.ts";
    await using executor = new Executor();
    const jobs = new URL(${JSON.stringify(JOBS.href)});
    const error = await executor.run(jobs, "double").catch((error) => error);
    console.log(error.cause.message, executor.statistics().failed);
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-"],
    cwd: new URL("..", import.meta.url),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  await input.write(new TextEncoder().encode(script));
  await input.close();
  const { stdout, stderr } = await child.output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  assert(
    /^Requires read access to ".*executor_worker.ts".* 1\n$/.test(text(stdout)),
    text(stdout) + text(stderr),
  );
});

Deno.test("options that are wrong are refused", () => {
  for (
    const options of [
      { maximum: 0 },
      { maxQueue: -1 },
      { idleTimeout: 0.5 },
      { maximum: 2, minimum: 3 },
    ]
  ) {
    assertThrows(() => new Executor(options), RangeError);
  }
  assertThrows(() => new Executor({ size: 1 } as ExecutorOptions), TypeError);
});

Deno.test("calls that are wrong are refused", async () => {
  await using executor = new Executor({ maximum: 1 });
  const run = executor.run.bind(executor) as (
    ...wrong: unknown[]
  ) => Promise<unknown>;
  for (
    const [args, text] of [
      [[JOBS.href, "double"], "must be given as a URL"],
      [[JOBS, 1], "its name must be a string"],
      [[JOBS, "double", "1"], "its arguments must be an array"],
    ] as const
  ) {
    await assertRejects(() => run(...args), TypeError, text);
  }
  assertEquals(executor.statistics().workers, 0);
});

testCarriers("a route is answered by a worker", async (t) => {
  const executor = new Executor({ maximum: 1, maxQueue: 0 });
  const app = t.app({ executor });
  using gate = new Gate();
  app.route(1, "double", { worker: JOBS });
  app.route(2, "refuse", { worker: JOBS });
  app.route(3, "fail", { worker: JOBS });
  app.route(4, "hang", {
    worker: JOBS,
    timeout: 1000,
    parse: () => gate.buffer,
  });
  app.route(5, () => "at once");
  const client = await t.connect(app);
  const ask = async (action: number, body: string): Promise<unknown> => {
    await client.send(action, action, body);
    return asError(await client.receive()).slice(2);
  };
  await client.send(1, 1, "21");
  assertEquals(asJson(await client.receive()), [1, 1, 42]);
  assertEquals(await ask(2, "1"), [123, "refused"]);
  const logged = await withoutErrors(async () => {
    assertEquals(await ask(3, '"mine"'), [RpcCode.Internal, "Internal error"]);
  });
  assert(String(logged[0]![1]).includes("mine"));
  await client.send(4, 4, "1");
  await until(() => gate.started === 1, "the function");
  // Others are answered while one takes the processor.
  await client.send(5, 5);
  assertEquals(asJson(await client.receive()), [5, 5, "at once"]);
  assertEquals(await ask(1, "1"), [RpcCode.Busy, "Too busy"]);
  assertEquals(asError(await client.receive())[2], RpcCode.Timeout);
  await client.send(1, 6, "4");
  assertEquals(asJson(await client.receive()), [1, 6, 8]);
  await executor.close();
});

testCarriers("a worker is stopped when its connection is gone", async (t) => {
  const app = t.app();
  using gate = new Gate();
  app.route(1, "hang", { worker: JOBS, parse: () => gate.buffer });
  const client = await t.connect(app);
  await client.send(1, 1, "1");
  await until(() => gate.started === 1, "the function");
  app.connections[0]!.terminate();
  await until(() => app.connections.length === 0, "the end");
  // The application waits for its workers to end.
  await app.shutdown();
});
