// SPDX-License-Identifier: Apache-2.0
// buffer_pool_worker.ts - an isolate that gives a buffer of its pool away, and ends when it is told to.

import { parentPort } from "node:worker_threads";
import { BufferPool } from "../lib/buffer_pool.ts";

const { buffer } = new BufferPool().copy(new Uint8Array(64).fill(7)).bytes;
parentPort!.once("message", () => {});
parentPort!.postMessage(buffer, [buffer]);
