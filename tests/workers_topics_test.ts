// SPDX-License-Identifier: Apache-2.0
// Tests of topics that span workers, of who is told of them, and of messages between workers.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { connectWebSocket, prepare } from "../mod.ts";
import type { ServeAllOptions, WorkersServer } from "../lib/workers.ts";
import { until, withoutErrors } from "./testing.ts";
import { type Ask, VALUES } from "./workers_topics_values.ts";
import { testWorkers, type WorkersContext } from "./workers_testing.ts";

const APP = new URL("./workers_topics_app.ts", import.meta.url);

/** A client that has its worker do things. */
class Client implements Disposable {
  /** The number of its worker. */
  worker = -1;
  /** What was published to it. */
  readonly messages: string[] = [];
  /** What its worker was told, as JSON. */
  readonly told: string[] = [];
  readonly #answers: PromiseWithResolvers<unknown>[] = [];
  readonly #socket: ReturnType<typeof connectWebSocket>;

  private constructor(addr: Deno.Addr, opened: () => void) {
    const { port } = addr as Deno.NetAddr;
    this.#socket = connectWebSocket(`ws://127.0.0.1:${port}/`, {
      open: opened,
      message: (_, message) => this.#hear(message),
    });
  }

  static async open(addr: Deno.Addr): Promise<Client> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const client = new Client(addr, resolve);
    await promise;
    client.worker = await client.ask({}) as number;
    return client;
  }

  ask(ask: Ask): Promise<unknown> {
    const answer = Promise.withResolvers<unknown>();
    this.#answers.push(answer);
    this.#socket.send(JSON.stringify(ask));
    return answer.promise;
  }

  /** Without an answer. */
  say(ask: Ask): void {
    void this.ask(ask);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  #hear(message: string | Uint8Array): void {
    if (typeof message !== "string") {
      this.messages.push(`bytes of ${new TextDecoder().decode(message)}`);
    } else if (!message.startsWith("{")) {
      this.messages.push(message);
    } else if (message.startsWith('{"answer"')) {
      this.#answers.shift()!.resolve(JSON.parse(message).answer);
    } else {
      this.told.push(message);
    }
  }
}

/** A server and clients, so many on each worker, in the order of their workers. */
async function open(
  t: WorkersContext,
  workers: number,
  clientsEach: number,
  options: ServeAllOptions = {},
): Promise<[WorkersServer, Client[], DisposableStack]> {
  const server = await t.serveAll(
    { workers, balance: "least", ...options },
    APP,
  );
  const stack = new DisposableStack();
  const clients: Client[] = [];
  for (let i = 0; i < workers * clientsEach; i++) {
    clients.push(stack.use(await Client.open(server.addr)));
  }
  clients.sort((a, b) => a.worker - b.worker);
  assertEquals(
    clients.map(({ worker }) => worker),
    clients.map((_, at) => Math.floor(at / clientsEach)),
  );
  return [server, clients, stack];
}

