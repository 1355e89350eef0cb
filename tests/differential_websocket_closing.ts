// SPDX-License-Identifier: Apache-2.0
// differential_websocket_closing.ts - cases of upgradeWebSocket(): how a
// connection ends, by either side, by a broken rule, and by silence.

import { attempt, bye } from "./differential_websocket_messages.ts";
import type { Note, Peer, SocketCase } from "./differential_websocket_run.ts";
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  type FrameInit,
  PING,
  PONG,
  TEXT,
} from "./ws_client.ts";

const LONG_REASON = "x".repeat(124);

/** Closes when it is open; what that throws is noted. */
function closing(
  ...args: [code?: unknown, reason?: unknown]
): (socket: WebSocket, note: Note) => void {
  return (socket, note) =>
    socket.addEventListener("open", () => {
      attempt(note, () => socket.close(...args as [number, string]));
      note(`${socket.readyState}`);
      if (socket.readyState === WebSocket.OPEN) socket.close(4999);
    });
}

/** Reads the close frame and answers. */
function answering(
  ...frames: FrameInit[]
): (client: Peer) => Promise<void> {
  return async (client) => {
    await client.next();
    await client.send(...frames);
  };
}

function byServer(
  name: string,
  args: [code?: unknown, reason?: unknown],
  answer: FrameInit = bye(1000),
): SocketCase {
  return { name, server: closing(...args), client: answering(answer) };
}

const server: SocketCase[] = [
  byServer("close()", []),
  byServer("close(1000)", [1000]),
  byServer("close() with a code and a reason", [4000, "because"]),
  byServer("close() with a code of servers", [1011, "failed"]),
  byServer("close() with an empty reason", [1001, ""]),
  byServer("close() with a code that is rounded", ["3000.4"]),
  byServer("close() with a reason that is no text", [4000, null]),
  byServer("close() with half of a surrogate pair", [4000, "\ud800"]),
  byServer("close() with the longest reason", [4000, "é".repeat(61) + "x"]),
  byServer("close() with too long a reason", [4000, LONG_REASON]),
  byServer("close() with a reason that has no text", [4000, Symbol("s")]),
  byServer("close() with a reason alone", [undefined, "because"]),
  byServer("close() with a code of nobody", [0]),
  byServer("close() with a code that is reserved", [1005]),
  byServer("close() with a code that is too large", [70_000]),
  byServer("close() answered with another code", [4000, "x"], bye(4001, "y")),
  byServer("close() answered without a code", [4000, "x"], { opcode: CLOSE }),
  {
    name: "close() twice",
    server: (socket) =>
      socket.addEventListener("open", () => {
        socket.close(4000);
        socket.close(4001);
        socket.close();
      }),
    client: answering(bye(4000)),
  },
  {
    name: "close() twice, the second time with too long a reason",
    server: (socket, note) =>
      socket.addEventListener("open", () => {
        socket.close(4000);
        attempt(note, () => socket.close(4000, LONG_REASON));
      }),
    client: answering(bye(4000)),
  },
  {
    name: "close() before it is open",
    server(socket, note): void {
      socket.close(4000, "early");
      note(`${socket.readyState}`);
    },
    client: (client) => client.close(4000),
  },
  {
    name: "close() before it is open, with too long a reason",
    server: (socket, note) =>
      attempt(note, () => socket.close(4000, LONG_REASON)),
    client: (client) => client.close(),
  },
  {
    name: "close() within a message, more of which follow",
    server: (socket) => {
      socket.onmessage = (): void => socket.close(4000);
    },
    client: (client) =>
      client.send(
        { opcode: TEXT, payload: "1" },
        { opcode: TEXT, payload: "2" },
        bye(4000),
      ),
  },
  {
    name: "close() that a message crosses",
    server: closing(4000),
    client: answering({ opcode: TEXT, payload: "late" }, bye(4000)),
  },
  {
    name: "close() that a ping crosses",
    server: closing(4000),
    client: answering({ opcode: PING }, bye(4000)),
  },
  {
    name: "close() answered by FIN",
    server: closing(4000),
    async client(client): Promise<void> {
      await client.next();
      await client.end();
    },
  },
];

