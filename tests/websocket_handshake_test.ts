// SPDX-License-Identifier: Apache-2.0
// Tests of the opening handshake: what a server answers to those of
// websocket_handshakes.ts, however they are cut, and what becomes of the bytes
// that follow.

import { assertEquals } from "@std/assert";
import { websocket } from "../mod.ts";
import {
  byteByByte,
  cutsOf,
  inSteps,
  type Play,
  playAll,
  type Player,
  type Script,
  whole,
} from "./player.ts";
import {
  concat,
  type Context,
  latin1,
  type TcpServer,
  testBackends,
  until,
} from "./testing.ts";
import { type Handshake, HANDSHAKES } from "./websocket_handshakes.ts";
import { CLOSE, closePayload, frame, TEXT } from "./ws_client.ts";

const KNOWN_PROTOCOLS = ["chat", "superchat"];
const FRAMES = concat([
  frame({ opcode: TEXT, payload: "first" }),
  frame({ opcode: CLOSE, payload: closePayload(1000) }),
]);
const CLOSED = "\x88\x02\x03\xe8";
const NEXT = "GET /next HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";

interface Scene extends Script {
  row: Handshake;
}

/** What each client's socket was told, by its port. */
type Log = Map<number, string[]>;

/** Behind the handshake: frames, or another request, or nothing where the connection is to be closed. */
function sceneOf(row: Handshake, at: number): Scene {
  const request = row.compression === undefined
    ? row.request
    : row.request.replace(" / ", ` /row/${at} `);
  const behind = row.closes ? "" : NEXT;
  const more = row.status === 101 ? FRAMES : latin1(behind);
  return { id: row.id, row, bytes: concat([latin1(request), more]) };
}

function startServer(t: Context, log: Log): TcpServer {
  const tell = (socket: { remotePort: number | null }, what: string): void =>
    void log.get(socket.remotePort!)!.push(what);
  const routes = HANDSHAKES.map(({ compression = false }) =>
    websocket({
      open: (socket) => void log.set(socket.remotePort!, []),
      message: (socket, message) => tell(socket, `${message}`),
      close: (socket, code) => tell(socket, `close ${code}`),
    }, { compression })
  );
  return t.serve((request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/nowhere") return new Response("gone", { status: 404 });
    if (pathname === "/next") return new Response("next");
    const row = Number(pathname.slice("/row/".length));
    const offered = request.headers.get("sec-websocket-protocol") ?? "";
    const protocol = offered.split(/, ?/).find((name) =>
      KNOWN_PROTOCOLS.includes(name)
    );
    const options = protocol === undefined ? {} : { protocol };
    return routes[row]!.upgrade(request, options);
  }, { headTimeout: 0, maxDeflateBytes: 1 << 30 });
}

async function finish(player: Player<Scene>, log: Log): Promise<void> {
  await player.done;
  if (player.play.entry.row.status !== 101) return;
  await until(
    () => log.get(player.port)?.at(-1)?.startsWith("close") === true,
    "close",
  );
}

function outcome(player: Player<Scene>, log: Log): unknown {
  const { received, reset, play: { entry: { row } } } = player;
  const end = received.indexOf("\r\n\r\n") + 4;
  const [line = "", ...lines] = received.slice(0, end - 4).split("\r\n");
  const all = (name: string): string[] =>
    lines.filter((line) => line.toLowerCase().startsWith(`${name}: `))
      .map((line) => line.slice(name.length + 2));
  const fields = Object.fromEntries(
    Object.keys(row.fields).map((name) => [name, all(name)]),
  );
  const body = Number(all("content-length")[0] ?? 0);
  const behind = received.slice(end + body);
  return {
    status: Number(line.split(" ")[1]),
    fields,
    behind: behind.startsWith("HTTP/1.1 200 ") ? behind.slice(-4) : behind,
    told: log.get(player.port) ?? [],
    reset,
  };
}

function expectedOutcome(row: Handshake): unknown {
  const { status, fields, closes } = row;
  const accepted = status === 101;
  return {
    status,
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [
        name,
        value === null ? [] : [value],
      ]),
    ),
    behind: accepted ? CLOSED : closes ? "" : "next",
    told: accepted ? ["first", "close 1000"] : [],
    reset: false,
  };
}

async function runAll(t: Context, plays: Play<Scene>[]): Promise<void> {
  const log: Log = new Map();
  const server = startServer(t, log);
  const failures = await playAll(server, plays, {
    begin: () => log.clear(),
    finish: (player) => finish(player, log),
    outcome: (player) => ({
      actual: outcome(player, log),
      expected: expectedOutcome(player.play.entry.row),
    }),
  });
  assertEquals(failures, []);
}

const SCENES = HANDSHAKES.map(sceneOf);

testBackends("handshakes, in one write with what follows", async (t) => {
  await runAll(t, SCENES.map(whole));
});

testBackends("handshakes, byte by byte", async (t) => {
  await runAll(t, SCENES.map(byteByByte));
});

// The corpus of requests is cut everywhere; here every boundary is met by some handshake.
testBackends("handshakes, cut in two", async (t) => {
  const plays = SCENES.flatMap((scene, at) =>
    cutsOf(scene, 16, at).map((cut) => inSteps(scene, cut, scene.bytes.length))
  );
  await runAll(t, plays);
});
