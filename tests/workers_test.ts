// SPDX-License-Identifier: Apache-2.0
// Tests of servers on many workers: who serves, that all protocols are served, the limit for all, the end.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { connectWebSocket } from "../mod.ts";
import { rpcClient } from "../lib/rpc.ts";
import { serveAll, type WorkersServer } from "../lib/workers.ts";
import { RawClient } from "./raw_client.ts";
import { latin1, pattern, until } from "./testing.ts";
import { APP, fetchOnce, get, testWorkers } from "./workers_testing.ts";

testWorkers("all workers serve the same port", async (t) => {
  const server = await t.serveAll();
  const ids = new Set<string>();
  // The kernel chooses by the client's port.
  for (let i = 0; i < 200 && ids.size < 2; i++) {
    ids.add(await fetchOnce(server));
  }
  assertEquals(ids.size, 2);
  assertEquals(
    server.workers().map(({ worker, state }) => [worker, state]),
    [[0, "serving"], [1, "serving"]],
  );
  assertEquals(server.backend, t.backend);
});

testWorkers(
  "the worker with the fewest connections gets the next",
  async (t) => {
    const server = await t.serveAll({ workers: 3, balance: "least" });
    const clients: RawClient[] = [];
    try {
      for (let i = 0; i < 12; i++) {
        const client = await RawClient.connect(server);
        clients.push(client);
        await client.request(get("/"));
      }
      assertEquals(
        server.workers().map(({ connections }) => connections),
        [4, 4, 4],
      );
    } finally {
      for (const client of clients) client.close();
    }
  },
);

testWorkers("an address has so many connections of all workers", async (t) => {
  const server = await t.serveAll({
    balance: "least",
    maxConnectionsPerAddress: 4,
  });
  const refused = (): number => server.statistics().addressRefusals;
  const clients: RawClient[] = [];
  try {
    for (let i = 0; i < 4; i++) {
      const client = await RawClient.connect(server);
      clients.push(client);
      await client.request(get("/"));
    }
    assertEquals(server.workers().map(({ connections }) => connections), [
      2,
      2,
    ]);
    using _fifth = await RawClient.connect(server);
    await until(() => refused() === 1, "the refusal");
    // What a worker that dies had is counted no more.
    await clients[0]!.write(get("/die"));
    await until(
      () => t.events.filter(({ kind }) => kind === "started").length === 3,
      "another worker",
    );
    await until(() => server.statistics().connections === 2, "the end");
    for (let i = 0; i < 2; i++) {
      const client = await RawClient.connect(server);
      clients.push(client);
      await client.request(get("/"));
    }
    using _seventh = await RawClient.connect(server);
    await until(() => refused() === 2, "another refusal");
  } finally {
    for (const client of clients) client.close();
  }
});

testWorkers("a Unix socket is shared, and its file removed", async (t) => {
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  const server = await t.serveAll({ path });
  assertEquals(server.addr, { transport: "unix", path });
  const clients: RawClient[] = [];
  const ids = new Set<string>();
  for (let i = 0; i < 4; i++) {
    const client = await RawClient.connect(server);
    clients.push(client);
    ids.add((await client.request(get("/"))).text);
  }
  for (const client of clients) client.close();
  assertEquals(ids.size, 2);
  await server.shutdown();
  await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
});

testWorkers("WebSockets echo on all workers", async (t) => {
  const server = await t.serveAll({ balance: "least" });
  const { port } = server.addr as Deno.NetAddr;
  const heard: string[][] = [];
  let opened = 0;
  const sockets = [];
  for (let i = 0; i < 4; i++) {
    const mine: string[] = [];
    heard.push(mine);
    sockets.push(
      connectWebSocket(`ws://127.0.0.1:${port}/`, {
        open: () => void opened++,
        message: (_, message) => void mine.push(String(message)),
      }),
    );
  }
  await until(() => opened === 4, "connections");
  assertEquals(server.workers().map((w) => w.connections), [2, 2]);
  for (let n = 0; n < 50; n++) {
    for (const [at, socket] of sockets.entries()) socket.send(`${at}-${n}`);
  }
  await until(() => heard.every(({ length }) => length === 50), "echoes");
  heard.forEach((messages, at) =>
    assertEquals(messages, Array.from({ length: 50 }, (_, n) => `${at}-${n}`))
  );
  for (const socket of sockets) socket.close();
});

