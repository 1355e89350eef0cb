// SPDX-License-Identifier: Apache-2.0
// bun_serve.ts - the contender Bun.serve; takes perhaps "hono" or "static"; prints its port when it listens. One
// of several threads (workers_peer.ts) is told the port in the environment. Runs in Bun, is checked by Deno.
import { pathOf, route, sharedPort, STATIC } from "./routes.ts";

type BunMessage = string | Uint8Array;

interface BunSocket {
  /** The path of its upgrade. */
  readonly data: string;
  send(message: BunMessage, compress?: boolean): number;
  subscribe(topic: string): void;
}

interface BunServer {
  readonly port: number;
  upgrade(request: Request, options: { data: string }): boolean;
  publish(topic: string, message: BunMessage): number;
}

interface BunOptions {
  port: number;
  reusePort: boolean;
  hostname: string;
  fetch(
    request: Request,
    server: BunServer,
  ): Response | Promise<Response> | undefined;
  routes: Record<string, Response>;
  websocket: {
    maxPayloadLength: number;
    perMessageDeflate: boolean;
    message(socket: BunSocket, message: BunMessage): void;
  };
}

declare const Bun: {
  readonly argv: readonly string[];
  serve(options: BunOptions): BunServer;
};

const TOPIC = "all";

function handle(
  request: Request,
  server: BunServer,
): Response | Promise<Response> | undefined {
  const path = pathOf(request.url);
  switch (path) {
    case "/ws":
    case "/ws-json":
    case "/subscribe":
    case "/publish":
      return server.upgrade(request, { data: path })
        ? undefined
        : new Response("Upgrade Required", { status: 426 });
    default:
      return route(request);
  }
}

const server = Bun.serve({
  ...sharedPort(),
  hostname: "127.0.0.1",
  fetch: Bun.argv[2] === "hono" ? (await import("./hono.ts")).fetch : handle,
  routes: Bun.argv[2] === "static" ? STATIC : {},
  websocket: {
    maxPayloadLength: 64 << 20,
    perMessageDeflate: true,
    message(socket, message): void {
      switch (socket.data) {
        case "/ws":
          return void socket.send(message);
        case "/ws-json":
          return void socket.send(message, true);
        case "/subscribe":
          socket.subscribe(TOPIC);
          return void socket.send(message);
        case "/publish":
          return void server.publish(TOPIC, message);
      }
    },
  },
});
console.log(server.port);
