// SPDX-License-Identifier: Apache-2.0
// Tests of the benchmark's load client: that it asks and checks as it says, in
// the closed loop, on a schedule and with a connection for each request.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { websocket } from "../mod.ts";
import type { LoadResult } from "../bench/measure.ts";
import { type LoadRun, runLoad } from "./bench_testing.ts";
import { testBackends } from "./testing.ts";

const SHORT = ["--seconds", "0.2", "--warmup", "0"];

/** Runs the client, which has to find nothing wrong. */
async function load(
  protocol: string,
  port: number,
  ...args: string[]
): Promise<LoadResult> {
  const { code, err, result } = await asked(protocol, port, ...args);
  assertEquals(code, 0, err);
  assertEquals(result.error_kinds, {});
  assert(result.count > 0);
  return result;
}

function asked(
  protocol: string,
  port: number,
  ...args: string[]
): Promise<LoadRun> {
  const path = protocol === "ws" ? "/ws" : "/";
  return runLoad([
    protocol,
    "127.0.0.1",
    String(port),
    path,
    ...SHORT,
    ...args,
  ]);
}

function hello(): Response {
  return new Response("Hello");
}

const EXPECT = ["--expect", "Hello"];

testBackends(
  "load: a closed loop tells how even answers are",
  async ({ serve }) => {
    const { addr } = serve(hello);
    const args = [...EXPECT, "--connections", "2", "--in-flight", "3"];
    const { count, evenness, asked_rate } = await load(
      "http",
      addr.port,
      ...args,
    );
    assertEquals(asked_rate, undefined);
    assert(evenness !== undefined);
    // Of two connections, the median is the upper one.
    assertEquals(evenness.least + evenness.most, count);
    assertEquals(evenness.median, evenness.most);
    const squares = evenness.least ** 2 + evenness.most ** 2;
    assertEquals(
      evenness.jain.toFixed(3),
      (count ** 2 / 2 / squares).toFixed(3),
    );
  },
);

testBackends("load: a rate is kept over HTTP", async ({ serve }) => {
  let requests = 0;
  const { addr } = serve(() => {
    requests++;
    return hello();
  });
  const args = [...EXPECT, "--connections", "4", "--rate", "500"];
  const result = await load("http", addr.port, ...args, "--distribution");
  assertEquals(result.asked_rate, 500);
  assertEquals(result.backlog, 0);
  // 100 are due within 0.2 s; one more is the first answer.
  assert(requests <= 102, `${requests} requests`);
  checkDistribution(result);
});

testBackends("load: a rate is kept over WebSockets", async ({ serve }) => {
  const echo = websocket({ message: (socket, data) => void socket.send(data) });
  const { addr } = serve((request) => echo.upgrade(request));
  const args = ["--connections", "4", "--in-flight", "8", "--rate", "500"];
  const result = await load("ws", addr.port, ...args, "--distribution");
  assertEquals(result.backlog, 0);
  assert(result.count <= 101, `${result.count} answers`);
  checkDistribution(result);
});

function checkDistribution({ distribution_us = [], max_us }: LoadResult): void {
  assert(distribution_us.length >= 30);
  assertEquals(distribution_us.at(-1), [100, max_us]);
  assert(distribution_us.some(([percentile]) => percentile === 99.99));
  for (const [index, [percentile]] of distribution_us.entries()) {
    const [before] = distribution_us[index - 1] ?? [-1];
    assert(before < percentile);
  }
  // A bucket's middle may lie above the highest value.
  const values = distribution_us.slice(0, -1).map(([, value]) => value);
  assertEquals(values, values.toSorted((a, b) => a - b));
}

testBackends(
  "load: churn opens a connection for each HTTP request",
  async ({ serve }) => {
    const peers = new Set<string>();
    let requests = 0;
    const { addr } = serve((request, { remoteAddr }) => {
      requests++;
      peers.add(`${remoteAddr.hostname}:${remoteAddr.port}`);
      assertEquals(request.headers.get("connection"), "close");
      return hello();
    });
    const args = [...EXPECT, "--connections", "3", "--churn"];
    const { count } = await load("http", addr.port, ...args);
    // The first answer has a connection too; what ends behind the window is not counted.
    assert(requests > count, `${requests} requests, ${count} answers`);
    assertEquals(peers.size, requests);
  },
);

testBackends(
  "load: churn closes each WebSocket as the protocol has it",
  async ({ serve }) => {
    const codes: number[] = [];
    let opened = 0;
    const echo = websocket({
      open: () => void opened++,
      message: (socket, data) => void socket.send(data),
      close: (_socket, code) => void codes.push(code),
    });
    const { addr } = serve((request) => echo.upgrade(request));
    const { count } = await load(
      "ws",
      addr.port,
      "--connections",
      "3",
      "--churn",
    );
    assert(opened >= count);
    assertEquals(codes.length, opened);
    assertEquals(new Set(codes), new Set([1000]));
  },
);

