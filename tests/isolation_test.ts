// SPDX-License-Identifier: Apache-2.0
// Tests that bytes of one connection never reach another, while thousands of
// connections of both protocols come, go and break.

import { assert, assertEquals } from "@std/assert";
import { type ServerWebSocket, websocket } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { RawClient } from "./raw_client.ts";
import {
  concat,
  fromLatin1,
  latin1,
  type TcpServer,
  testBackends,
  until,
} from "./testing.ts";
import {
  BINARY,
  CONTINUATION,
  frame,
  handshake,
  TEXT,
  WsClient,
} from "./ws_client.ts";

const CONNECTIONS = 3000;
const WAVE = 60;

/** A small generator whose seed reproduces a run (mulberry32). */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ this.#state >>> 15, 1 | this.#state);
    t = (t + Math.imul(t ^ t >>> 7, 61 | t)) ^ t;
    return ((t ^ t >>> 14) >>> 0) % limit;
  }

  /** Mostly short, now and then longer than a block. */
  size(): number {
    const kind = this.below(20);
    return this.below(kind === 0 ? 60_000 : kind < 4 ? 6000 : 300);
  }
}

/** Every eight bytes of a payload name the connection and the message. */
function tagged(tag: string, length: number): string {
  return (tag + "/").repeat(Math.ceil(length / (tag.length + 1)))
    .slice(0, length);
}

interface Work {
  server: TcpServer;
  tag: string;
  random: Random;
}

async function post(
  client: RawClient,
  work: Work,
  body: string,
): Promise<void> {
  const chunked = work.random.below(2) === 0;
  const framing = chunked
    ? `Transfer-Encoding: chunked\r\n\r\n${chunks(body, work.random)}`
    : `Content-Length: ${body.length}\r\n\r\n${body}`;
  await client.write(
    `POST /${work.tag} HTTP/1.1\r\nHost: t\r\nX-Tag: ${work.tag}\r\n` + framing,
  );
}

function chunks(body: string, random: Random): string {
  let text = "";
  for (let at = 0; at < body.length;) {
    const piece = body.slice(at, at + 1 + random.below(body.length));
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
    at += piece.length;
  }
  return text + "0\r\n\r\n";
}

async function httpLife(work: Work): Promise<void> {
  const { random, tag } = work;
  using client = await RawClient.connect(work.server);
  const rounds = 1 + random.below(4);
  for (let round = 0; round < rounds; round++) {
    const bodies = Array.from(
      { length: 1 + random.below(3) },
      () => tagged(`${tag}.${round}`, random.size()),
    );
    const writing = (async (): Promise<void> => {
      for (const body of bodies) await post(client, work, body);
    })();
    for (const body of bodies) {
      const response = await client.response();
      assertEquals(response.field("x-tag"), tag);
      assert(fromLatin1(response.body) === `/${tag}:${body}`, `HTTP of ${tag}`);
    }
    await writing;
  }
}

async function wsLife(work: Work): Promise<void> {
  const { random, tag } = work;
  using client = await WsClient.open(work.server, { target: `/ws/${tag}` });
  const rounds = 1 + random.below(6);
  for (let round = 0; round < rounds; round++) {
    const body = tagged(`${tag}.${round}`, random.size());
    const [got] = await Promise.all([
      client.frame(),
      client.raw.write(message(body, random)),
    ]);
    assert(fromLatin1(got.payload) === `${tag}:${body}`, `WebSocket of ${tag}`);
  }
}

function message(body: string, random: Random): Uint8Array {
  const opcode = random.below(2) === 0 ? TEXT : BINARY;
  const cut = random.below(body.length + 1);
  if (random.below(3) > 0) return frame({ opcode, payload: latin1(body) });
  return concat([
    frame({ opcode, payload: latin1(body.slice(0, cut)), fin: false }),
    frame({ opcode: CONTINUATION, payload: latin1(body.slice(cut)) }),
  ]);
}

/** Breaks off with RST wherever it is. */
function brokenLife(work: Work): void {
  const { random, tag } = work;
  using socket = new ResettableSocket(work.server.addr.port);
  const size = random.size();
  const bytes = random.below(2) === 0
    ? latin1(
      `POST /${tag} HTTP/1.1\r\nHost: t\r\nX-Tag: ${tag}\r\n` +
        `Content-Length: ${size}\r\n\r\n${tagged(tag, size)}`,
    )
    : concat([
      latin1(handshake(`/ws/${tag}`)),
      message(tagged(tag, size), random),
    ]);
  socket.send(bytes.slice(0, random.below(bytes.length + 1)));
  socket.reset();
}

async function life(work: Work): Promise<void> {
  const kind = work.random.below(10);
  if (kind < 4) await httpLife(work);
  else if (kind < 7) await wsLife(work);
  else brokenLife(work);
}

testBackends("no byte of one connection reaches another", async (t) => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  const live = new Set<ServerWebSocket<string>>();
  const wrong: string[] = [];
  const check = (tag: string, text: string): void => {
    for (const part of text.split("/").slice(0, -1)) {
      if (part.split(".")[0] !== tag) wrong.push(`${tag} got ${part}`);
    }
  };
  const route = websocket<string>({
    open: (socket) => void live.add(socket),
    message(socket, bytes): void {
      const text = typeof bytes === "string" ? bytes : fromLatin1(bytes);
      check(socket.data, text);
      const answer = `${socket.data}:${text}`;
      socket.send(typeof bytes === "string" ? answer : latin1(answer));
    },
    close(socket): void {
      if (!live.delete(socket)) wrong.push(`${socket.data} closed twice`);
    },
  });
  let calls = 0;
  const server = t.serve(async (request) => {
    const path = new URL(request.url).pathname;
    if (path.startsWith("/ws/")) {
      return route.upgrade(request, { data: path.slice(4) });
    }
    if (calls++ % 5 === 0) await Promise.resolve();
    const text = await request.text();
    const tag = request.headers.get("x-tag")!;
    check(tag, text);
    return new Response(`${path}:${text}`, { headers: { "x-tag": tag } });
  }, { onError: () => new Response("broken", { status: 500 }) });
  try {
    for (let first = 0; first < CONNECTIONS; first += WAVE) {
      const wave = Array.from({ length: WAVE }, (_, i): Work => ({
        server,
        tag: `c${first + i}`,
        random: new Random(seed + first + i),
      }));
      await Promise.all(wave.map(life));
    }
    await until(() => server.statistics().connections === 0, "the end of all");
    assertEquals([wrong, live.size], [[], 0]);
    assertEquals(server.statistics().accepted, CONNECTIONS);
  } catch (error) {
    throw new Error(`With seed ${seed}`, { cause: error });
  }
});
