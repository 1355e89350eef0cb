// SPDX-License-Identifier: Apache-2.0
// millrace.ts - the contender Millrace; takes the backend, the microseconds to spin and perhaps
// "hono" or "static"; prints its port when it listens.
import { serve, websocket } from "../../mod.ts";
import { pathOf, route, STATIC } from "./routes.ts";

const [backend, spin, app] = Deno.args;
if (backend !== "io_uring" && backend !== "epoll") {
  throw new TypeError(
    "Cannot start: the backend is neither io_uring nor epoll",
  );
}

const TOPIC = "all";

const echo = websocket({
  message(socket, message): void {
    socket.send(message);
  },
});

const json = websocket({
  message(socket, message): void {
    socket.send(message);
  },
}, { compression: true });

const subscribe = websocket({
  message(socket, message): void {
    socket.subscribe(TOPIC);
    socket.send(message);
  },
});

const publish = websocket({
  message(_socket, message): void {
    server.publish(TOPIC, message);
  },
});

function handle(request: Request): Response | Promise<Response> {
  switch (pathOf(request.url)) {
    case "/ws":
      return echo.upgrade(request);
    case "/ws-json":
      return json.upgrade(request);
    case "/subscribe":
      return subscribe.upgrade(request);
    case "/publish":
      return publish.upgrade(request);
    default:
      return route(request);
  }
}

const server = serve(
  {
    port: 0,
    hostname: "127.0.0.1",
    backend,
    spin: Number(spin),
    // No other server has these limits: one connection makes more requests, and there may be more connections.
    maxRequests: 0,
    maxConnections: 1 << 20,
    ...(app === "static" ? { routes: STATIC } : {}),
    onListen: (address): void => console.log(address.port),
  },
  app === "hono" ? (await import("./hono.ts")).fetch : handle,
);
