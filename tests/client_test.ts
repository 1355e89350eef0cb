// SPDX-License-Identifier: Apache-2.0
// Tests of connectWebSocket() against our own server: from connect to close.

import { assertEquals } from "@std/assert";
import { type ClientWebSocket, connectWebSocket } from "../mod.ts";
import { testBackends } from "./testing.ts";
import { ECHO, serveRoute } from "./ws_client.ts";

testBackends("a client opens, is answered, and closes", async (t) => {
  const { backend } = t;
  const server = serveRoute(t, ECHO);
  const told: unknown[] = [];
  const url = `ws://127.0.0.1:${server.addr.port}/a?b=c`;
  const socket: ClientWebSocket = connectWebSocket(url, {
    open(socket): void {
      told.push("open", socket.readyState);
      assertEquals(socket.send("Grüße"), "sent");
    },
    message(socket, message): void {
      told.push(message);
      socket.close(3000, "done");
    },
    close(socket, code, reason): void {
      told.push("close", code, reason, socket.readyState);
    },
  }, { backend });
  assertEquals(socket.readyState, 0);
  await socket.opened;
  await socket.finished;
  assertEquals(told, ["open", 1, "Grüße", "close", 3000, "", 3]);
});
