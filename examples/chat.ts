// SPDX-License-Identifier: Apache-2.0
// chat.ts - a chat with rooms: each is a topic; all see who is there, who writes, and who does not keep up;
// deno run --allow-net --allow-ffi examples/chat.ts

import {
  type HttpServer,
  type Message,
  type ServerWebSocket,
  websocket,
} from "../mod.ts";
import chatCss from "./chat.css" with { type: "text" };
import html from "./chat.html" with { type: "text" };
import { listen, run } from "./command.ts";
import { file, get, page, router, upgrade } from "./routes.ts";

const USAGE =
  `Usage: deno run --allow-net --allow-ffi examples/chat.ts [options]

  --addr HOST:PORT  where to listen (default "127.0.0.1:9001")
  --backend NAME    auto, io_uring or epoll (default auto)
  --help            print this`;

const NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._-]{0,23}$/u; // of a member or a room
const TEXT_CHARACTERS = 1000;
const HISTORY_MAX = 50; // messages of a room
const MEMBERS_MAX = 100; // of a room
const ROOMS_MAX = 50; // among them empty ones, whose history is kept
const MESSAGE_BYTES = 8 * 1024;
const MESSAGES_PER_SECOND = 20;
const PRESENCE_MS = 100;

// With more than the first waiting for it a member is slow; beyond the second the oldest messages are given up.
const SLOW_BYTES = 64 * 1024;
const QUEUE_BYTES = 256 * 1024;

const FILLER = new Uint8Array(32 * 1024);
const FILLERS_MAX = 32; // in PRESENCE_MS

interface Said {
  /** Null for what the server says. */
  name: string | null;
  text: string;
  at: number;
}

interface Room {
  name: string;
  topic: string;
  members: Set<Socket>;
  history: Said[];
  /** What its members were told last of who is there. */
  presence: string;
}

/** What is kept with a socket. */
interface Member {
  name: string;
  room: Room | null;
  /** Messages that were given up, as it was too slow. */
  dropped: number;
  /** Asks for fillers: messages of no use but to have more sent to it than it takes. */
  fill: boolean;
  fillers: number;
}

type Socket = ServerWebSocket<Member>;

const rooms = new Map<string, Room>();

const chat = websocket<Member>({
  message(socket, message): void {
    const fields = parse(message);
    const action = ACTIONS.get(fields.type);
    if (action === undefined) refuse(socket, "That is not understood");
    else action(socket, fields);
  },
  dropped(socket): void {
    socket.data.dropped++;
  },
  drain: fill,
  close: leave,
}, {
  maxMessageBytes: MESSAGE_BYTES,
  maxMessagesPerSecond: MESSAGES_PER_SECOND,
  highWatermark: SLOW_BYTES,
  maxQueueBytes: QUEUE_BYTES,
  slowConsumer: "coalesce",
});

/** What a page asks for. Nothing in it is trusted: fields may be missing, and of any type. */
type Fields = Record<string, unknown>;

const ACTIONS = new Map<unknown, (socket: Socket, fields: Fields) => void>([
  ["join", join],
  ["leave", leave],
  ["say", say],
  ["typing", typing],
  ["fill", (socket, { on }): void => void (socket.data.fill = on === true)],
]);

function parse(message: Message): Fields {
  try {
    return Object(JSON.parse(String(message)));
  } catch {
    return {};
  }
}

function textOf(field: unknown): string {
  return typeof field === "string" ? field.trim() : "";
}

function join(socket: Socket, fields: Fields): void {
  const name = textOf(fields.name);
  const roomName = textOf(fields.room);
  if (!NAME.test(name) || !NAME.test(roomName)) {
    return refuse(
      socket,
      "A name has 1 to 24 letters and digits, within it also blanks, dots and dashes",
    );
  }
  const topic = `room/${roomName}`;
  if ((rooms.get(topic)?.members.size ?? 0) >= MEMBERS_MAX) {
    return refuse(socket, "The room is full");
  }
  if (!rooms.has(topic) && !makeSpace()) {
    return refuse(socket, "There are too many rooms");
  }
  leave(socket);
  // The first one makes the room, by topicChanged().
  if (!socket.subscribe(topic)) return;
  const room = rooms.get(topic)!;
  room.members.add(socket);
  room.presence = ""; // Whoever comes back at once has to be told, too.
  Object.assign(socket.data, { name, room });
  const { history } = room;
  socket.send(event("joined", { name, room: roomName, history }));
  announce(socket, room, `${name} has joined`);
}