function numbered(text: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${text} ${n}`);
}

testWorkers(
  "what is published reaches all workers, once and in order",
  async (t) => {
    const [server, clients, stack] = await open(t, 4, 2);
    using _ = stack;
    for (const client of clients) await client.ask({ subscribe: "room" });
    assertEquals(server.subscriberCount("room"), 8);
    const [one, , two, , three] = clients as [
      Client,
      Client,
      Client,
      Client,
      Client,
    ];
    const publish = "room";
    const sums = [
      one.ask({ publish, message: "one", count: 300 }),
      two.ask({ publish, message: "two", count: 300, socket: true }),
      three.ask({ publish, message: "three", count: 300, bytes: true }),
    ];
    let fromMain = 0;
    for (let n = 0; n < 300; n++) {
      fromMain += server.publish("room", prepare(`main ${n}`));
    }
    assertEquals(await Promise.all(sums), [2400, 2100, 2400]);
    assertEquals(fromMain, 2400);
    for (const client of clients) {
      const own = client === two ? 0 : 300;
      await until(() => client.messages.length >= 900 + own, "all messages");
      const of = (start: string): string[] =>
        client.messages.filter((text) => text.startsWith(start));
      assertEquals(of("one"), numbered("one", 300));
      assertEquals(of("two"), numbered("two", own));
      assertEquals(of("bytes of three"), numbered("bytes of three", 300));
      assertEquals(of("main"), numbered("main", 300));
      assertEquals(client.messages.length, 900 + own);
    }
  },
);

testWorkers("wildcards match what other workers publish", async (t) => {
  const [server, clients, stack] = await open(t, 3, 1);
  using _ = stack;
  const [one, two, three] = clients as [Client, Client, Client];
  await one.ask({ subscribe: "a/*" });
  await two.ask({ subscribe: "a/#" });
  await two.ask({ subscribe: "a/b" });
  await three.ask({ subscribe: "x/ä" });
  assertEquals(server.subscriberCount("a/*"), 1);
  assertEquals(server.subscriberCount("a/b"), 3);
  assertEquals(await three.ask({ publish: "a/b", message: "1" }), 3);
  assertEquals(await three.ask({ publish: "a/b/c", message: "2" }), 1);
  assertEquals(await one.ask({ publish: "x/ä", message: "3" }), 1);
  assertEquals(server.publish("a", "none"), 0);
  await two.ask({ unsubscribe: "a/#" });
  assertEquals(await three.ask({ publish: "a/b/c", message: "4" }), 0);
  for (const client of clients) server.send(client.worker, "end");
  await until(() => clients.every(({ told }) => told.length > 0), "the end");
  // A socket that matches twice is sent one message.
  assertEquals(clients.map(({ messages }) => messages), [
    ["1"],
    ["1", "2"],
    ["3"],
  ]);
});

testWorkers("only workers with subscribers are sent a message", async (t) => {
  const [server, clients, stack] = await open(t, 4, 1);
  using _ = stack;
  await clients[2]!.ask({ subscribe: "a" });
  for (let n = 0; n < 20; n++) {
    await clients[0]!.ask({ publish: "a", message: "x" });
  }
  assertEquals(
    server.workers().map(({ messages: { posted } }) => posted),
    [0, 0, 20, 0],
  );
  assertEquals(
    server.workers().map(({ messages: { wakes } }) => wakes > 0),
    [false, false, true, false],
  );
  await until(() => server.statistics().messages.received === 20, "reading");
  const { posted, dropped, lost } = server.statistics().messages;
  assertEquals([posted, dropped, lost], [20, 0, 0]);
});

testWorkers("topics of different servers are different ones", async (t) => {
  const [, clients, stack] = await open(t, 2, 1);
  using _ = stack;
  const [one, two] = clients as [Client, Client];
  const addr = await one.ask({ address: true }) as Deno.NetAddr;
  const others = [await Client.open(addr), await Client.open(addr)];
  for (const client of others) stack.use(client);
  assertEquals(others.map(({ worker }) => worker).sort(), [0, 1]);
  for (const client of [one, two, ...others]) {
    await client.ask({ subscribe: "a" });
  }
  const socket = true;
  assertEquals(await one.ask({ publish: "a", message: "1", socket }), 1);
  assertEquals(await others[0]!.ask({ publish: "a", message: "2", socket }), 1);
  await until(() => others[1]!.messages.length === 1, "the message");
  await until(() => two.messages.length === 1, "the message");
  assertEquals([one, two, ...others].map(({ messages }) => messages), [
    [],
    ["1"],
    [],
    ["2"],
  ]);
});

testWorkers("the beginning and end of a topic are told once", async (t) => {
  const changes: string[] = [];
  const [, clients, stack] = await open(t, 2, 1, {
    onTopic: (topic, change) => void changes.push(`${change} ${topic}`),
  });
  using _ = stack;
  const [one, two] = clients as [Client, Client];
  await one.ask({ subscribe: "a" });
  await until(() => changes.length === 1, "the beginning");
  await two.ask({ subscribe: "a" });
  await one.ask({ unsubscribe: "a" });
  assertEquals(two.told, []);
  await two.ask({ unsubscribe: "a" });
  await until(() => changes.length === 2, "the end");
  assertEquals(changes, ["first a", "last a"]);
  assertEquals(one.told, ['{"topic":"a","change":"first"}']);
  assertEquals(two.told, ['{"topic":"a","change":"last"}']);
});

testWorkers(
  "topics of a worker that dies are told to end by another",
  async (t) => {
    const changes: string[] = [];
    const [server, clients, stack] = await open(t, 3, 1, {
      onTopic: (topic, change) => void changes.push(`${change} ${topic}`),
    });
    using _ = stack;
    const [one, two, three] = clients as [Client, Client, Client];
    await two.ask({ subscribe: "only/there" });
    await two.ask({ subscribe: "#" });
    await two.ask({ subscribe: "both" });
    await three.ask({ subscribe: "both" });
    const errors = await withoutErrors(async () => {
      two.say({ die: true });
      await until(() => changes.length === 5, "the end");
      await until(() => one.told.length + three.told.length === 2, "the news");
    });
    assertEquals(errors, []);
    assertEquals(changes.slice(0, 3), [
      "first only/there",
      "first #",
      "first both",
    ]);
    assertEquals(changes.slice(3).sort(), ["last #", "last only/there"]);
    assertEquals([...one.told, ...three.told].sort(), [
      '{"topic":"#","change":"last"}',
      '{"topic":"only/there","change":"last"}',
    ]);
    const { topics, subscribers, patterns } = server.statistics().topics;
    assertEquals([topics, subscribers, patterns], [1, 1, 0]);
    assertEquals(server.statistics().messages.waitingBytes, 0);
    assertEquals(server.subscriberCount("only/there"), 0);
    assertEquals(server.subscriberCount("both"), 1);
    assertEquals(server.publish("only/there", "x"), 0);
    assertEquals(await one.ask({ publish: "both", message: "y" }), 1);
    await until(() => three.messages.length === 1, "the message");
  },
);

testWorkers("a mailbox that is full drops, counts and tells", async (t) => {
  const directory = await Deno.makeTempDir();
  try {
    const [server, clients, stack] = await open(t, 2, 1, {
      mailboxMessages: 3, // are four
    });
    using _ = stack;
    const [one, two] = clients as [Client, Client];
    await two.ask({ subscribe: "a" });
    two.say({ spin: [`${directory}/begun`, `${directory}/end`] });
    await until(() => exists(`${directory}/begun`), "the worker to be busy");
    assertEquals(
      await one.ask({ publish: "a", message: "m", count: 10 }),
      4,
    );
    assertEquals(server.send(1, "x"), false);
    assertEquals(server.broadcast("x"), 1);
    assertEquals(await one.ask({ send: 1, value: "x" }), false);
    assertEquals(await one.ask({ broadcast: true, value: "x" }), 0);
    const { dropped, posted } = server.workers()[1]!.messages;
    assertEquals([dropped, posted], [10, 4]);
    await Deno.writeTextFile(`${directory}/end`, "");
    await until(() => two.messages.length === 4, "what was taken in");
    assertEquals(two.messages, numbered("m", 4));
    // There is room again.
    assertEquals(await one.ask({ publish: "a", message: "n" }), 1);
    await until(() => two.messages.length === 5, "the next one");
    assertEquals(server.statistics().messages.dropped, 10);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

testWorkers("values of all kinds arrive as copies", async (t) => {
  const [server, clients, stack] = await open(t, 2, 1);
  using _ = stack;
  const [one, two] = clients as [Client, Client];
  const kinds = Object.keys(VALUES).filter((name) =>
    name !== "function" && name !== "long"
  );
  for (const named of kinds) {
    assertEquals(await one.ask({ send: 1, named }), true);
    assertEquals(server.send(1, VALUES[named]), true);
  }
  await until(() => two.told.length === 2 * kinds.length, "all of them");
  const heard = two.told.map((text) => JSON.parse(text));
  for (const [at, named] of kinds.entries()) {
    const shown = Deno.inspect(VALUES[named]);
    const [first, second] = [0, null].map((from) =>
      heard.filter((each) => each.from === from)[at]
    );
    assertEquals([first.heard, second.heard], [shown, shown], named);
  }
  assertEquals(one.told, []);
  assertEquals(await one.ask({ broadcast: true, value: { to: "all" } }), 1);
  assertEquals(server.broadcast([1, "two"]), 2);
  await until(() => one.told.length === 1, "the broadcast");
  assertEquals(one.told, ['{"heard":"[ 1, \\"two\\" ]","from":null}']);
});

testWorkers("what cannot be sent is refused", async (t) => {
  const [server, clients, stack] = await open(t, 2, 1, {
    mailboxBytes: 100_000,
  });
  using _ = stack;
  const [one, two] = clients as [Client, Client];
  const answers = [
    await one.ask({ send: 1, named: "function" }),
    await one.ask({ send: 2, value: 1 }),
    await one.ask({ send: 1, named: "long" }),
    await one.ask({ send: "main", named: "function" }),
  ];
  const cloned = /^TypeError: .* could not be cloned/;
  for (
    const [at, text] of [cloned, /from 0 to 1/, /holds/, cloned].entries()
  ) {
    assert(text.test(String(answers[at])), String(answers[at]));
  }
  assertThrows(() => server.send(-1, 1), RangeError, "Cannot send");
  assertThrows(() => server.broadcast(VALUES.long), RangeError, "mailboxBytes");
  assertThrows(() => server.publish("#", "x"), TypeError, "wildcard");
  // Without subscribers elsewhere nothing is too long.
  const long = "x".repeat(100_000);
  assertEquals(server.publish("a", long), 0);
  await one.ask({ subscribe: "a" });
  assertEquals(await one.ask({ publish: "a", message: long }), 1);
  await two.ask({ subscribe: "a" });
  assertThrows(() => server.publish("a", long), RangeError, "mailboxBytes");
  const refused = await one.ask({ publish: "a", message: long });
  assert(String(refused).includes("mailboxBytes"), String(refused));
  const name = `${"ä".repeat(8192)}x`;
  assert(String(await one.ask({ subscribe: name })).includes("16384 bytes"));
  assert(
    String(await one.ask({ subscribe: "\ud800" })).includes("well-formed"),
  );
  assertEquals(await one.ask({ subscribe: name.slice(1) }), true);
  assertEquals(server.subscriberCount(name.slice(1)), 1);
});

testWorkers(
  "the main thread hears workers, and handlers may throw",
  async (t) => {
    const heard: unknown[] = [];
    const [server, clients, stack] = await open(t, 2, 1, {
      onMessage(value, from): void {
        heard.push([value, from]);
        if (value === "throw") throw new Error("asked to throw");
      },
    });
    using _ = stack;
    const [one, two] = clients as [Client, Client];
    const errors = await withoutErrors(async () => {
      assertEquals(await one.ask({ send: "main", value: "throw" }), true);
      assertEquals(await two.ask({ send: "main", value: { a: [1] } }), true);
      await until(() => heard.length === 2, "the messages");
    });
    assertEquals(errors.length, 1);
    assertEquals(heard.sort(), [[{ a: [1] }, 1], ["throw", 0]]);
    assertEquals(await one.ask({ send: 1, value: "throw" }), true);
    assertEquals(await one.ask({ send: 1, value: "and on" }), true);
    await until(() => two.told.length === 1, "the message");
    assertEquals(server.workers().map(({ state }) => state), [
      "serving",
      "serving",
    ]);
  },
);

testWorkers("topics go on while workers are replaced", async (t) => {
  const changes: string[] = [];
  const [server, clients, stack] = await open(t, 2, 1, {
    onTopic: (topic, change) => void changes.push(`${change} ${topic}`),
  });
  using _ = stack;
  for (const client of clients) await client.ask({ subscribe: "a" });
  t.events.length = 0;
  // Old workers end when their clients have left.
  const reloaded = server.reload({ grace: 50_000 });
  await until(() => t.events.some((e) => e.kind === "started"), "a new worker");
  using young = await Client.open(server.addr);
  assertEquals(young.worker, 0);
  await young.ask({ subscribe: "a" });
  assertEquals(server.publish("a", "to three"), 3);
  const three = [...clients, young];
  await until(() => three.every((c) => c.messages.length === 1), "messages");
  assertEquals(server.broadcast("x"), 3);
  for (const client of clients) client[Symbol.dispose]();
  await reloaded;
  await until(() => server.subscriberCount("a") === 1, "the old ones to go");
  assertEquals(await young.ask({ publish: "a", message: "own" }), 1);
  assertEquals(server.send(0, "to the new one"), true);
  await until(() => young.told.length === 2, "the message");
  assertEquals(changes, ["first a"]);
});

testWorkers("nothing is left of a server that was shut down", async (t) => {
  const changes: string[] = [];
  const [server, clients, stack] = await open(t, 2, 2, {
    onTopic: (topic, change) => void changes.push(`${change} ${topic}`),
  });
  using _ = stack;
  for (const client of clients) await client.ask({ subscribe: "a" });
  server.publish("a", "last words");
  await server.shutdown({ timeout: 1 });
  await server.finished;
  assertEquals(changes, ["first a", "last a"]);
  assertEquals(server.publish("a", "x"), 0);
  assertEquals(server.subscriberCount("a"), 0);
  assertEquals([server.send(0, "x"), server.broadcast("x")], [false, 0]);
  const { messages, topics } = server.statistics();
  assertEquals([messages.posted, messages.dropped], [2, 0]);
  assertEquals([messages.waiting, messages.waitingBytes], [0, 0]);
  assertEquals([topics.topics, topics.subscribers], [0, 0]);
});
