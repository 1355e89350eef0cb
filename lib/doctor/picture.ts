// SPDX-License-Identifier: Apache-2.0
// picture.ts - a machine as a small picture of text: packages, nodes, caches, cores; called by print.ts.

import type { Topology, TopologyCpu, TopologyNode } from "../topology.ts";

const WIDTH = 76;
const TITLE_WIDTH = 14;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/**
 * One box for each package, in it its nodes, and a row for each group of cores that share the last cache. A core is
 * "[0 4]", its CPUs; "×" is one that may not be used.
 */
export function picture(machine: Topology): string {
  const packages = Map.groupBy(machine.cpus, (cpu) => cpu.package);
  const boxes = [...packages].map(([id, cpus]) =>
    box(`package ${id}`, packageRows(cpus, machine))
  );
  const bare = machine.nodes.filter((node) => node.cpus.length === 0);
  const isWhole = machine.cpus.every((cpu) => cpu.allowed);
  return [
    ...boxes,
    ...bare.map((node) => `  ${nodeTitle(node)}, no CPUs`),
    ...isWhole ? [] : ["  × may not be used by this process"],
    ...distances(machine),
  ].join("\n");
}

/** Bytes with a fitting unit, such as "32 MiB". */
export function size(bytes: number): string {
  const unit = Math.min(
    Math.floor(Math.log2(Math.max(bytes, 1)) / 10),
    UNITS.length - 1,
  );
  return `${Number((bytes / 1024 ** unit).toFixed(1))} ${UNITS[unit]}`;
}

function packageRows(cpus: TopologyCpu[], machine: Topology): string[] {
  const nodes = Map.groupBy(cpus, (cpu) => cpu.node);
  return [...nodes].flatMap(([id, own]) => [
    nodeTitle(machine.nodes.find((node) => node.id === id)!),
    ...cacheRows(own, machine),
  ]);
}

function nodeTitle({ id, memory, allowed }: TopologyNode): string {
  const has = memory === 0 ? "no memory" : size(memory);
  return `node ${id}, ${has}${allowed ? "" : " that may not be used"}`;
}

function cacheRows(cpus: TopologyCpu[], { caches }: Topology): string[] {
  const last = Math.max(0, ...caches.map(({ level }) => level));
  const groups = Map.groupBy(
    cpus,
    ({ id }) =>
      caches.find((one) => one.level === last && one.cpus.includes(id)),
  );
  return [...groups].flatMap(([cache, own]) => {
    const title = cache === undefined
      ? " "
      : `  L${cache.level} ${size(cache.bytes)}`.padEnd(TITLE_WIDTH);
    return wrapped(title, coresOf(own));
  });
}

function coresOf(cpus: TopologyCpu[]): string[] {
  const cores = Map.groupBy(cpus, (cpu) => cpu.core);
  return [...cores.values()].map((siblings) =>
    `[${siblings.map(({ id, allowed }) => allowed ? id : "×").join(" ")}]`
  );
}

// Rows of a width that fits, of which the first has the title.
function wrapped(title: string, words: readonly string[]): string[] {
  const rows = [title];
  for (const word of words) {
    const row = rows.at(-1)!;
    const isFull = row.length + word.length + 1 > WIDTH && row.trim() !== "";
    if (isFull) rows.push(" ".repeat(title.length));
    rows.push(`${rows.pop()} ${word}`);
  }
  return rows;
}

function box(title: string, rows: readonly string[]): string {
  const width = Math.max(title.length + 2, ...rows.map((row) => row.length));
  return [
    `┌ ${title} ${"─".repeat(width - title.length)}┐`,
    ...rows.map((row) => `│ ${row.padEnd(width)} │`),
    `└${"─".repeat(width + 2)}┘`,
  ].join("\n");
}

// Only where there is more than one node.
function distances({ nodes }: Topology): string[] {
  if (nodes.length < 2) return [];
  const cell = (value: number): string => String(value).padStart(4);
  return [
    `  distances ${nodes.map(({ id }) => cell(id)).join("")}`,
    ...nodes.map((node) =>
      `${cell(node.id).padStart(11)} ${node.distances.map(cell).join("")}`
    ),
  ];
}
