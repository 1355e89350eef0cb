// SPDX-License-Identifier: Apache-2.0
// Tests of servers on many workers under load: every answer of every protocol is checked, and what the server has
// counted is what its clients have.

import { assert, assertEquals } from "@std/assert";
import type { Balance } from "../lib/workers.ts";
import { RawClient } from "./raw_client.ts";
import { until } from "./testing.ts";
import { addressesOf, Clients, type Kind } from "./workers_load.ts";
import { get, testWorkers } from "./workers_testing.ts";

const ANSWERS = 60;
const COUNTS: Record<Kind, number> = {
  fresh: 3,
  kept: 4,
  pipelined: 3,
  websocket: 4,
  tcp: 4,
  rpc: 4,
};
const ALL = Object.values(COUNTS).reduce((sum, count) => sum + count, 0);

for (const workers of [2, 8]) {
  for (const balance of ["reuseport", "least"] as const) {
    testWorkers(
      `${workers} workers answer all protocols, balance ${balance}`,
      async (t) => {
        const server = await t.serveAll({ workers, balance });
        const addr = server.addr as Deno.NetAddr;
        const at = await addressesOf(addr);
        const before = server.statistics().accepted;
        const clients = new Clients(at, COUNTS);
        await until(() => clients.least() >= ANSWERS, "answers");
        assert(server.statistics().connections > ALL / 2);
        await clients.stop();
        assertEquals(clients.losses, []);
        assertEquals(clients.workers.size, workers);
        assertEquals(server.statistics().accepted - before, clients.opened());
        await until(() => server.statistics().connections === 0, "their end");
      },
    );
  }
}

testWorkers("a Unix socket is served by eight workers", async (t) => {
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  const server = await t.serveAll({ workers: 8, path });
  const at = await addressesOf(server.addr as Deno.UnixAddr);
  const clients = new Clients(at, {
    fresh: 4,
    kept: 8,
    pipelined: 4,
    websocket: 8,
  });
  await until(() => clients.least() >= ANSWERS, "answers");
  await clients.stop();
  assertEquals(clients.losses, []);
  assertEquals(clients.workers.size, 8);
});

testWorkers("many connections at once are spread evenly", async (t) => {
  const each = 16;
  for (const balance of ["least", "reuseport"] as Balance[]) {
    const server = await t.serveAll({ workers: 8, balance });
    const clients = await Promise.all(
      Array.from({ length: 8 * each }, () => RawClient.connect(server)),
    );
    await Promise.all(clients.map((client) => client.request(get("/"))));
    const counts = server.workers().map(({ connections }) => connections);
    assertEquals(counts.reduce((sum, count) => sum + count), 8 * each);
    if (balance === "least") assertSpread(counts, each);
    for (const client of clients) client.close();
    await server.shutdown();
  }
});

// What a worker has been handed and has not taken counts for more than one, so that a burst is not spread to the last.
function assertSpread(counts: number[], each: number): void {
  const far = counts.filter((count) => Math.abs(count - each) > each / 2);
  assertEquals(far, [], `${counts}`);
}
