// SPDX-License-Identifier: Apache-2.0
// millrace.ts - the contender Millrace; takes the backend, the microseconds to spin and perhaps
// "hono" or "static"; prints its port when it listens.
import { serve } from "../../mod.ts";
import application from "./millrace_app.ts";
import { STATIC } from "./routes.ts";

const [backend, spin, app] = Deno.args;
if (backend !== "io_uring" && backend !== "epoll") {
  throw new TypeError(
    "Cannot start: the backend is neither io_uring nor epoll",
  );
}

serve(
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
  app === "hono" ? (await import("./hono.ts")).fetch : application.fetch,
);
