// SPDX-License-Identifier: Apache-2.0
// print.ts - a report for people: figures, percentiles and a histogram, as lines of text; used by command.ts.

import type { StressKind } from "./options.ts";
import type { StressReport, StressTimes } from "./report.ts";

const BAR_WIDTH = 40;
const INTEGER = new Intl.NumberFormat("en");
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"];

// What a load consists of.
const WHAT: Record<StressKind, string> = {
  ws: "Messages",
  http: "Requests",
  tcp: "Messages",
  rpc: "Calls",
};

// What a line is about, and what it says.
type Row = [string, string[]];

// The left edge of what is said about each thing.
const LABEL_WIDTH = 13;

/** The whole report. */
export function printed(report: StressReport): string {
  const sections = [headline(report), figures(report)];
  if (report.latency !== null) {
    sections.push(percentiles(report.latency), histogram(report.latency));
  }
  if (report.errors.length > 0) sections.push(errorLines(report));
  sections.push(...report.warnings.map((warning) => `Warning: ${warning}`));
  return sections.join("\n\n");
}

/** Microseconds with three digits and a fitting unit. */
export function duration(microseconds: number): string {
  const [value, unit] = microseconds < 1000
    ? [microseconds, "µs"]
    : microseconds < 1_000_000
    ? [microseconds / 1000, "ms"]
    : [microseconds / 1_000_000, "s"];
  return `${Number(value.toPrecision(3))} ${unit}`;
}

/** Bytes with three digits and a fitting unit. */
export function size(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(3))} ${BYTE_UNITS[unit]}`;
}

/** An integer with separators. */
export function integer(value: number): string {
  return INTEGER.format(Math.round(value));
}

function headline(
  { ok, interrupted, url, connections, elapsed, errors }: StressReport,
): string {
  const count = errors.reduce((sum, error) => sum + error.count, 0);
  const outcome = ok ? "all well" : `${integer(count)} errors`;
  const held = `${integer(connections.opened)} connections held for ${
    duration(elapsed * 1000)
  }`;
  return `${url}, ${held}: ${outcome}${interrupted ? ", interrupted" : ""}`;
}

function figures(report: StressReport): string {
  const { connections, messages, bytes, client, elapsed } = report;
  const { wanted, opened, failed, lost, reconnects } = connections;
  const busiest = `${Math.round(client.busiest * 100)} % of a processor`;
  // None of calls, whose bodies are values.
  const received: Row[] = bytes === 0 ? [] : [["Received", [
    size(bytes),
    ...elapsed === 0 ? [] : [`${size(bytes * 1000 / elapsed)} a second`],
  ]]];
  const rows: Row[] = [
    ["Connections", [
      `${integer(opened)} of ${integer(wanted)} opened`,
      ...counted(failed, "failed"),
      ...counted(lost, "lost"),
      ...counted(reconnects, "made anew"),
      ...report.connecting === null ? [] : [
        `p50 ${duration(report.connecting.p50)}`,
        `max ${duration(report.connecting.max)}`,
      ],
    ]],
    [WHAT[report.kind], [
      `${integer(messages.sent)} sent`,
      `${integer(messages.answered)} answered`,
      ...counted(messages.unanswered, "unanswered"),
      ...counted(messages.missed, "not sent"),
      ...elapsed === 0 ? [] : [`${integer(messages.perSecond)} a second`],
    ]],
    ...received,
    ["Client", [
      client.workers === 1
        ? `1 worker, ${busiest}`
        : `${client.workers} workers, the busiest ${busiest}`,
      size(client.memory),
    ]],
  ];
  return rows.map(([label, said]) =>
    label.padEnd(LABEL_WIDTH) + said.join(", ")
  )
    .join("\n");
}

function counted(count: number, what: string): string[] {
  return count === 0 ? [] : [`${integer(count)} ${what}`];
}

function percentiles(times: StressTimes): string {
  const columns: [string, number][] = [
    ["p50", times.p50],
    ["p75", times.p75],
    ["p90", times.p90],
    ["p99", times.p99],
    ["p99.9", times.p999],
    ["p99.99", times.p9999],
    ["max", times.max],
  ];
  const cells = columns.map(([name, value]) => [name, duration(value)]);
  const line = (at: number): string =>
    cells.map((cell) =>
      cell[at]!.padStart(Math.max(...cell.map(({ length }) => length)))
    ).join("  ");
  return `${"Latency".padEnd(LABEL_WIDTH)}${line(0)}\n${
    " ".repeat(LABEL_WIDTH)
  }${line(1)}`;
}

function histogram({ distribution, count }: StressTimes): string {
  const most = Math.max(...distribution.map((row) => row.count));
  const digits = integer(most).length;
  return distribution.map((row) => {
    const length = Math.ceil(row.count / most * BAR_WIDTH);
    const share = `${(row.count / count * 100).toFixed(2)} %`.padStart(9);
    const bar = "█".repeat(length).padEnd(BAR_WIDTH);
    const label = `up to ${duration(row.upTo)}`.padStart(LABEL_WIDTH);
    return `${label} ${bar} ${share}  ${integer(row.count).padStart(digits)}`;
  }).join("\n");
}

function errorLines({ errors }: StressReport): string {
  const width = Math.max(...errors.map(({ kind }) => kind.length));
  const digits = Math.max(...errors.map(({ count }) => integer(count).length));
  return [
    "Errors",
    ...errors.map(({ kind, count, first }) =>
      `  ${integer(count).padStart(digits)} ${kind.padEnd(width)}  ${first}`
    ),
  ].join("\n");
}
