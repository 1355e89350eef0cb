// SPDX-License-Identifier: Apache-2.0
// workers_load.ts - clients of every protocol that check each answer against what they have sent, and tell which worker
// a connection that was lost was with; used by the tests of workers under load.

import { assertEquals } from "@std/assert";
import type { RpcClient } from "../lib/rpc.ts";
import { rpcClient } from "../lib/rpc.ts";
import { type Address, RawClient, type RawResponse } from "./raw_client.ts";
import { assertSameBytes, latin1, pattern } from "./testing.ts";
import { CLOSE, closePayload, TEXT, WsClient } from "./ws_client.ts";

/** Where the application of the tests listens. */
export interface Addresses {
  /** HTTP and WebSockets. */
  web: Address;
  tcp: Deno.NetAddr;
  rpc: Deno.NetAddr;
}

/** A connection that has failed. */
export interface Loss {
  kind: Kind;
  /** Who served it; null when it was not told yet. */
  worker: string | null;
  /** When it began and when it failed: milliseconds since the epoch. */
  began: number;
  ended: number;
  error: unknown;
}

/** What the clients of one kind have seen. */
export interface Tally {
  /** Connections. */
  opened: number;
  answers: number;
  /** Connections that the server has ended in order. */
  left: number;
  /** Of those, where something was on its way meanwhile which the protocol has no word for. */
  cut: number;
}

/** One connection. */
interface Life {
  worker: string | null;
  opened(): void;
  /** Counts an answer of a worker. */
  answered(worker?: string): void;
  /** The server has ended it. */
  left(cut?: boolean): void;
  isStopped(): boolean;
  /** A number that no other message has. */
  next(): number;
}

/** What clients do. */
export type Kind = keyof typeof KINDS;

const KINDS = {
  fresh: (life: Life, at: Addresses) => http(life, at, 1, 1),
  kept: (life: Life, at: Addresses) => http(life, at, 100, 1),
  pipelined: (life: Life, at: Addresses) => http(life, at, 100, 8),
  websocket,
  tcp,
  rpc: actions,
};

const SIZES = [0, 1, 125, 126, 1000, 16_384, 70_000];
const BATCH = 8;
const MESSAGES = 200;

/** Clients that go on until they are stopped. */
export class Clients {
  readonly losses: Loss[] = [];
  readonly #at: Addresses;
  readonly #tallies = new Map<Kind, Tally>();
  readonly #workers = new Map<string, number>();
  readonly #lanes: Promise<void>[] = [];
  #stopped = false;
  #number = 0;

  /** So many of each kind at a time. */
  constructor(at: Addresses, counts: Partial<Record<Kind, number>>) {
    this.#at = at;
    for (const [kind, count] of Object.entries(counts) as [Kind, number][]) {
      this.#tallies.set(kind, { opened: 0, answers: 0, left: 0, cut: 0 });
      for (let i = 0; i < count; i++) this.#lanes.push(this.#lane(kind));
    }
  }

  /** Answers, of all kinds or of one. */
  answers(kind?: Kind): number {
    return this.#sum("answers", kind);
  }

  /** Connections that there were, of all kinds or of one. */
  opened(kind?: Kind): number {
    return this.#sum("opened", kind);
  }

