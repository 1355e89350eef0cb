// SPDX-License-Identifier: Apache-2.0
// Tests of what a client makes of the frames in tests/corpus/websocket and of
// those that websocket_generated.ts makes, and of the answers in
// websocket_responses.ts.

import { assertEquals, equal } from "@std/assert";
import { connectWebSocket } from "../mod.ts";
import { byteByByte, type Play, whole } from "./player.ts";
import { acceptOf, agree, RawServer } from "./raw_ws_server.ts";
import { type Context, fromLatin1, testBackends, turn } from "./testing.ts";
import {
  CORPUS_FILES,
  CORPUS_LIMITS,
  frameOf,
  readWebSocketCorpus,
  type WebSocketEntry,
  type WebSocketEvent,
  withoutMasks,
} from "./websocket_corpus.ts";
import { GENERATED } from "./websocket_generated.ts";
import { RESPONSES } from "./websocket_responses.ts";
import { CLOSE, closePayload } from "./ws_client.ts";

const WORKERS = 16;
const UTF8 = new TextEncoder();
const NONE = "server_no_context_takeover; client_no_context_takeover";

/** What the server answers so that this is agreed on; "" is no field. */
function answerOf(agreement: string): string {
  if (agreement === "") return "";
  const bits = /^bits (\d+)$/.exec(agreement)?.[1];
  const parameters = bits !== undefined
    ? `; server_max_window_bits=${bits}`
    : agreement === "deflate"
    ? `; ${NONE}`
    : "";
  return `Sec-WebSocket-Extensions: permessage-deflate${parameters}\r\n`;
}

function textOf(text: string): string {
  return fromLatin1(UTF8.encode(text));
}

async function play(
  t: Context,
  server: RawServer,
  { entry, pieces }: Play<WebSocketEntry>,
): Promise<unknown> {
  const events: WebSocketEvent[] = [];
  const sent: string[] = [];
  let close: unknown = null;
  const remembers = entry.with !== "deflate";
  const socket = connectWebSocket(server.url, {
    message: (_, message) =>
      void events.push(
        typeof message === "string"
          ? ["text", textOf(message)]
          : ["binary", fromLatin1(message)],
      ),
    ping: (_, payload) => void events.push(["ping", fromLatin1(payload)]),
    pong: (_, payload) => void events.push(["pong", fromLatin1(payload)]),
    close: (_, code, reason) => void (close = [code, textOf(reason)]),
  }, {
    backend: t.backend,
    ...CORPUS_LIMITS,
    compression: entry.with === "" ? false : {
      serverContextTakeover: remembers,
      clientContextTakeover: remembers,
    },
  });
  const peer = await server.accept();
  await peer.raw.write(agree(await peer.head(), answerOf(entry.with)));
  for (const piece of pieces) {
    await peer.raw.write(piece).catch(() => {});
    if (pieces.length > 1) await turn();
  }
  const { how } = entry.ending;
  if (how === "open") {
    await peer.raw.write(frameOf(0x81, "probe", false));
    await peer.raw.write(frameOf(0x88, closePayload(1000, "bye"), false));
  }
  if (how === "more") await peer.raw.closeWrite();
  for (let last = -1; last !== CLOSE;) {
    const frame = await peer.frame().catch(() => null);
    if (frame === null) break;
    last = frame.opcode;
    sent.push(`${(0x80 | last).toString(16)} ${fromLatin1(frame.payload)}`);
  }
  peer.raw.close();
  await socket.finished;
  return { events, close, sent };
}

function expectedOf({ events, ending }: WebSocketEntry): unknown {
  const pongs = events.filter(([kind]) => kind === "ping")
    .map(([, payload]) => `8a ${payload}`);
  const closeWith = (code: number, reason: string): string[] => [
    ...pongs,
    code === 1005 ? "88 " : `88 ${fromLatin1(closePayload(code, reason))}`,
  ];
  switch (ending.how) {
    case "more":
      return { events, close: [1006, ""], sent: pongs };
    case "open":
      return {
        events: [...events, ["text", "probe"]],
        close: [1000, "bye"],
        sent: closeWith(1000, ""),
      };
    case "close":
    case "fail": {
      const { code, reason, how } = ending;
      const sent = closeWith(code, how === "fail" ? reason : "");
      return { events, close: [code, reason], sent };
    }
  }
}

async function runAll(
  t: Context,
  plays: readonly Play<WebSocketEntry>[],
): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    const server = t.using(new RawServer());
    for (let at = next++; at < plays.length; at = next++) {
      const actual = await play(t, server, plays[at]!);
      const { entry, cut } = plays[at]!;
      const expected = expectedOf(entry);
      if (equal(actual, expected)) continue;
      failures.push({ id: entry.id, cut, actual, expected });
    }
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
  assertEquals(failures, []);
}

const ENTRIES = CORPUS_FILES.flatMap((file) =>
  readWebSocketCorpus(file, "client")
);

testBackends("a client and the corpus of frames", async (t) => {
  await runAll(t, ENTRIES.map(whole));
});

testBackends("a client and the corpus of frames, byte by byte", async (t) => {
  await runAll(t, ENTRIES.map(byteByByte));
});

for (const { what, everyCut, entries } of GENERATED) {
  testBackends(`a client and ${what}`, async (t) => {
    // All codes, and all windows, are what tests of servers and of the tokeniser go through.
    const some = entries().filter((_, at) => everyCut || at % 50 === 0);
    await runAll(t, some.map(withoutMasks).map(whole));
  });
}

testBackends("a client and every answer to its handshake", async (t) => {
  const server = t.using(new RawServer());
  const wrong: string[] = [];
  for (const { id, head, protocols, offer, accepted } of RESPONSES) {
    const socket = connectWebSocket(server.url, {}, {
      backend: t.backend,
      protocols,
      compression: offer === "" ? false : {
        serverContextTakeover: true,
        clientContextTakeover: true,
      },
    });
    let opened = true;
    const opening = socket.opened.catch(() => void (opened = false));
    const peer = await server.accept();
    const accept = acceptOf(await peer.head());
    await peer.raw.write(
      head.replaceAll("{accept}", accept)
        .replaceAll("{ACCEPT}", accept.toLowerCase()),
    );
    await opening;
    if (opened !== accepted) wrong.push(id);
    socket.terminate();
    await socket.finished;
    peer.raw.close();
  }
  assertEquals(wrong, []);
});
