// SPDX-License-Identifier: Apache-2.0
// routes.ts - the HTTP routes that every server of the benchmark offers, in one source so that all do the same
// work, and where peers listen. /ws is left to each server.

import process from "node:process";
import { payload } from "./payload.mjs";

/** What servers with a table of routes answer from it in the workloads `static-*`. */
export const STATIC: Record<string, Response> = {
  "/plaintext": new Response("Hello, World!"),
};

const LARGE = payload(1024 * 1024);

/** Path of an absolute URL without its query; cheaper than a `URL` object. */
export function pathOf(url: string): string {
  const start = url.indexOf("/", "http://".length);
  const end = url.indexOf("?", start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

/** Where to listen: with the other threads (workers_peer.ts), or alone on any free port. */
export function sharedPort(): { port: number; reusePort: boolean } {
  const port = process.env.SHARED_PORT;
  return { port: Number(port ?? 0), reusePort: port !== undefined };
}

/** Answers every route but /ws. */
export function route(request: Request): Response | Promise<Response> {
  switch (pathOf(request.url)) {
    case "/plaintext":
      return new Response("Hello, World!");
    case "/json":
      return json();
    case "/echo":
      return echo(request);
    case "/download":
      return new Response(LARGE);
    case "/upload":
      return upload(request);
    case "/sleep":
      return sleep();
    case "/fetch":
      return fetchText(new URL(request.url).searchParams.get("url") ?? "");
    default:
      return new Response("Not Found", { status: 404 });
  }
}

// Three fields beside the content-type that Response.json() gives.
function json(): Response {
  return Response.json({ message: "Hello, World!" }, {
    headers: {
      "cache-control": "no-store",
      "x-request-id": "4f9c1d2e",
      "x-content-type-options": "nosniff",
    },
  });
}

// The whole body, so that all servers answer with its length; a stream that is passed on would come in chunks.
async function echo(request: Request): Promise<Response> {
  return new Response(await request.bytes());
}

async function upload(request: Request): Promise<Response> {
  const bytes = await request.bytes();
  return new Response(String(bytes.length));
}

async function sleep(): Promise<Response> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  return new Response("slept");
}

async function fetchText(url: string): Promise<Response> {
  const answer = await fetch(url);
  return new Response(await answer.text());
}
