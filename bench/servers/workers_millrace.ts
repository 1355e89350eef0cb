// SPDX-License-Identifier: Apache-2.0
// workers_millrace.ts - the contender Millrace on many threads; takes the backend, the number of workers and "http" or
// "tcp"; prints its port when all listen.
import { serveAll, type ServeAllOptions } from "../../lib/workers.ts";

const [backend, workers, protocol] = Deno.args;
if (backend !== "io_uring" && backend !== "epoll") {
  throw new TypeError(
    "Cannot start: the backend is neither io_uring nor epoll",
  );
}

const options: ServeAllOptions = {
  workers: Number(workers),
  // The runner has bound the process to the core of the server.
  affinity: "none",
  port: 0,
  hostname: "127.0.0.1",
  backend,
  onListen: (address): void => console.log((address as Deno.NetAddr).port),
};
if (protocol === "tcp") {
  await serveAll(new URL("tcp_millrace_app.ts", import.meta.url), options);
} else {
  // One connection makes more requests than the default allows.
  await serveAll(new URL("millrace_app.ts", import.meta.url), {
    ...options,
    maxRequests: 0,
  });
}
