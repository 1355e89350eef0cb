// SPDX-License-Identifier: Apache-2.0
// chart_throughput.ts - answers per CPU-second of the server: a panel for each workload, a bar for each contender.
import {
  type Chart,
  compact,
  FONT,
  markOf,
  panelTitle,
  SHOWN,
  type Theme,
} from "./chart_theme.ts";
import type { Round } from "./measure.ts";
import { median, ratePerCpuSecond } from "./summary.ts";
import type { Results } from "./results.ts";

const PANELS: readonly (readonly [workload: string, title: string])[] = [
  ["http-1", "HTTP, plaintext"],
  ["http-16", "HTTP, plaintext, 16 pipelined"],
  ["json", "HTTP, JSON"],
  ["post", "HTTP, POST of 4 KiB, echoed"],
  ["download", "HTTP, GET of 1 MiB"],
  ["upload", "HTTP, POST of 1 MiB"],
  ["ws-1", "WebSocket echo, 64 B"],
  ["ws-16", "WebSocket echo, 64 B, 16 in flight"],
  ["ws-16k-1", "WebSocket echo, 16 KiB"],
  ["broadcast-1000", "Published to 1,000 WebSockets"],
  ["tcp-64b-1", "TCP echo, 64 B"],
  ["tcp-64b-16", "TCP echo, 64 B, 16 in flight"],
];
const COLUMNS = 3;
const PANEL_WIDTH = 330;
const NAMES_WIDTH = 112;
const BAR_PITCH = 17;
const TITLE_HEIGHT = 34;
const MARGIN = 16;

interface Panel {
  readonly title: string;
  readonly bars: readonly { contender: string; value: number }[];
}

/** A chart of the workloads that were run, or nothing. */
export function drawThroughput(
  { rounds }: Results,
  theme: Theme,
): Chart | undefined {
  const panels = PANELS.map(([workload, title]) => ({
    title,
    bars: barsOf(rounds.filter((round) => round.workload === workload)),
  })).filter(({ bars }) => bars.length > 0);
  if (panels.length === 0) return undefined;
  const most = Math.max(...panels.map(({ bars }) => bars.length));
  const panelHeight = TITLE_HEIGHT + most * BAR_PITCH + MARGIN;
  const rows = Math.ceil(panels.length / COLUMNS);
  const at = (index: number): [left: number, top: number] => [
    MARGIN + index % COLUMNS * PANEL_WIDTH,
    Math.floor(index / COLUMNS) * panelHeight,
  ];
  return {
    width: COLUMNS * PANEL_WIDTH + MARGIN,
    height: rows * panelHeight,
    option: {
      title: panels.map(({ title }, index) =>
        panelTitle(title, at(index)[0], at(index)[1] + MARGIN / 2, theme)
      ),
      grid: panels.map(({ bars }, index) => ({
        left: at(index)[0] + NAMES_WIDTH,
        top: at(index)[1] + TITLE_HEIGHT,
        width: PANEL_WIDTH - NAMES_WIDTH - 4 * MARGIN,
        height: bars.length * BAR_PITCH,
      })),
      xAxis: panels.map((_panel, gridIndex) => ({
        type: "value",
        gridIndex,
        show: false,
        min: 0,
        max: "dataMax",
      })),
      yAxis: panels.map((panel, gridIndex) => names(panel, gridIndex, theme)),
      series: panels.map((panel, index) => series(panel, index, theme)),
    },
  };
}

function barsOf(rounds: readonly Round[]): Panel["bars"] {
  return SHOWN.flatMap((contender) => {
    const own = rounds.filter((round) => round.contender === contender);
    const value = median(own.map(ratePerCpuSecond));
    return own.length === 0 ? [] : [{ contender, value }];
  });
}

function names({ bars }: Panel, gridIndex: number, theme: Theme): object {
  return {
    type: "category",
    gridIndex,
    inverse: true,
    data: bars.map(({ contender }) => markOf(contender).label),
    axisLine: { show: false },
    axisTick: { show: false },
    axisLabel: { color: theme.faint, fontFamily: FONT, fontSize: 11 },
  };
}

function series({ bars }: Panel, index: number, theme: Theme): object {
  return {
    type: "bar",
    xAxisIndex: index,
    yAxisIndex: index,
    barWidth: BAR_PITCH - 5,
    data: bars.map(({ contender, value }) => ({
      value,
      itemStyle: { color: markOf(contender).color, borderRadius: [0, 2, 2, 0] },
    })),
    label: {
      show: true,
      position: "right",
      color: theme.text,
      fontFamily: FONT,
      fontSize: 11,
      formatter: ({ value }: { value: number }) => compact(value),
    },
  };
}
