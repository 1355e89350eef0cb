// SPDX-License-Identifier: Apache-2.0
// tcp_node.mjs - the TCP echo of the contender Node, by node:net; prints its port when it listens. Runs in Node, is
// checked by Deno.
import { createServer } from "node:net";

const server = createServer({ noDelay: true }, (socket) => {
  socket.on("data", (chunk) => {
    if (!socket.write(chunk)) socket.pause();
  });
  socket.on("drain", () => socket.resume());
  socket.on("error", () => {});
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object") console.log(address?.port);
});
