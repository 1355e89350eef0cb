// SPDX-License-Identifier: Apache-2.0
// workers_place_app.ts - an application that tells on which processors its threads may run.

import { Executor } from "../lib/executor.ts";
import type { WorkerModule } from "../lib/workers.ts";

const executor = new Executor({ maximum: 1 });

/** The kernel's own word for the calling thread. */
export function mask(): string {
  const status = Deno.readTextFileSync("/proc/thread-self/status");
  return /Cpus_allowed_list:\s*(\S+)/.exec(status)![1]!;
}

export default {
  async fetch(request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/die") {
      queueMicrotask(() => {
        throw new Error("asked to die");
      });
    }
    return new Response(
      pathname === "/executor"
        ? await executor.run(new URL(import.meta.url), "mask")
        : mask(),
    );
  },
} satisfies WorkerModule;
