// SPDX-License-Identifier: Apache-2.0
// chart_memory.ts - memory that idle WebSockets cost a server, by their number: a line for each contender.
import {
  type Chart,
  FONT,
  markOf,
  panelTitle,
  SHOWN,
  type Theme,
} from "./chart_theme.ts";
import type { IdleRound } from "./idle.ts";
import { aboveRest } from "./targets.ts";
import type { Results } from "./results.ts";

const WIDTH = 760;
const HEIGHT = 360;
const AXIS_WIDTH = 86;
const LABEL_WIDTH = 130;
const MIB = 1024 * 1024;

type Point = readonly [connections: number, mib: number];

/** A chart of the workloads with idle connections, as far as they were run, or nothing. */
export function drawMemory(
  results: Results,
  theme: Theme,
): Chart | undefined {
  const idle = results.idle.filter((round) => round.interval_seconds === 0);
  if (idle.length === 0) return undefined;
  return {
    width: WIDTH,
    height: HEIGHT,
    option: {
      title: panelTitle(
        "Memory above that of the server at rest, by idle WebSockets",
        16,
        8,
        theme,
      ),
      grid: {
        left: AXIS_WIDTH,
        top: 48,
        width: WIDTH - AXIS_WIDTH - LABEL_WIDTH,
        height: HEIGHT - 48 - 40,
      },
      xAxis: {
        ...axis(theme, (connections) => connections.toLocaleString("en")),
        min: "dataMin",
        max: "dataMax",
      },
      yAxis: axis(theme, (mib) => `${mib.toLocaleString("en")} MiB`),
      series: SHOWN.map((contender) =>
        line(
          contender,
          pointsOf(idle.filter((it) => it.contender === contender)),
        )
      ),
    },
  };
}

function pointsOf(rounds: readonly IdleRound[]): Point[] {
  return rounds.map((round): Point => [
    round.connections,
    aboveRest(round) / MIB,
  ]).sort(([a], [b]) => a - b);
}

function axis(theme: Theme, formatter: (value: number) => string): object {
  return {
    type: "log",
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: theme.line } },
    axisLabel: { color: theme.faint, fontFamily: FONT, formatter },
  };
}

function line(contender: string, data: readonly Point[]): object {
  const { label, color } = markOf(contender);
  return {
    type: "line",
    data,
    color,
    symbol: "circle",
    symbolSize: 6,
    lineStyle: { color, width: contender.startsWith("millrace") ? 2.5 : 1.5 },
    endLabel: {
      show: true,
      color,
      fontFamily: FONT,
      fontSize: 12,
      formatter: () => label,
    },
    labelLayout: { moveOverlap: "shiftY" },
  };
}
