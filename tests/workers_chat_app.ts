// SPDX-License-Identifier: Apache-2.0
// workers_chat_app.ts - a chat with one room, for the tests of workers: who is connected hears what all others say.

import { workerData } from "node:worker_threads";
import type { WorkerModule } from "../lib/workers.ts";
import { dieOf } from "./workers_deaths.ts";

/** Tells this worker from others: its number, and what nobody has had before. */
const ID = `${workerData.slot}-${crypto.randomUUID()}`;

export default {
  websocket: {
    open(socket): void {
      socket.subscribe("room");
      socket.send(`worker ${ID}`);
    },
    message(socket, message): void {
      dieOf(String(message));
      socket.publish("room", message);
    },
  },
} satisfies WorkerModule;