  tally(kind: Kind): Tally {
    return { ...this.#tallies.get(kind)! };
  }

  /** Answers of the kind that has the fewest. */
  least(): number {
    return Math.min(...[...this.#tallies.values()].map((t) => t.answers));
  }

  /** Workers that have answered, and how often. */
  get workers(): ReadonlyMap<string, number> {
    return this.#workers;
  }

  /** Resolves when all connections are closed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#lanes);
  }

  #sum(name: "answers" | "opened", kind?: Kind): number {
    if (kind !== undefined) return this.#tallies.get(kind)![name];
    return [...this.#tallies.values()].reduce((sum, t) => sum + t[name], 0);
  }

  async #lane(kind: Kind): Promise<void> {
    while (!this.#stopped) {
      const life = this.#life(this.#tallies.get(kind)!);
      const began = Date.now();
      try {
        await KINDS[kind](life, this.#at);
      } catch (error) {
        const { worker } = life;
        this.losses.push({ kind, worker, began, ended: Date.now(), error });
      }
    }
  }

  #life(tally: Tally): Life {
    const counts = this.#workers;
    const life: Life = {
      worker: null,
      opened: () => tally.opened++,
      answered(worker = life.worker!): void {
        life.worker ??= worker;
        assertEquals(worker, life.worker, "Another worker has answered");
        counts.set(worker, (counts.get(worker) ?? 0) + 1);
        tally.answers++;
      },
      left(cut = false): void {
        tally.left++;
        if (cut) tally.cut++;
      },
      isStopped: () => this.#stopped,
      next: () => ++this.#number,
    };
    return life;
  }
}

/** Where the application of the tests listens, asked of one of its workers. */
export async function addressesOf(web: Address): Promise<Addresses> {
  const ask = async (path: string): Promise<Deno.NetAddr> => {
    using client = await RawClient.connect({ addr: web });
    return JSON.parse((await client.request(request(path, "GET"))).text);
  };
  return { web, tcp: await ask("/tcp"), rpc: await ask("/rpc") };
}

/** A request with a body, which `/echo` sends back. */
export function echo(body: Uint8Array, close = false): Uint8Array {
  const head = request("/echo", "POST", body.length, close);
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(latin1(head));
  bytes.set(body, head.length);
  return bytes;
}

function request(
  path: string,
  method: string,
  length = 0,
  close = false,
): string {
  const connection = close ? "Connection: close\r\n" : "";
  return `${method} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n${connection}\r\n`;
}

function bodyOf(life: Life, largest = Infinity): Uint8Array<ArrayBuffer> {
  const number = life.next();
  const sizes = SIZES.filter((size) => size <= largest);
  return pattern(sizes[number % sizes.length]!, number);
}

// --- what clients do

// What a server does not answer behind `Connection: close` the next connection may ask for anew.
async function http(
  life: Life,
  { web }: Addresses,
  bursts: number,
  depth: number,
): Promise<void> {
  using client = await RawClient.connect({ addr: web });
  life.opened();
  for (let burst = 0; burst < bursts && !life.isStopped(); burst++) {
    const bodies = Array.from(
      { length: depth },
      () => bodyOf(life, depth > 1 ? 1000 : Infinity),
    );
    const requests = bodies.map((body) => echo(body, bursts === 1));
    await client.write(join(requests));
    for (const [at, body] of bodies.entries()) {
      const response = await client.response();
      checkEcho(life, response, body);
      if (response.field("connection") !== "close") continue;
      if (bursts > 1) life.left(at < depth - 1);
      return;
    }
  }
}

function checkEcho(life: Life, response: RawResponse, body: Uint8Array): void {
  assertEquals(response.status, 200);
  assertSameBytes(response.body, body, "The echo");
  life.answered(response.field("worker")!);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function websocket(life: Life, { web }: Addresses): Promise<void> {
  using client = await WsClient.open({ addr: web });
  life.opened();
  for (let sent = 0; sent < MESSAGES && !life.isStopped(); sent += BATCH) {
    const bodies = Array.from({ length: BATCH }, () => bodyOf(life));
    if (sent === 0) await client.text("who");
    for (const body of bodies) await client.binary(body);
    const expected = [...(sent === 0 ? [null] : []), ...bodies];
    for (const [at, body] of expected.entries()) {
      const frame = await client.frame();
      if (frame.opcode === CLOSE) return await leave(life, client, frame, at);
      if (body === null) {
        assertEquals(frame.opcode, TEXT);
        life.answered(new TextDecoder().decode(frame.payload));
      } else {
        assertSameBytes(frame.payload, body, "The message");
        life.answered();
      }
    }
  }
  await client.send({ opcode: CLOSE, payload: closePayload(1000) });
  await client.closeFrame();
}

// What comes behind the close frame of a server is not answered.
async function leave(
  life: Life,
  client: WsClient,
  { payload }: { payload: Uint8Array },
  answered: number,
): Promise<void> {
  const code = payload[0]! << 8 | payload[1]!;
  if (code !== 1001 && code !== 1012) throw new Error(`Closed with ${code}`);
  life.left(answered < BATCH);
  await client.send({ opcode: CLOSE, payload });
  assertEquals(await client.raw.rest(), "");
}

async function tcp(life: Life, { tcp }: Addresses): Promise<void> {
  using client = await RawClient.connect({ addr: tcp });
  life.opened();
  await client.write("who");
  // Its number, a dash and a UUID.
  const first = await client.through("-");
  life.answered(text(first) + text(await client.exactly(36)));
  for (let sent = 0; sent < MESSAGES && !life.isStopped(); sent++) {
    const body = bodyOf(life);
    if (body.length === 0) continue;
    const [echoed] = await Promise.all([
      client.exactly(body.length),
      client.write(body),
    ]);
    assertSameBytes(echoed, body, "The echo");
    life.answered();
  }
}

async function actions(life: Life, { rpc }: Addresses): Promise<void> {
  const client = await rpcClient(`tcp://${rpc.hostname}:${rpc.port}`);
  life.opened();
  try {
    for (let sent = 0; sent < MESSAGES && !life.isStopped(); sent += BATCH) {
      await Promise.all(
        Array.from({ length: BATCH }, () => call(life, client)),
      );
    }
  } finally {
    await client.close();
  }
}

async function call(life: Life, client: RpcClient): Promise<void> {
  const body = { number: life.next(), text: "x".repeat(life.next() % 3000) };
  const [worker, echoed] = await client.call<[string, typeof body]>(1, body);
  assertEquals(echoed, body);
  life.answered(worker);
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
