// SPDX-License-Identifier: Apache-2.0
// sse.ts - a wall of notes: who posts one is read by all that have the page open, through server-sent events;
// deno run --allow-net --allow-ffi examples/sse.ts [port]

import { serve } from "../mod.ts";
import { sse, type SseStream } from "../lib/sse.ts";
import { page, router } from "./routes.ts";
import html from "./sse.html" with { type: "text" };

const DEFAULT_PORT = 9001;
const NOTES_MAX = 100;
const NOTE_CHARACTERS = 200;
const RETRY_MS = 1000;
const PENDING_MAX = 8;

/** What was posted last; readers follow it at their own pace. */
class Wall {
  readonly #notes: { id: number; data: string }[] = [];
  readonly #waiting = new Set<() => void>();
  #last = 0;

  post(text: string): void {
    const data = JSON.stringify({ text, at: Date.now() });
    this.#notes.push({ id: ++this.#last, data });
    if (this.#notes.length > NOTES_MAX) this.#notes.shift();
    for (const wake of this.#waiting) wake();
  }

  /** Sends all notes after that id, and what is posted from then on. */
  async follow(stream: SseStream): Promise<void> {
    let seen = Number(stream.lastEventId ?? 0);
    // The ids of another run of this program begin anew.
    if (!(seen <= this.#last)) seen = 0;
    while (!stream.signal.aborted) {
      const note = this.#notes.find(({ id }) => id > seen);
      if (note === undefined) {
        await this.#change(stream.signal);
      } else {
        await stream.send({ event: "note", ...note });
        seen = note.id;
      }
    }
  }

  /** Resolves with the next note, or when the signal aborts. */
  async #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiting.add(wake);
    signal.addEventListener("abort", wake);
    await promise;
    signal.removeEventListener("abort", wake);
    this.#waiting.delete(wake);
  }
}

const wall = new Wall();
const streams = new Set<SseStream>();
const stop = new AbortController();

function events(request: Request): Response {
  return sse(request, async (stream) => {
    streams.add(stream);
    tellReaders();
    try {
      await wall.follow(stream);
    } finally {
      streams.delete(stream);
      tellReaders();
    }
  }, { retry: RETRY_MS, signal: stop.signal });
}

function tellReaders(): void {
  for (const stream of streams) {
    // Whoever does not keep up needs no number that will have changed again.
    if (stream.pending > PENDING_MAX) continue;
    void stream.send({ event: "readers", data: String(streams.size) });
  }
}

async function post(request: Request): Promise<Response> {
  const text = (await request.text()).trim();
  if (text === "" || text.length > NOTE_CHARACTERS) {
    return new Response(`A note has 1 to ${NOTE_CHARACTERS} characters`, {
      status: 400,
    });
  }
  wall.post(text);
  return new Response(null, { status: 204 });
}

// Pages connect again by themselves, and miss nothing.
function drop(): Response {
  for (const stream of streams) stream.close();
  return new Response(null, { status: 204 });
}

const handle = router({
  ...page(html),
  "/events": { methods: ["GET"], handler: events },
  "/notes": { methods: ["POST"], handler: post },
  "/drop": { methods: ["POST"], handler: drop },
});

const server = serve({
  hostname: "127.0.0.1",
  port: Number(Deno.args[0] ?? DEFAULT_PORT),
}, handle);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    stop.abort();
    await server.shutdown({ timeout: 5000 });
    Deno.exit(0);
  });
}
