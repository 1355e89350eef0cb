// SPDX-License-Identifier: Apache-2.0
// Tests of reloads under load: no request fails, new code is served afterwards, and nothing is left of the old one.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { serveAll } from "../lib/workers.ts";
import { RawClient } from "./raw_client.ts";
import { BACKENDS, deadline, until } from "./testing.ts";
import { countOf, WorkersChild } from "./workers_child.ts";
import { addressesOf, Clients, type Loss } from "./workers_load.ts";
import type { Held } from "./workers_server.ts";
import { APP, fetchOnce, get } from "./workers_testing.ts";
import { CLOSE, closePayload, WsClient } from "./ws_client.ts";

/** Of each balance: twenty on each backend. */
const RELOADS = Number(Deno.env.get("WORKERS_RELOADS") ?? 10);
const WORKERS = 2;
/** For clients that use a connection once more; they do so at once. */
const GRACE_MS = 100;
const ANSWERS = 10;
const LANES = {
  fresh: 2,
  kept: 2,
  pipelined: 2,
  websocket: 2,
  tcp: 1,
  rpc: 1,
};
const MEMORY_BYTES = 100e6;
const PATIENCE_MS = 240_000;

/** A module that serves the application of the tests, and its own number at /version. */
class Versions implements Disposable {
  readonly module: URL;
  readonly #directory: string;
  readonly #files: [string, string];
  current = 0;

  constructor() {
    this.#directory = Deno.makeTempDirSync();
    const [app, part] = ["app.ts", "part.ts"].map((name) =>
      join(this.#directory, name)
    ) as [string, string];
    this.#files = [app, part];
    this.module = pathToFileURL(app);
    this.next();
  }

  /** Both the module and what it imports change. */
  next(): void {
    const version = ++this.current;
    const [app, part] = this.#files;
    Deno.writeTextFileSync(part, `export const part = ${version};`);
    Deno.writeTextFileSync(
      app,
      `import app from ${JSON.stringify(APP.href)};
       import { part } from "./part.ts";
       export default { ...app, fetch: (request, info) =>
         new URL(request.url).pathname === "/version"
           ? Response.json([${version}, part])
           : app.fetch(request, info) };`,
    );
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#directory, { recursive: true });
  }
}

for (const backend of BACKENDS) {
  for (const balance of ["reuseport", "least"] as const) {
    Deno.test(
      `reloads fail no request, balance ${balance} (${backend})`,
      async () => {
        using versions = new Versions();
        await using child = await WorkersChild.start(
          { backend, balance, workers: WORKERS },
          versions.module,
        );
        await deadline(reloads(child, versions), "the test", PATIENCE_MS);
        const { code, errors } = await child.end();
        assertEquals([code, errors], [0, ""]);
      },
    );
  }
}

async function reloads(child: WorkersChild, versions: Versions): Promise<void> {
  const clients = new Clients(await addressesOf(child.addr), LANES);
  using idle = await WsClient.open(child);
  const told = codeOfLeaving(idle);
  const before = await reloadTimes(child, versions, clients, RELOADS / 2);
  assertEquals(await told, 1001);
  const after = await reloadTimes(child, versions, clients, RELOADS / 2);
  await clients.stop();
  assertEquals(clients.losses.filter((loss) => !isOrderly(loss)), []);
  // Each has had both workers of its time, and those that hold on to one were told to leave it.
  assert(clients.workers.size > RELOADS, `${clients.workers.size} workers`);
  for (const kind of ["kept", "pipelined"] as const) {
    assert(clients.tally(kind).left > 0, kind);
  }
  assert(after.rss < before.rss + MEMORY_BYTES, `${after.rss} bytes`);
  // A thread ends a moment after its worker.
  const { threads } = before;
  await child.until(
    ({ held }) => held.threads <= threads,
    `${threads} threads`,
  );
}

/** What a WebSocket is told when its worker leaves. */
async function codeOfLeaving(client: WsClient): Promise<number> {
  const { code } = await client.closeFrame();
  await client.send({ opcode: CLOSE, payload: closePayload(code) });
  return code;
}

async function reloadTimes(
  child: WorkersChild,
  versions: Versions,
  clients: Clients,
  times: number,
): Promise<Held> {
  for (let i = 0; i < times; i++) {
    versions.next();
    await child.reload({ grace: GRACE_MS });
    const { current } = versions;
    for (let asked = 0; asked < 2 * WORKERS; asked++) {
      const served = JSON.parse(await fetchOnce(child, "/version"));
      assertEquals(served, [current, current]);
    }
    const goal = clients.least() + ANSWERS;
    await child.until(() => clients.least() >= goal, "answers");
  }
  const { held } = await child.look(true);
  return held;
}

// Streams have no word for a server that leaves: what a client has sent behind its FIN is not answered, be it the first.
function isOrderly({ kind, error }: Loss): boolean {
  if (!(error instanceof Error)) return false;
  return kind === "tcp" && /^Closed after 0 of/.test(error.message) ||
    kind === "rpc" && error.message === "The connection is closed";
}

for (const backend of BACKENDS) {
  Deno.test(`connections that wait outlive a reload (${backend})`, async () => {
    await using child = await WorkersChild.start({ backend, workers: 1 });
    using busy = await RawClient.connect(child);
    await busy.write(get("/spin"));
    // Nobody accepts these before the worker has come to itself, which a reload waits for.
    const waiting = await Promise.all(
      Array.from({ length: 30 }, () => RawClient.connect(child)),
    );
    const answers = waiting.map((client) => client.request(get("/")));
    await child.reload();
    for (const { status } of await Promise.all(answers)) {
      assertEquals(status, 200);
    }
    for (const client of waiting) client.close();
    const { events } = await child.look();
    assertEquals(countOf(events, "died"), 0);
    assertEquals((await child.end()).code, 0);
  });

  Deno.test(`a reload gives way to a shutdown (${backend})`, async () => {
    const kinds: string[] = [];
    const server = await serveAll(APP, {
      hostname: "127.0.0.1",
      port: 0,
      workers: 2,
      backend,
      onListen: () => {},
      onWorker: ({ kind }) => kinds.push(kind),
    });
    const reloaded = server.reload();
    const refused = assertRejects(
      () => reloaded,
      TypeError,
      "Cannot reload: the server shuts down",
    );
    await until(
      () => server.workers().some(({ state }) => state === "starting"),
      "a new worker",
    );
    await server.shutdown();
    await refused;
    assert(!kinds.includes("died"), kinds.join());
  });

  Deno.test(`a reload whose code is broken changes nothing (${backend})`, async () => {
    using versions = new Versions();
    await using child = await WorkersChild.start(
      { backend, workers: WORKERS },
      versions.module,
    );
    const clients = new Clients(await addressesOf(child.addr), LANES);
    await Deno.writeTextFile(versions.module, 'throw new Error("broken");');
    for (let i = 0; i < 3; i++) {
      await assertRejects(() => child.reload(), Error, "broken");
    }
    const goal = clients.least() + ANSWERS;
    const { events } = await child.until(
      () => clients.least() >= goal,
      "answers",
    );
    assertEquals(countOf(events, "died"), 0);
    await clients.stop();
    assertEquals(clients.losses, []);
    assertEquals(await fetchOnce(child, "/version"), "[1,1]");
    assertEquals((await child.end()).code, 0);
  });
}
