// SPDX-License-Identifier: Apache-2.0
// print.ts - facts and findings for people, as lines of text; called by ../doctor.ts.

import type { Facts, Limit } from "./facts.ts";
import type { Finding } from "./findings.ts";
import { picture, size } from "./picture.ts";

const LABEL_WIDTH = 13;
const WIDTH = 80;
const UNKNOWN = "unknown";
const INTEGER = new Intl.NumberFormat("en");
const MARKS = { error: "✗", warning: "!", note: "i" };

/** The whole report. */
export function printed(facts: Facts, found: readonly Finding[]): string {
  return [
    rows(facts).map(([label, said]) =>
      folded(label.padEnd(LABEL_WIDTH) + said, LABEL_WIDTH)
    ).join("\n"),
    ...facts.topology === null ? [] : [picture(facts.topology)],
    ...found.map(describe),
    summary(facts, found),
  ].join("\n\n");
}

function rows(facts: Facts): [string, string][] {
  const { system, backend, permissions } = facts;
  const states = Object.entries(permissions).map(([name, state]) =>
    `${name} ${state}`
  );
  return [
    [
      "System",
      `Linux ${system.kernel || UNKNOWN}, ${system.arch}, ${
        containerText(facts)
      }`,
    ],
    ["Deno", `${system.deno}, V8 ${system.v8}; ${states.join(", ")}`],
    [
      "Backend",
      backend === null ? UNKNOWN : `${backend.name}: ${backend.reason}`,
    ],
    ["io_uring", uringText(facts)],
    ["Limits", limitsText(facts)],
    ["Memory", memoryText(facts)],
    ["Processors", processorsText(facts)],
  ];
}

function containerText({ container: { kind, seccomp } }: Facts): string {
  const filter = seccomp === null
    ? ""
    : seccomp
    ? ", system calls are filtered"
    : ", no filter of system calls";
  return `${kind === null ? "no container found" : `in ${kind}`}${filter}`;
}

function uringText({ uring: { features, disabled } }: Facts): string {
  const said = features.map(({ feature, error }) =>
    error === ""
      ? `${feature} ok`
      : error === "ECANCELED"
      ? `${feature} not tried`
      : `${feature} FAILS (${error})`
  );
  if (disabled !== null && disabled > 0) {
    said.unshift(`kernel.io_uring_disabled is ${disabled}`);
  }
  return said.join(", ") || UNKNOWN;
}

function limitsText({ limits }: Facts): string {
  const { descriptors, locked, somaxconn, synBacklog, ports } = limits;
  return [
    `nofile ${limitText(descriptors, INTEGER.format)}`,
    `memlock ${limitText(locked, size)}`,
    `somaxconn ${limitText(somaxconn, INTEGER.format)}`,
    `tcp_max_syn_backlog ${limitText(synBacklog, INTEGER.format)}`,
    `local ports ${ports?.join(" to ") ?? UNKNOWN}`,
  ].join(", ");
}

function limitText(limit: Limit, format: (value: number) => string): string {
  return typeof limit === "number" ? format(limit) : limit ?? UNKNOWN;
}

function memoryText({ memory: { transparent, pool, limit } }: Facts): string {
  const pages = pool === null
    ? "pool of 2 MiB pages unknown"
    : `${pool.free} of ${pool.pages} pages of 2 MiB free`;
  return `transparent huge pages ${
    transparent ?? UNKNOWN
  }, ${pages}, memory of control groups ${limitText(limit, size)}`;
}

function processorsText({ topology, workers }: Facts): string {
  if (topology === null) return UNKNOWN;
  const { cpus, nodes, quota, source } = topology;
  const usable = cpus.filter((cpu) => cpu.allowed).length;
  const cores = new Set(cpus.map((cpu) => cpu.core)).size;
  const time = quota === null ? "" : `, the time of ${quota}`;
  return `${usable} of ${cpus.length} CPUs may be used${time}; ${
    count(cores, "core")
  }, ${count(nodes.length, "node")} ` +
    `(${source}); workers "auto" is ${workers}`;
}

function count(value: number, what: string): string {
  return `${value} ${what}${value === 1 ? "" : "s"}`;
}

function describe({ level, about, text, fix }: Finding): string {
  const said = folded(`${MARKS[level]} ${about}: ${text}`, 2);
  return [said, ...fix.map((line) => `    ${line}`)].join("\n");
}

// Lines that fit a terminal, all but the first of them indented.
function folded(text: string, indent: number): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line === undefined) lines.push(word);
    else if (line.length + 1 + word.length > WIDTH) {
      lines.push(" ".repeat(indent) + word);
    } else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.join("\n");
}

function summary({ system }: Facts, found: readonly Finding[]): string {
  const of = (level: Finding["level"]): number =>
    found.filter((one) => one.level === level).length;
  const [errors, warnings] = [of("error"), of("warning")];
  if (errors + warnings === 0) {
    return system.kernel === ""
      ? "Nothing is known to be wrong."
      : "All is well.";
  }
  return [
    errors > 0 && count(errors, "error"),
    warnings > 0 && count(warnings, "warning"),
  ].filter(Boolean).join(", ") + ".";
}
