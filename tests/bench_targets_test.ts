// SPDX-License-Identifier: Apache-2.0
// Tests of the benchmark's targets: what is held against them, and whether it
// meets them.

import { assert, assertEquals } from "@std/assert";
import type { IdleRound } from "../bench/idle.ts";
import { IDLE_WORKLOADS } from "../bench/idle_workloads.ts";
import type { Round } from "../bench/measure.ts";
import {
  checkIdleTargets,
  checkTargets,
  type Target,
  TARGET_WORKLOADS,
  TARGETS,
} from "../bench/targets.ts";
import { WORKLOADS } from "../bench/workloads.ts";
import { makeRound } from "./bench_testing.ts";

const TARGET: Target = {
  workload: "ws-1",
  figure: "req/CPU-s",
  against: "bun",
  atLeast: 1.05,
};

function round(contender: string, part: Partial<Round> = {}): Round {
  return makeRound({ contender, ...part });
}

const MEMORY: IdleRound["rest"] = {
  resident_bytes: 50e6,
  proportional_bytes: 0,
  private_bytes: 0,
  slab_bytes: 0,
  socket_bytes: 0,
};

const IDLE_ROUND: IdleRound = {
  workload: "idle-25k",
  contender: "",
  version: "",
  connections: 25_000,
  servers: 1,
  open_seconds: 1,
  open_cpu_seconds: 1,
  hold_seconds: 1,
  hold_cpu_seconds: 0,
  interval_seconds: 0,
  rest: MEMORY,
  held: MEMORY,
  asked: MEMORY,
  open: 25_000,
  answers: 25_000,
  pings: 0,
  errors: 0,
  error_kinds: {},
  p50_us: 1,
  p99_us: 1,
};

/** Whether each contender meets a target; one that was not measured is absent. */
function met(
  target: Target,
  rounds: readonly Round[],
): Record<string, boolean | undefined> {
  return Object.fromEntries(
    checkTargets(rounds, [target]).filter(({ met }) => met !== undefined)
      .map(({ contender, met }) => [contender, met]),
  );
}

Deno.test("bench: every target is set for a workload that exists", () => {
  const names = [...WORKLOADS, ...IDLE_WORKLOADS].map(({ name }) => name);
  assert(TARGETS.length > 0);
  assertEquals([...TARGET_WORKLOADS].filter((it) => !names.includes(it)), []);
});

Deno.test("bench: every target has a bound", () => {
  assertEquals(
    TARGETS.filter(({ atLeast, atMost }) =>
      atLeast === undefined && atMost === undefined
    ),
    [],
  );
});

Deno.test("bench: no target's workload is measured in the first round alone", () => {
  assertEquals(
    WORKLOADS.filter(({ name, minor }) => minor && TARGET_WORKLOADS.has(name)),
    [],
  );
});

Deno.test("bench: both backends are held against a ratio", () => {
  const rounds = [
    round("bun", { count: 100 }),
    round("millrace-io_uring", { count: 110 }),
    round("millrace-epoll", { count: 104 }),
  ];
  assertEquals(met(TARGET, rounds), {
    "millrace-io_uring": true,
    "millrace-epoll": false,
  });
});

Deno.test("bench: a ratio is met in the middle of its rounds, which are told", () => {
  const rounds = [90, 106, 130].flatMap((count, index) => [
    round("bun", { round: index + 1, count: 100 }),
    round("millrace-epoll", { round: index + 1, count }),
  ]);
  const outcome = checkTargets(rounds, [TARGET])
    .find(({ contender }) => contender === "millrace-epoll");
  assertEquals(outcome?.measured, { median: 1.06, least: 0.9, most: 1.3 });
  assertEquals(outcome?.met, true);
});

Deno.test("bench: each backend has its own floor", () => {
  const target: Target = { ...TARGET, against: "floor", atLeast: 0.9 };
  const rounds = [
    round("floor-io_uring", { count: 100 }),
    round("floor-epoll", { count: 200 }),
    round("millrace-io_uring", { count: 95 }),
    round("millrace-epoll", { count: 95 }),
  ];
  assertEquals(met(target, rounds), {
    "millrace-io_uring": true,
    "millrace-epoll": false,
  });
});

