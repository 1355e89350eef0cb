// SPDX-License-Identifier: Apache-2.0
// echo_app.ts - what the demo serves: a page, a few HTTP routes and a WebSocket echo; run by echo.ts.

import { websocket } from "../mod.ts";
import type { WorkerModule } from "../lib/workers.ts";
import html from "./echo.html" with { type: "text" };
import { plot } from "./plot.ts";
import { get, page, router, upgrade } from "./routes.ts";

// Large echoes shall work too, and a few of them may wait for a slow reader.
const MESSAGE_BYTES = 16 * 1024 * 1024;
const QUEUE_BYTES = 64 * 1024 * 1024;

const echo = websocket({
  message(socket, message): void {
    const status = socket.send(message);
    if (status === "dropped") socket.close(1013, "Too many unread echoes");
  },
}, { maxMessageBytes: MESSAGE_BYTES, maxQueueBytes: QUEUE_BYTES });

const handle = router({
  ...page(html),
  ...plot,
  "/plaintext": get(() => new Response("Hello, World!")),
  "/json": get(() => Response.json({ message: "Hello, World!" })),
  "/headers": get(({ headers }) => Response.json(Object.fromEntries(headers))),
  "/echo": { methods: ["POST"], handler: echoBody },
  "/ws": upgrade((request) => echo.upgrade(request)),
});

async function echoBody(request: Request): Promise<Response> {
  const type = request.headers.get("content-type");
  return new Response(await request.bytes(), {
    headers: type === null ? {} : { "content-type": type },
  });
}

export default { fetch: handle } satisfies WorkerModule;
