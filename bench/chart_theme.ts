// SPDX-License-Identifier: Apache-2.0
// chart_theme.ts - what all charts have in common: the colours of contenders and pages, numbers as text, and the
// plotting library.
import * as echarts from "echarts";

/** Colours of the page that a chart is shown on. */
export interface Theme {
  readonly name: "light" | "dark";
  readonly text: string;
  readonly faint: string;
  readonly line: string;
}

/** What the plotting library is given, and the size in pixels. */
export interface Chart {
  readonly width: number;
  readonly height: number;
  readonly option: echarts.EChartsCoreOption;
}

/** How a contender is named and drawn. */
export interface Mark {
  readonly label: string;
  readonly color: string;
}

/** One for each kind of page that a README is read on. */
export const THEMES: readonly Theme[] = [
  { name: "light", text: "#1f2328", faint: "#59636e", line: "#d1d9e0" },
  { name: "dark", text: "#f0f6fc", faint: "#9198a1", line: "#3d444d" },
];

/** Font of all text. */
export const FONT = "system-ui, -apple-system, Segoe UI, sans-serif";

// In this order from top to bottom. Peers are told apart by hue, what is ours by strength; the floors are no peers.
const MARKS: Readonly<Record<string, Mark>> = {
  "millrace-io_uring": { label: "Millrace io_uring", color: "#d9480f" },
  "millrace-epoll": { label: "Millrace epoll", color: "#f08c3c" },
  "floor-io_uring": { label: "C floor io_uring", color: "#868e96" },
  "floor-epoll": { label: "C floor epoll", color: "#adb5bd" },
  bun: { label: "Bun", color: "#ae3ec9" },
  deno: { label: "Deno.serve", color: "#1c7ed6" },
  node: { label: "Node", color: "#37a04a" },
  gnet: { label: "gnet (Go)", color: "#0c9aa8" },
  hon: { label: "Hon (Go)", color: "#7048e8" },
};

/** Names of the contenders that charts show, from the top to the bottom. */
export const SHOWN: readonly string[] = Object.keys(MARKS);

/** How a contender is drawn. */
export function markOf(contender: string): Mark {
  return MARKS[contender] ?? { label: contender, color: "#868e96" };
}

/** The picture. */
export function render({ width, height, option }: Chart): string {
  const chart = echarts.init(null, null, {
    renderer: "svg",
    ssr: true,
    width,
    height,
  });
  chart.setOption({ animation: false, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg + "\n";
}

/** A number in at most four characters: 950, 12 k, 1.94 M. */
export function compact(value: number): string {
  for (const [unit, sign] of [[1e6, " M"], [1e3, " k"]] as const) {
    if (value >= unit) return threeDigits(value / unit) + sign;
  }
  return threeDigits(value);
}

function threeDigits(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(digits).replace(/\.0+$/, "");
}

/** Microseconds with their unit. */
export function duration(us: number): string {
  return us >= 1000 ? `${threeDigits(us / 1000)} ms` : `${threeDigits(us)} µs`;
}

/** A title above a panel. */
export function panelTitle(
  text: string,
  left: number,
  top: number,
  theme: Theme,
): object {
  return {
    text,
    left,
    top,
    textStyle: {
      color: theme.text,
      fontFamily: FONT,
      fontSize: 13,
      fontWeight: 600,
    },
  };
}
