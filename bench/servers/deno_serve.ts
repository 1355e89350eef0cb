// SPDX-License-Identifier: Apache-2.0
// deno_serve.ts - the contender Deno.serve; takes perhaps "hono"; prints its port when it listens.
import { pathOf, route } from "./routes.ts";

function upgrade(request: Request): Response {
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event): void => socket.send(event.data);
  return response;
}

function handle(request: Request): Response | Promise<Response> {
  return pathOf(request.url) === "/ws" ? upgrade(request) : route(request);
}

Deno.serve(
  {
    port: 0,
    hostname: "127.0.0.1",
    onListen: (address): void => console.log(address.port),
  },
  Deno.args[0] === "hono" ? (await import("./hono.ts")).fetch : handle,
);
