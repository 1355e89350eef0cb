// SPDX-License-Identifier: Apache-2.0
// Tests of what a server makes of the frames in tests/corpus/websocket and of those that
// websocket_generated.ts makes, however their bytes are cut.

import { assertEquals } from "@std/assert";
import {
  type ServerWebSocket,
  websocket,
  type WebSocketHandlers,
} from "../mod.ts";
import {
  byteByByte,
  cutsOf,
  inSteps,
  type Play,
  playAll,
  type Player,
  whole,
} from "./player.ts";
import {
  concat,
  type Context,
  fromLatin1,
  latin1,
  type TcpServer,
  testBackends,
  until,
} from "./testing.ts";
import {
  CORPUS_FILES,
  CORPUS_LIMITS,
  frameOf,
  readWebSocketCorpus,
  type WebSocketEntry,
  type WebSocketEvent,
} from "./websocket_corpus.ts";
import { GENERATED } from "./websocket_generated.ts";
import { closePayload, handshake } from "./ws_client.ts";

const PROBE = concat([
  frameOf(0x81, "probe"),
  frameOf(0x88, closePayload(1000, "bye")),
]);
const UTF8 = new TextEncoder();

type Socket = ServerWebSocket<undefined>;

interface Seen {
  events: WebSocketEvent[];
  close: [code: number, reason: string] | null;
}

/** By the client's port. */
type Log = Map<number, Seen>;

/** What a client asks for so that this is agreed on. */
function offerOf(agreement: string): string | null {
  if (agreement === "") return null;
  const bits = /^bits (\d+)$/.exec(agreement)?.[1];
  if (bits === undefined) return "permessage-deflate";
  return `permessage-deflate; client_max_window_bits=${bits}`;
}

/** A server with a route for each agreement. */
function startServer(t: Context, log: Log): TcpServer {
  const of = ({ remotePort }: Socket): Seen => log.get(remotePort!)!;
  const handlers: WebSocketHandlers<undefined> = {
    open: (socket) => {
      log.set(socket.remotePort!, { events: [], close: null });
    },
    message: (socket, message) => {
      const event: WebSocketEvent = typeof message === "string"
        ? ["text", fromLatin1(utf8(message))]
        : ["binary", fromLatin1(message)];
      of(socket).events.push(event);
    },
    ping: (socket, payload) => {
      of(socket).events.push(["ping", fromLatin1(payload)]);
    },
    pong: (socket, payload) => {
      of(socket).events.push(["pong", fromLatin1(payload)]);
    },
    close: (socket, code, reason) => {
      of(socket).close = [code, fromLatin1(utf8(reason))];
    },
  };
  const plain = websocket(handlers, { ...CORPUS_LIMITS, compression: true });
  const takeover = websocket(handlers, {
    ...CORPUS_LIMITS,
    compression: { clientContextTakeover: true },
  });
  return t.serve(
    (request) =>
      (request.url.endsWith("/deflate") ? plain : takeover).upgrade(request),
    { headTimeout: 0, maxDeflateBytes: 1 << 28 },
  );
}

function utf8(text: string): Uint8Array {
  return UTF8.encode(text);
}

/** The play behind its handshake: with its first piece in one write, or waiting for that. */
function behindHandshake(
  play: Play<WebSocketEntry>,
  together: boolean,
): Play<WebSocketEntry> {
  const { with: agreement } = play.entry;
  const target = agreement === "deflate" ? "/deflate" : "/takeover";
  const head = latin1(
    handshake(target, { "Sec-WebSocket-Extensions": offerOf(agreement) }),
  );
  const [first = new Uint8Array(0), ...others] = play.pieces;
  const pieces = together
    ? [concat([head, first]), ...others]
    : [head, ...play.pieces];
  return { ...play, pieces };
}

async function finish(
  player: Player<WebSocketEntry>,
  log: Log,
): Promise<void> {
  const { how } = player.play.entry.ending;
  if (how === "open") await player.write(PROBE);
  if (how === "more") await player.conn.closeWrite();
  await player.done;
  await until(() => (log.get(player.port)?.close ?? null) !== null, "close");
}

function outcome(player: Player<WebSocketEntry>, log: Log): unknown {
  const { events, close } = log.get(player.port)!;
  const { received, reset } = player;
  return { events, close, sent: framesOf(received), reset };
}

function expectedOutcome({ events, ending }: WebSocketEntry): unknown {
  const pongs = events.filter(([kind]) => kind === "ping")
    .map(([, payload]) => `8a ${payload}`);
  const closeWith = (code: number, reason: string): string[] => [
    ...pongs,
    code === 1005 ? "88 " : `88 ${fromLatin1(closePayload(code, reason))}`,
  ];
  switch (ending.how) {
    case "open":
      return {
        events: [...events, ["text", "probe"]],
        close: [1000, "bye"],
        sent: closeWith(1000, ""),
        reset: false,
      };
    case "more":
      return { events, close: [1006, ""], sent: pongs, reset: false };
    case "close":
    case "fail": {
      const { code, reason } = ending;
      const sent = closeWith(code, ending.how === "fail" ? reason : "");
      return { events, close: [code, reason], sent, reset: false };
    }
  }
}

/** First byte and payload of each frame behind the 101; all must be short and without a mask. */
function framesOf(received: string): string[] {
  const head = received.indexOf("\r\n\r\n") + 4;
  if (!received.startsWith("HTTP/1.1 101 ")) return [received];
  const frames: string[] = [];
  for (let at = head; at < received.length;) {
    const length = received.charCodeAt(at + 1);
    if (!(length <= 125)) return [...frames, `no frame at ${at}`];
    const first = received.charCodeAt(at).toString(16);
    frames.push(`${first} ${received.slice(at + 2, at + 2 + length)}`);
    at += 2 + length;
  }
  return frames;
}

async function runAll(
  t: Context,
  plays: Play<WebSocketEntry>[],
  together: boolean,
): Promise<void> {
  const log: Log = new Map();
  const server = startServer(t, log);
  const all = plays.map((play) => behindHandshake(play, together));
  const failures = await playAll(server, all, {
    begin: () => log.clear(),
    finish: (player) => finish(player, log),
    outcome: (player) => ({
      actual: outcome(player, log),
      expected: expectedOutcome(player.play.entry),
    }),
  });
  assertEquals(failures, []);
}

function testEntries(what: string, entries: WebSocketEntry[]): void {
  testBackends(`${what}, in one write with the handshake`, async (t) => {
    await runAll(t, entries.map(whole), true);
  });

  testBackends(`${what}, byte by byte`, async (t) => {
    await runAll(t, entries.map(byteByByte), false);
  });

  // At every third byte, from another one on in each; tests/c/ws_corpus_test.c cuts at all.
  testBackends(`${what}, cut in two`, async (t) => {
    const plays = entries.flatMap((entry, index) =>
      cutsOf(entry, 3, index).map((cut) =>
        inSteps(entry, cut, entry.bytes.length)
      )
    );
    await runAll(t, plays, false);
  });
}

for (const file of CORPUS_FILES) {
  testEntries(`${file} of the corpus`, readWebSocketCorpus(file));
}

for (const { what, everyCut, entries } of GENERATED) {
  if (everyCut) testEntries(what, entries());
  else {
    testBackends(`${what}, in one write with the handshake`, async (t) => {
      await runAll(t, entries().map(whole), true);
    });
  }
}
