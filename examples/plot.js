// SPDX-License-Identifier: Apache-2.0
// plot.js - plots in the colours of page.css, on uPlot; without that library a page goes on without them.

const FONT = "12px system-ui, sans-serif";

export const color = (name) => () =>
  getComputedStyle(document.documentElement).getPropertyValue(name);

export const axis = {
  stroke: color("--muted"),
  grid: { stroke: color("--line"), width: 1 },
  ticks: { stroke: color("--line"), width: 1 },
  font: FONT,
};

/** The options of an axis and a scale of seconds that end now. */
export function lastSeconds(seconds, labels) {
  return {
    scale: {
      time: false,
      range: (_, __, max) => [(max ?? 0) - seconds, max ?? 0],
    },
    axis: {
      ...axis,
      size: 32,
      splits: (_, __, min) => labels.map((ago) => min + seconds - ago),
      values: () => labels.map((ago) => ago === 0 ? "now" : `−${ago} s`),
    },
  };
}

/** A plot that fills its box; returns what sets its data. */
export function makePlot(box, options) {
  if (!("uPlot" in window)) return () => {};
  const size = () => ({ width: box.clientWidth, height: box.clientHeight });
  const plot = new uPlot(
    {
      ...size(),
      padding: [10, 16, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      ...options,
    },
    options.series.map(() => []),
    box,
  );
  new ResizeObserver(() => plot.setSize(size())).observe(box);
  matchMedia("(prefers-color-scheme: dark)").onchange = () => plot.redraw();
  return (data) => plot.setData(data);
}

/** A plot of one bar for each label; returns what sets their heights. */
export function makeBars(box, labels) {
  const places = labels.map((_, place) => place);
  const set = makePlot(box, {
    scales: {
      x: { time: false, range: () => [-0.6, labels.length - 0.4] },
      y: { range: (_, __, max) => [0, 1.15 * max || 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 32,
        splits: () => places,
        values: (plot) => thinned(labels, plot.width),
      },
      { ...axis, size: 64, values: (_, ticks) => ticks.map(count) },
    ],
    series: [{}, {
      stroke: color("--accent"),
      fill: color("--fill"),
      width: 1.5,
      paths: globalThis.uPlot?.paths.bars({ size: [0.8, 64] }),
      points: { show: false },
    }],
  });
  // Null draws nothing, 0 a line.
  return (heights) => set([places, heights.map((height) => height || null)]);
}

const AXIS_PIXELS = 80;
const LABEL_PIXELS = 56;

// Labels that would overlap are left out.
function thinned(labels, width) {
  const every = Math.ceil(
    labels.length * LABEL_PIXELS / (width - AXIS_PIXELS),
  );
  return labels.map((label, place) => place % every === 0 ? label : "");
}

function count(number) {
  return Number.isInteger(number) ? number.toLocaleString("en") : "";
}
