// SPDX-License-Identifier: Apache-2.0
// deno-lint-ignore-file explicit-function-return-type -- JavaScript has none
// ws_node.mjs - the contender `ws` on Node, which answers nothing but WebSockets; prints its port when it listens. Runs
// in Node, is checked by Deno.
import { createServer } from "node:http";
import { createRequire } from "node:module";

// From NODE_PATH, which import does not look at.
const { WebSocketServer } = createRequire(import.meta.url)("ws");

const OPEN = 1;
const MAX_PAYLOAD = 64 << 20;

/** @type {Set<any>} */
const subscribers = new Set();

/** @type {Record<string, any>} */
const ROUTES = {
  "/ws": route(false, (socket, data, isBinary) => {
    socket.send(data, { binary: isBinary });
  }),
  "/ws-json": route(true, (socket, data, isBinary) => {
    socket.send(data, { binary: isBinary });
  }),
  "/subscribe": route(false, (socket, data, isBinary) => {
    subscribers.add(socket);
    socket.on("close", () => subscribers.delete(socket));
    socket.send(data, { binary: isBinary });
  }),
  // The loop of the documentation of `ws`.
  "/publish": route(false, (_socket, data, isBinary) => {
    for (const subscriber of subscribers) {
      if (subscriber.readyState === OPEN) {
        subscriber.send(data, { binary: isBinary });
      }
    }
  }),
};

/**
 * @param {boolean} perMessageDeflate
 * @param {(socket: any, data: any, isBinary: boolean) => void} receive
 * @returns {any}
 */
function route(perMessageDeflate, receive) {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate,
    maxPayload: MAX_PAYLOAD,
  });
  server.on("connection", (/** @type {any} */ socket) => {
    socket.on(
      "message",
      (/** @type {any} */ data, /** @type {boolean} */ isBinary) => {
        receive(socket, data, isBinary);
      },
    );
  });
  return server;
}

const server = createServer();
server.on("upgrade", (request, socket, head) => {
  const route = ROUTES[request.url ?? ""];
  route.handleUpgrade(request, socket, head, (/** @type {any} */ client) => {
    route.emit("connection", client, request);
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
  const address = server.address();
  console.log(typeof address === "object" ? address?.port : address);
});