testWorkers("what a module listens on is shared too", async (t) => {
  const server = await t.serveAll({ balance: "least" });
  const addr = JSON.parse(await fetchOnce(server, "/tcp")) as Deno.NetAddr;
  for (let i = 0; i < 4; i++) {
    assertEquals(JSON.parse(await fetchOnce(server, "/tcp")), addr);
  }
  const bytes = pattern(100_000);
  const clients = await Promise.all(
    Array.from({ length: 4 }, () => RawClient.connect({ addr })),
  );
  await Promise.all(clients.map(async (client) => {
    const [echo] = await Promise.all([
      client.exactly(bytes.length),
      client.write(bytes),
    ]);
    assertEquals(echo, bytes);
  }));
  assertEquals(server.workers().map((w) => w.connections), [2, 2]);
  for (const client of clients) client.close();
});

testWorkers(
  "plain sockets and the action router run on all workers",
  async (t) => {
    const sockets = await t.serveAll(
      { balance: "least" },
      new URL("./workers_socket_app.ts", import.meta.url),
    );
    const clients: RawClient[] = [];
    for (let i = 0; i < 4; i++) {
      const client = await RawClient.connect(sockets);
      clients.push(client);
      await client.write("abc");
      assertEquals(await client.exactly(3), latin1("abc"));
    }
    assertEquals(sockets.workers().map((w) => w.connections), [2, 2]);
    for (const client of clients) client.close();

    const actions = await t.serveAll(
      { balance: "least" },
      new URL("./workers_rpc_app.ts", import.meta.url),
    );
    const { port } = actions.addr as Deno.NetAddr;
    const callers = await Promise.all(Array.from(
      { length: 4 },
      () => rpcClient(`tcp://127.0.0.1:${port}`),
    ));
    const ids = await Promise.all(
      callers.map((caller) => caller.call(1, null)),
    );
    assertEquals(new Set(ids).size, 2);
    for (const caller of callers) await caller.close();
  },
);

testWorkers("the limit of connections is that of all workers", async (t) => {
  for (const balance of ["reuseport", "least"] as const) {
    const server = await t.serveAll({ maxConnections: 3, balance });
    const clients: RawClient[] = [];
    for (let i = 0; i < 6; i++) clients.push(await RawClient.connect(server));
    const answered = clients.map((client) => client.request(get("/")));
    const done = new Set<number>();
    answered.forEach((promise, at) => promise.then(() => done.add(at)));
    await until(() => done.size === 3, "three answers");
    assertEquals(server.statistics().connections, 3);
    // Each that goes makes room for one that waits, on whichever worker that is.
    for (let left = 3; left > 0; left--) {
      const [at] = done;
      done.delete(at!);
      clients[at!]!.close();
      const before = 6 - left;
      await until(() => done.size === 3 || before === 6, "one more answer");
    }
    for (const client of clients) client.close();
    await Promise.all(answered);
    await until(() => server.statistics().connections === 0, "all gone");
    assertEquals(server.statistics().accepted, 6);
  }
});

testWorkers("counters of all workers are summed up, and kept", async (t) => {
  const server = await t.serveAll();
  const before = server.statistics();
  assertEquals([before.accepted, before.routed], [0, 0]);
  for (let i = 0; i < 20; i++) await fetchOnce(server, "/routed");
  using rude = await RawClient.connect(server);
  await rude.request("nonsense\r\n\r\n");
  const during = server.statistics();
  assertEquals([during.accepted, during.routed], [21, 20]);
  assertEquals(Object.values(during.refusals), [1]);
  await server.reload({ grace: 0 });
  await server.shutdown();
  const after = server.statistics();
  assertEquals([after.accepted, after.routed], [21, 20]);
  assertEquals(after.refusals, during.refusals);
  assertEquals(after.connections, 0);
});

testWorkers("shutdown drains all workers and sums up", async (t) => {
  const server = await t.serveAll({ balance: "least" });
  const clients = await Promise.all(
    Array.from({ length: 4 }, () => RawClient.connect(server)),
  );
  const slow = clients.map((client) => client.request(get("/slow")));
  await until(() => server.statistics().connections === 4, "connections");
  await until(() => server.statistics().receivedBytes >= 4 * 30, "requests");
  const report = await server.shutdown();
  assertEquals(report, { connections: 4, requests: 4, forced: 0 });
  for (const response of await Promise.all(slow)) {
    assertEquals(response.text, "slow");
  }
  for (const client of clients) client.close();
  await assertRejects(() => RawClient.connect(server));
});

testWorkers("shutdown cuts what is not done in time", async (t) => {
  const server = await t.serveAll();
  using client = await RawClient.connect(server);
  const held = client.request(get("/hold"));
  held.catch(() => {});
  await until(() => server.statistics().receivedBytes > 0, "the request");
  const report = await server.shutdown({ timeout: 50 });
  assertEquals(report, { connections: 1, requests: 1, forced: 1 });
  await assertRejects(() => held);
});

