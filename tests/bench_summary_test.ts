// SPDX-License-Identifier: Apache-2.0
// Tests of the benchmark's summary: medians, ratios within a round, what does
// not count, and what strace has counted.

import { assertAlmostEquals, assertEquals } from "@std/assert";
import { flawsOf, voidReason } from "../bench/flaws.ts";
import type { Round } from "../bench/measure.ts";
import { median, type Row, summarize, validityOf } from "../bench/summary.ts";
import { parseStrace, syscallsOf } from "../bench/syscalls.ts";
import type { Workload } from "../bench/workloads.ts";
import { makeRound } from "./bench_testing.ts";

const WORKLOAD: Workload = {
  name: "ws-1",
  title: "an echo",
  protocol: "ws",
  path: "/ws",
  connections: 64,
  inFlight: 1,
  extra: [],
};
const CONTENDERS = [
  { name: "millrace-epoll", version: "1", floor: "floor-epoll" },
  { name: "floor-epoll", version: "" },
  { name: "deno", version: "2" },
];

function millrace(part: Partial<Round>): Round {
  return makeRound({ contender: "millrace-epoll", ...part });
}

function rowsOf(rounds: readonly Round[], workload = WORKLOAD): readonly Row[] {
  return summarize(workload, CONTENDERS, rounds).rows;
}

Deno.test("bench: the median of nothing, of an odd and of an even number", () => {
  assertEquals(median([]), NaN);
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
});

Deno.test("bench: a row has the medians of its rounds", () => {
  const [row] = rowsOf([
    millrace({ round: 1, rate: 1, p999_us: 7, max_us: 90 }),
    millrace({ round: 2, rate: 3, p999_us: 9, max_us: 70 }),
    millrace({ round: 3, rate: 2, p999_us: 8, max_us: 80 }),
  ]);
  assertEquals(row?.rate, 2);
  assertEquals(row?.p999Us, 8);
  assertEquals(row?.maxUs, 90);
  assertEquals(row?.restBytes, 1 << 20);
  assertEquals(row?.rounds, 3);
});

Deno.test("bench: a ratio is between results of the same round", () => {
  const [row] = rowsOf([
    // The clock halves from one round to the next; the ratio stays.
    millrace({ round: 1, count: 4000 }),
    makeRound({ round: 1, count: 2000 }),
    millrace({ round: 2, count: 2000 }),
    makeRound({ round: 2, count: 1000 }),
    // Nobody to compare it with.
    millrace({ round: 3, count: 9000 }),
  ]);
  assertEquals(row?.against, { deno: 2 });
});

Deno.test("bench: a backend is compared with its own floor", () => {
  const [row] = rowsOf([
    millrace({ count: 900 }),
    makeRound({ contender: "floor-epoll", count: 1000 }),
    makeRound({ contender: "floor-io_uring", count: 100 }),
  ]);
  assertEquals(row?.against, { floor: 0.9 });
});

Deno.test("bench: a server with two workers is compared with the same with one", () => {
  const contenders = [1, 2].map((workers) => ({
    name: `millrace-epoll-x${workers}`,
    version: "",
    single: "millrace-epoll-x1",
  }));
  const rounds = [1000, 900].map((count, index) =>
    makeRound({ contender: contenders[index]!.name, count })
  );
  const { kind, rows } = summarize(
    { ...WORKLOAD, workers: "each" },
    contenders,
    rounds,
  );
  assertEquals(kind, "workers");
  assertEquals(rows.map(({ against }) => against), [{}, { single: 0.9 }]);
});

Deno.test("bench: latencies are compared with those of Deno", () => {
  const [row] = rowsOf([
    millrace({ p50_us: 5, p99_us: 5 }),
    makeRound({ p50_us: 10, p99_us: 20 }),
  ]);
  assertEquals(row?.p50AgainstDeno, 0.5);
  assertEquals(row?.p99AgainstDeno, 0.25);
});

Deno.test("bench: a void round is in no median and no ratio, and is told", () => {
  const rows = rowsOf([
    millrace({ round: 1, rate: 1 }),
    millrace({ round: 2, rate: 9, void: "1 wrong" }),
    makeRound({ round: 1, void: "2 wrong" }),
  ]);
  assertEquals(rows[0]?.rate, 1);
  assertEquals(rows[0]?.rounds, 1);
  assertEquals(rows[0]?.against, {});
  assertEquals(rows[0]?.voided, ["1 wrong"]);
  assertEquals(rows[1]?.voided, ["2 wrong"]);
  assertEquals(rows[1]?.rounds, 0);
});

Deno.test("bench: rounds of other workloads are left out", () => {
  const rows = rowsOf([millrace({ workload: "ws-16" }), makeRound()]);
  assertEquals(rows.map(({ contender }) => contender), ["deno"]);
});

Deno.test("bench: the least even round is shown, where it is asked for", () => {
  const even = { least: 9, median: 10, most: 11, jain: 0.99 };
  const uneven = { least: 0, median: 10, most: 20, jain: 0.5 };
  const rounds = [even, uneven, even].map((evenness, index) =>
    millrace({ round: index + 1, evenness })
  );
  assertEquals(rowsOf(rounds)[0]?.evenness, undefined);
  const [row] = rowsOf(rounds, { ...WORKLOAD, evenness: true });
  assertEquals(row?.evenness, uneven);
});

