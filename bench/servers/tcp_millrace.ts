// SPDX-License-Identifier: Apache-2.0
// tcp_millrace.ts - the TCP echo of the contender Millrace; takes the backend and the microseconds to spin; prints its
// port when it listens.
import { listen } from "../../mod.ts";
import application from "./tcp_millrace_app.ts";

const [backend, spin] = Deno.args;
if (backend !== "io_uring" && backend !== "epoll") {
  throw new TypeError(
    "Cannot start: the backend is neither io_uring nor epoll",
  );
}

const server = listen(
  { port: 0, hostname: "127.0.0.1", backend, spin: Number(spin) },
  application.socket,
);
console.log(server.addr.port);
