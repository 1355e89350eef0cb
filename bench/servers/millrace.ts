// SPDX-License-Identifier: Apache-2.0
// millrace.ts - the contender Millrace; takes the backend, the microseconds to spin and perhaps
// "hono"; prints its port when it listens.
import { serve, websocket } from "../../mod.ts";
import { pathOf, route } from "./routes.ts";

const [backend, spin, app] = Deno.args;
if (backend !== "io_uring" && backend !== "epoll") {
  throw new TypeError(
    "Cannot start: the backend is neither io_uring nor epoll",
  );
}

const echo = websocket({
  message(socket, message): void {
    socket.send(message);
  },
});

function handle(request: Request): Response | Promise<Response> {
  return pathOf(request.url) === "/ws" ? echo.upgrade(request) : route(request);
}

serve(
  {
    port: 0,
    hostname: "127.0.0.1",
    backend,
    spin: Number(spin),
    // No other server has this limit, and one connection makes more requests than it allows.
    maxRequests: 0,
    onListen: (address): void => console.log(address.port),
  },
  app === "hono" ? (await import("./hono.ts")).fetch : handle,
);
