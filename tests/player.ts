// SPDX-License-Identifier: Apache-2.0
// player.ts - plays raw bytes against a server, cut in pieces, many connections at once; called by the tests of the
// corpora.

import { equal } from "@std/assert";
import { deadline, fromLatin1, type TcpServer, until } from "./testing.ts";

/** Longer entries come in this many steps instead of byte by byte. */
const STEPS_MAX = 400;
/** Shorter than the deadline of the whole test, so that the entry is named. */
const ENDS_MS = 10_000;
/** Connections at a time. */
const CROWD = 256;

/** What is played. */
export interface Script {
  id: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** One entry on a connection of its own, in pieces. */
export interface Play<Entry extends Script> {
  entry: Entry;
  cut: string;
  pieces: Uint8Array<ArrayBuffer>[];
}

/** What a corpus expects of its plays. */
export interface Rules<Entry extends Script> {
  /** A crowd begins, whose ports may be those of an earlier one. */
  begin(): void;
  /** Sends what comes behind the pieces, and waits for the end. */
  finish(player: Player<Entry>): Promise<void>;
  /** What a play came to, and what it should have. */
  outcome(player: Player<Entry>): { actual: unknown; expected: unknown };
}

/** The client's end of a play. */
export class Player<Entry extends Script> {
  readonly play: Play<Entry>;
  readonly conn: Deno.TcpConn;
  received = "";
  ended = false;
  reset = false;
  readonly done: Promise<void>;

  constructor(play: Play<Entry>, conn: Deno.TcpConn) {
    this.play = play;
    this.conn = conn;
    this.done = this.#read();
    // Nobody may be waiting yet, or any more, when another player has failed.
    this.done.catch(() => {});
  }

  get port(): number {
    return (this.conn.localAddr as Deno.NetAddr).port;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      at += await this.conn.write(bytes.subarray(at));
    }
  }

  async #read(): Promise<void> {
    const bytes = new Uint8Array(4096);
    try {
      for (let count; (count = await this.conn.read(bytes)) !== null;) {
        this.received += fromLatin1(bytes.subarray(0, count));
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      this.reset = true;
    }
    this.ended = true;
  }
}

/** Plays all, a crowd at a time, and says what went otherwise than expected. */
export async function playAll<Entry extends Script>(
  server: TcpServer,
  plays: readonly Play<Entry>[],
  rules: Rules<Entry>,
): Promise<unknown[]> {
  const failures: unknown[] = [];
  for (let at = 0; at < plays.length; at += CROWD) {
    const crowd = plays.slice(at, at + CROWD);
    failures.push(...await playCrowd(server, crowd, rules));
  }
  return failures;
}

async function playCrowd<Entry extends Script>(
  server: TcpServer,
  plays: readonly Play<Entry>[],
  rules: Rules<Entry>,
): Promise<unknown[]> {
  const { hostname, port } = server.addr;
  rules.begin();
  const players = await Promise.all(plays.map(async (play) => {
    const conn = await Deno.connect({ hostname, port });
    conn.setNoDelay(true);
    return new Player(play, conn);
  }));
  try {
    await writeAll(server, players);
    await Promise.all(
      players.map((player) =>
        deadline(
          rules.finish(player),
          `${player.play.entry.id} ends, ${player.play.cut}`,
          ENDS_MS,
        )
      ),
    );
  } finally {
    for (const { conn } of players) conn.close();
  }
  return players.flatMap((player) => {
    const { entry: { id }, cut } = player.play;
    const { actual, expected } = rules.outcome(player);
    return equal(actual, expected) ? [] : [{ id, cut, actual, expected }];
  });
}

/** The next pieces of all go out when the server has the last ones. */
async function writeAll<Entry extends Script>(
  server: TcpServer,
  players: readonly Player<Entry>[],
): Promise<void> {
  let expected = server.statistics().receivedBytes;
  for (let round = 0;; round++) {
    const going = players.filter(({ play, ended }) =>
      !ended && play.pieces[round] !== undefined
    );
    if (going.length === 0) break;
    await Promise.all(going.map((player) => {
      const piece = player.play.pieces[round]!;
      expected += piece.length;
      return player.write(piece);
    }));
    await until(
      () => server.statistics().receivedBytes === expected,
      `piece ${round} was received`,
    );
  }
}

/** Bytes in steps of a size, the first piece possibly shorter. */
export function inSteps<Entry extends Script>(
  entry: Entry,
  first: number,
  step: number,
): Play<Entry> {
  const { bytes } = entry;
  const pieces = first > 0 ? [bytes.slice(0, first)] : [];
  for (let at = first; at < bytes.length; at += step) {
    pieces.push(bytes.slice(at, at + step));
  }
  return { entry, cut: `cut at ${first} and every ${step} bytes`, pieces };
}

/** All of it at once. */
export function whole<Entry extends Script>(entry: Entry): Play<Entry> {
  return inSteps(entry, 0, Math.max(1, entry.bytes.length));
}

/** One byte after the other, unless it is long. */
export function byteByByte<Entry extends Script>(entry: Entry): Play<Entry> {
  return inSteps(entry, 0, Math.ceil(entry.bytes.length / STEPS_MAX));
}

/**
 * Every `step`-th byte of a short entry, from another one on in each; of a long
 * one the ends and some between.
 */
export function cutsOf(
  { bytes: { length } }: Script,
  step: number,
  from: number,
): number[] {
  const all = Array.from({ length: length - 1 }, (_, at) => at + 1);
  return length <= STEPS_MAX
    ? all.filter((at) => at % step === from % step)
    : all.filter((at) =>
      at < 16 || at > length - 16 || at % Math.ceil(length / 16) === 0
    );
}
