// SPDX-License-Identifier: Apache-2.0
// lyrics.ts - a poet and a reader on plain TCP: who sends a number gets as many lines of a song, and the connection
// ends once all of them are on their way.
//
//   deno run --allow-net --allow-ffi examples/lyrics.ts poet 2826
//   deno run --allow-net --allow-ffi examples/lyrics.ts read 2826 5

import { connect, listen, type Socket, type SocketServer } from "../mod.ts";

// "Auld Lang Syne", as Robert Burns sent it in in 1788.
const SONG = [
  "Should auld acquaintance be forgot,",
  "And never brought to mind?",
  "Should auld acquaintance be forgot,",
  "And auld lang syne!",
  "For auld lang syne, my jo,",
  "For auld lang syne,",
  "We'll tak a cup o' kindness yet,",
  "For auld lang syne.",
];

// More digits than the longest number has.
const REQUEST_BYTES = 16;
const LINES_MAX = 1_000_000;

const HOST = "127.0.0.1";
const LINE_END = 0x0a;
const UTF8 = new TextDecoder();

/** What the poet keeps with a reader. */
interface Reading {
  /** Lines that are still to be sung. */
  left: number;
  /** The one to go on with. */
  at: number;
}

/** Sings as far as the peer keeps up; `drain` goes on. */
async function sing(socket: Socket<Reading>): Promise<void> {
  const reading = socket.data;
  while (reading.left > 0) {
    reading.left--;
    const line = SONG[reading.at++ % SONG.length]!;
    if (socket.write(`${line}\n`) === "queued") return;
  }
  // Not a guess: the kernel has taken every byte by then.
  await socket.flushed();
  console.log(`${socket.id}: ${socket.statistics().sentBytes} bytes are sent`);
  socket.close();
}

/** Listens for readers, each of which sends one number and a line end. */
function poet(port: number): SocketServer<Deno.NetAddr> {
  return listen<Reading>({
    hostname: HOST,
    port,
    data: () => ({ left: 0, at: 0 }),
    idleTimeout: 10_000,
    maxUnreadBytes: REQUEST_BYTES,
    highWatermark: 64 * 1024,
  }, {
    read(socket, reader): void | Promise<void> {
      const end = reader.peek()!.indexOf(LINE_END);
      if (end === -1) return;
      const count = Number(UTF8.decode(reader.peek(end)!));
      if (!Number.isInteger(count) || count < 1 || count > LINES_MAX) {
        socket.write(`A number from 1 to ${LINES_MAX}, please\n`);
        return socket.close();
      }
      socket.pause(); // one song for each reader
      socket.data.left = count;
      return sing(socket);
    },
    drain: sing,
    error: (socket, error) => console.log(`${socket.id}: ${error.message}`),
    shutdown: (socket) => socket.close(),
  });
}

/** Asks for so many lines and prints what comes. */
async function read(port: number, lines: string): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const socket = await connect({ hostname: HOST, port }, {
    data: (_, chunk) => void Deno.stdout.writeSync(chunk),
    close: (_, error) => error ? ended.reject(error) : ended.resolve(),
  });
  socket.write(`${lines}\n`);
  await ended.promise;
}

const [role, port = "2826", lines = "4"] = Deno.args;
if (role === "poet") {
  const server = poet(Number(port));
  console.log(`The poet listens on ${HOST}:${server.addr.port}`);
  Deno.addSignalListener("SIGINT", () => void server.shutdown());
  await server.finished;
  Deno.exit();
} else if (role === "read") {
  try {
    await read(Number(port), lines);
  } catch (error) {
    console.error((error as Error).message);
    Deno.exit(1);
  }
} else {
  console.error("Usage: lyrics.ts poet [PORT] | lyrics.ts read [PORT [LINES]]");
  Deno.exit(2);
}
