// SPDX-License-Identifier: Apache-2.0
// workers_topics_app.ts - the application of the tests of topics and messages between workers: clients say what their
// worker is to do.

import {
  serve,
  type ServerWebSocket,
  websocket,
  type WebSocketHandlers,
} from "../mod.ts";
import {
  broadcast,
  currentWorker,
  onMessage,
  publish,
  send,
  type WorkerModule,
} from "../lib/workers.ts";
import { type Ask, VALUES } from "./workers_topics_values.ts";

const sockets = new Set<ServerWebSocket>();

function tell(what: Record<string, unknown>): void {
  for (const socket of sockets) socket.send(JSON.stringify(what));
}

onMessage((value, from) => {
  if (value === "throw") throw new Error("asked to throw");
  tell({ heard: Deno.inspect(value), from });
});

function publishAll(socket: ServerWebSocket, ask: Ask): number {
  const { publish: topic = "", message = "", count = 1, key } = ask;
  const options = key === undefined ? {} : { key };
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const text = count === 1 ? message : `${message} ${n}`;
    const body = ask.bytes ? new TextEncoder().encode(text) : text;
    sum += ask.socket
      ? socket.publish(topic, body, options)
      : publish(topic, body, options);
  }
  return sum;
}

function spin([begun, until]: [string, string]): void {
  Deno.writeTextFileSync(begun, "");
  for (;;) {
    try {
      Deno.statSync(until);
      return;
    } catch {
      // Not yet.
    }
  }
}

function obey(socket: ServerWebSocket, ask: Ask): unknown {
  const value = ask.named === undefined ? ask.value : VALUES[ask.named];
  if (ask.subscribe !== undefined) return socket.subscribe(ask.subscribe);
  if (ask.unsubscribe !== undefined) return socket.unsubscribe(ask.unsubscribe);
  if (ask.publish !== undefined) return publishAll(socket, ask);
  if (ask.send !== undefined) return send(ask.send, value);
  if (ask.broadcast) return broadcast(value);
  if (ask.spin !== undefined) spin(ask.spin);
  if (ask.address) return other.addr;
  if (ask.die) {
    queueMicrotask(() => {
      throw new Error("asked to die");
    });
  }
  return currentWorker()?.number;
}

const handlers: WebSocketHandlers<undefined> = {
  open: (socket) => void sockets.add(socket),
  close: (socket) => void sockets.delete(socket),
  message(socket, message): void {
    let answer: unknown;
    try {
      answer = obey(socket, JSON.parse(String(message)));
    } catch (error) {
      answer = String(error);
    }
    socket.send(JSON.stringify({ answer }));
  },
};

const route = websocket<undefined>(handlers);

// Its topics are others than those of the module's own server.
const other = serve(
  { hostname: "127.0.0.1", port: 0, onListen: (): void => {} },
  (request) => route.upgrade(request),
);

export default {
  onTopic: (topic, change) => tell({ topic, change }),
  websocket: handlers,
} satisfies WorkerModule;
