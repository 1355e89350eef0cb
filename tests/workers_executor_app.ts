// SPDX-License-Identifier: Apache-2.0
// workers_executor_app.ts - an application whose workers run what its clients name in the executor that they share.

import { Executor } from "../lib/executor.ts";
import { rpc } from "../lib/rpc.ts";
import type { WorkerModule } from "../lib/workers.ts";

const JOBS = new URL("./executor_jobs.ts", import.meta.url);
const ID = crypto.randomUUID();

// Its bounds are those of the server, whatever is said here.
const executor = new Executor({ maximum: 100, maxQueue: 0 });
const other = new Executor();
const aborts = new Map<string, AbortController>();

const app = rpc();
app.route(1, "double", { worker: JOBS });
app.route(2, "refuse", { worker: JOBS });
const listener = app.listenTcp({ hostname: "127.0.0.1", port: 0 });

async function run(query: URLSearchParams): Promise<unknown> {
  const name = query.get("name") ?? "";
  const module = query.get("module") ?? JOBS;
  const args = JSON.parse(query.get("args") ?? "[]") as unknown[];
  const abort = new AbortController();
  aborts.set(query.get("key") ?? "", abort);
  const from = query.has("other") ? other : executor;
  const { signal } = abort;
  return await from.run(new URL(module), name, args, { signal });
}

async function moved(): Promise<unknown> {
  const bytes = new Uint8Array(1000).fill(7);
  const transfer = [bytes.buffer];
  const copy = await executor.run<Uint8Array>(JOBS, "later", [bytes], {
    transfer,
  });
  return [bytes.length, copy.length, copy[999]];
}

const ACTIONS: Record<string, (query: URLSearchParams) => unknown> = {
  "/id": () => ID,
  "/run": run,
  "/moved": moved,
  "/uncloneable": () => executor.run(JOBS, "double", [() => {}]),
  "/statistics": () => executor.statistics(),
  "/resize": (query) => executor.resize(Number(query.get("to"))),
  "/abort": (query) =>
    aborts.get(query.get("key")!)!.abort(new RangeError("enough")),
  "/close": () => executor.close(),
  "/exit": () => Deno.exit(3),
  "/rpc": () => listener.addr,
};

export default {
  rpc: app,
  async fetch(request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    try {
      const value = await ACTIONS[pathname]!(searchParams);
      return Response.json({ value: value ?? null });
    } catch (thrown) {
      const error = thrown as Error & { code?: number };
      const { name, message, code } = error;
      return Response.json({ error: { name, message, code } });
    }
  },
} satisfies WorkerModule;