const client: SocketCase[] = [
  { name: "the client closes", client: (client) => client.close(1000) },
  {
    name: "the client closes with a reason",
    client: (client) => client.close(4000, "bye"),
  },
  {
    name: "the client closes with a registered code",
    client: (client) => client.close(1012),
  },
  {
    name: "the client closes without a code",
    client: (client) => client.send({ opcode: CLOSE }),
  },
  {
    name: "the client closes, and says more",
    client: (client) =>
      client.send(bye(1000), { opcode: TEXT, payload: "more" }),
  },
  { name: "the client ends with FIN", client: (client) => client.end() },
  {
    name: "the client ends inside a message",
    async client(client): Promise<void> {
      await client.send({ opcode: TEXT, payload: "half", fin: false });
      await client.end();
    },
  },
  {
    name: "close() within close",
    server: (socket, note) => {
      socket.onclose = (): void => attempt(note, () => socket.close(4000));
    },
    client: (client) => client.close(),
  },
];

function violation(name: string, ...frames: FrameInit[]): SocketCase {
  return {
    name: `violation: ${name}`,
    violates: true,
    client: (client) => client.send(...frames),
  };
}

const violations: SocketCase[] = [
  ...[999, 1004, 1005, 1006, 1015, 5000].map((code) =>
    violation(`close code ${code}`, bye(code))
  ),
  violation("close frame of one byte", {
    opcode: CLOSE,
    payload: Uint8Array.of(3),
  }),
  violation("reason that is not UTF-8", {
    opcode: CLOSE,
    payload: Uint8Array.of(3, 232, 0xff),
  }),
  violation("reserved bit 1", { opcode: TEXT, payload: "a", rsv: 4 }),
  violation("reserved bit 3", { opcode: TEXT, payload: "a", rsv: 1 }),
  violation("unknown opcode", { opcode: 3, payload: "a" }),
  violation("unknown control opcode", { opcode: 11, payload: "a" }),
  violation("text that is not UTF-8", {
    opcode: TEXT,
    payload: Uint8Array.of(0xff),
  }),
  violation("continuation of nothing", { opcode: CONTINUATION, payload: "a" }),
  violation("long ping", { opcode: PING, payload: "a".repeat(126) }),
  violation("ping in fragments", { opcode: PING, payload: "a", fin: false }),
  violation("a message of 64 MiB", {
    opcode: BINARY,
    declared: 64n * 1024n * 1024n,
  }),
  violation(
    "a message behind which a rule is broken",
    { opcode: TEXT, payload: "good" },
    { opcode: 3 },
  ),
  violation(
    "frame without a mask",
    { opcode: TEXT, payload: "a", masked: false },
    bye(1000),
  ),
  violation(
    "message inside a message",
    { opcode: TEXT, payload: "a", fin: false },
    { opcode: TEXT, payload: "b" },
    bye(1000),
  ),
  {
    name: "what the client is told of a broken rule",
    client: (client) => client.send({ opcode: 3 }),
  },
];

const silence: SocketCase[] = [
  {
    name: "silence: a ping that nobody answers",
    options: { idleTimeout: 0.2 },
    client: () => Promise.resolve(),
  },
  {
    name: "silence: a ping that is answered",
    options: { idleTimeout: 1 },
    async client(client): Promise<void> {
      await client.next();
      await client.send({ opcode: PONG });
      await client.close();
    },
  },
  {
    name: "silence: idleTimeout 0",
    options: { idleTimeout: 0 },
    client: (client) => client.close(),
  },
];

export const CLOSING_CASES: readonly SocketCase[] = [
  ...server,
  ...client,
  ...violations,
  ...silence,
];
