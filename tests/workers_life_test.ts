// SPDX-License-Identifier: Apache-2.0
// Tests of the life of workers: those that die, stall, and are replaced by others with new code.

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { assert, assertEquals } from "@std/assert";
import { RawClient } from "./raw_client.ts";
import { BACKENDS, sleep, until } from "./testing.ts";
import { countOf, WorkersChild } from "./workers_child.ts";
import { addressesOf, Clients } from "./workers_load.ts";
import { fetchOnce, get, testWorkers } from "./workers_testing.ts";

testWorkers("a worker that dies loses its own connections alone", async (t) => {
  const server = await t.serveAll({ balance: "least" });
  using first = await RawClient.connect(server);
  const victim = (await first.request(get("/"))).text;
  using second = await RawClient.connect(server);
  const other = (await second.request(get("/"))).text;
  assert(victim !== other);
  const began = performance.now();
  await first.write(get("/die?way=throw"));
  await first.rest().catch(() => {});
  assertEquals((await second.request(get("/"))).text, other);
  await until(
    () => t.events.filter(({ kind }) => kind === "started").length === 3,
    "another worker",
  );
  const died = t.events.filter(({ kind }) => kind === "died");
  assertEquals(died.map(({ error }) => error?.message), ["asked to die"]);
  // A generous second: what is waited for is a thread that starts.
  assert(performance.now() - began < 10_000);
  assertEquals((await second.request(get("/"))).text, other);
  await fetchOnce(server);
});

testWorkers("a worker that exits is replaced", async (t) => {
  const server = await t.serveAll({ workers: 1 });
  await fetchOnce(server, "/die?way=exit").catch(() => {});
  // There is one worker: who connects meanwhile waits for the next.
  await fetchOnce(server);
  assertEquals(
    t.events.map(({ kind }) => kind),
    ["started", "died", "started"],
  );
});

testWorkers("a worker that stalls is reported, and recovers", async (t) => {
  const server = await t.serveAll({ workerTimeout: 300 });
  const answer = fetchOnce(server, "/spin");
  await until(
    () => t.events.some(({ kind }) => kind === "stalled"),
    "a report",
  );
  assertEquals(server.workers().filter(({ stalled }) => stalled).length, 1);
  assertEquals(await answer, "awake");
  await until(() => t.events.some((e) => e.kind === "recovered"), "recovery");
});

testWorkers("workers that only sleep do not stall", async (t) => {
  const server = await t.serveAll({ workerTimeout: 2000 });
  const wakes = (): number => server.statistics().wakes;
  const before = wakes();
  // Each is woken to be seen to live.
  await until(() => wakes() > before + 4, "wake-ups");
  assertEquals(t.events.filter(({ kind }) => kind === "stalled"), []);
});

testWorkers("a worker that stalls is replaced when asked", async (t) => {
  const server = await t.serveAll({ workerTimeout: 300, replaceStalled: true });
  using client = await RawClient.connect(server);
  await client.write(get("/spin"));
  await until(
    () => t.events.filter(({ kind }) => kind === "started").length === 3,
    "another worker",
  );
  for (let i = 0; i < 20; i++) await fetchOnce(server);
  // Its thread ends when its function has returned.
  await client.rest().catch(() => {});
  await until(() => server.workers().length === 2, "its end");
  assert(server.workers().every(({ state }) => state === "serving"));
});

testWorkers("requests in flight are answered by the old worker", async (t) => {
  const server = await t.serveAll({ workers: 1 });
  const addr = JSON.parse(await fetchOnce(server, "/tcp")) as Deno.NetAddr;
  using tcp = await RawClient.connect({ addr });
  using client = await RawClient.connect(server);
  const held = client.request(get("/hold"));
  await until(
    () => server.statistics().receivedBytes > get("/tcp", true).length,
    "the request",
  );
  const reloaded = server.reload({ grace: 0 });
  // The old worker drains.
  assertEquals(await tcp.rest(), "");
  await tcp.write("go on");
  const response = await held;
  assertEquals(response.text, "held");
  assertEquals(response.field("connection"), "close");
  tcp.close();
  await reloaded;
});

