// SPDX-License-Identifier: Apache-2.0
// Tests of where workers run: what they are to be bound to on any machine, and that they are bound to it on this one.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { plan, type Topology, topology } from "../mod.ts";
import { readServe } from "../lib/cli_serve.ts";
import { placementsOf, type PlacementWish } from "../lib/workers_placement.ts";
import { serveAll, type WorkersServer } from "../lib/workers.ts";
import { runChild } from "./child.ts";
import { Example } from "./example.ts";
import { Random, randomMachine } from "./machines.ts";
import { RawClient } from "./raw_client.ts";
import { testBackends, until } from "./testing.ts";
import { fetchOnce, get, testWorkers } from "./workers_testing.ts";

const APP = new URL("./workers_place_app.ts", import.meta.url);
const MODULE = new URL("../lib/workers.ts", import.meta.url).href;
const SEED = 7;
const MACHINES = 100;
const MANY = 1 << 20;

const MINE = topology();
const ALLOWED = MINE.cpus.filter((cpu) => cpu.allowed).map(({ id }) => id);

/** The kernel's own word for a thread. */
function maskIn(path: string): string {
  const status = Deno.readTextFileSync(path);
  return /Cpus_allowed_list:\s*(\S+)/.exec(status)![1]!;
}

function mainMask(): string {
  return maskIn("/proc/thread-self/status");
}

/** CPUs as the kernel lists them: "0-2,5". */
function cpusOf(list: string): number[] {
  return list.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
}

function places(
  machine: Topology,
  wish: Partial<PlacementWish>,
): { cpus: readonly number[]; node: number; memoryNode: number }[] {
  const whole = { workers: "auto", affinity: "core", numa: -1, ...wish };
  const found = placementsOf(whole as PlacementWish, MANY, machine);
  return found.map((place) => place!);
}

function nodeOf(machine: Topology, cpu: number): number {
  return machine.cpus.find(({ id }) => id === cpu)!.node;
}

function onMachines(check: (machine: Topology, random: Random) => void): void {
  const random = new Random(SEED);
  for (let at = 0; at < MACHINES; at++) {
    const machine = randomMachine(random);
    if (machine.cpus.some((cpu) => cpu.allowed)) check(machine, random);
  }
}

Deno.test('"core" gives each worker a CPU of its own, as plan() has it, while there are enough', () => {
  onMachines((machine, random) => {
    const allowed = machine.cpus.filter((cpu) => cpu.allowed);
    const workers = 1 + random.below(allowed.length);
    assertEquals(
      places(machine, { workers }),
      plan(workers, "spread", machine)
        .map(({ cpu, ...place }) => ({ cpus: [cpu], ...place })),
    );
  });
});

Deno.test("workers that are too many share the CPUs of their node", () => {
  onMachines((machine, random) => {
    const allowed = machine.cpus.filter((cpu) => cpu.allowed);
    const workers = allowed.length + 1 + random.below(8);
    for (const place of places(machine, { workers })) {
      assertEquals(
        place.cpus,
        allowed.filter(({ node }) => node === place.node).map(({ id }) => id),
      );
    }
  });
});

Deno.test('"numa" gives each worker the allowed CPUs of a node, and nodes take turns', () => {
  onMachines((machine, random) => {
    const workers = 1 + random.below(6);
    const found = places(machine, { workers, affinity: "numa" });
    assertEquals(
      found.map(({ node, memoryNode }) => ({ node, memoryNode })),
      plan(workers, "spread", machine)
        .map(({ node, memoryNode }) => ({ node, memoryNode })),
    );
    for (const { cpus, node } of found) {
      const own = machine.cpus.filter((cpu) =>
        cpu.allowed && cpu.node === node
      );
      assertEquals(cpus, own.map(({ id }) => id));
    }
  });
});

