// SPDX-License-Identifier: Apache-2.0
// millrace_app.ts - what the contender Millrace answers, on one thread (millrace.ts) as on many
// (workers_millrace.ts).
import { websocket } from "../../mod.ts";
import { pathOf, route } from "./routes.ts";

const TOPIC = "all";

const echo = websocket({
  message(socket, message): void {
    socket.send(message);
  },
});

const json = websocket({
  message(socket, message): void {
    socket.send(message);
  },
}, { compression: true });

const subscribe = websocket({
  message(socket, message): void {
    socket.subscribe(TOPIC);
    socket.send(message);
  },
});

const publish = websocket({
  message(socket, message): void {
    socket.publish(TOPIC, message);
  },
});

function handle(request: Request): Response | Promise<Response> {
  switch (pathOf(request.url)) {
    case "/ws":
      return echo.upgrade(request);
    case "/ws-json":
      return json.upgrade(request);
    case "/subscribe":
      return subscribe.upgrade(request);
    case "/publish":
      return publish.upgrade(request);
    default:
      return route(request);
  }
}

/** The application. */
export default { fetch: handle };
