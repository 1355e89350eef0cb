// SPDX-License-Identifier: Apache-2.0
// Tests of the benchmark's load client: that it asks and checks as it says, in
// the closed loop, on a schedule and with a connection for each request.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { websocket } from "../mod.ts";
import type { LoadResult } from "../bench/measure.ts";
import { type LoadRun, runLoad } from "./bench_testing.ts";
import { sleep, testBackends } from "./testing.ts";

// Until so many are answered: a window of time may pass with nothing on a busy machine. The client sleeps when
// nothing has come, so that it leaves the machine to the server.
const SHORT = "--seconds 20 --warmup 0 --answers 60 --sleep".split(" ");

/** Runs the client, which has to find nothing wrong. */
async function load(
  protocol: string,
  port: number,
  ...args: string[]
): Promise<LoadResult> {
  const { code, err, result } = await asked(protocol, port, ...args);
  assertEquals(code, 0, err);
  assertEquals(result.error_kinds, {});
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
  const { addr } = serve(hello);
  const args = [...EXPECT, "--connections", "4", ...AT_RATE];
  const result = await load("http", addr.port, ...args, "--distribution");
  checkRate(result);
  checkDistribution(result);
});

testBackends("load: a rate is kept over WebSockets", async ({ serve }) => {
  const echo = websocket({ message: (socket, data) => void socket.send(data) });
  const { addr } = serve((request) => echo.upgrade(request));
  const args = ["--connections", "4", "--in-flight", "8", ...AT_RATE];
  const result = await load("ws", addr.port, ...args, "--distribution");
  checkRate(result);
  checkDistribution(result);
});

const RATE = 500;
const AT_RATE = ["--rate", String(RATE), "--answers", "200"];
// What was due while the window was opened, which takes long on a busy machine.
const SLACK_SECONDS = 0.2;

// A closed loop would have them all within a few milliseconds.
function checkRate({ asked_rate, count, seconds }: LoadResult): void {
  assertEquals(asked_rate, RATE);
  assert(count >= 200);
  const due = RATE * (seconds + SLACK_SECONDS);
  assert(count <= due, `${count} answers in ${seconds} s`);
}

function checkDistribution({ distribution_us = [], max_us }: LoadResult): void {
  assert(distribution_us.length >= 30);
  assertEquals(distribution_us.at(-1), [100, max_us]);
  assert(distribution_us.some(([percentile]) => percentile === 99.99));
  for (const [index, [percentile]] of distribution_us.entries()) {
    const [before] = distribution_us[index - 1] ?? [-1];
    assert(before < percentile);
  }
  const values = distribution_us.map(([, value]) => value);
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
    assert(count >= 60);
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
    assert(count >= 60 && opened >= count);
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
  ready: (seen: number) => Promise<boolean> | boolean,
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
      if (!await ready(seen)) continue;
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
    // The first was due 19 ms before the last of those that it waited for.
    assert(max_us >= 19_000, `${max_us} µs`);
  });
});

// These windows end with their time.
const TIMED = ["--answers", "1000000", "--in-flight", "1", "--rate", "1000"];

Deno.test("load: what a stopped server is owed waits since it was due", async () => {
  // The server stops once, for as long as 50 requests take to fall due, which one connection cannot send.
  let stopped = false;
  const stop = async (): Promise<boolean> => {
    if (!stopped) await sleep(50);
    return stopped = true;
  };
  await withEcho(stop, async (port) => {
    const args = [...ONE, ...TIMED, "--seconds", "0.2", "--distribution"];
    const { distribution_us = [] } = await load("tcp", port, ...args);
    // A quarter of 200 are late, evenly from 0 to 50 ms; a closed loop would know of one.
    const p90 = distribution_us.find(([percentile]) => percentile === 90);
    assert(p90 !== undefined && p90[1] > 10_000, `${p90} µs`);
  });
});

Deno.test("load: what was due and could not be sent is told", async () => {
  const stop = async (): Promise<boolean> => {
    await sleep(100);
    return true;
  };
  await withEcho(stop, async (port) => {
    const args = [...ONE, ...TIMED, "--seconds", "0.4"];
    const { backlog, count, max_us } = await load("tcp", port, ...args);
    assert(count <= 4, `${count} answers`);
    // Of 400, but for the answered and the one that waits for its answer.
    assert(backlog !== undefined && backlog >= 394, `${backlog} not sent`);
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
    assert(result.count >= 60);
  });
});

for (
  const [args, message] of [
    [["http", "--rate", "0"], "--rate 0: not a whole number from 1"],
    [["http", "--seconds", "soon"], "--seconds soon: not a number of seconds"],
    [["http", "--rate", "1", "--churn"], "a rate goes with neither --publish"],
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
