// SPDX-License-Identifier: Apache-2.0
// plot.ts - the files that pages with a plot refer to: uPlot, and plot.js on top of it.

import uplotCss from "npm:uplot@1.6.32/dist/uPlot.min.css" with {
  type: "text",
};
import uplotJs from "npm:uplot@1.6.32/dist/uPlot.iife.min.js" with {
  type: "text",
};
import plotJs from "./plot.js" with { type: "text" };
import { file, get, type Route } from "./routes.ts";

/** Their routes. */
export const plot: Record<string, Route> = {
  "/plot.js": get(() => file(plotJs, "text/javascript")),
  "/uplot.js": get(() => file(uplotJs, "text/javascript")),
  "/uplot.css": get(() => file(uplotCss, "text/css")),
};
