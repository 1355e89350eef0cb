// SPDX-License-Identifier: Apache-2.0
// deno-lint-ignore-file explicit-function-return-type -- JavaScript has none
// node_http.mjs - the contender Node: HTTP by node:http, WebSockets by the package `ws`; prints its port when it
// listens. Runs in Node, is checked by Deno.
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { payload } from "./payload.mjs";

// From NODE_PATH, which import does not look at.
const { WebSocketServer } = createRequire(import.meta.url)("ws");

const OPEN = 1;
const MAX_PAYLOAD = 64 << 20;
const LARGE = payload(1024 * 1024);

/** @type {Set<any>} */
const subscribers = new Set();

/** @type {Record<string, any>} */
const UPGRADES = {
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

// What routes.ts offers, as users of node:http write it.
/** @type {Record<string, (request: any, response: any, url: string) => void>} */
const ROUTES = {
  "/plaintext": (_request, response) => {
    response.setHeader("content-type", "text/plain;charset=UTF-8");
    response.end("Hello, World!");
  },
  "/json": (_request, response) => {
    const body = JSON.stringify({ message: "Hello, World!" });
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "cache-control": "no-store",
      "x-request-id": "4f9c1d2e",
      "x-content-type-options": "nosniff",
    });
    response.end(body);
  },
  "/echo": async (request, response) => response.end(await read(request)),
  "/download": (_request, response) => response.end(LARGE),
  "/upload": async (request, response) => {
    response.end(String((await read(request)).length));
  },
  "/sleep": (_request, response) => {
    setTimeout(() => response.end("slept"), 1);
  },
  "/fetch": async (_request, response, url) => {
    const { searchParams } = new URL(url, "http://localhost");
    const answer = await fetch(searchParams.get("url") ?? "");
    response.end(await answer.text());
  },
};

/**
 * @param {AsyncIterable<Uint8Array>} request
 * @returns {Promise<any>}
 */
async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
}

const server = createServer((request, response) => {
  const url = request.url ?? "";
  const end = url.indexOf("?");
  const route = ROUTES[end < 0 ? url : url.slice(0, end)];
  if (route === undefined) {
    response.writeHead(404).end("Not Found");
  } else {
    route(request, response, url);
  }
});
server.on("upgrade", (request, socket, head) => {
  const route = UPGRADES[request.url ?? ""];
  route.handleUpgrade(request, socket, head, (/** @type {any} */ client) => {
    route.emit("connection", client, request);
  });
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
  const address = server.address();
  console.log(typeof address === "object" ? address?.port : address);
});
