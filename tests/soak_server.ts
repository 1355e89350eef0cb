// SPDX-License-Identifier: Apache-2.0
// soak_server.ts - the server of a soak, in a process of its own: routes of every kind, and /sample, which tells what
// the process holds. Started by soak_child.ts with backend and patience as arguments; ends when its standard input does.

import { type BackendName, type HttpServer, serve, websocket } from "../mod.ts";
import { sse } from "../lib/sse.ts";
import { bytesFor } from "./soak_load.ts";
import { type Holdings, holdingsOf } from "./holdings.ts";
import { sleep } from "./testing.ts";

/** What the process holds. */
export interface Sample extends Holdings {
  /** Of the routes: what was begun and has not ended, by name. */
  open: Record<string, number>;
  /** Counters that a healthy run leaves at 0. */
  exhausted: number;
  overflows: number;
  acceptErrors: number;
  /** Counters that a run must raise. */
  timeouts: number;
  /** Messages that the server prints for responses that were made to fail. */
  expectedErrors: number;
}

/** Milliseconds of the timeouts: short, so that slow clients are cut within the run. */
const PATIENCE = Number(Deno.args[1] ?? 2000);
const BROKEN = "broken on purpose";

const open: Record<string, number> = {};
let expectedErrors = 0;

/** Counts something as open until the promise settles, either way. */
function during<T>(name: string, promise: Promise<T>): Promise<T> {
  open[name] = (open[name] ?? 0) + 1;
  const over = (): void => void open[name]!--;
  promise.then(over, over);
  return promise;
}

/** A stream whose producer is open until it is read to the end or cancelled. */
function produce(
  name: string,
  pieces: Iterator<Uint8Array<ArrayBuffer>, Error | undefined>,
): ReadableStream<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<void>();
  void during(name, promise);
  return new ReadableStream({
    pull(controller): void {
      const { done, value } = pieces.next();
      if (!done) return controller.enqueue(value);
      if (value === undefined) controller.close();
      else controller.error(value);
      resolve();
    },
    cancel: () => resolve(),
  });
}

function* cut(
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
  error?: Error,
): Generator<Uint8Array<ArrayBuffer>, Error | undefined> {
  for (let at = 0; at < bytes.length; at += size) {
    yield bytes.slice(at, at + size);
  }
  return error;
}

function* zeros(): Generator<Uint8Array<ArrayBuffer>, undefined> {
  for (;;) yield new Uint8Array(16_384);
}

const echo = websocket<() => void>({
  open(socket): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    void during("sockets", promise);
    socket.data = resolve;
  },
  message(socket, message): void {
    socket.send(message);
  },
  close(socket): void {
    socket.data();
  },
}, { closeTimeout: PATIENCE, idleTimeout: 4 * PATIENCE });

type Route = (
  request: Request,
  query: (name: string) => number,
) => Response | Promise<Response>;

const ROUTES: Record<string, Route> = {
  "/plain": () => new Response("plain"),
  "/json": (_, query) => Response.json({ n: query("n"), text: "ä".repeat(20) }),
  "/echo": async (request) => new Response(await request.bytes()),
  "/pipe": (request) => new Response(request.body),
  "/ignore": () => new Response("ignored"),
  "/first": async (request) => {
    const reader = request.body!.getReader();
    await reader.read();
    await reader.cancel();
    return new Response("first");
  },
  "/fixed": (_, query) =>
    new Response(bytesFor(query("bytes")), { headers: { "x-kind": "fixed" } }),
  "/stream": (_, query) =>
    new Response(
      produce("streams", cut(bytesFor(query("bytes")), query("size"))),
    ),
  "/break": (_, query) =>
    new Response(
      produce("broken", cut(bytesFor(query("bytes")), 4096, new Error(BROKEN))),
    ),
  "/endless": () => new Response(produce("endless", zeros())),
  "/throw": () => {
    throw new Error(BROKEN);
  },
  "/reject": async () => {
    await sleep(1);
    throw new Error(BROKEN);
  },
  "/late": async (_, query) => {
    await sleep(query("ms"));
    return new Response("late");
  },
  "/never": async ({ signal }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    return new Response("nobody reads this");
  },
  "/events": (request, query) =>
    sse(request, (stream) =>
      during(
        "events",
        (async () => {
          for (let id = 1; id <= query("count"); id++) {
            await stream.send({ id, data: `event ${id}` });
            await sleep(query("ms"));
          }
        })(),
      ), { heartbeat: 500 }),
  "/ws": (request) => echo.upgrade(request, { data: () => {} }),
};

async function sample(server: HttpServer): Promise<Sample> {
  const holdings = await holdingsOf(server);
  const statistics = server.statistics();
  return {
    ...holdings,
    open: Object.fromEntries(Object.entries(open).filter(([, n]) => n !== 0)),
    exhausted: statistics.exhausted,
    overflows: statistics.overflows,
    acceptErrors: statistics.acceptErrors,
    timeouts: statistics.timeouts,
    expectedErrors,
  };
}

function main(backend: BackendName): HttpServer<Deno.NetAddr> {
  const server: HttpServer<Deno.NetAddr> = serve({
    hostname: "127.0.0.1",
    port: 0,
    backend,
    headTimeout: PATIENCE,
    bodyTimeout: PATIENCE,
    stallTimeout: PATIENCE,
    idleTimeout: 1.5 * PATIENCE,
    highWatermark: 256 * 1024,
    lowWatermark: 64 * 1024,
    bufferBytes: 64 * 1024 * 1024,
    onListen: ({ port }) => console.log(JSON.stringify({ port })),
    onError: (error) => {
      if (!(error instanceof Error) || error.message !== BROKEN) {
        // A client that leaves or breaks off amid its body makes the read of it fail.
        if (!(error instanceof Deno.errors.UnexpectedEof)) console.error(error);
      }
      return new Response("failed", { status: 500 });
    },
  }, async (request, info) => {
    const url = new URL(request.url);
    if (url.pathname === "/sample") return Response.json(await sample(server));
    void during("exchanges", info.completed).catch(() => {});
    const query = (name: string): number =>
      Number(url.searchParams.get(name) ?? 0);
    const route = ROUTES[url.pathname];
    if (route === undefined) return new Response("none", { status: 404 });
    const answer = route(request, query);
    return answer instanceof Response ? answer : during("handlers", answer);
  });
  return server;
}

// The server says when a body fails while it is sent; the soak makes some fail. All else is unexpected.
const { error: print } = console;
console.error = (...args: unknown[]): void => {
  const [message, error] = args;
  const expected = message === "Exception while sending a response body" &&
    error instanceof Error &&
    (error.message === BROKEN || error instanceof Deno.errors.UnexpectedEof);
  if (expected) expectedErrors++;
  else print(...args);
};

if (import.meta.main) {
  const server = main(Deno.args[0] as BackendName);
  await Deno.stdin.read(new Uint8Array(1));
  const report = await server.shutdown({ timeout: 5000 });
  console.log(JSON.stringify({ report }));
}
