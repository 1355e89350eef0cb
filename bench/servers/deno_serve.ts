// SPDX-License-Identifier: Apache-2.0
// deno_serve.ts - the contender Deno.serve; takes perhaps "hono"; prints its port when it listens.
// One of several threads (workers_peer.ts) is told the port in the environment.
import { pathOf, route, sharedPort } from "./routes.ts";

const subscribers = new Set<WebSocket>();

function upgrade(request: Request, path: string): Response {
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.binaryType = "arraybuffer";
  if (path === "/subscribe") {
    socket.onmessage = (event): void => subscribe(socket, event);
  } else if (path === "/publish") {
    socket.onmessage = publish;
  } else {
    socket.onmessage = (event): void => socket.send(event.data);
  }
  return response;
}

function subscribe(socket: WebSocket, event: MessageEvent): void {
  subscribers.add(socket);
  socket.onclose = (): void => void subscribers.delete(socket);
  socket.send(event.data);
}

// There is nothing that sends to many.
function publish(event: MessageEvent): void {
  for (const subscriber of subscribers) {
    if (subscriber.readyState === WebSocket.OPEN) subscriber.send(event.data);
  }
}

function handle(request: Request): Response | Promise<Response> {
  const path = pathOf(request.url);
  switch (path) {
    case "/ws":
    case "/subscribe":
    case "/publish":
      return upgrade(request, path);
    default:
      return route(request);
  }
}

Deno.serve(
  {
    ...sharedPort(),
    hostname: "127.0.0.1",
    onListen: (address): void => console.log(address.port),
  },
  Deno.args[0] === "hono" ? (await import("./hono.ts")).fetch : handle,
);
