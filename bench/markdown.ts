// SPDX-License-Identifier: Apache-2.0
// markdown.ts - prints the tables that the README shows, of the latest run of each workload that says most:
//
//   deno run -A bench/markdown.ts [RESULTS]
import { markOf, SHOWN } from "./chart_theme.ts";
import { singleOf } from "./contenders.ts";
import { IDLE_WORKLOADS } from "./idle_workloads.ts";
import { benchPath } from "./paths.ts";
import { readLatest, type Results } from "./results.ts";
import { type Base, type Row, summarize, type Table } from "./summary.ts";
import {
  aboveRest,
  checkIdleTargets,
  checkTargets,
  type Outcome,
} from "./targets.ts";
import { WORKLOADS } from "./workloads.ts";

const BACKENDS = ["millrace-io_uring", "millrace-epoll"];
const BASE_HEADS: readonly (readonly [base: Base, head: string])[] = [
  ["deno", "× Deno"],
  ["bun", "× Bun"],
  ["node", "× Node"],
  ["gnet", "× gnet"],
  ["floor", "× C floor"],
];

if (import.meta.main) {
  const results = readLatest(Deno.args[0] ?? benchPath("results.ndjson"));
  const tables = tablesOf(results);
  const of = (kind: Table["kind"]): Table[] =>
    tables.filter((table) => table.kind === kind);
  print(throughput(of("throughput")));
  print(workers(of("workers")));
  print(latency(of("latency")));
  print(memory(results));
  print(targets([
    ...checkTargets(results.rounds),
    ...checkIdleTargets(results.idle),
  ]));
}

type Lines = readonly (readonly string[])[];

function print([head = [], ...lines]: Lines): void {
  const rule = head.map((_cell, i) => i === 0 ? "---" : "--:");
  for (const line of [head, rule, ...lines]) {
    console.log(`| ${line.join(" | ")} |`);
  }
  console.log();
}

function tablesOf({ rounds }: Results): Table[] {
  const names = new Set(rounds.map(({ contender }) => contender));
  const contenders = [...names].map((name) => ({
    name,
    version: "",
    single: singleOf(name),
    ...(name.startsWith("millrace")
      ? { floor: name.replace("millrace", "floor") }
      : {}),
  }));
  return WORKLOADS.filter(({ minor }) => minor !== true)
    .map((workload) => summarize(workload, contenders, rounds))
    .filter(({ rows }) => rows.length > 0);
}

// Both backends in one cell.
function both(
  rows: readonly Row[],
  cell: (row: Row) => string,
  names: readonly string[] = BACKENDS,
): string {
  return names.map((name) => {
    const row = rows.find(({ contender }) => contender === name);
    return row === undefined ? "" : cell(row);
  }).filter((text) => text !== "").join(" · ");
}

function throughput(tables: readonly Table[]): Lines {
  const heads = ["answers per CPU-second", "p99 µs", "system calls each"];
  return [
    ["io_uring · epoll", ...heads, ...BASE_HEADS.map(([, head]) => head)],
    ...tables.map(({ title, rows }) => [
      title,
      both(rows, (row) => integer(row.ratePerCpuSecond)),
      both(rows, (row) => integer(row.p99Us)),
      both(rows, callsEach),
      ...BASE_HEADS.map(([base]) =>
        both(rows, ({ against }) => against[base]?.toFixed(2) ?? "")
      ),
    ]),
  ];
}

function callsEach({ syscalls }: Row): string {
  return syscalls === undefined || "reason" in syscalls
    ? ""
    : syscalls.per_request.toFixed(2);
}

// Of servers on several threads, the processor's time for an answer as a multiple of that with one worker.
function workers(tables: readonly Table[]): Lines {
  const ours = (suffix: string): string[] =>
    BACKENDS.map((name) => name + suffix);
  const columns: readonly (readonly [head: string, names: string[]])[] = [
    ["`serve()`", ours("")],
    ["2 workers", ours("-x2")],
    ["4 workers", ours("-x4")],
    ["Deno, 2 threads", ["deno-x2"]],
    ["Bun, 2 threads", ["bun-x2"]],
  ];
  return [
    [
      "io_uring · epoll",
      "answers per CPU-second, 1 worker",
      ...columns.map(([head]) => head),
    ],
    ...tables.map(({ title, rows }) => [
      title,
      both(rows, (row) => integer(row.ratePerCpuSecond), ours("-x1")),
      ...columns.map(([, names]) => both(rows, costAgainstSingle, names)),
    ]),
  ];
}

function costAgainstSingle({ against }: Row): string {
  return against.single === undefined ? "" : (1 / against.single).toFixed(2);
}

function latency(tables: readonly Table[]): Lines {
  const names = [...SHOWN, "millrace-spin"].filter((name) =>
    tables.some(({ rows }) => rows.some((row) => row.contender === name))
  );
  return [
    ["p50 · p99 · p99.9, µs", ...names.map((name) => markOf(name).label)],
    ...tables.map(({ title, rows }) => [
      title,
      ...names.map((name) => {
        const row = rows.find(({ contender }) => contender === name);
        return row === undefined
          ? ""
          : [row.p50Us, row.p99Us, row.p999Us].map(integer).join(" · ");
      }),
    ]),
  ];
}

function memory({ idle }: Results): Lines {
  const names = SHOWN.filter((name) =>
    idle.some(({ contender }) => contender === name)
  );
  const workloads = IDLE_WORKLOADS.filter(({ name }) =>
    idle.some(({ workload }) => workload === name)
  );
  return [
    ["B each, above the server at rest", ...workloads.map((it) => it.title)],
    ...names.map((name) => [
      markOf(name).label,
      ...workloads.map((workload) => {
        const round = idle.find((it) =>
          it.contender === name && it.workload === workload.name
        );
        return round === undefined
          ? ""
          : integer(aboveRest(round) / round.connections);
      }),
    ]),
  ];
}

function targets(outcomes: readonly Outcome[]): Lines {
  const names = [...new Set(outcomes.map(({ target }) => target))];
  return [
    ["target", "wanted", "measured", ""],
    ...names.map((target) => {
      const own = outcomes.filter((outcome) => outcome.target === target);
      const { workload, figure, against, atLeast, atMost } = target;
      return [
        `\`${workload}\`, ${figure}${
          against === undefined ? "" : ` × ${against}`
        }`,
        [
          atLeast === undefined ? "" : `≥ ${atLeast}`,
          atMost === undefined ? "" : `≤ ${atMost}`,
        ].filter((text) => text !== "").join(", "),
        own.map(({ measured }) => measured?.median.toFixed(2) ?? "-")
          .join(" · "),
        own.map(({ met }) =>
          met === undefined ? "-" : met ? "met" : "**missed**"
        )
          .join(" · "),
      ];
    }),
  ];
}

function integer(value: number): string {
  return Math.round(value).toLocaleString("en");
}