Deno.test("a node and a list of CPUs are kept to, also by workers that are too many", () => {
  onMachines((machine, random) => {
    const allowed = machine.cpus.filter((cpu) => cpu.allowed);
    const { id, node } = allowed[random.below(allowed.length)]!;
    for (const affinity of ["core", "numa"] as const) {
      for (
        const place of places(machine, { workers: 5, affinity, numa: node })
      ) {
        assert(place.node === node);
        for (const cpu of place.cpus) assert(nodeOf(machine, cpu) === node);
      }
    }
    const listed = places(machine, { workers: 2, affinity: { cpus: [id] } });
    assertEquals(listed.map(({ cpus }) => cpus), [[id], [id]]);
  });
});

Deno.test('"auto" is as many as plan() says; "none" binds nobody', () => {
  onMachines((machine) => {
    const count = plan("auto", "spread", machine).length;
    assertEquals(places(machine, {}).length, count);
    assertEquals(
      places(machine, { affinity: "none" }),
      new Array(count).fill(null),
    );
    assertEquals(
      placementsOf({ workers: "auto", affinity: "core", numa: -1 }, 1, machine)
        .length,
      1,
    );
  });
});

Deno.test("a placement that cannot be is refused", async () => {
  const refused: [object, ErrorConstructor, string][] = [
    [{ affinity: "cores" }, TypeError, '"affinity" must be one of'],
    [{ affinity: null }, TypeError, "policy"],
    [{ affinity: { cpus: [] } }, TypeError, "empty"],
    [{ affinity: { cpus: [4095] } }, RangeError, "CPU 4095 is not online"],
    [{ numa: 1023 }, RangeError, "node 1023"],
    [{ numa: 0, affinity: "none" }, TypeError, '"numa" needs'],
  ];
  for (const [options, type, message] of refused) {
    await assertRejects(
      () => serveAll(APP, { port: 0, ...options }),
      type,
      message,
    );
  }
});

/** What the threads of all workers say. */
async function masks(
  server: WorkersServer,
  path = "/",
): Promise<Set<string>> {
  const clients: RawClient[] = [];
  const said = new Set<string>();
  try {
    // With "least", each goes to another worker while the others are open.
    for (const _ of server.workers()) {
      const client = await RawClient.connect(server);
      clients.push(client);
      said.add((await client.request(get(path))).text);
    }
  } finally {
    for (const client of clients) client.close();
  }
  return said;
}

testWorkers(
  "workers are bound before they serve, and the main thread is not",
  async (t) => {
    const before = mainMask();
    const server = await t.serveAll({ workers: "auto", balance: "least" }, APP);
    const expected = plan("auto", "spread", MINE);
    assertEquals(
      server.workers().map(({ cpus, node, memoryNode, unbound }) => [
        cpus,
        node,
        memoryNode,
        unbound,
      ]),
      expected.map((
        { cpu, node, memoryNode },
      ) => [[cpu], node, memoryNode, null]),
    );
    for (const mask of await masks(server)) {
      assert(expected.some(({ cpu }) => mask === String(cpu)), mask);
    }
    assertEquals(mainMask(), before);
    assert(t.events.every(({ kind }) => kind !== "unbound"));
  },
);

testWorkers(
  "a list of CPUs holds, also for the worker that replaces one",
  async (t) => {
    const cpu = ALLOWED.at(-1)!;
    const server = await t.serveAll(
      { balance: "least", affinity: { cpus: [cpu] } },
      APP,
    );
    assertEquals(await masks(server), new Set([String(cpu)]));
    await fetchOnce(server, "/die").catch(() => {});
    await until(
      () => t.events.filter(({ kind }) => kind === "started").length === 3,
      "another worker",
    );
    assertEquals(await masks(server), new Set([String(cpu)]));
    await server.reload();
    assertEquals(await masks(server), new Set([String(cpu)]));
  },
);

testWorkers(
  "with none, and when they are too many, workers run on all CPUs",
  async (t) => {
    const everywhere = mainMask();
    const free = await t.serveAll({ affinity: "none", balance: "least" }, APP);
    assertEquals(await masks(free), new Set([everywhere]));
    assertEquals(free.workers().map(({ cpus }) => cpus), [null, null]);
    const many = await t.serveAll({
      workers: ALLOWED.length + 1,
      balance: "least",
    }, APP);
    for (const mask of await masks(many)) {
      const [cpu = -1] = cpusOf(mask);
      const node = ALLOWED.filter((id) =>
        nodeOf(MINE, id) === nodeOf(MINE, cpu)
      );
      assertEquals(cpusOf(mask), node);
    }
  },
);

