// SPDX-License-Identifier: Apache-2.0
// chat_rpc.ts - one chat over TCP and WebSocket at once, on the action router; chat_rpc_client.ts is its client for a
// terminal; deno run --allow-net --allow-ffi examples/chat_rpc.ts

import {
  rpc,
  type RpcConnection,
  RpcError,
  type RpcMiddleware,
} from "../lib/rpc.ts";
import {
  JOIN,
  type Member,
  MEMBERS,
  NOT_JOINED,
  REFUSED,
  SAID,
  type Said,
  SAY,
  type Welcome,
} from "./chat_rpc_actions.ts";
import chatCss from "./chat.css" with { type: "text" };
import html from "./chat_rpc.html" with { type: "text" };
import { listen, type ListenOptions, run } from "./command.ts";
import { file, get, page, router, upgrade } from "./routes.ts";

const USAGE =
  `Usage: deno run --allow-net --allow-ffi examples/chat_rpc.ts [options]

  --addr HOST:PORT  where to listen for pages and WebSockets (default "127.0.0.1:9001")
  --tcp PORT        where to listen for TCP, on the same host (default 9002)
  --backend NAME    auto, io_uring or epoll (default auto)
  --help            print this`;

const NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._-]{0,23}$/u;
const TEXT_CHARACTERS = 1000;
const HISTORY_MAX = 50;
const MEMBERS_MAX = 100;
const PACKET_BYTES = 8 * 1024;

const members = new Map<RpcConnection, string>();
const history: Said[] = [];

const app = rpc({ maxPacketBytes: PACKET_BYTES, onClose: leave });

const joined: RpcMiddleware = async (context, next) => {
  if (!members.has(context.connection)) {
    return context.abort(new RpcError(NOT_JOINED, "Join first"));
  }
  await next();
};

app.route<string, Welcome>(JOIN, ({ body: name, connection }) => {
  if (members.has(connection)) throw new RpcError(REFUSED, "You are here");
  if (members.size >= MEMBERS_MAX) {
    throw new RpcError(REFUSED, "The chat is full");
  }
  if ([...members.values()].includes(name)) {
    throw new RpcError(REFUSED, `Somebody else is called ${name}`);
  }
  members.set(connection, name);
  announce(`${name} has joined`, connection);
  return { members: present(), history };
}, {
  parse(body): string {
    const { name } = Object(body);
    if (typeof name === "string" && NAME.test(name)) return name;
    throw new RpcError(
      REFUSED,
      "A name has 1 to 24 letters and digits, within it also blanks, dots and dashes",
    );
  },
});

app.route<string>(SAY, ({ body: text, connection }) => {
  tell({ name: members.get(connection)!, text, at: Date.now() });
}, {
  middleware: [joined],
  parse(body): string {
    const text = typeof body === "string" ? body.trim() : "";
    if (text !== "" && text.length <= TEXT_CHARACTERS) return text;
    throw new RpcError(
      REFUSED,
      `A message has 1 to ${TEXT_CHARACTERS} characters`,
    );
  },
});

function leave(connection: RpcConnection): void {
  const name = members.get(connection);
  members.delete(connection);
  if (name !== undefined) announce(`${name} has left`);
}

function present(): Member[] {
  return [...members].map(([{ transport }, name]) => ({ name, transport }));
}

// Who has just joined is answered with the members.
function announce(text: string, but?: RpcConnection): void {
  tell({ name: null, text, at: Date.now() }, but);
  const all = present();
  for (const member of members.keys()) {
    if (member !== but) member.push(MEMBERS, all);
  }
}

// A member that takes too little in misses messages; its connection has a queue of 16 MiB.
function tell(said: Said, but?: RpcConnection): void {
  history.push(said);
  if (history.length > HISTORY_MAX) history.shift();
  for (const member of members.keys()) {
    if (member !== but) member.push(SAID, said);
  }
}

async function start(options: ListenOptions, tcp: number): Promise<void> {
  const { hostname, backend } = options;
  const sockets = app.listenTcp({
    hostname,
    port: tcp,
    ...backend !== undefined && { backend },
  });
  await app.start();
  const { port } = sockets.addr as Deno.NetAddr;
  const route = app.websocket();
  const server = listen(
    options,
    router({
      ...page(html),
      "/chat.css": get(() => file(chatCss, "text/css")),
      "/ws": upgrade((request) => route.upgrade(request)),
    }),
    { TCP: `tcp://${hostname}:${port}` },
  );
  await server.finished;
  await app.shutdown();
  const { requests, errors, pushes } = app.statistics();
  console.log(
    `Actions: requests ${requests}, errors ${errors}, pushes ${pushes}`,
  );
}

if (import.meta.main) {
  await run({
    usage: USAGE,
    addr: "127.0.0.1:9001",
    integers: { tcp: { preset: 9002, min: 0 } },
    start(options, { tcp }): void {
      start(options, tcp).catch((error) => {
        console.error(error.message);
        Deno.exit(1);
      });
    },
  });
}
