// SPDX-License-Identifier: Apache-2.0
// hono.ts - a guest book on Hono: routing, middleware, cookies, forms, streams, server-sent events and a WebSocket;
// deno run --allow-net --allow-ffi examples/hono.ts [port]

import { type Context, Hono } from "hono";
import { basicAuth } from "hono/basic-auth";
import { bodyLimit } from "hono/body-limit";
import {
  deleteCookie,
  getCookie,
  getSignedCookie,
  setCookie,
  setSignedCookie,
} from "hono/cookie";
import { cors } from "hono/cors";
import { getConnInfo } from "hono/deno";
import { etag } from "hono/etag";
import { HTTPException } from "hono/http-exception";
import { logger } from "hono/logger";
import { secureHeaders } from "hono/secure-headers";
import { streamSSE, streamText } from "hono/streaming";
import { validator } from "hono/validator";
import { serve, type ServeHandlerInfo, websocket } from "../mod.ts";

const DEFAULT_PORT = 9001;
const BODY_BYTES = 1024 * 1024;
const COOKIE_SECRET = "not a secret: an example";
const PASSWORD = "example";

/** What Millrace gives a handler beside the request is the environment of Hono. */
type Env = { Bindings: ServeHandlerInfo<Deno.NetAddr> };

interface Entry {
  id: number;
  name: string;
  text: string;
}

const entries: Entry[] = [{ id: 1, name: "Ada", text: "First!" }];

const echo = websocket({
  message: (socket, message) => void socket.send(message),
});

const api = new Hono<Env>()
  .use(cors({ origin: ["https://example.org"] }))
  .get("/entries", etag(), (c) => c.json(entries))
  .get("/entries/:id{[0-9]+}", (c) => {
    const entry = entries.find(({ id }) => id === Number(c.req.param("id")));
    return entry === undefined ? c.notFound() : c.json(entry);
  })
  .post("/entries", validator("json", entryOf), (c) => {
    const entry = { id: entries.length + 1, ...c.req.valid("json") };
    entries.push(entry);
    return c.json(entry, 201, { location: `/api/entries/${entry.id}` });
  });

function entryOf(value: unknown, c: Context): Omit<Entry, "id"> | Response {
  const { name, text } = value as Partial<Entry>;
  return typeof name === "string" && typeof text === "string"
    ? { name, text }
    : c.json({ error: "name and text must be strings" }, 400);
}

/** The application; tests run it on Deno.serve, too. */
export const app = new Hono<Env>();

if (import.meta.main) app.use(logger());
app.use(secureHeaders());
app.use(bodyLimit({ maxSize: BODY_BYTES }));
app.use("/admin/*", basicAuth({ username: "admin", password: PASSWORD }));

app.get("/", (c) => c.text("Hello, World!"));
app.get("/page", (c) => c.html("<!doctype html><title>Hono</title>"));
app.get("/old", (c) => c.redirect("/page", 301));
app.get("/files/*", (c) => c.text(`Path: ${c.req.path}`));
app.get("/search", (c) => c.json({ q: c.req.queries("q") ?? [] }));
app.get("/peer", (c) => c.text(getConnInfo(c).remote.address ?? "unknown"));
app.get("/admin/secret", (c) => c.text("For the admin alone"));
app.route("/api", api);

app.get("/visits", async (c) => {
  const visits = Number(getCookie(c, "visits") ?? 0) + 1;
  const user = await getSignedCookie(c, COOKIE_SECRET, "user");
  setCookie(c, "visits", String(visits), { httpOnly: true, sameSite: "Lax" });
  return c.json({ visits, user: user || null });
});
app.post("/login", async (c) => {
  const { user } = await c.req.parseBody();
  if (typeof user !== "string") {
    throw new HTTPException(400, { message: "user is missing" });
  }
  await setSignedCookie(c, "user", user, COOKIE_SECRET, { path: "/" });
  return c.redirect("/visits", 303);
});
app.post("/logout", (c) => {
  deleteCookie(c, "user");
  return c.body(null, 204);
});
app.post("/upload", async (c) => {
  const { file } = await c.req.parseBody();
  if (!(file instanceof File)) return c.text("No file", 400);
  return c.json({ name: file.name, type: file.type, size: file.size });
});

app.get("/count", (c) =>
  streamText(c, async (stream) => {
    for (let count = 1; count <= 3; count++) {
      await stream.writeln(String(count));
      await stream.sleep(10);
    }
  }));
app.get("/events", (c) =>
  streamSSE(c, async (stream) => {
    for (const { id, ...entry } of entries) {
      await stream.writeSSE({
        id: String(id),
        event: "entry",
        data: JSON.stringify(entry),
      });
    }
  }));

// Not upgradeWebSocket() of hono/deno, which needs Deno.serve.
app.get("/ws", (c) => echo.upgrade(c.req.raw));

app.get("/fail", () => {
  throw new Error("This route fails");
});
app.notFound((c) => c.json({ error: `No ${c.req.path}` }, 404));
app.onError((error, c) => {
  if (error instanceof HTTPException) return error.getResponse();
  return c.json({ error: error.message }, 500);
});

if (import.meta.main) {
  const port = Number(Deno.args[0] ?? DEFAULT_PORT);
  serve({ hostname: "127.0.0.1", port, compress: true }, app.fetch);
}
