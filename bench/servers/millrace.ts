// SPDX-License-Identifier: Apache-2.0
// millrace.ts - the contender Millrace; takes the backend as its argument, prints its port when it listens.
import { serve, websocket } from "../../mod.ts";
import { pathOf, route } from "./routes.ts";

const backend = Deno.args[0];
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

serve(
  {
    port: 0,
    hostname: "127.0.0.1",
    backend,
    onListen: (address): void => console.log(address.port),
  },
  (request) =>
    pathOf(request.url) === "/ws" ? echo.upgrade(request) : route(request.url),
);
