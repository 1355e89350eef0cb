// SPDX-License-Identifier: Apache-2.0
// Tests of the life of workers: those that die, stall, and are replaced by others with new code.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { RawClient } from "./raw_client.ts";
import { settled, until } from "./testing.ts";
import { fetchOnce, get, Load, testWorkers } from "./workers_testing.ts";

const RELOADS = 20;
const DEATHS = 8;

/** Descriptors of this process. */
function descriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

/** Bytes of address space. */
function mapped(): number {
  const pages = Deno.readTextFileSync("/proc/self/statm").split(" ")[0];
  return Number(pages) * 4096;
}

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

testWorkers("workers that die leave nothing behind", async (t) => {
  const server = await t.serveAll();
  const one = async (): Promise<void> => {
    const started = (): number =>
      t.events.filter(({ kind }) => kind === "started").length;
    const before = started();
    using client = await RawClient.connect(server);
    await client.write(get("/die?way=exit"));
    await client.rest().catch(() => {});
    await until(() => started() > before, "another worker");
    await until(() => server.workers().length === 2, "the end of the thread");
  };
  // What the first ones take is kept for those that follow.
  for (let i = 0; i < 2; i++) await one();
  const [fds, bytes] = [await settled(descriptors), mapped()];
  for (let i = 0; i < DEATHS; i++) await one();
  const after = await settled(descriptors);
  assert(after <= fds + DEATHS / 2, `${fds} → ${after} descriptors`);
  // An arena is of 150 MB: two for each death would be 2.4 GB.
  assert(mapped() < bytes + 800e6, `${bytes} → ${mapped()} bytes`);
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

testWorkers("reloads under load fail no request", async (t) => {
  for (const balance of ["reuseport", "least"] as const) {
    const server = await t.serveAll({ balance });
    const load = new Load(server, 8);
    await until(() => load.answers > 50, "answers");
    for (let i = 0; i < RELOADS / 2; i++) {
      await server.reload({ grace: 500 });
      const before = load.answers;
      await until(() => load.answers > before + 20, "answers");
    }
    await load.stop();
    assertEquals(load.failures, []);
    await server.shutdown();
  }
});

testWorkers("a reload brings new code", async (t) => {
  const directory = await Deno.makeTempDir();
  const file = join(directory, "app.ts");
  const write = (code: string): Promise<void> => Deno.writeTextFile(file, code);
  const app = (text: string): string =>
    `export default { fetch: () => new Response("${text}") };`;
  try {
    await write(app("old"));
    const server = await t.serveAll({}, pathToFileURL(file));
    assertEquals(await fetchOnce(server), "old");
    await write(app("new"));
    await server.reload({ grace: 0 });
    for (let i = 0; i < 10; i++) assertEquals(await fetchOnce(server), "new");
    await write('throw new Error("broken");');
    await assertRejects(() => server.reload(), Error, "broken");
    for (let i = 0; i < 10; i++) assertEquals(await fetchOnce(server), "new");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
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
