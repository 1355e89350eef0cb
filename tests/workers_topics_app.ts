// SPDX-License-Identifier: Apache-2.0
// workers_topics_app.ts - the application of the tests of topics and messages between workers: clients say what their
// worker is to do.

import type { ServerWebSocket } from "../mod.ts";
import {
  broadcast,
  currentWorker,
  onMessage,
  publish,
  send,
  type WorkerModule,
} from "../lib/workers.ts";

/** What a client asks for. */
export interface Ask {
  subscribe?: string;
  unsubscribe?: string;
  publish?: string;
  /** Sent `count` times, with a number behind it. */
  message?: string;
  count?: number;
  /** By the socket, and not by the worker. */
  socket?: boolean;
  send?: number | "main";
  broadcast?: boolean;
  value?: unknown;
  die?: boolean;
  key?: string;
}

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
    sum += ask.socket
      ? socket.publish(topic, text, options)
      : publish(topic, text, options);
  }
  return sum;
}

function obey(socket: ServerWebSocket, ask: Ask): unknown {
  if (ask.subscribe !== undefined) return socket.subscribe(ask.subscribe);
  if (ask.unsubscribe !== undefined) return socket.unsubscribe(ask.unsubscribe);
  if (ask.publish !== undefined) return publishAll(socket, ask);
  if (ask.send !== undefined) return send(ask.send, ask.value);
  if (ask.broadcast) return broadcast(ask.value);
  if (ask.die) {
    queueMicrotask(() => {
      throw new Error("asked to die");
    });
  }
  return currentWorker();
}

export default {
  onTopic: (topic, change) => tell({ topic, change }),
  websocket: {
    open(socket): void {
      sockets.add(socket);
    },
    message(socket, message): void {
      socket.send(
        JSON.stringify({ answer: obey(socket, JSON.parse(String(message))) }),
      );
    },
    close(socket): void {
      sockets.delete(socket);
    },
  },
} satisfies WorkerModule;
