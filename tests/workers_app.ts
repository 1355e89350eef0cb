// SPDX-License-Identifier: Apache-2.0
// workers_app.ts - the application of the tests of workers: HTTP, WebSocket, TCP and actions, and ways to go wrong.

import { workerData } from "node:worker_threads";
import { listen, type ServeHandlerInfo } from "../mod.ts";
import { rpc } from "../lib/rpc.ts";
import type { WorkerModule } from "../lib/workers.ts";
import { die, dieOf, dieWhenArmed, spin } from "./workers_deaths.ts";

/** Tells this worker from others: its number, and what nobody has had before. */
const ID = `${workerData.slot}-${crypto.randomUUID()}`;
const NAME = new TextEncoder().encode(ID);
const WHO = "who".split("").map((letter) => letter.charCodeAt(0));

let held: PromiseWithResolvers<void> | null = null;

const tcp = listen({ hostname: "127.0.0.1", port: 0 }, {
  open: dieWhenArmed,
  data(socket, chunk): void {
    held?.resolve();
    socket.write(isQuestion(chunk) ? NAME : chunk);
  },
  shutdown: (socket) => socket.end(),
});

const actions = rpc().route(1, ({ body }) => [ID, body]);
const rpcListener = actions.listenTcp({ hostname: "127.0.0.1", port: 0 });

function isQuestion(chunk: Uint8Array): boolean {
  return chunk.length === WHO.length &&
    WHO.every((byte, at) => chunk[at] === byte);
}

async function answer(request: Request, url: URL): Promise<Response> {
  switch (url.pathname) {
    case "/echo":
      return new Response(await request.bytes(), { headers: { worker: ID } });
    case "/tcp":
      return Response.json(tcp.addr);
    case "/rpc":
      return Response.json(rpcListener.addr);
    case "/die":
      return await die(url.searchParams.get("way"), request);
    case "/spin":
      spin(1500);
      return new Response("awake");
    case "/hold":
      held = Promise.withResolvers();
      await held.promise;
      return new Response("held");
    case "/slow":
      await new Promise((resolve) => setTimeout(resolve, 200));
      return new Response("slow");
  }
  return new Response(ID);
}

export default {
  fetch(
    request: Request,
    _info: ServeHandlerInfo,
  ): Response | Promise<Response> {
    const url = new URL(request.url);
    return url.pathname === "/" ? new Response(ID) : answer(request, url);
  },
  websocket: {
    message(socket, message): void {
      if (typeof message === "string") dieOf(message);
      socket.send(message === "who" ? ID : message);
    },
  },
  routes: { "/routed": new Response("routed") },
  rpc: actions,
} satisfies WorkerModule;
