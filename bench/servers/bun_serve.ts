// SPDX-License-Identifier: Apache-2.0
// bun_serve.ts - the contender Bun.serve; takes perhaps "hono"; prints its port when it listens. Runs
// in Bun, is checked by Deno.
import { pathOf, route } from "./routes.ts";

interface BunSocket {
  send(message: string | Uint8Array): number;
}

interface BunServer {
  readonly port: number;
  upgrade(request: Request): boolean;
}

interface BunOptions {
  port: number;
  hostname: string;
  fetch(
    request: Request,
    server: BunServer,
  ): Response | Promise<Response> | undefined;
  websocket: {
    maxPayloadLength: number;
    message(socket: BunSocket, message: string | Uint8Array): void;
  };
}

declare const Bun: {
  readonly argv: readonly string[];
  serve(options: BunOptions): BunServer;
};

function handle(
  request: Request,
  server: BunServer,
): Response | Promise<Response> | undefined {
  if (pathOf(request.url) !== "/ws") return route(request);
  return server.upgrade(request)
    ? undefined
    : new Response("Upgrade Required", { status: 426 });
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: Bun.argv[2] === "hono" ? (await import("./hono.ts")).fetch : handle,
  websocket: {
    maxPayloadLength: 64 << 20,
    message(socket, message): void {
      socket.send(message);
    },
  },
});
console.log(server.port);
