// SPDX-License-Identifier: Apache-2.0
// workers_closing_app.ts - an application that listens on a second address until it is told not to.

import { serve } from "../mod.ts";
import type { WorkerModule } from "../lib/workers.ts";

const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
const extra = serve(options, () => new Response("extra"));

export default {
  fetch: () => Response.json(extra.addr),
  onMessage: () => extra.shutdown().then(() => {}),
} satisfies WorkerModule;