testWorkers(
  "what a bound worker has an executor do runs beside it",
  async (t) => {
    const server = await t.serveAll({ workers: 1 }, APP);
    const { cpu } = plan(1, "spread", MINE)[0]!;
    const all = cpusOf(mainMask());
    const left = all.length === 1 ? all : all.filter((id) => id !== cpu);
    const [mask] = await masks(server, "/executor");
    assertEquals(cpusOf(mask!), left);
    // The worker itself is bound again.
    assertEquals(await masks(server), new Set([String(cpu)]));
  },
);

testBackends(
  "a worker that cannot be bound serves, and that is told once",
  async ({ backend }) => {
    // A machine that hwloc makes up: the CPU is among those of plan(), and not there.
    const { code, out, err } = await runChild(
      `
    const { serveAll } = await import(${JSON.stringify(MODULE)});
    const told = [];
    const server = await serveAll(new URL(${JSON.stringify(APP.href)}), {
      hostname: "127.0.0.1", port: 0, workers: 1, backend, affinity: { cpus: [1000] },
      onListen: () => {},
      onWorker: ({ kind, error }) => told.push([kind, error?.message]),
    });
    const { port } = server.addr;
    const { status } = await fetch("http://127.0.0.1:" + port);
    await server.reload({ grace: 0 });
    const [{ cpus, node, memoryNode, unbound }] = server.workers().slice(-1);
    await server.shutdown();
    console.log(JSON.stringify([status, cpus, node, memoryNode, unbound, told]));`,
      { backend, env: { HWLOC_SYNTHETIC: "pack:1 core:1024 pu:1" } },
    );
    assertEquals([code, err], [0, ""]);
    const why = JSON.parse(out)[4];
    assert(why.startsWith("Cannot pin the thread to CPU 1000: "), why);
    assertEquals(JSON.parse(out), [200, null, null, null, why, [
      ["started", null],
      ["unbound", why],
      ["started", null],
      ["stopped", null],
      ["stopped", null],
    ]]);
  },
);

testBackends(
  "the flags of the echo example bind its threads",
  async ({ backend }) => {
    const workers = ALLOWED.length;
    await using example = await Example.start(
      "echo.ts",
      backend,
      "--workers",
      String(workers),
      "--numa",
      String(MINE.nodes.find(({ cpus }) => cpus.includes(ALLOWED[0]!))!.id),
    );
    assertEquals(
      await (await fetch(`${example.url}/plaintext`)).text(),
      "Hello, World!",
    );
    const tasks = `/proc/${example.pid}/task`;
    const bound = [...Deno.readDirSync(tasks)]
      .map(({ name }) => maskIn(`${tasks}/${name}/status`));
    const node = nodeOf(MINE, ALLOWED[0]!);
    for (const cpu of ALLOWED.filter((id) => nodeOf(MINE, id) === node)) {
      if (workers > 1) {
        assert(
          bound.includes(String(cpu)),
          `CPU ${cpu}: ${bound}`,
        );
      }
    }
    assertEquals(maskIn(`${tasks}/${example.pid}/status`), mainMask());
  },
);

Deno.test("--cpus lists processors, and excludes --affinity", () => {
  const command = readServe(["app.ts", "--cpus", "4,0-2"]);
  assert(command !== "help");
  assertEquals(command.options, { affinity: { cpus: [4, 0, 1, 2] } });
  for (const wrong of ["", "a", "1-", "3-1", "0,,1", "9999"]) {
    assertThrows(
      () => readServe(["app.ts", `--cpus=${wrong}`]),
      Error,
      "--cpus",
    );
  }
  const both = ["app.ts", "--cpus", "0", "--affinity", "core"];
  assertThrows(() => readServe(both), Error, "exclude each other");
});
