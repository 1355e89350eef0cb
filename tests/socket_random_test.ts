// SPDX-License-Identifier: Apache-2.0
// Random lives of sockets, of servers and clients: whatever they do, each byte
// arrives once and in order, and every life has one end.

import { assert, assertEquals } from "@std/assert";
import {
  connect,
  listen,
  type Socket,
  type SocketHandlers,
  type SocketReader,
} from "../mod.ts";
import { Random } from "./soak_random.ts";
import { testBackends, until } from "./testing.ts";

const SOCKETS = 60;
const BYTES = 300_000;

/** The byte at each place of every stream. */
function byteAt(place: number): number {
  return Math.imul(place, 2654435761) >>> 24;
}

const SOURCE = Uint8Array.from({ length: BYTES }, (_, at) => byteAt(at));

/** One side of one connection. */
class Side {
  readonly #dice: Random;
  readonly #rude: boolean;
  socket: Socket<Side> | null = null;
  sent = 0;
  received = 0;
  opened = 0;
  ended = false;
  closed = 0;
  error: Error | null = null;
  #waiting = false;

  constructor(seed: number, rude: boolean) {
    this.#dice = new Random(seed);
    this.#rude = rude;
  }

  // A whole number below another one.
  #random(below: number): number {
    return this.#dice.from(0, below - 1);
  }

  open(socket: Socket<Side>): void {
    assertEquals(this.opened++, 0);
    this.socket = socket;
    this.write();
  }

  take(chunk: Uint8Array): void {
    assertEquals([this.closed, this.ended], [0, false]);
    for (let at = 0; at < chunk.length; at++) {
      if (chunk[at] === SOURCE[this.received + at]) continue;
      throw new Error(`Byte ${this.received + at} is ${chunk[at]}`);
    }
    this.received += chunk.length;
    this.act();
  }

  read(reader: SocketReader): void {
    // As often as not something is left for the next time.
    const length = this.#random(reader.available + 1);
    this.take(reader.peek(length)!);
    reader.discard(length);
    if (reader.available > 60_000) reader.discard(this.skip(reader));
  }

  skip(reader: SocketReader): number {
    const all = reader.peek()!;
    this.take(all);
    return all.length;
  }

  end(): void {
    assert(!this.ended);
    this.ended = true;
    if (this.sent === BYTES) this.socket!.end();
  }

  drain(): void {
    this.#waiting = false;
    this.write();
  }

  write(): void {
    const socket = this.socket!;
    while (this.sent < BYTES && socket.writable && !this.#waiting) {
      const length = 1 + this.#random(this.#random(8) === 0 ? 100_000 : 3000);
      const piece = SOURCE.subarray(this.sent, this.sent + length);
      const status = socket.write(piece);
      if (status === "dropped") break;
      this.sent += piece.length;
      this.#waiting = status === "queued";
    }
    if (this.sent === BYTES) socket.end();
  }

  act(): void {
    const socket = this.socket!;
    switch (this.#random(20)) {
      case 0:
        socket.pause();
        return void setTimeout(() => socket.resume(), this.#random(5));
      case 1:
        socket.pause();
        return socket.resume();
      case 2:
        return void socket.flushed().catch(() => {});
      case 3:
        return socket.setTimeout(30_000 + this.#random(1000));
      case 4:
        if (this.#rude && this.#random(4) === 0) socket.terminate();
        return;
      case 5:
        if (this.#rude && this.#random(4) === 0) socket.close();
        return;
      case 6:
        if (this.#rude && this.#random(8) === 0) throw new Error("rude");
    }
  }
}

const common = {
  open: (socket: Socket<Side>) => socket.data.open(socket),
  end: (socket: Socket<Side>) => socket.data.end(),
  drain: (socket: Socket<Side>) => socket.data.drain(),
  error: (socket: Socket<Side>, error: Error) => {
    socket.data.error = error;
  },
  close(socket: Socket<Side>, error: Error | null): void {
    assertEquals(socket.data.closed++, 0);
    assert(error === socket.data.error);
  },
};

const whole: SocketHandlers<Side> = {
  ...common,
  data: (socket, chunk) => socket.data.take(chunk),
};

const inParts: SocketHandlers<Side> = {
  ...common,
  read: (socket, reader) => socket.data.read(reader),
  // What is left at the end is looked at then.
  end(socket): void {
    socket.data.received += socket.unreadAmount;
    socket.data.end();
  },
};

for (const rude of [false, true]) {
  const manner = rude ? "break off" : "end";
  testBackends(`random sockets that ${manner} lose nothing`, async (t) => {
    const { backend } = t;
    const limits = { highWatermark: 50_000, backend };
    const sides: Side[] = [];
    const sideOf = (): Side => {
      const side = new Side(sides.length + 1, rude);
      sides.push(side);
      return side;
    };
    for (const [server, client] of [[whole, inParts], [inParts, whole]]) {
      const at = { hostname: "127.0.0.1", port: 0 };
      const { addr } = t.closing(
        listen<Side>({ ...limits, ...at, data: sideOf }, server!),
      );
      const { port } = addr;
      for (let count = 0; count < SOCKETS / 2; count++) {
        void connect<Side>(
          { ...limits, port, data: sideOf() },
          client!,
        ).socket;
      }
    }
    await until(() => sides.length === 2 * SOCKETS, "all are accepted");
    await until(() => sides.every(({ closed }) => closed === 1), "all ended");
    for (const { sent, received, ended, error } of sides) {
      assert(received <= BYTES);
      if (ended && !rude) assertEquals([sent, received], [BYTES, BYTES]);
      if (!rude) assertEquals([ended, error], [true, null]);
      if (rude && error !== null) {
        assert(
          error.message === "rude" ||
            error instanceof Deno.errors.ConnectionReset ||
            error instanceof Deno.errors.BrokenPipe,
          `${error}`,
        );
      }
    }
  });
}
