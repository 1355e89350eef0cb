// SPDX-License-Identifier: Apache-2.0
// Tests of hostile WebSocket peers, many at a time, against a server in a
// process of its own: while each attack goes on sockets that keep to the rules
// get their echoes, and afterwards the process holds what it held before.

import { deflateRawSync } from "node:zlib";
import { assert, assertEquals } from "@std/assert";
import type { BackendName } from "../mod.ts";
import type { AttackSample } from "./attack_server.ts";
import { hasSameBlocks } from "./holdings.ts";
import { ResettableSocket } from "./libc.ts";
import { RawClient } from "./raw_client.ts";
import { SoakChild } from "./soak_child.ts";
import {
  assertSameBytes,
  BACKENDS,
  concat,
  deadline,
  latin1,
  pattern,
  sleep,
} from "./testing.ts";
import {
  BINARY,
  CLOSE,
  closePayload,
  CONTINUATION,
  frame,
  handshake,
  PING,
  PONG,
  TEXT,
  WsClient,
} from "./ws_client.ts";

const MIB = 2 ** 20;
/** Sockets that keep to the rules. */
const HEALTHY = 4;
/** Milliseconds of the server's timeouts. */
const PATIENCE = 2000;
/** Nothing here takes a tenth of this. */
const ATTACK_MS = 60_000;

/** What compiled code and caches still take. */
const OBJECTS_AT_REST = 2 * MIB;
/** A view of each block of the arena, which V8 counts as if it had memory of its own. */
const BUFFERS_AT_REST = 32 * MIB;
/** The arena, whose pages no attack before may have touched, and what malloc and V8 keep for later. */
const NATIVE_AT_REST = (32 + 16) * MIB;
/** While an attack goes on: garbage that is not collected yet, for the most part. */
const PEAK = 128 * MIB;
/** Contexts that are kept for whoever comes next: 16 to inflate, and those to deflate of one kind. */
const DEFLATE_AT_REST = (16 * 40 + 264) * 1024;

const FIELDS = { "Sec-WebSocket-Extensions": "permessage-deflate" };
const HANDSHAKE = latin1(handshake("/echo", FIELDS));
const RSV1 = 4;

function open(server: SoakChild): Promise<WsClient> {
  return WsClient.open(server, { target: "/echo", fields: FIELDS });
}

async function openMany(server: SoakChild, count: number): Promise<WsClient[]> {
  const clients: WsClient[] = [];
  for (let at = 0; at < count; at++) clients.push(await open(server));
  return clients;
}

function closeAll(clients: readonly Disposable[]): void {
  for (const client of clients) client[Symbol.dispose]();
}

interface Count {
  sockets: number;
  connections: number;
}

async function count(server: SoakChild): Promise<Count> {
  return JSON.parse(await server.ask("/count"));
}

async function untilCount(
  server: SoakChild,
  what: string,
  condition: (count: Count) => boolean,
): Promise<void> {
  await deadline(
    (async () => {
      while (!condition(await count(server))) await sleep(1);
    })(),
    what,
  );
}

/** Waits until nobody but the healthy is there. */
async function untilRest(server: SoakChild): Promise<void> {
  await untilCount(
    server,
    "the end of all connections",
    ({ sockets, connections }) =>
      sockets === HEALTHY && connections === HEALTHY + 1,
  );
}

// --- those that keep to the rules

/** Sockets that send and get back, until they are told to stop. */
class Healthy {
  readonly #clients: WsClient[];
  readonly #echoes: number[];
  readonly #done: Promise<unknown>;
  readonly #failed = Promise.withResolvers<never>();
  #stopped = false;
  #held = false;
  #holding = 0;

  constructor(clients: WsClient[]) {
    this.#clients = clients;
    this.#echoes = clients.map(() => 0);
    this.#done = Promise.all(
      clients.map((client, at) => this.#run(client, at)),
    );
    this.#done.catch((error) => this.#failed.reject(error));
    this.#failed.promise.catch(() => {});
  }

