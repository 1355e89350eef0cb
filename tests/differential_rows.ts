// SPDX-License-Identifier: Apache-2.0
// differential_rows.ts - what a row of the differential tables is made of, and
// short forms of what many of them need.

/** A handler as both servers take it. */
export type Handler = (
  request: Request,
  info: { readonly remoteAddr: Deno.Addr; readonly completed: Promise<void> },
) => Response | Promise<Response>;

/** Lines of the transcripts (tests/differential_run.ts) that only one has. */
export interface Difference {
  deno: string[];
  millrace: string[];
}

/** One request, or a few on one connection, and what answers them. */
export interface Row {
  name: string;
  handler: Handler;
  /** Makes the handler anew for every run, where it has a state. */
  setup?: () => Handler;
  onError?: (error: unknown) => Response | Promise<Response>;
  /**
   * The bytes, one for each character. Of several pieces the next is sent once
   * a response has come, and not after a final one.
   */
  send: string | string[];
  /** Final responses to read before the connection is tried; 1 if not given. */
  responses?: number;
  /** The client ends its direction after the request (FIN). */
  fin?: boolean;
  /** Compares only the class of the status and the fate of the connection. */
  refused?: boolean;
  /** A difference that is meant to be, and why. */
  differs?: Difference & { why: string };
}

/** One reason to differ, with all rows that do. */
export interface Known {
  why: string;
  differences: (Difference & { rows: string[] })[];
}

/** A request of any method with a Host. */
export function req(
  method: string,
  target: string,
  fields: string = "",
  body: string = "",
): string {
  return `${method} ${target} HTTP/1.1\r\nHost: test\r\n${fields}\r\n${body}`;
}

/** A GET with a Host. */
export function get(target: string = "/", fields: string = ""): string {
  return req("GET", target, fields);
}

/** A POST with Content-Length. */
export function post(body: string, fields: string = ""): string {
  return req("POST", "/", `Content-Length: ${body.length}\r\n${fields}`, body);
}

/** A POST in chunks. */
export function chunked(parts: string[], fields: string = ""): string {
  const chunks = parts.map((part) =>
    `${part.length.toString(16)}\r\n${part}\r\n`
  );
  return req(
    "POST",
    "/",
    `Transfer-Encoding: chunked\r\n${fields}`,
    chunks.join("") + "0\r\n\r\n",
  );
}

/** Answers with what it sees of the request, without the body. */
export function show(request: Request): Response {
  const { method, url } = request;
  return answer({ method, url, headers: [...request.headers] });
}

export function showUrl(request: Request): Response {
  return new Response(request.url);
}

export function hello(): Response {
  return new Response("hello");
}

/** A response that says what was found out, as JSON. */
export function answer(value: unknown): Response {
  return new Response(JSON.stringify(value));
}

/** Class and message of what an action throws or rejects with, else its value. */
export async function outcome(action: () => unknown): Promise<unknown> {
  try {
    return (await action()) ?? null;
  } catch (error) {
    return error instanceof Error
      ? `${error.constructor.name}: ${error.message}`
      : `thrown ${error}`;
  }
}

/** Throws what is no error, too. */
export function raise(value: unknown): never {
  throw value;
}

/** A stream of these pieces, one for each pull. */
export function streamOf(...pieces: string[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let next = 0;
  return new ReadableStream({
    pull(controller): void {
      if (next === pieces.length) controller.close();
      else controller.enqueue(encoder.encode(pieces[next++]));
    },
  });
}

/** A row whose request is a plain GET. */
export function responding(
  name: string,
  handler: Handler,
  more: Partial<Row> = {},
): Row {
  return { name, handler, send: get(), ...more };
}

/** A row that answers HEAD. */
export function heading(
  name: string,
  handler: Handler,
  more: Partial<Row> = {},
): Row {
  return { name, handler, send: req("HEAD", "/"), ...more };
}

/** The lines of each that the other one has not, in their order. */
export function differenceOf(deno: string[], millrace: string[]): Difference {
  return { deno: without(deno, millrace), millrace: without(millrace, deno) };
}

function without(lines: string[], others: string[]): string[] {
  const left = [...others];
  return lines.filter((line) => {
    const at = left.indexOf(line);
    if (at !== -1) left.splice(at, 1);
    return at === -1;
  });
}
