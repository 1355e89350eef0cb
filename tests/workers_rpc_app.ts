// SPDX-License-Identifier: Apache-2.0
// workers_rpc_app.ts - an application of the action router for the tests of workers.

import { rpc } from "../lib/rpc.ts";
import type { WorkerModule } from "../lib/workers.ts";

const ID = crypto.randomUUID();

const app = rpc().route(1, () => ID);
app.listenTcp({ hostname: "127.0.0.1", port: 0 });

export default { rpc: app } satisfies WorkerModule;
