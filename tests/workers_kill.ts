// SPDX-License-Identifier: Apache-2.0
// workers_kill.ts - ends workers in every way while clients of every protocol go on, and says what was lost; used by
// workers_kill_test.ts.

import type { Balance } from "../lib/workers.ts";
import type { BackendName } from "../mod.ts";
import { type Address, RawClient } from "./raw_client.ts";
import { sleep } from "./testing.ts";
import { countOf, WorkersChild } from "./workers_child.ts";
import { type Death, DEATHS } from "./workers_deaths.ts";
import {
  type Addresses,
  addressesOf,
  Clients,
  echo,
  type Loss,
} from "./workers_load.ts";
import type { Held, View } from "./workers_server.ts";
import { get } from "./workers_testing.ts";
import { texts, WsClient } from "./ws_client.ts";

/** How it is to go. */
export interface KillInit {
  backend: BackendName;
  balance: Balance;
  workers: number;
  /** Goes on while this says so, with the number of workers that were ended. */
  goesOn(kills: number): boolean;
}

/** A worker that was ended. */
export interface Kill {
  way: Death;
  worker: string;
  /** When it was asked to end, and when another one served and nothing of it was left: milliseconds since the epoch. */
  from: number;
  to: number;
  /** Milliseconds from the end of its JavaScript until another one served. */
  replaced: number;
}

/** How it has gone. */
export interface KillResult {
  kills: Kill[];
  losses: Loss[];
  answers: number;
  /** What the process held while nobody was connected, before and after. */
  before: Held;
  after: Held;
  view: View;
  /** How the process has ended. */
  code: number;
  errors: string;
}

/** A worker that takes no turn for so long is replaced. */
const WORKER_TIMEOUT_MS = 2000;
/** One in so many is ended since it stalls, which takes seconds. */
const STALL_EVERY = 20;
// The runtime keeps two descriptors of an isolate that ends with a callback of C open, as one that ends in it has to.
const COUNTED = DEATHS.filter((way) => way !== "ffi");
const LANES = {
  fresh: 2,
  kept: 2,
  pipelined: 1,
  websocket: 2,
  tcp: 2,
  rpc: 2,
};
/** Of each kind, between one end and the next. */
const ANSWERS = 10;

/** Ends workers for as long as it is asked to. */
export async function killWorkers(init: KillInit): Promise<KillResult> {
  const { backend, balance, workers } = init;
  await using child = await WorkersChild.start({
    backend,
    balance,
    workers,
    workerTimeout: WORKER_TIMEOUT_MS,
    replaceStalled: true,
  });
  const at = await addressesOf(child.addr);
  const run = new Run(child, at, workers);
  // What the first ones take is kept for those that follow.
  await run.kill(["ffi", "throw", "exit"]);
  const before = await run.rest();
  for (let count = 0; init.goesOn(count); count++) {
    const stalls = count % STALL_EVERY === STALL_EVERY / 2;
    const way = stalls ? "stall" : COUNTED[count % COUNTED.length]!;
    await run.kill([way]);
  }
  const after = await run.rest(before.held);
  const { kills, losses, answers } = run;
  const { code, errors } = await child.end();
  return {
    kills,
    losses,
    answers,
    before: before.held,
    after: after.held,
    view: after,
    code,
    errors,
  };
}

/** Those that no worker's end explains. */
export function unexplained({ losses, kills }: KillResult): Loss[] {
  return losses.filter((loss) =>
    !kills.some((kill) =>
      loss.worker === null
        ? loss.began <= kill.to && loss.ended >= kill.from
        : loss.worker === kill.worker
    )
  );
}

class Run {
  readonly kills: Kill[] = [];
  readonly losses: Loss[] = [];
  answers = 0;
  readonly #child: WorkersChild;
  readonly #at: Addresses;
  readonly #workers: number;
  #clients: Clients | null = null;

  constructor(child: WorkersChild, at: Addresses, workers: number) {
    this.#child = child;
    this.#at = at;
    this.#workers = workers;
  }