for (const backend of BACKENDS) {
  Deno.test(`a worker that never comes back disturbs no other (${backend})`, async () => {
    await using child = await WorkersChild.start({
      backend,
      balance: "least",
      workers: 2,
      workerTimeout: 2000,
      replaceStalled: true,
    });
    using spinning = await RawClient.connect(child);
    await spinning.write(get("/die?way=forever"));
    const { events } = await child.until(
      (view) => countOf(view.events, "started") === 3,
      "another worker",
    );
    const [stalled] = events.filter(({ kind }) => kind === "stalled");
    const slow = countOf(events, "stalled");
    const clients = new Clients(await addressesOf(child.addr), {
      fresh: 2,
      kept: 2,
      websocket: 2,
      tcp: 2,
      rpc: 2,
    });
    await child.until(() => clients.least() >= 50, "answers");
    await clients.stop();
    assertEquals(clients.losses, []);
    assertEquals(slow, 1);
    const served = [...clients.workers.keys()].map((id) => Number(id[0]));
    assertEquals(served.toSorted(), [0, 1]);
    const { workers } = await child.look();
    assertEquals(
      workers.map(({ worker, state }) => ({ worker, state })).filter(
        ({ state }) => state === "leaving",
      ),
      [{ worker: stalled!.worker, state: "leaving" }],
    );
    // The process ends all the same, and the connection with it.
    assertEquals((await child.end()).code, 0);
    assertEquals(await spinning.rest().catch(() => ""), "");
  });

  Deno.test(`servers that begin and end leave nothing (${backend})`, async () => {
    await using child = await WorkersChild.start({ backend, workers: 2 });
    const before = await child.cycle(3);
    const after = await child.cycle(20);
    assertEquals(after.descriptors, before.descriptors);
    assert(after.threads <= before.threads);
    const grown = after.rss - before.rss;
    assert(grown < 50e6, `Memory has grown by ${grown} bytes`);
    // An arena is of 150 MB: four of each of the 40 workers would be 24 GB.
    const mapped = after.mapped - before.mapped;
    assert(mapped < 500e6, `Address space has grown by ${mapped} bytes`);
    assertEquals((await child.end()).code, 0);
  });
}

testWorkers("an abort ends all workers at once", async (t) => {
  const abort = new AbortController();
  const server = await t.serveAll({ signal: abort.signal });
  using client = await RawClient.connect(server);
  await client.request(get("/"));
  abort.abort();
  await server.finished;
  assertEquals(server.workers(), []);
  await client.rest().catch(() => {});
});

testWorkers("what all workers have closed refuses connections", async (t) => {
  const app = new URL("./workers_closing_app.ts", import.meta.url);
  const server = await t.serveAll({ workerTimeout: 2000 }, app);
  const addr: Deno.NetAddr = JSON.parse(await fetchOnce(server));
  assertEquals(await fetchOnce({ addr }), "extra");
  server.broadcast("close");
  while (await accepts(addr)) await sleep(10);
  await fetchOnce(server);
});

testWorkers("workers end with who supervises them", async ({ backend }) => {
  for (const balance of ["reuseport", "least"]) {
    const supervisor = new Worker(
      new URL("./workers_supervisor.ts", import.meta.url),
      { workerData: { backend, balance } },
    );
    const [addr] = await once(supervisor, "message") as [Deno.NetAddr];
    await fetchOnce({ addr });
    await supervisor.terminate();
    while (await accepts(addr)) await sleep(10);
  }
});

async function accepts(addr: Deno.NetAddr): Promise<boolean> {
  try {
    const { hostname, port } = addr;
    (await Deno.connect({ hostname, port })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}

testWorkers(
  "a worker that dies is replaced while another leaves",
  async (t) => {
    const server = await t.serveAll({ workers: 1 });
    const addr = JSON.parse(await fetchOnce(server, "/tcp")) as Deno.NetAddr;
    using tcp = await RawClient.connect({ addr });
    using idle = await RawClient.connect(server);
    await idle.request(get("/"));
    using client = await RawClient.connect(server);
    const held = client.request(get("/hold"));
    held.catch(() => {}); // it is looked at below
    const before = get("/tcp", true).length + get("/").length;
    await until(
      () => server.statistics().receivedBytes > before,
      "the request",
    );
    const reloaded = server.reload({ grace: 0, timeout: 0 });
    // The old worker accepts nothing and waits for its request from here on.
    assertEquals(await tcp.rest(), "");
    assertEquals(await idle.rest(), "");
    idle.close();
    await fetchOnce(server, "/die?way=throw").catch(() => {});
    const started = (): number =>
      t.events.filter((e) => e.kind === "started").length;
    await until(() => started() === 3, "another worker");
    await fetchOnce(server);
    await tcp.write("go on");
    assertEquals((await held).text, "held");
    tcp.close();
    await reloaded;
  },
);
