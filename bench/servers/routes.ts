// SPDX-License-Identifier: Apache-2.0
// routes.ts - the HTTP routes that every server of the benchmark offers, in one source so that all do the same
// work. /ws is left to each server.

/** Path of an absolute URL without its query; cheaper than a `URL` object. */
export function pathOf(url: string): string {
  const start = url.indexOf("/", "http://".length);
  const end = url.indexOf("?", start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

/** Answers every route but /ws. */
export function route(url: string): Response | Promise<Response> {
  switch (pathOf(url)) {
    case "/plaintext":
      return new Response("Hello, World!");
    case "/sleep":
      return sleep();
    case "/fetch":
      return fetchText(new URL(url).searchParams.get("url") ?? "");
    default:
      return new Response("Not Found", { status: 404 });
  }
}

async function sleep(): Promise<Response> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  return new Response("slept");
}

async function fetchText(url: string): Promise<Response> {
  const answer = await fetch(url);
  return new Response(await answer.text());
}