Deno.test("bench: what two workers cost is held against one of the same backend", () => {
  const target: Target = {
    workload: "ws-1",
    figure: "CPU/req",
    against: "single",
    atMost: 1.05,
    contenders: ["millrace-io_uring-x2", "millrace-epoll-x2"],
  };
  const rounds = [
    round("millrace-io_uring-x1", { server_cpu_seconds: 1 }),
    round("millrace-epoll-x1", { server_cpu_seconds: 2 }),
    round("millrace-io_uring-x2", { server_cpu_seconds: 1.06 }),
    round("millrace-epoll-x2", { server_cpu_seconds: 2.08 }),
  ];
  assertEquals(met(target, rounds), {
    "millrace-io_uring-x2": false,
    "millrace-epoll-x2": true,
  });
});

Deno.test("bench: a latency has a bound above", () => {
  const target: Target = {
    workload: "ws-1",
    figure: "p50",
    against: "deno",
    atMost: 0.5,
    contenders: ["millrace-spin"],
  };
  const deno = round("deno", { p50_us: 30 });
  const spin = (p50_us: number): Round => round("millrace-spin", { p50_us });
  assertEquals(met(target, [deno, spin(15)]), { "millrace-spin": true });
  assertEquals(met(target, [deno, spin(16)]), { "millrace-spin": false });
});

Deno.test("bench: bounds on both sides are both held", () => {
  const target: Target = {
    ...TARGET,
    against: "millrace-epoll",
    atLeast: 0.95,
    atMost: 1.05,
    contenders: ["millrace-io_uring"],
  };
  const cases = [[94, false], [100, true], [106, false]] as const;
  for (const [count, wanted] of cases) {
    const rounds = [
      round("millrace-epoll", { count: 100 }),
      round("millrace-io_uring", { count }),
    ];
    assertEquals(met(target, rounds), { "millrace-io_uring": wanted });
  }
});

Deno.test("bench: a bound without a comparison holds in every round", () => {
  const target: Target = {
    workload: "ws-1",
    figure: "probe p99 ms",
    atMost: 20,
    contenders: ["millrace-epoll"],
  };
  const probed = (number: number, p99_us: number): Round =>
    round("millrace-epoll", {
      round: number,
      probe: {
        count: 200,
        p50_us: 1,
        p99_us,
        p999_us: p99_us,
        max_us: p99_us,
        unanswered: 0,
        failed: 0,
      },
    });
  const good = [probed(1, 9000), probed(2, 19_000)];
  assertEquals(met(target, good), { "millrace-epoll": true });
  assertEquals(met(target, [...good, probed(3, 21_000)]), {
    "millrace-epoll": false,
  });
});

Deno.test("bench: what was not measured is neither met nor missed", () => {
  const alone = [round("millrace-epoll")];
  assertEquals(met(TARGET, alone), {});
  assertEquals(checkTargets(alone, [TARGET]).length, 2);
  // The workload took no part in the run.
  assertEquals(
    checkTargets([round("bun", { workload: "json" })], [TARGET]),
    [],
  );
});

Deno.test("bench: a void round meets nothing", () => {
  const rounds = [
    round("bun", { count: 100 }),
    round("millrace-epoll", { count: 500, void: "1 wrong" }),
  ];
  assertEquals(met(TARGET, rounds), {});
});

Deno.test("bench: memory is what connections add to that of servers at rest", () => {
  const idle = (contender: string, resident_bytes: number): IdleRound => ({
    ...IDLE_ROUND,
    contender,
    held: { ...IDLE_ROUND.held, resident_bytes },
  });
  const outcomes = checkIdleTargets([
    idle("millrace-io_uring", 110e6),
    idle("millrace-epoll", 111e6),
    idle("bun", 1e9),
  ]);
  assertEquals(
    outcomes.map(({ contender, measured, met }) => [
      contender,
      measured?.median,
      met,
    ]),
    [["millrace-io_uring", 60, true], ["millrace-epoll", 61, false]],
  );
});
