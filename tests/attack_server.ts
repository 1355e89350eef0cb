// SPDX-License-Identifier: Apache-2.0
// attack_server.ts - the server of websocket_attack_test.ts, in a process of its own: sockets that echo and are
// published to, and what the process holds. Started by soak_child.ts with the backend and milliseconds of its timeouts
// as arguments; ends when its standard input does.

import { type BackendName, type HttpServer, serve, websocket } from "../mod.ts";
import { type Holdings, holdingsOf, statusBytes } from "./holdings.ts";
import { pattern } from "./testing.ts";

/** What the process holds, and has held. */
export interface AttackSample extends Holdings {
  /** Sockets that were opened and not closed. */
  sockets: number;
  /** Topics with their subscribers. */
  subscribers: number;
  deflateBytes: number;
  /** Connections that were cut off for want of memory. */
  exhausted: number;
  /** Objects of JavaScript. */
  objects: number;
  /** What V8 counts besides: buffers, among them the views of the arena's blocks, which are made once. */
  buffers: number;
  /** Resident memory that is not V8's: of malloc and of the arena. */
  native: number;
  /** All resident memory, and the most since the sample before. */
  resident: number;
  peak: number;
}

const PATIENCE = Number(Deno.args[1] ?? 1000);
/** The blocks of the arena. */
const BUFFER_BYTES = 32 << 20;
const TOPIC = "ticker";
let sockets = 0;

const echo = websocket({
  open(socket): void {
    sockets++;
    socket.subscribe(TOPIC);
  },
  message(socket, message): void {
    socket.send(message, { compress: false });
  },
  close(): void {
    sockets--;
  },
}, {
  compression: { serverContextTakeover: true, clientContextTakeover: true },
  closeTimeout: PATIENCE,
  highWatermark: 256 << 10,
  maxQueueBytes: 1 << 20,
  idleTimeout: 0,
});

const server: HttpServer<Deno.NetAddr> = serve({
  hostname: "127.0.0.1",
  port: 0,
  backend: Deno.args[0] as BackendName,
  headTimeout: PATIENCE,
  stallTimeout: PATIENCE,
  bufferBytes: BUFFER_BYTES,
  // What a peer is owed at most, so that all peers of an attack together leave blocks for the others.
  maxQueueBytes: 1 << 20,
  maxDeflateBytes: 16 << 20,
  onListen: ({ port }) => console.log(JSON.stringify({ port })),
}, async (request): Promise<Response> => {
  const { pathname, searchParams } = new URL(request.url);
  switch (pathname) {
    case "/echo":
      return echo.upgrade(request);
    case "/publish": {
      const message = pattern(Number(searchParams.get("bytes")));
      message[0] = 0;
      const sent = server.publish(TOPIC, message, { compress: false });
      return new Response(`${sent}`);
    }
    case "/count":
      return Response.json({
        sockets,
        connections: server.statistics().connections,
      });
    default:
      return Response.json(await sample());
  }
});

async function sample(): Promise<AttackSample> {
  const peak = statusBytes("VmHWM");
  const holdings = await holdingsOf(server);
  // Has the kernel begin anew with its peak.
  Deno.writeTextFileSync("/proc/self/clear_refs", "5");
  const { heapUsed, heapTotal, external } = Deno.memoryUsage();
  return {
    ...holdings,
    objects: heapUsed,
    buffers: external,
    native: holdings.rss - heapTotal,
    resident: statusBytes("VmRSS"),
    sockets,
    subscribers: server.subscriberCount(TOPIC),
    deflateBytes: server.statistics().deflateBytes,
    exhausted: server.statistics().exhausted,
    peak,
  };
}

await Deno.stdin.read(new Uint8Array(1));
const report = await server.shutdown({ timeout: 5000 });
console.log(JSON.stringify({ report }));
