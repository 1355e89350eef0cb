// SPDX-License-Identifier: Apache-2.0
// target.ts - where the load goes: reads URLs, and header fields; used by options.ts and the *_wire.ts.

import type { StressKind } from "./options.ts";

/** Where to connect to. */
export interface Target {
  /** The URL, in full. */
  url: string;
  /** Whether it is no Unix socket. */
  isIp: boolean;
  /** What `connect()` takes; null where a client takes the URL itself. */
  place: { hostname: string; port: number } | { path: string } | null;
}

const EXAMPLES: Record<StressKind, string> = {
  ws: "ws://localhost:9001/ws",
  http: "http://localhost:9001/",
  tcp: "tcp://localhost:7000 or unix:/run/server.sock",
  rpc: "tcp://localhost:8081, ws://localhost:8082/ or unix:/run/server.sock",
};

const SCHEMES: Record<StressKind, string[]> = {
  ws: ["ws:"],
  http: ["http:"],
  tcp: ["tcp:", "unix:"],
  rpc: ["tcp:", "ws:", "unix:"],
};

const DEFAULT_PORT = 80;

/** Reads a URL. Throws a SyntaxError that says what is wrong with it. */
export function targetOf(kind: StressKind, text: string): Target {
  const wrong = (why: string): SyntaxError =>
    new SyntaxError(
      `Cannot run the load: ${
        JSON.stringify(text)
      } is no URL for ${kind}, such as ${EXAMPLES[kind]}: ${why}`,
    );
  const scheme = /^[a-z]+:/i.exec(text)?.[0].toLowerCase() ?? "";
  if (scheme === "https:" || scheme === "wss:") {
    throw wrong("Millrace's clients have no TLS; aim at what is behind it");
  }
  if (!SCHEMES[kind].includes(scheme)) {
    throw wrong(`it has to begin with ${SCHEMES[kind].join(" or ")}`);
  }
  if (scheme === "unix:") return unixTarget(text, wrong);
  const url = URL.parse(text);
  if (url === null || url.hostname === "") throw wrong("it has no host");
  if (url.username !== "" || url.password !== "") {
    throw wrong("it has a user; give a header field instead");
  }
  if (url.hash !== "") throw wrong("a fragment is never sent");
  if (scheme === "ws:") return { url: url.href, isIp: true, place: null };
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (scheme === "tcp:") {
    if (url.port === "") throw wrong("it has no port");
    if (url.pathname.length > 1 || url.search !== "") {
      throw wrong("a socket has no path");
    }
  }
  const port = url.port === "" ? DEFAULT_PORT : Number(url.port);
  return { url: url.href, isIp: true, place: { hostname, port } };
}

/** Header fields as pairs. Throws a TypeError for what is none. */
export function headersOf(init: HeadersInit | undefined): [string, string][] {
  return [...new Headers(init)];
}

function unixTarget(text: string, wrong: (why: string) => Error): Target {
  const path = text.slice("unix:".length);
  if (path === "") throw wrong("it has no path");
  return { url: text, isIp: false, place: { path } };
}