  /** Ends a worker in each of these ways, while clients go on. */
  async kill(ways: readonly Death[]): Promise<void> {
    this.#clients ??= new Clients(this.#at, LANES);
    for (const way of ways) {
      await this.#flows();
      this.kills.push(await this.#kill(way));
    }
    await this.#flows();
  }

  /** What there is once no client is left: at most what there was, as soon as that is so. */
  async rest(before?: Held): Promise<View> {
    const clients = this.#clients!;
    this.#clients = null;
    await clients.stop();
    this.losses.push(...clients.losses);
    this.answers += clients.answers();
    return await this.#child.until(
      ({ statistics, workers, held }) =>
        statistics.connections === 0 && workers.length === this.#workers &&
        (before === undefined || isBack(held, before)),
      before === undefined ? "rest" : `what there was: ${Deno.inspect(before)}`,
      true,
    );
  }

  // Clients of every kind are answered, whoever has ended.
  async #flows(): Promise<void> {
    const clients = this.#clients!;
    const goal = clients.least() + ANSWERS;
    await this.#child.until(() => clients.least() >= goal, "answers");
  }

  async #kill(way: Death): Promise<Kill> {
    const { events } = await this.#child.look();
    const from = Date.now();
    const worker = await STRIKES[way in STRIKES ? way : "other"]!(
      this.#at,
      way,
    );
    const slot = Number(worker.split("-")[0]);
    const eventsOf = (view: View): View["events"] =>
      view.events.slice(events.length).filter((e) => e.worker === slot);
    const view = await this.#child.until(
      (view) =>
        countOf(eventsOf(view), "started") > 0 &&
        view.workers.length === this.#workers &&
        view.workers.every(({ state }) => state === "serving"),
      `another worker after ${way}`,
    );
    const own = eventsOf(view);
    const end = own.find(({ kind }) => kind === "died" || kind === "stalled");
    const start = own.find(({ kind }) => kind === "started");
    const replaced = start!.at - end!.at;
    return { way, worker, from, to: Date.now(), replaced };
  }
}

// The system lets go of threads and connections when it likes.
function isBack(held: Held, before: Held): boolean {
  const kinds = new Set(
    [...Object.keys(held.descriptors), ...Object.keys(before.descriptors)],
  );
  return held.threads <= before.threads &&
    [...kinds].every((kind) =>
      (held.descriptors[kind] ?? 0) <= (before.descriptors[kind] ?? 0)
    );
}

// --- each returns who was asked to end

type Strike = (at: Addresses, way: Death) => Promise<string>;

const STRIKES: Record<string, Strike> = {
  async other({ web }, way): Promise<string> {
    return await strike(web, get(`/die?way=${way}`));
  },

  async body({ web }, way): Promise<string> {
    const head = `POST /die?way=${way} HTTP/1.1\r\nHost: x\r\n` +
      "Content-Length: 100000\r\n\r\n";
    return await strike(web, head + "x".repeat(50_000));
  },

  // More records than one are then in the hands of the loop.
  async message({ web }): Promise<string> {
    using client = await WsClient.open({ addr: web });
    await client.text("who");
    const worker = await client.readText();
    await client.raw.write(texts("before", "die", "behind", "and more"));
    await end(client.raw);
    return worker;
  },

  async accept({ web, tcp }, way): Promise<string> {
    using client = await RawClient.connect({ addr: web });
    const worker = await whoIs(client);
    await client.request(get(`/die?way=${way}`));
    let over = false;
    const ended = end(client).then(() => over = true);
    // Until it is the one that gets it.
    while (!over) await Promise.race([ask(tcp).catch(() => {}), ended]);
    return worker;
  },
};

async function strike(web: Address, request: string): Promise<string> {
  using client = await RawClient.connect({ addr: web });
  const worker = await whoIs(client);
  await client.write(request);
  await end(client);
  return worker;
}

async function ask(tcp: Address): Promise<void> {
  using client = await RawClient.connect({ addr: tcp });
  await client.write("who");
  await client.exactly(1);
}

async function whoIs(client: RawClient): Promise<string> {
  const response = await client.request(echo(new Uint8Array(0)));
  return response.field("worker")!;
}

async function end(client: RawClient): Promise<void> {
  await client.ending().catch(() => {});
  await sleep(0);
}