function leave(socket: Socket): void {
  const { room, name } = socket.data;
  if (room === null) return;
  socket.data.room = null;
  room.members.delete(socket);
  socket.unsubscribe(room.topic);
  announce(socket, room, `${name} has left`);
}

function say(socket: Socket, fields: Fields): void {
  const { room, name } = socket.data;
  const text = textOf(fields.text);
  if (room === null) return refuse(socket, "Join a room first");
  if (text === "" || text.length > TEXT_CHARACTERS) {
    return refuse(socket, `A message has 1 to ${TEXT_CHARACTERS} characters`);
  }
  const said: Said = { name, text, at: Date.now() };
  room.history.push(said);
  if (room.history.length > HISTORY_MAX) room.history.shift();
  socket.publish(room.topic, event("said", { ...said }), { self: true });
}

function typing(socket: Socket): void {
  const { room, name } = socket.data;
  if (room === null) return;
  // Of several that wait for a slow member the last will do.
  const key = `typing ${socket.id}`;
  socket.publish(room.topic, event("typing", { name }), { key });
}

function announce(socket: Socket, room: Room, text: string): void {
  const said: Said = { name: null, text, at: Date.now() };
  socket.publish(room.topic, event("said", { ...said }));
}

function refuse(socket: Socket, text: string): void {
  socket.send(event("refused", { text }));
}

function event(type: string, about: Record<string, unknown>): string {
  return JSON.stringify({ type, ...about });
}

/** The first member makes a room; when the last one has left, its history is kept while there is space. */
function topicChanged(topic: string, change: "first" | "last"): void {
  const name = topic.slice("room/".length);
  const room = rooms.get(topic) ??
    { name, topic, members: new Set(), history: [], presence: "" };
  if (change === "last") rooms.delete(topic); // It goes to the end of those that are empty.
  rooms.set(topic, room);
}

/** Whether there may be one more room; of the empty ones the first that was left gives way. */
function makeSpace(): boolean {
  if (rooms.size < ROOMS_MAX) return true;
  const empty = rooms.values().find(({ members }) => members.size === 0);
  return empty !== undefined && rooms.delete(empty.topic);
}

/** Tells each room who is there and who does not keep up, and which rooms there are, when that has changed. */
function tellPresence(server: HttpServer): void {
  const open = [...rooms.values()].filter(({ members }) => members.size > 0);
  const sizes = open.map(({ name, members }) => ({ name, size: members.size }));
  for (const room of open) {
    const members = Array.from(room.members, presenceOf);
    const presence = event("presence", { members, rooms: sizes });
    if (presence === room.presence) continue;
    room.presence = presence;
    server.publish(room.topic, presence, { key: "presence" });
  }
}

function presenceOf(socket: Socket): Record<string, unknown> {
  const { id, bufferedAmount, data: { name, dropped } } = socket;
  return { id, name, dropped, slow: bufferedAmount > SLOW_BYTES };
}

/** Sends fillers as fast as the member takes them; also called by `drain`. */
function fill(socket: Socket): void {
  while (socket.data.fillers > 0) {
    socket.data.fillers--;
    if (socket.send(FILLER) !== "sent") return;
  }
}

function fillRooms(): void {
  for (const { members } of rooms.values()) {
    for (const socket of members) {
      if (!socket.data.fill) continue;
      socket.data.fillers = FILLERS_MAX;
      fill(socket);
    }
  }
}

const handle = router({
  ...page(html),
  "/chat.css": get(() => file(chatCss, "text/css")),
  "/ws": upgrade((request) => {
    const data = { name: "", room: null, dropped: 0, fill: false, fillers: 0 };
    return chat.upgrade(request, { data });
  }),
});

if (import.meta.main) {
  await run({
    usage: USAGE,
    addr: "127.0.0.1:9001",
    integers: {},
    start(options): void {
      const server = listen({ ...options, onTopic: topicChanged }, handle);
      const timer = setInterval(() => {
        tellPresence(server);
        fillRooms();
      }, PRESENCE_MS);
      void server.finished.then(() => clearInterval(timer));
    },
  });
}
