// SPDX-License-Identifier: Apache-2.0
// workers_testing.ts - what the tests of workers share: servers that are closed in the end, and plain requests.

import { serveAll, type ServeAllOptions } from "../lib/workers.ts";
import type { WorkerEvent, WorkersServer } from "../lib/workers.ts";
import { type Address, RawClient } from "./raw_client.ts";
import { BACKENDS, deadline } from "./testing.ts";
import type { BackendName } from "../mod.ts";

export const APP = new URL("./workers_app.ts", import.meta.url);

/** What a test of workers is given. */
export interface WorkersContext {
  readonly backend: BackendName;
  /** What has become of the workers. */
  readonly events: WorkerEvent[];
  /** Serves the application of the tests, or another one; the context ends it. */
  serveAll(options?: ServeAllOptions, module?: URL): Promise<WorkersServer>;
}

/** Registers one test for each backend. */
export function testWorkers(
  name: string,
  fn: (context: WorkersContext) => Promise<void>,
): void {
  for (const backend of BACKENDS) {
    Deno.test(`${name} (${backend})`, () => runWith(backend, fn));
  }
}

async function runWith(
  backend: BackendName,
  fn: (context: WorkersContext) => Promise<void>,
): Promise<void> {
  const servers: WorkersServer[] = [];
  const events: WorkerEvent[] = [];
  try {
    await deadline(
      fn({
        backend,
        events,
        async serveAll(options = {}, module = APP): Promise<WorkersServer> {
          const server = await serveAll(module, {
            ...options.path === undefined &&
              { hostname: "127.0.0.1", port: 0 },
            workers: 2,
            backend,
            onListen: () => {},
            onWorker: (event) => events.push(event),
            ...options,
          });
          servers.push(server);
          return server;
        },
      }),
      "the test",
      60_000,
    );
  } finally {
    for (const server of servers) {
      await deadline(server.shutdown({ timeout: 1 }), "shutdown");
      await deadline(server.finished, "finished");
    }
  }
}

export function get(path: string, close = false): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\n${
    close ? "Connection: close\r\n" : ""
  }\r\n`;
}

/** One request on a connection of its own. */
export async function fetchOnce(
  server: { addr: Deno.Addr },
  path = "/",
): Promise<string> {
  using client = await RawClient.connect({ addr: server.addr as Address });
  return (await client.request(get(path, true))).text;
}