  /** Waits until each has had so many echoes more. */
  async served(more: number): Promise<void> {
    const before = [...this.#echoes];
    const behind = (): boolean =>
      this.#echoes.some((echoes, at) => echoes < before[at]! + more);
    while (behind()) await this.#wait();
  }

  /** Runs `fn` while none of them has anything on its way. */
  async still<T>(fn: () => Promise<T>): Promise<T> {
    this.#held = true;
    while (this.#holding < this.#clients.length) await this.#wait();
    const result = await fn();
    this.#held = false;
    return result;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
    closeAll(this.#clients);
  }

  /** Fails once one of them has. */
  async #wait(): Promise<void> {
    if (this.#stopped) throw new Error("They were told to stop");
    await Promise.race([this.#failed.promise, sleep(1)]);
  }

  async #hold(): Promise<void> {
    this.#holding++;
    while (this.#held) await sleep(1);
    this.#holding--;
  }

  async #run(client: WsClient, id: number): Promise<void> {
    const sizes = [1, 125, 4000, 70_000];
    while (!this.#stopped) {
      if (this.#held) await this.#hold();
      const echoes = this.#echoes[id]!;
      const payload = pattern(sizes[echoes % 4]!, id * 1_000_003 + echoes);
      payload[0] = 1;
      await client.binary(payload);
      assertSameBytes(await nextEcho(client), payload, `echo ${echoes}`);
      this.#echoes[id]!++;
      await sleep(1);
    }
  }
}

/** The next message that was not published: those begin with 0. */
async function nextEcho(client: WsClient): Promise<Uint8Array> {
  for (;;) {
    const { opcode, payload, rsv } = await client.frame();
    assertEquals([opcode, rsv], [BINARY, 0]);
    if (payload[0] !== 0) return payload;
  }
}

// --- those that do not

type Attack = (server: SoakChild, scale: number) => Promise<void>;

/** Writes until the other side no longer takes anything, or has gone. */
async function pour(client: RawClient, bytes: Uint8Array): Promise<void> {
  const { conn } = client;
  let stuck = false;
  for (let at = 0; at < bytes.length && !stuck;) {
    const writing = conn.write(bytes.subarray(at, at + 65536));
    const written = await Promise.race([
      writing.catch(() => null),
      sleep(500).then(() => null),
    ]);
    if (written === null) {
      // It fails when the connection is closed.
      writing.catch(() => {});
      stuck = true;
    } else at += written;
  }
}

const pingFlood: Attack = async (server, scale) => {
  const clients = await openMany(server, 8);
  const pings = concat(
    Array(1000).fill(frame({ opcode: PING, payload: pattern(125) })),
  );
  // Half of them read what they are answered.
  await Promise.all(clients.map(async (client, at) => {
    for (let round = 0; round < 20 * scale; round++) {
      const pouring = pour(client.raw, pings);
      if (at % 2 === 0) {
        for (let pong = 0; pong < 1000; pong++) {
          assertEquals((await client.frame()).opcode, PONG);
        }
      }
      await pouring;
    }
  }));
  closeAll(clients);
};

const oneByteFragments: Attack = async (server, scale) => {
  const clients = await openMany(server, Math.ceil(100 * scale));
  const begin = frame({ opcode: TEXT, payload: "a", fin: false });
  const goOn = frame({ opcode: CONTINUATION, payload: "b", fin: false });
  const end = frame({ opcode: CONTINUATION, payload: "c" });
  const whole = concat([begin, ...Array(1000).fill(goOn), end]);
  const endless = concat([begin, ...Array(1100).fill(goOn)]);
  await Promise.all(clients.map(async (client, at) => {
    if (at % 3 === 0) {
      await client.raw.write(endless);
      assertEquals((await client.closeFrame()).code, 1008);
    } else if (at % 3 === 1) {
      await client.raw.write(whole);
      assertEquals((await client.readText()).length, 1002);
    } else {
      // All of them stay in the midst of a message.
      await client.raw.write(endless.subarray(0, 7000));
    }
  }));
  closeAll(clients);
};

const neverReads: Attack = async (server, scale) => {
  const clients = await openMany(server, Math.ceil(16 * scale));
  const message = frame({ opcode: BINARY, payload: pattern(65536) });
  const echoes = concat(Array(160).fill(message));
  const publish = async (): Promise<void> => {
    for (let round = 0; round < 200 * scale; round++) {
      assert(Number(await server.ask("/publish?bytes=65536")) > 0);
    }
  };
  await Promise.all([
    publish(),
    ...clients.map(({ raw }) => pour(raw, echoes)),
  ]);
  closeAll(clients);
};

const BOMB = new Uint8Array(
  deflateRawSync(new Uint8Array(64 * MIB), { finishFlush: 2, level: 9 })
    .subarray(0, -4),
);

const deflateBombs: Attack = async (server, scale) => {
  assert(BOMB.length < 70_000, "Not a bomb");
  for (let round = 0; round < Math.ceil(3 * scale); round++) {
    const clients = await openMany(server, 32);
    await Promise.all(clients.map(async (client, at) => {
      // In one frame, or in one of which the end is missing.
      await client.send({
        opcode: BINARY,
        rsv: RSV1,
        payload: BOMB,
        ...(at % 2 === 0 ? {} : { fin: false }),
      }).catch(() => {});
      // Its close frame may be lost: the server has not read all of it.
      const { text } = await client.raw.ending();
      assert(text === "" || text.includes("\x03\xf1"), "1009");
    }));
    closeAll(clients);
  }
};

/** What a client sends, and what behind that once the server has it, before it leaves with RST. */
const STAGES: [what: string, first: Uint8Array, then: Uint8Array][] = [
  ["before the handshake", latin1(""), latin1("")],
  ["in the handshake", HANDSHAKE.subarray(0, 40), latin1("")],
  ["with the handshake", latin1(""), HANDSHAKE],
  ["behind the handshake", HANDSHAKE, latin1("")],
  [
    "in a header",
    HANDSHAKE,
    frame({ opcode: BINARY, payload: pattern(200) }).subarray(0, 3),
  ],
  [
    "in a frame",
    concat([
      HANDSHAKE,
      frame({ opcode: BINARY, payload: pattern(9999) }).subarray(0, 4000),
    ]),
    pattern(100),
  ],
  [
    "in a message",
    concat([HANDSHAKE, frame({ opcode: TEXT, payload: "a", fin: false })]),
    frame({ opcode: PING }),
  ],
  [
    "in a compressed message",
    concat([
      HANDSHAKE,
      frame({
        opcode: BINARY,
        rsv: RSV1,
        payload: BOMB.subarray(0, 50),
        fin: false,
      }),
    ]),
    latin1(""),
  ],
  [
    "with much to be sent",
    concat([
      HANDSHAKE,
      ...Array(4).fill(frame({ opcode: BINARY, payload: pattern(65536) })),
    ]),
    latin1(""),
  ],
  [
    "in the closing handshake",
    HANDSHAKE,
    frame({ opcode: CLOSE, payload: closePayload(1000) }),
  ],
];

const resets: Attack = async (server, scale) => {
  const crowd = 100;
  const rounds = Math.ceil(10_000 * scale / crowd / STAGES.length);
  // Those of an attack before would be taken for connections of this one.
  await untilRest(server);
  for (const [what, first, then] of STAGES) {
    const upgraded = first.length >= HANDSHAKE.length;
    for (let round = 0; round < rounds; round++) {
      const before = await count(server);
      const sockets = Array.from(
        { length: crowd },
        () => new ResettableSocket(server.addr.port),
      );
      for (const socket of sockets) socket.send(new Uint8Array(first));
      await untilCount(
        server,
        what,
        ({ sockets, connections }) =>
          connections >= before.connections + crowd &&
          (!upgraded || sockets >= before.sockets + crowd),
      );
      for (const socket of sockets) {
        socket.send(new Uint8Array(then));
        socket.reset();
      }
      await untilCount(
        server,
        `the end ${what}`,
        ({ connections }) => connections <= before.connections,
      );
    }
  }
};

const slowHandshakes: Attack = async (server, scale) => {
  const clients: RawClient[] = [];
  for (let at = 0; at < 200 * scale; at++) {
    clients.push(await RawClient.connect(server));
  }
  // A byte now and then puts nothing off.
  await Promise.all(clients.map(async (client, at) => {
    let ended = false;
    const ending = client.ending().finally(() => ended = true);
    for (const byte of HANDSHAKE.subarray(0, 30 + at % 90)) {
      if (ended) break;
      await client.write(Uint8Array.of(byte)).catch(() => {});
      await sleep(80);
    }
    const { text } = await ending;
    assert(text.startsWith("HTTP/1.1 408 "), text);
  }));
  closeAll(clients);
};

const ATTACKS: [what: string, attack: Attack][] = [
  ["a flood of pings", pingFlood],
  ["fragments of one byte", oneByteFragments],
  ["peers that never read, echoed and published to", neverReads],
  ["deflate bombs, many at once", deflateBombs],
  ["10,000 resets, at every stage", resets],
  ["slow handshakes", slowHandshakes],
];

// --- before and after

/** What the server holds once nobody but the healthy is there. */
async function rest(server: SoakChild): Promise<AttackSample> {
  await untilRest(server);
  return JSON.parse(await server.ask("/sample"));
}

function assertFlat(
  first: AttackSample,
  before: AttackSample,
  after: AttackSample,
): void {
  assertEquals(after.connections, before.connections);
  assertEquals(after.sockets, before.sockets);
  assertEquals(after.subscribers, before.subscribers);
  assertEquals(after.descriptors, before.descriptors);
  assert(
    hasSameBlocks(after, first),
    `${after.blocksFree} free blocks instead of ${first.blocksFree}`,
  );
  assertEquals(after.exhausted, 0);
  const own = HEALTHY * (264 + 40) * 1024;
  assert(after.deflateBytes <= own + DEFLATE_AT_REST);
  const grown = (what: string, from: number, to: number, most: number): void =>
    assert(
      to - from <= most,
      `${what} grew by ${((to - from) / MIB).toFixed(1)} MiB`,
    );
  // Since the first attack, not only the last.
  grown("The heap", first.objects, after.objects, OBJECTS_AT_REST);
  grown("Buffers", first.buffers, after.buffers, BUFFERS_AT_REST);
  grown("Native memory", first.native, after.native, NATIVE_AT_REST);
  grown("Meanwhile it", before.resident, after.peak, PEAK);
}

async function attackAll(
  t: Deno.TestContext,
  backend: BackendName,
): Promise<void> {
  const server = await SoakChild.start(
    backend,
    PATIENCE,
    "attack_server.ts",
  );
  try {
    const healthy = new Healthy(await openMany(server, HEALTHY));
    // Code is compiled, caches are filled, and all pages of the arena are touched.
    for (const [, attack] of ATTACKS) {
      const scale = attack === neverReads ? 1 : 0.1;
      await deadline(attack(server, scale), "the warm-up", ATTACK_MS);
    }
    const first = await healthy.still(() => rest(server));
    let before = first;
    for (const [what, attack] of ATTACKS) {
      await t.step(what, async () => {
        // It goes on until they have been served meanwhile.
        let over = false;
        const serving = healthy.served(20).finally(() => over = true);
        const attacking = (async () => {
          do await attack(server, 1); while (!over);
        })();
        await deadline(Promise.all([attacking, serving]), what, ATTACK_MS);
        const after = await healthy.still(() => rest(server));
        assertFlat(first, before, after);
        before = after;
      });
    }
    await healthy.stop();
    const { code, errors } = await server.end();
    assertEquals([code, errors], [0, ""]);
  } finally {
    await server.kill();
  }
}

for (const backend of BACKENDS) {
  Deno.test(
    `hostile peers leave memory flat and others served (${backend})`,
    (t) => attackAll(t, backend),
  );
}
