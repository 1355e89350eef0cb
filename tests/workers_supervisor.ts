// SPDX-License-Identifier: Apache-2.0
// workers_supervisor.ts - an isolate that serves on many workers, for the tests of what becomes of them when it ends.

import { parentPort, workerData } from "node:worker_threads";
import { serveAll, type ServeAllOptions } from "../lib/workers.ts";
import { APP } from "./workers_testing.ts";

const server = await serveAll(APP, {
  hostname: "127.0.0.1",
  port: 0,
  workers: 2,
  onListen: () => {},
  ...workerData as ServeAllOptions,
});
parentPort!.postMessage(server.addr);
