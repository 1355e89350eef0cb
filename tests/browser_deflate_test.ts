// SPDX-License-Identifier: Apache-2.0
// Tests of compressed messages with Chromium as the peer: sizes around those that
// matter to frames and to zlib, one by one and many at once, there and back.

import { assert, assertEquals } from "@std/assert";
import { websocket } from "../mod.ts";
import { Chromium } from "./browser.ts";
import { deadline, testBackends } from "./testing.ts";

const SCRIPT = `(async () => {
  const socket = new WebSocket("ws://" + location.host + "/ws");
  socket.binaryType = "arraybuffer";
  const { promise: end, resolve, reject } = Promise.withResolvers();
  socket.onclose = (event) => reject(new Error("closed with " + event.code));

  // Text of a kind that shrinks, though not by as much as maxRatio forbids, and bytes that do not shrink.
  const text = (size) => {
    let all = "";
    for (let i = 0; all.length < size; i++) all += i * 7919 % 9973 + " ";
    return all.slice(0, size);
  };
  const bytes = (size) => {
    const all = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) {
      crypto.getRandomValues(all.subarray(at, at + 65536));
    }
    return all;
  };
  const sizes = [0, 1, 5, 125, 126, 1023, 1024, 16383, 16384, 65535, 65536];
  const messages = [...sizes, 1 << 20].flatMap((size) => [text(size), bytes(size)]);
  const same = (a, b) =>
    typeof a === "string"
      ? a === b
      : a.length === b.byteLength && new Uint8Array(b).every((byte, at) => byte === a[at]);

  let at = 0;
  let all = false;
  socket.onopen = () => socket.send(messages[0]);
  socket.onmessage = ({ data }) => {
    if (!same(messages[at], data)) reject(new Error("message " + at + " differs"));
    at++;
    if (at < messages.length) {
      if (!all) socket.send(messages[at]);
    } else if (all) {
      resolve(socket.extensions);
    } else {
      all = true;
      at = 0;
      for (const message of messages) socket.send(message);
    }
  };
  return await end;
})()`;

for (const takeover of [false, true]) {
  testBackends(
    `Chromium and a route exchange compressed messages, context takeover ${takeover}`,
    async (t) => {
      const counts = { received: 0, messages: 0 };
      const echo = websocket({
        message(socket, message): void {
          counts.messages++;
          counts.received += message.length;
          socket.send(message);
        },
      }, {
        compression: {
          serverContextTakeover: takeover,
          clientContextTakeover: takeover,
        },
      });
      const server = t.serve((request) =>
        request.headers.has("upgrade")
          ? echo.upgrade(request)
          : new Response("<!doctype html>", {
            headers: { "content-type": "text/html" },
          })
      );
      await using chromium = await Chromium.start();
      const tab = await chromium.open(`http://127.0.0.1:${server.addr.port}/`);
      const extensions = await deadline(
        tab.page.evaluate(SCRIPT),
        "all echoes",
      );
      assertEquals(
        extensions,
        takeover
          ? "permessage-deflate"
          : "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
      );
      assertEquals(counts.messages, 48);
      const { receivedBytes, sentBytes } = server.statistics();
      assert(receivedBytes < 0.8 * counts.received, `${receivedBytes}`);
      assert(sentBytes < 0.8 * counts.received, `${sentBytes}`);
    },
  );
}
