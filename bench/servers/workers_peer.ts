// SPDX-License-Identifier: Apache-2.0
// workers_peer.ts - a contender on many threads that share a port by SO_REUSEPORT, in Deno or Bun; takes the number of
// threads and the server that each of them runs, which prints the port when it listens.
import { createServer } from "node:net";
import process from "node:process";
import { Worker } from "node:worker_threads";

const [threads, server] = process.argv.slice(2);

// Closed again before the first of them listens: an address that is shared is shared by all who have it.
const probe = createServer();
probe.listen(0, "127.0.0.1", () => {
  const address = probe.address();
  if (typeof address !== "object" || address === null) return;
  process.env.SHARED_PORT = String(address.port);
  probe.close(() => {
    for (let i = 0; i < Number(threads); i++) {
      new Worker(new URL(server ?? "", import.meta.url));
    }
  });
});
