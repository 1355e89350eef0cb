// SPDX-License-Identifier: Apache-2.0
// Tests of the load tool as a program: flags, output, exit codes, Ctrl+C.

import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { type Command, readCommand, UsageError } from "../lib/stress/flags.ts";
import { planOf } from "../lib/stress/options.ts";
import { duration, printed, size } from "../lib/stress/print.ts";
import {
  encodeHistogram,
  newHistogram,
  noCounts,
} from "../lib/stress/recorder.ts";
import { distributionOf, reportOf, timesIn } from "../lib/stress/report.ts";
import type { StressOptions, StressReport } from "../lib/stress.ts";
import { serve, websocket } from "../mod.ts";
import { deadline, quiet, testBackends } from "./testing.ts";

const PROGRAM = new URL("../lib/stress.ts", import.meta.url).pathname;
const CONFIG = new URL("../deno.json", import.meta.url).pathname;
const HOST = "127.0.0.1";

function spawn(...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", "--config", CONFIG, PROGRAM]
      .concat(args),
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

interface Outcome {
  code: number;
  out: string;
  err: string;
}

async function outcome(child: Deno.ChildProcess): Promise<Outcome> {
  const { code, stdout, stderr } = await deadline(
    child.output(),
    "the load tool",
  );
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

testBackends(
  "the program tells how it went, as JSON and in words",
  async (t) => {
    const route = websocket({
      message: (socket, message) => void socket.send(message),
    });
    const { addr } = t.serve((request) => route.upgrade(request));
    const url = `ws://${HOST}:${addr.port}/`;
    const flags = [
      ..."-c 3 --hold 20s --requests 12 --verify --pipeline 2".split(" "),
      "--backend",
      t.backend,
    ];
    const json = await outcome(spawn("ws", url, ...flags, "--json"));
    assertEquals([json.code, json.err], [0, ""]);
    const report: StressReport = JSON.parse(json.out);
    assertEquals(Object.keys(report).sort(), [
      "bytes",
      "client",
      "connecting",
      "connections",
      "elapsed",
      "errors",
      "interrupted",
      "kind",
      "latency",
      "messages",
      "ok",
      "url",
      "warnings",
    ]);
    assertEquals([report.ok, report.kind, report.url], [true, "ws", url]);
    assertEquals(report.connections, {
      wanted: 3,
      opened: 3,
      failed: 0,
      lost: 0,
      reconnects: 0,
    });
    const { perSecond, ...messages } = report.messages;
    assertEquals(messages, {
      sent: 12,
      answered: 12,
      unanswered: 0,
      missed: 0,
    });
    assert(perSecond > 0);
    assertEquals(report.bytes, 12 * 64);
    assertEquals(report.latency?.count, 12);
    assertEquals(Object.keys(report.latency!), [
      "count",
      "min",
      "mean",
      "p50",
      "p75",
      "p90",
      "p99",
      "p999",
      "p9999",
      "max",
      "distribution",
    ]);
    const words = await outcome(spawn("ws", url, ...flags));
    assertEquals([words.code, words.err], [0, ""]);
    assertStringIncludes(words.out, `${url}, 3 connections held for`);
    assertStringIncludes(words.out, ": all well");
    assertStringIncludes(words.out, "12 sent, 12 answered");
    assertStringIncludes(words.out, "p99.99");
    assertStringIncludes(words.out, "█");
  },
);

Deno.test("the program's exit codes are 1 for errors and 2 for misuse", async () => {
  const server = serve(
    { hostname: HOST, port: 0, onListen: quiet },
    () => new Response("no", { status: 404 }),
  );
  const url = `http://${HOST}:${server.addr.port}/`;
  const [errors, misuse, unknown] = await Promise.all([
    outcome(spawn("http", url, "-n", "5", "-c", "1")),
    outcome(spawn("http", "ws://localhost/")),
    outcome(spawn("http", url, "--vertify")),
  ]);
  await server.shutdown();
  assertEquals(errors.code, 1);
  assertStringIncludes(errors.out, "5 errors");
  assertStringIncludes(errors.out, "5 status 404");
  assertEquals([misuse.code, misuse.out], [2, ""]);
  assertStringIncludes(misuse.err, "it has to begin with http:");
  assertStringIncludes(misuse.err, "Try --help");
  assertEquals(unknown.code, 2);
  assertStringIncludes(unknown.err, "unknown option --vertify; known are");
  assertStringIncludes(unknown.err, "--verify");
});

Deno.test("Ctrl+C ends it in order, with what was measured so far", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const route = websocket({
    message(socket, message): void {
      socket.send(message);
      resolve();
    },
  });
  const server = serve(
    { hostname: HOST, port: 0, onListen: quiet },
    (request) => route.upgrade(request),
  );
  const url = `ws://${HOST}:${server.addr.port}/`;
  const child = spawn("ws", url, "-c", "2", "-d", "1h", "--interval", "50ms");
  await deadline(promise, "the first message");
  child.kill("SIGINT");
  const { code, out, err } = await outcome(child);
  await server.shutdown();
  assertEquals([code, err], [0, ""]);
  assertStringIncludes(out, "all well, interrupted");
});

function options(line: string): StressOptions {
  return (readCommand(line.split(" ")) as Command).options;
}

Deno.test("flags are read as options", () => {
  assertEquals(
    options(
      "ws ws://a/ -c 25000 --duration 2m -r 2500 -p 3 -w 4 -n 9 --timeout 500ms --verify --text",
    ),
    {
      kind: "ws",
      url: "ws://a/",
      connections: 25000,
      hold: 120_000,
      rate: 2500,
      pipeline: 3,
      workers: 4,
      requests: 9,
      timeout: 500,
      verify: true,
      text: true,
    },
  );
  assertEquals(
    options("http http://a/ --header a:b --header c:d:e --body x --method PUT"),
    {
      kind: "http",
      url: "http://a/",
      headers: [["a", "b"], ["c", "d:e"]],
      payload: "x",
      method: "PUT",
    },
  );
  assertEquals(
    options('rpc tcp://a:1 --action -5 --codec raw --body {"a":1}'),
    {
      kind: "rpc",
      url: "tcp://a:1",
      action: -5,
      codec: "raw",
      body: { a: 1 },
    },
  );
  assertEquals(options("ws ws://a/ --ramp 500 --payload hi").ramp, 500);
  assertEquals(options("ws ws://a/ -c 100 --ramp 4s").ramp, 25);
  assertEquals(options("ws ws://a/ --payload 12").payload, 12);
  assertEquals(options("http http://a/ --body ").payload, "");
  assertEquals(options("ws ws://a/ --payload hi").payload, "hi");
  assertEquals(options("ws ws://a/ --interval 1.5s").interval, 1500);
  assertEquals(options("ws ws://a/ --source 127.0.0.2,127.0.0.3").sources, [
    "127.0.0.2",
    "127.0.0.3",
  ]);
  assertEquals(
    options("ws ws://a/ -c400 -d30s -n9 -r1000 -p2 -w4"),
    options("ws ws://a/ -c 400 -d 30s -n 9 -r 1000 -p 2 -w 4"),
  );
  assertEquals(readCommand(["--help"]), "help");
});

Deno.test("a number of messages takes as long as it takes, unless a time is given", () => {
  const holdOf = (line: string): number => planOf(options(line)).hold;
  assertEquals(holdOf("ws ws://a/"), 10_000);
  assertEquals(holdOf("ws ws://a/ -n 9"), 86_400_000);
  assertEquals(holdOf("ws ws://a/ -n 9 -d 1s"), 1000);
  assertEquals(holdOf("ws ws://a/ -n 9 --rate 0"), 10_000);
});

Deno.test("flags that are wrong are named", () => {
  const wrong: [string, string][] = [
    ["", "what to put under load must be given"],
    ["ws", "what to put under load must be given"],
    ["ws ws://a/ -5", "unknown option -5"],
    ["ws ws://a/ more", '"more" is one argument too many'],
    ["ws ws://a/ --unknown", "unknown option --unknown; known are"],
    ["ws ws://a/ -x", "unknown option -x"],
    ["ws ws://a/ --hold 30", "--hold must be a time such as"],
    ["ws ws://a/ --hold 1s --duration 1s", "say the same"],
    ["ws ws://a/ -c ten", '--connections must be a number, is "ten"'],
    ["ws ws://a/ -c 1 -c 2", "--connections is given more than once"],
    ["ws ws://a/ --rate", "--rate needs a value"],
    ["ws ws://a/ -1", "unknown option -1"],
    ["ws ws://a/ --text --binary", "exclude each other"],
    ["http http://a/ --header x", '--header must be like "name: value"'],
    ["http http://a/ --body x --payload 3", "exclude each other"],
    ["rpc tcp://a:1 --body {", "--body is no JSON"],
  ];
  for (const [line, why] of wrong) {
    assertThrows(
      () => readCommand(line.split(" ").filter((arg) => arg !== "")),
      UsageError,
      why,
      line,
    );
  }
});

Deno.test("a histogram counts every time, in the row where it belongs", () => {
  const histogram = newHistogram();
  for (const time of [3, 15, 15, 40, 90, 450, 460, 3_000_000]) {
    histogram.recordValue(time);
  }
  const rows = distributionOf(histogram);
  assertEquals(rows.reduce((sum, { count }) => sum + count, 0), 8);
  assertEquals(rows.filter(({ count }) => count > 0), [
    { upTo: 5, count: 1 },
    { upTo: 20, count: 2 },
    { upTo: 50, count: 1 },
    { upTo: 100, count: 1 },
    { upTo: 500, count: 2 },
    { upTo: 5_000_000, count: 1 },
  ]);
  const times = timesIn(histogram);
  assertEquals([times.count, times.min, times.p50], [8, 3, 40]);
  histogram.destroy();
});

Deno.test("errors and warnings are printed", () => {
  const text = printed({
    ok: false,
    interrupted: false,
    kind: "ws",
    url: "ws://a/",
    elapsed: 30_000,
    connections: { wanted: 9, opened: 8, failed: 1, lost: 2, reconnects: 0 },
    messages: {
      sent: 1234,
      answered: 1230,
      unanswered: 4,
      missed: 7,
      perSecond: 41,
    },
    bytes: 5_000_000,
    latency: null,
    connecting: null,
    errors: [{ kind: "wrong answer", count: 1200, first: "It was wrong" }],
    client: { workers: 2, busiest: 0.5, cpu: 1, memory: 1e8 },
    warnings: ["The client was the bottleneck"],
  });
  for (
    const part of [
      "1,200 errors",
      "8 of 9 opened, 1 failed, 2 lost",
      "1,234 sent, 1,230 answered, 4 unanswered, 7 not sent, 41 a second",
      "1,200 wrong answer  It was wrong",
      "Warning: The client was the bottleneck",
      "Received     5 MB, 167 kB a second",
      "2 workers, the busiest 50 % of a processor, 100 MB",
    ]
  ) assertStringIncludes(text, part);
  assertEquals([0, 999, 1500, 999_600, 1.234e9, 2e15].map(size), [
    "0 B",
    "999 B",
    "1.5 kB",
    "1 MB",
    "1.23 GB",
    "2000 TB",
  ]);
  assertEquals([12, 1234, 2_500_000].map(duration), [
    "12 µs",
    "1.23 ms",
    "2.5 s",
  ]);
});

Deno.test("what ends before the load begins has no rates", () => {
  const none = newHistogram();
  const times = encodeHistogram(none);
  none.destroy();
  const report = reportOf(
    planOf({ kind: "http", url: "http://a/" }),
    [{
      snapshot: {
        phase: "connecting",
        elapsed: 0,
        answeredInTime: 0,
        open: 1,
        errors: 0,
        counts: { ...noCounts(), opened: 1, sent: 3, answered: 3, bytes: 39 },
        p50: 0,
        p99: 0,
      },
      latency: times,
      connecting: times,
      errors: [],
      busy: 190,
    }],
    { cpu: 200, memory: 1e8 },
    true,
  );
  assertEquals(report.client.busiest, 0);
  assertStringIncludes(
    printed(report),
    "\nRequests     3 sent, 3 answered\nReceived     39 B\nClient",
  );
});
