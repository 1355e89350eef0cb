// SPDX-License-Identifier: Apache-2.0
// chart_latency.ts - latencies at a fixed rate, by percentile: a panel for each workload, a line for each contender.
import {
  type Chart,
  duration,
  FONT,
  markOf,
  panelTitle,
  SHOWN,
  type Theme,
} from "./chart_theme.ts";
import type { Round } from "./measure.ts";
import { median } from "./summary.ts";
import type { Results } from "./results.ts";

const PANELS: readonly (readonly [workload: string, title: string])[] = [
  ["http-rate-40k", "HTTP, plaintext"],
  ["ws-rate-40k", "WebSocket echo, 64 B"],
  ["tcp-rate-40k", "TCP echo, 64 B"],
];
const PANEL_WIDTH = 335;
const PANEL_HEIGHT = 290;
const TITLE_HEIGHT = 44;
const AXIS_WIDTH = 62;
const LEGEND_HEIGHT = 34;
// 0, 90, 99, 99.9 and 99.99 %: each step has a tenth of the answers before it behind it.
const NINES_MAX = 4;

type Point = readonly [nines: number, us: number];

interface Panel {
  readonly title: string;
  readonly lines: readonly { contender: string; points: readonly Point[] }[];
}

/** A chart of the workloads that keep a rate, as far as they were run, or nothing. */
export function drawLatencies(
  { rounds }: Results,
  theme: Theme,
): Chart | undefined {
  const rated = rounds.filter(({ asked_rate, distribution_us }) =>
    asked_rate !== undefined && distribution_us !== undefined
  );
  const panels = PANELS.map(([workload, title]) =>
    panelOf(title, rated.filter((round) => round.workload === workload))
  ).filter(({ lines }) => lines.length > 0);
  if (panels.length === 0) return undefined;
  return {
    width: panels.length * PANEL_WIDTH,
    height: LEGEND_HEIGHT + PANEL_HEIGHT,
    option: {
      legend: legend(theme),
      title: panels.map(({ title }, index) =>
        panelTitle(title, index * PANEL_WIDTH + 16, LEGEND_HEIGHT + 12, theme)
      ),
      grid: panels.map((_panel, index) => ({
        left: index * PANEL_WIDTH + AXIS_WIDTH,
        top: LEGEND_HEIGHT + TITLE_HEIGHT,
        width: PANEL_WIDTH - AXIS_WIDTH - 30,
        height: PANEL_HEIGHT - TITLE_HEIGHT - 40,
      })),
      xAxis: panels.map((_panel, index) => percentiles(index, theme)),
      yAxis: panels.map((_panel, index) => latencies(index, theme)),
      series: panels.flatMap(({ lines }, index) =>
        lines.map(({ contender, points }) => line(contender, points, index))
      ),
    },
  };
}

function panelOf(title: string, rounds: readonly Round[]): Panel {
  const [first] = rounds;
  return {
    title: `${title}: ${first?.asked_rate?.toLocaleString("en")} a second`,
    lines: SHOWN.flatMap((contender) => {
      const own = rounds.filter((round) => round.contender === contender);
      return own.length === 0 ? [] : [{ contender, points: pointsOf(own) }];
    }),
  };
}

// The median of the rounds at each percentile.
function pointsOf(rounds: readonly Round[]): Point[] {
  const [first] = rounds;
  return (first?.distribution_us ?? []).flatMap(([percentile], index) => {
    const nines = -Math.log10(1 - percentile / 100);
    if (!(nines <= NINES_MAX + 1e-9)) return [];
    const us = rounds.flatMap(({ distribution_us }) =>
      distribution_us?.[index]?.[1] ?? []
    );
    return [[nines, median(us)] as const];
  });
}

function legend(theme: Theme): object {
  return {
    top: 6,
    itemWidth: 16,
    itemHeight: 4,
    icon: "roundRect",
    // Nothing measures text here, and names are longer than reckoned with.
    itemGap: 30,
    textStyle: { color: theme.text, fontFamily: FONT, fontSize: 12 },
  };
}

function percentiles(gridIndex: number, theme: Theme): object {
  return {
    type: "value",
    gridIndex,
    min: 0,
    max: NINES_MAX,
    interval: 1,
    axisLine: { lineStyle: { color: theme.line } },
    splitLine: { lineStyle: { color: theme.line, type: "dashed" } },
    axisLabel: {
      color: theme.faint,
      fontFamily: FONT,
      formatter: (nines: number) =>
        nines === 0 ? "0 %" : `${+(100 - 10 ** (2 - nines)).toFixed(2)} %`,
    },
  };
}

function latencies(gridIndex: number, theme: Theme): object {
  return {
    type: "log",
    gridIndex,
    min: 10,
    axisLine: { show: false },
    splitLine: { lineStyle: { color: theme.line } },
    axisLabel: {
      color: theme.faint,
      fontFamily: FONT,
      formatter: (us: number) => duration(us),
    },
  };
}

function line(
  contender: string,
  data: readonly Point[],
  index: number,
): object {
  const { label, color } = markOf(contender);
  return {
    type: "line",
    name: label,
    xAxisIndex: index,
    yAxisIndex: index,
    data,
    showSymbol: false,
    color,
    lineStyle: { color, width: contender.startsWith("millrace") ? 2.5 : 1.5 },
  };
}