testBackends(
  "load: a wrong answer is noticed under churn and under a rate",
  async ({ serve }) => {
    let requests = 0;
    const { addr } = serve(() => new Response(`Hello ${requests++ % 2}`));
    for (const mode of [["--churn"], ["--rate", "500"]]) {
      const args = ["--connections", "2", ...mode];
      const { code, result } = await asked("http", addr.port, ...args);
      assertEquals(code, 0);
      assert((result.error_kinds["body"] ?? 0) > 0, JSON.stringify(result));
    }
  },
);

/** Echoes bytes over TCP, each piece when `ready` says so. */
async function withEcho(
  ready: (seen: number) => Promise<void> | boolean,
  use: (port: number) => Promise<void>,
): Promise<void> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const ended = (async () => {
    const connection = await listener.accept();
    const buffer = new Uint8Array(65536);
    let seen = 0;
    let held = new Uint8Array();
    for (let length; (length = await connection.read(buffer)) !== null;) {
      seen += length;
      held = new Uint8Array([...held, ...buffer.subarray(0, length)]);
      if (await ready(seen) === false) continue;
      await connection.write(held);
      held = new Uint8Array();
    }
    connection.close();
  })();
  await use(listener.addr.port);
  await ended;
}

const BYTES = 16;
const ONE = ["--connections", "1", "--payload", String(BYTES)];

Deno.test("load: a schedule does not wait for answers", async () => {
  // A closed loop would wait for ever for the first one.
  await withEcho((seen) => seen >= 20 * BYTES, async (port) => {
    const args = [...ONE, "--in-flight", "64", "--rate", "1000"];
    const { max_us } = await load("tcp", port, ...args);
    // The second was due 18 ms before the last of those that it waited for; the first, maybe before the window.
    assert(max_us >= 18_000, `${max_us} µs`);
  });
});

Deno.test("load: what a stopped server is owed waits since it was due", async () => {
  // The server stops once, for as long as 50 requests take to fall due, which one connection cannot send.
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  await withEcho(stop, async (port) => {
    const args = [...ONE, "--in-flight", "1", "--rate", "1000"];
    const { distribution_us = [] } = await load(
      ...["tcp", port, ...args, "--distribution"] as const,
    );
    // A quarter of 200 are late, evenly from 0 to 50 ms; a closed loop would know of one.
    const p90 = distribution_us.find(([percentile]) => percentile === 90);
    assert(p90 !== undefined && p90[1] > 10_000, `${p90} µs`);
  });
});

Deno.test("load: what was due and could not be sent is told", async () => {
  const stop = (): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, 100));
  await withEcho(stop, async (port) => {
    const args = [...ONE, "--in-flight", "1", "--rate", "1000"];
    const { backlog, count, max_us } = await load("tcp", port, ...args);
    assert(count < 10, `${count} answers`);
    assert(backlog !== undefined && backlog > 100, `${backlog} not sent`);
    assert(max_us > 100_000, `${max_us} µs`);
  });
});

Deno.test("load: it says why strace counts nothing", async () => {
  await withEcho(() => true, async (port) => {
    const args = ["tcp", "127.0.0.1", String(port), "/", ...ONE, ...SHORT];
    args.push("--pid", String(Deno.pid), "--trace", "/dev/null");
    const { result } = await runLoad(args, { PATH: "/nonexistent" });
    assertEquals(result.traced, false);
    assertStringIncludes(result.untraced_because ?? "", "strace cannot be run");
    assert(result.count > 0);
  });
});

for (
  const [args, message] of [
    [["http", "--rate", "0"], "--rate 0: not a whole number from 1"],
    [["http", "--seconds", "soon"], "--seconds soon: not a number of seconds"],
    [["http", "--rate", "1", "--sleep"], "a rate goes with neither --sleep"],
    [["http", "--rate", "1", "--churn"], "a rate goes with neither --sleep"],
    [["tcp", "--churn"], "--churn is for GET over http, and for ws"],
    [["http", "--churn", "--body", "1"], "--churn is for GET over http"],
    [["http", "--trace", "file"], "--trace needs --pid"],
    [["udp"], "the protocol is not http, ws or tcp"],
  ] as const
) {
  Deno.test(`load: ${args.join(" ")} is refused`, async () => {
    const [protocol, ...rest] = args;
    const run = await runLoad([protocol, "127.0.0.1", "1", "/", ...rest]);
    assert(run.code !== 0);
    assertStringIncludes(run.err, message);
  });
}