Deno.test("bench: a probe that still waits counts as asked, not as answered", () => {
  const probe = { p50_us: 1000, p99_us: 3000, p999_us: 3000, max_us: 3000 };
  const [row] = rowsOf([
    millrace({ probe: { ...probe, count: 200, unanswered: 0, failed: 0 } }),
    millrace({
      round: 2,
      probe: { ...probe, p99_us: 5e6, count: 11, unanswered: 190, failed: 0 },
    }),
  ]);
  assertEquals(row?.probe, {
    p50Ms: 1,
    p99Ms: 5000,
    answered: 210,
    asked: 400,
  });
});

Deno.test("bench: the kind of a table follows from its workload", () => {
  const kind = (part: Partial<Workload>) =>
    summarize({ ...WORKLOAD, ...part }, CONTENDERS, []).kind;
  assertEquals(kind({}), "throughput");
  assertEquals(kind({ rate: 1000 }), "latency");
  assertEquals(kind({ connections: 1 }), "latency");
  const probe = { path: "/", expect: "", count: 1, upstream: false };
  assertEquals(kind({ probe }), "starvation");
});

Deno.test("bench: a round without a flaw has none", () => {
  assertEquals(flawsOf(makeRound()), []);
});

Deno.test("bench: a server below 90 % of its core was not the bottleneck", () => {
  assertEquals(flawsOf(makeRound({ server_cpu_seconds: 0.91 })), []);
  assertEquals(flawsOf(makeRound({ server_cpu_seconds: 0.89 })), [
    "serverIdle",
  ]);
  // It is not meant to be one here.
  const idle = { server_cpu_seconds: 0.1 };
  assertEquals(flawsOf(makeRound({ ...idle, connections: 1 })), []);
  assertEquals(flawsOf(makeRound({ ...idle, asked_rate: 1000 })), []);
});

Deno.test("bench: a client above 98 % may have been the bottleneck", () => {
  assertEquals(flawsOf(makeRound({ client_busy: 0.97 })), []);
  assertEquals(flawsOf(makeRound({ client_busy: 0.99 })), ["clientFull"]);
});

Deno.test("bench: other processes and other guests disturb alike", () => {
  const round = { seconds: 2, server_cpu_seconds: 2 };
  assertEquals(flawsOf(makeRound({ ...round, other_cpu_seconds: 0.09 })), []);
  const disturbed = ["disturbed" as const];
  assertEquals(
    flawsOf(makeRound({ ...round, other_cpu_seconds: 0.12 })),
    disturbed,
  );
  assertEquals(
    flawsOf(makeRound({ ...round, stolen_seconds: 0.12 })),
    disturbed,
  );
});

Deno.test("bench: a server that answers less than the schedule asks is behind", () => {
  assertEquals(flawsOf(makeRound({ rate: 990, asked_rate: 1000 })), []);
  assertEquals(flawsOf(makeRound({ rate: 970, asked_rate: 1000 })), ["behind"]);
});

Deno.test("bench: flaws are counted in rows and in the whole run", () => {
  const rounds = [
    millrace({ round: 1, client_busy: 1 }),
    millrace({ round: 2, client_busy: 1, other_cpu_seconds: 0.5 }),
    millrace({ round: 3, client_busy: 1, void: "no answer" }),
  ];
  assertEquals(rowsOf(rounds)[0]?.flaws, { clientFull: 2, disturbed: 1 });
  assertEquals(validityOf(rounds), {
    rounds: 3,
    voided: 1,
    flaws: { clientFull: 2, disturbed: 1 },
  });
});

Deno.test("bench: wrong answers, no answer and failed probes void a round", () => {
  const probe = { p50_us: 1, p99_us: 1, p999_us: 1, max_us: 1, unanswered: 0 };
  assertEquals(voidReason(makeRound()), undefined);
  assertEquals(
    voidReason(makeRound({ errors: 2, error_kinds: { body: 2 } })),
    '2 wrong: {"body":2}',
  );
  assertEquals(voidReason(makeRound({ count: 0 })), "no answer");
  assertEquals(
    voidReason(makeRound({ probe: { ...probe, count: 3, failed: 3 } })),
    "3 probes failed",
  );
});

const STRACE = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 66.17    0.452680        8382        54        14 futex
 15.43    0.105550           8     12000           sendto
  7.09    0.048486           3     12500           recvfrom
  0.57    0.003875          19       195           epoll_pwait2
------ ----------- ----------- --------- --------- ----------------
100.00    0.684161          27     24749        14 total
`;

Deno.test("bench: the table of strace is read with and without errors", () => {
  assertEquals(
    [...parseStrace(STRACE)],
    [["futex", 54], ["sendto", 12000], ["recvfrom", 12500], [
      "epoll_pwait2",
      195,
    ]],
  );
  assertEquals(parseStrace("").size, 0);
});

Deno.test("bench: system calls are divided by requests, the most frequent named", () => {
  const counted = syscallsOf(
    new Map([["a", 1], ["b", 2], ["c", 3], ["d", 4], ["e", 50], ["f", 60]]),
    100,
  );
  if ("reason" in counted) throw new Error(counted.reason);
  assertAlmostEquals(counted.per_request, 1.2);
  assertEquals(Object.keys(counted.by_name), ["f", "e", "d", "c", "b"]);
  assertEquals(counted.by_name["f"], 0.6);
  assertEquals(syscallsOf(new Map(), 0), {
    reason: "nothing was answered under strace",
  });
});
