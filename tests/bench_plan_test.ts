// SPDX-License-Identifier: Apache-2.0
// Tests of the benchmark's options and plan: what is refused, who takes his
// turn when, and how long it takes.

import {
  assert,
  assertEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { type Contender, singleOf } from "../bench/contenders.ts";
import { holds, IDLE_NAMES, IDLE_WORKLOADS } from "../bench/idle_workloads.ts";
import { loadArguments } from "../bench/measure.ts";
import { readOptions, USAGE } from "../bench/options.ts";
import {
  chooseWorkloads,
  durationText,
  estimate,
  isChosen,
  isWantedContender,
  plan,
  secondsLeft,
} from "../bench/plan.ts";
import { TARGET_WORKLOADS } from "../bench/targets.ts";
import { forWorkers } from "../bench/workers_workloads.ts";
import {
  QUICK_WORKLOADS,
  type Workload,
  WORKLOADS,
} from "../bench/workloads.ts";

const WORKLOAD: Workload = {
  name: "ws-1",
  title: "an echo",
  protocol: "ws",
  path: "/ws",
  connections: 64,
  inFlight: 2,
  extra: ["--binary"],
};
const NO_CHOICE = { only: [], quick: false, targets: false };

function contender(name: string, takes = true): Contender {
  return { name, command: [], tcp: [], takes: () => takes, version: "" };
}

function names(workloads: readonly Workload[]): string[] {
  return workloads.map(({ name }) => name);
}

Deno.test("bench: options have their defaults", () => {
  const options = readOptions([]);
  assertEquals(options.rounds, 3);
  assertEquals(options.seconds, 1);
  assertEquals(options.serverCore, 0);
  assertEquals(options.clientCore, 1);
  assertEquals(options.only, []);
});

Deno.test("bench: a quick run has one short round", () => {
  const { rounds, seconds } = readOptions(["--quick"]);
  assertEquals(rounds, 1);
  assert(seconds < 1);
  assertEquals(readOptions(["--quick", "--rounds", "2"]).rounds, 2);
});

Deno.test("bench: --help names every option", () => {
  const { help, ...others } = readOptions(["--help"]);
  assertEquals(help, true);
  for (const name of Object.keys(others)) {
    if (name === "syscalls") continue; // no option of its own: see --quick
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    assertStringIncludes(USAGE, `--${flag}`);
  }
});

for (
  const [args, message] of [
    [["--rounds", "0"], '--rounds "0" is no whole number from 1'],
    [["--rounds", "1.5"], '--rounds "1.5"'],
    [["--rounds="], '--rounds ""'],
    [["--seconds", "0"], '--seconds "0" is no number of seconds'],
    [["--seconds", "soon"], '--seconds "soon"'],
    [["--warmup=-1"], '--warmup "-1"'],
    [["--server-core=-1"], '--server-core "-1"'],
    [["--server-core", "1"], "share core 1"],
    [["--only", "nobody"], '"nobody" is part of no name'],
    [["--fast"], '"--fast" is no option'],
    [["ws-1"], '"ws-1" is no option'],
  ] as const
) {
  Deno.test(`bench: ${args.join(" ")} is refused`, () => {
    assertThrows(() => readOptions([...args]), TypeError, message);
  });
}

Deno.test("bench: without a choice all workloads are measured", () => {
  assertEquals(chooseWorkloads(NO_CHOICE), [...WORKLOADS]);
  assertEquals(new Set(names(WORKLOADS)).size, WORKLOADS.length);
});

Deno.test("bench: a quick run takes its workloads, unless others are named", () => {
  const quick = { ...NO_CHOICE, quick: true };
  assertEquals(
    new Set(names(chooseWorkloads(quick))),
    new Set(QUICK_WORKLOADS),
  );
  assertEquals(
    names(chooseWorkloads({ ...quick, only: ["ws-1m-1"] })),
    ["ws-1m-1"],
  );
  // A contender says nothing about workloads.
  assertEquals(
    chooseWorkloads({ ...quick, only: ["bun"] }).length,
    QUICK_WORKLOADS.length,
  );
});

Deno.test("bench: --targets takes the workloads that a target is set for", () => {
  const choice = { ...NO_CHOICE, targets: true };
  const chosen = [
    ...names(chooseWorkloads(choice)),
    ...IDLE_NAMES.filter((name) => isChosen(name, choice)),
  ];
  assertEquals(new Set(chosen), TARGET_WORKLOADS);
});

Deno.test("bench: a whole name is that one alone, a part is all with it", () => {
  assertEquals(
    names(chooseWorkloads({ ...NO_CHOICE, only: ["http-1"] })),
    ["http-1"],
  );
  const parts = names(chooseWorkloads({ ...NO_CHOICE, only: ["churn"] }));
  assertEquals(parts, ["http-churn", "ws-churn"]);
  assert(isWantedContender("millrace-epoll", ["millrace"]));
  assert(!isWantedContender("bun", ["millrace"]));
  assert(isWantedContender("bun", ["http-1"]));
});

Deno.test("bench: every other round goes the other way", () => {
  const contenders = ["a", "b", "c"].map((name) => contender(name));
  const steps = plan([WORKLOAD], contenders, { ...NO_CHOICE, rounds: 3 });
  assertEquals(
    steps.map(({ round, contender }) => `${round}${contender.name}`),
    ["1a", "1b", "1c", "2c", "2b", "2a", "3a", "3b", "3c"],
  );
});

Deno.test("bench: who does not take a workload is left out of it", () => {
  const contenders = [contender("a", false), contender("b")];
  const steps = plan([WORKLOAD], contenders, { ...NO_CHOICE, rounds: 1 });
  assertEquals(steps.map(({ contender }) => contender.name), ["b"]);
  // Nobody but Millrace speaks to the action router.
  const router: Workload = { ...WORKLOAD, codec: "json" };
  const rounds = { ...NO_CHOICE, rounds: 1 };
  assertEquals(plan([router], [contender("b")], rounds), []);
});

Deno.test("bench: a minor workload has one round, unless it is named", () => {
  const workloads: Workload[] = [{ ...WORKLOAD, minor: true }];
  const contenders = [contender("a")];
  const options = { ...NO_CHOICE, rounds: 3 };
  assertEquals(plan(workloads, contenders, options).length, 1);
  const named = { ...options, only: ["ws-1"] };
  assertEquals(plan(workloads, contenders, named).length, 3);
});

Deno.test("bench: workloads for many workers are asked of those, and of the same with one", () => {
  const many = (name: string, workers: number): Contender => ({
    ...contender(name),
    workers,
    single: singleOf(name),
  });
  const contenders = [
    { ...contender("millrace-epoll"), single: singleOf("millrace-epoll") },
    many("millrace-epoll-x1", 1),
    many("millrace-epoll-x2", 2),
    contender("gnet"),
  ];
  const rounds = { ...NO_CHOICE, rounds: 1 };
  const who = (workload: Workload): string[] =>
    plan([workload], contenders, rounds).map(({ contender }) => contender.name);
  assertEquals(who(WORKLOAD), ["millrace-epoll", "gnet"]);
  assertEquals(who({ ...WORKLOAD, workers: "each" }), [
    "millrace-epoll",
    "millrace-epoll-x1",
    "millrace-epoll-x2",
  ]);
});

Deno.test("bench: each worker has its connections and its warm-up, subscribers are shared", () => {
  const asked: Workload = { ...WORKLOAD, workers: "each", warmup: 1 };
  assertEquals(forWorkers(asked, 4).connections, 256);
  assertEquals(forWorkers(asked, 4).warmup, 4);
  assertEquals(forWorkers(asked).connections, 64);
  assertEquals(forWorkers({ ...asked, workers: "share" }, 4).connections, 64);
  assertEquals(forWorkers(WORKLOAD, 4), WORKLOAD);
  const four = { ...contender("a"), workers: 4, single: "b" };
  const steps = plan([asked], [four], { ...NO_CHOICE, rounds: 1 });
  assertEquals(steps.map(({ workload }) => workload.connections), [256]);
});

Deno.test("bench: connections that are idle are held by servers without workers", () => {
  const [workload] = IDLE_WORKLOADS;
  assert(workload !== undefined);
  assert(holds(contender("a"), workload));
  assert(!holds({ ...contender("a-x2"), workers: 2 }, workload));
});

Deno.test("bench: the same with one worker is told by the name", () => {
  assertEquals(
    ["millrace-epoll", "millrace-io_uring-x4", "deno-x2", "bun"].map(singleOf),
    ["millrace-epoll-x1", "millrace-io_uring-x1", "deno", "bun"],
  );
});

Deno.test("bench: counting system calls takes its time, in the first round", () => {
  const options = { seconds: 1, warmup: 0.5, syscalls: true };
  const step = { round: 1, workload: WORKLOAD, contender: contender("a") };
  const traced: Workload = { ...WORKLOAD, syscalls: true };
  const plain = estimate(step, options);
  assert(plain >= 1.5);
  assert(estimate({ ...step, workload: traced }, options) > plain);
  assertEquals(
    estimate({ ...step, workload: traced, round: 2 }, options),
    plain,
  );
  const quick = { ...options, syscalls: false };
  assertEquals(estimate({ ...step, workload: traced }, quick), plain);
});

Deno.test("bench: the time left is scaled by how long the rest took", () => {
  assertEquals(secondsLeft(0, [], [2, 2]), 4);
  assertEquals(secondsLeft(6, [2], [2, 2]), 12);
  assertEquals(durationText(59.4), "59 s");
  assertEquals(durationText(61), "1 min 1 s");
});

Deno.test("bench: the load client is asked for what the workload is", () => {
  const options = { seconds: 1, warmup: 0.5 };
  assertEquals(
    loadArguments(WORKLOAD, 8000, 42, options).join(" "),
    "ws 127.0.0.1 8000 /ws --binary --connections 64 --in-flight 2 " +
      "--seconds 1 --warmup 0.5 --pid 42",
  );
  const rate = loadArguments({ ...WORKLOAD, rate: 5000 }, 8000, 42, options);
  assertEquals(rate.slice(-3), ["--rate", "5000", "--distribution"]);
  const probe = { path: "/sleep", expect: "slept", count: 9, upstream: true };
  const probed = loadArguments({ ...WORKLOAD, probe }, 8000, 42, options);
  assertEquals(
    probed.slice(-7).join(" "),
    "--probe /sleep --probe-expect slept --probes 9 --upstream",
  );
});
