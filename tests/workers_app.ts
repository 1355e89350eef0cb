// SPDX-License-Identifier: Apache-2.0
// workers_app.ts - the application of the tests of workers: HTTP, WebSocket and TCP, and ways to go wrong.

import { listen, type ServeHandlerInfo } from "../mod.ts";
import type { WorkerModule } from "../lib/workers.ts";

/** Tells this worker from others. */
const ID = crypto.randomUUID();

let held: PromiseWithResolvers<void> | null = null;

const tcp = listen({ hostname: "127.0.0.1", port: 0 }, {
  data(socket, chunk): void {
    held?.resolve();
    socket.write(chunk);
  },
  shutdown: (socket) => socket.end(),
});

async function answer(path: string): Promise<Response> {
  switch (path) {
    case "/tcp":
      return Response.json(tcp.addr);
    case "/die":
      queueMicrotask(() => {
        throw new Error("asked to die");
      });
      return new Response("dying");
    case "/exit":
      Deno.exit(3);
      break;
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

function spin(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

export default {
  fetch(
    request: Request,
    _info: ServeHandlerInfo,
  ): Response | Promise<Response> {
    const { pathname } = new URL(request.url);
    return pathname === "/" ? new Response(ID) : answer(pathname);
  },
  websocket: { message: (socket, message) => void socket.send(message) },
  routes: { "/routed": new Response("routed") },
} satisfies WorkerModule;
