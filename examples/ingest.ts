// SPDX-License-Identifier: Apache-2.0
// ingest.ts - takes many small events in batches, as they come from the network, and holds back who sends more than
// can be stored; deno run --allow-net --allow-ffi examples/ingest.ts

import { type MessageBatch, type ServerWebSocket, websocket } from "../mod.ts";
import { listen, type ListenOptions, run } from "./command.ts";
import html from "./ingest.html" with { type: "text" };
import { plot } from "./plot.ts";
import { page, router, upgrade } from "./routes.ts";

const USAGE =
  `Usage: deno run --allow-net --allow-ffi examples/ingest.ts [options]

  --addr HOST:PORT  where to listen (default "127.0.0.1:9001")
  --backend NAME    auto, io_uring or epoll (default auto)
  --rate N          events that are stored in a second (default 5000)
  --help            print this

An event is 16 bytes, a number of 32 bits first, or JSON with a "sequence": 0, 1, 2, …`;

const EVENT_BYTES = 64;
const STORE_MS = 10;

// Events that wait to be stored: from the first on senders are held back, at the second they go on.
const WAITING_HIGH = 2_500;
const WAITING_LOW = 500;

/** What is kept with a socket. */
interface Sender {
  received: number;
  /** Events that were malformed or out of their sequence. */
  bad: number;
}

type Socket = ServerWebSocket<Sender>;

/** Stands for a database, which takes only so many events in a second. */
class Store {
  /** Events that it takes in a second. */
  rate = 0;
  readonly #held = new Set<Socket>();
  #waiting = 0;

  /** Takes events of a sender, and holds it back when they are too many. */
  take(socket: Socket, events: number): void {
    this.#waiting += events;
    if (this.#waiting < WAITING_HIGH) return;
    this.#held.add(socket);
    // Nothing of its connection is read until resume(), and TCP tells the sender.
    socket.pause();
    socket.sendJson({ type: "held", held: true });
  }

  /** Stores what it can in STORE_MS, and lets senders go on once it has room. */
  write(): void {
    const events = this.rate * STORE_MS / 1000;
    this.#waiting = Math.max(0, this.#waiting - events);
    if (this.#waiting > WAITING_LOW) return;
    for (const socket of this.#held) {
      // What has arrived meanwhile may be too much again.
      this.#held.delete(socket);
      socket.sendJson({ type: "held", held: false });
      socket.resume();
      if (this.#waiting > WAITING_LOW) return;
    }
  }

  forget(socket: Socket): void {
    this.#held.delete(socket);
  }
}

const store = new Store();

const ingest = websocket<Sender>({
  open: (socket) => void socket.sendJson({ type: "begin", rate: store.rate }),
  messages(socket, batch): void {
    const { data } = socket;
    for (let index = 0; index < batch.length; index++) {
      if (sequenceOf(batch, index) !== data.received++) data.bad++;
    }
    socket.sendJson({ type: "ack", events: batch.length, ...data });
    store.take(socket, batch.length);
  },
  close: (socket) => store.forget(socket),
}, { maxMessageBytes: EVENT_BYTES });

/** An event is looked at where it lies: nothing is allocated for one of bytes but the view. */
function sequenceOf(batch: MessageBatch, index: number): number {
  if (batch.isText(index)) return sequenceOfJson(batch.text(index));
  const { buffer, byteOffset, byteLength } = batch.bytes(index);
  return byteLength === 16 ? new DataView(buffer, byteOffset).getUint32(0) : -1;
}

function sequenceOfJson(text: string): number {
  try {
    return JSON.parse(text)?.sequence;
  } catch {
    return -1;
  }
}

const handle = router({
  ...page(html),
  ...plot,
  "/ws": upgrade((request) =>
    ingest.upgrade(request, { data: { received: 0, bad: 0 } })
  ),
});

function start(options: ListenOptions, { rate }: { rate: number }): void {
  const server = listen(options, handle);
  store.rate = rate;
  const timer = setInterval(() => store.write(), STORE_MS);
  void server.finished.then(() => clearInterval(timer));
}

if (import.meta.main) {
  await run({
    usage: USAGE,
    addr: "127.0.0.1:9001",
    integers: { rate: { preset: 5_000, min: 1 } },
    start,
  });
}