Deno.test("options that are wrong are refused before a worker starts", async () => {
  const wrong: [object, string][] = [
    [{ workers: 0 }, '"workers"'],
    [{ workers: 257 }, '"workers"'],
    [{ workers: "many" }, '"workers"'],
    [{ balance: "fair" }, '"balance"'],
    [{ affinity: "cpu" }, '"affinity"'],
    [{ numa: -2 }, '"numa"'],
    [{ workerTimeout: -1 }, '"workerTimeout"'],
    [{ replaceStalled: 1 }, '"replaceStalled"'],
    [{ startTimeout: 0 }, '"startTimeout"'],
    [{ executor: { maximum: 0 } }, '"maximum"'],
    [{ executor: { minimum: 3, maximum: 2 } }, '"minimum"'],
    [{ executor: { size: 1 } }, '"size"'],
    [{ executor: 4 }, "must be an object"],
    [{ port: 70_000 }, '"port"'],
    [{ ring: 100 }, '"ring"'],
    [{ fd: 3 }, '"fd"'],
    [{ handler: () => {} }, '"handler"'],
  ];
  for (const [options, message] of wrong) {
    const error = await assertRejects(() => serveAll(APP, options));
    assert(
      error instanceof Error && error.message.includes(message),
      `${error}`,
    );
  }
  await assertRejects(
    () => serveAll("./app.ts" as unknown as URL),
    TypeError,
    "URL",
  );
  await assertRejects(
    () => serveAll(APP, null as unknown as object),
    TypeError,
    "must be an object",
  );
});

testWorkers("a module that throws at import has serveAll reject", async (t) => {
  const text = 'throw new RangeError("not today");';
  const module = new URL(`data:text/typescript,${encodeURIComponent(text)}`);
  await assertRejects(() => t.serveAll({}, module), Error, "not today");
  // Nobody need be told twice, nor of those who were ended for that.
  assertEquals(t.events, []);
});

testWorkers("a module that never serves has serveAll reject", async (t) => {
  const module = new URL(
    "data:text/typescript,await new Promise(() => setInterval(() => {}, 1000))",
  );
  await assertRejects(
    () => t.serveAll({ startTimeout: 100 }, module),
    Deno.errors.TimedOut,
    "startTimeout, 100 milliseconds",
  );
  assertEquals(t.events, []);
});

testWorkers("a module has to export something to serve", async (t) => {
  const nothing = new URL("data:text/typescript,export%20const%20a%20=%201;");
  await assertRejects(() => t.serveAll({}, nothing), Error, "neither");
  const odd = new URL("data:text/typescript,export%20default%20{a:%201};");
  await assertRejects(() => t.serveAll({}, odd), Error, 'unknown option "a"');
  const typed = new URL("data:text/typescript,export%20default%20{fetch:1};");
  await assertRejects(
    () => t.serveAll({}, typed),
    Error,
    '"fetch" must be a function, is 1',
  );
});

testWorkers(
  "an application of a framework is served by its fetch",
  async (t) => {
    const source = `
    export default new class {
      routes = [];
      #text = "from a framework";
      fetch() { return new Response(this.#text); }
    }();`;
    const module = new URL(
      `data:text/javascript,${encodeURIComponent(source)}`,
    );
    const server = await t.serveAll({}, module);
    assertEquals(await fetchOnce(server), "from a framework");
  },
);

testWorkers("an address that is taken has serveAll reject", async (t) => {
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  await assertRejects(() => t.serveAll({ port }), Error, "in use");
  taken.close();
});

testWorkers(
  "a port is shared with other servers on request alone",
  async (t) => {
    for (const balance of ["reuseport", "least"] as const) {
      const alone = await t.serveAll({ balance });
      const { port } = alone.addr as Deno.NetAddr;
      await assertRejects(() => t.serveAll({ port }), Deno.errors.AddrInUse);
    }
    const one = await t.serveAll({ reusePort: true });
    const { port } = one.addr as Deno.NetAddr;
    const other = await t.serveAll({ port, reusePort: true });
    await assertRejects(() => t.serveAll({ port }), Deno.errors.AddrInUse);
    const answered = (server: WorkersServer): boolean =>
      server.statistics().accepted > 0;
    for (let i = 0; i < 400 && !(answered(one) && answered(other)); i++) {
      await fetchOnce(one);
    }
    assert(answered(one) && answered(other));
  },
);
