// SPDX-License-Identifier: Apache-2.0
// binary_echo.ts - echoes bytes, and reads no faster than they are taken back, so that no echo is ever given up;
// deno run --allow-net --allow-ffi examples/binary_echo.ts

import { websocket } from "../mod.ts";
import html from "./binary_echo.html" with { type: "text" };
import { listen, run } from "./command.ts";
import { plot } from "./plot.ts";
import { page, router, upgrade } from "./routes.ts";

const USAGE =
  `Usage: deno run --allow-net --allow-ffi examples/binary_echo.ts [options]

  --addr HOST:PORT  where to listen (default "127.0.0.1:9001")
  --backend NAME    auto, io_uring or epoll (default auto)
  --help            print this`;

const MESSAGE_BYTES = 16 * 1024 * 1024;

const echo = websocket({
  message(socket, message): void {
    if (typeof message === "string") {
      return socket.close(1003, "Only bytes are echoed");
    }
    // The bytes are a view of the receive buffer; send() has copied them when it returns.
    if (socket.send(message) === "queued") socket.pause();
  },
  drain: (socket) => socket.resume(),
}, {
  maxMessageBytes: MESSAGE_BYTES,
  highWatermark: MESSAGE_BYTES,
  // Up to the high watermark may wait when the longest message comes.
  maxQueueBytes: 3 * MESSAGE_BYTES,
});

const handle = router({
  ...page(html),
  ...plot,
  "/ws": upgrade((request) => echo.upgrade(request)),
});

if (import.meta.main) {
  await run({
    usage: USAGE,
    addr: "127.0.0.1:9001",
    integers: {},
    start: (options) => void listen(options, handle),
  });
}
