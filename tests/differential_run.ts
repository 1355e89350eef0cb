// SPDX-License-Identifier: Apache-2.0
// differential_run.ts - runs one row of the differential tables against one
// server and writes down what came back.

import { serve } from "../mod.ts";
import type { BackendName } from "../mod.ts";
import type { Handler, Row } from "./differential_rows.ts";
import { Wire } from "./differential_wire.ts";
import { deadline, fromLatin1, quiet, withoutErrors } from "./testing.ts";

export type ServerKind = "Deno.serve" | BackendName;

/** For all of a row; none takes a hundredth of it. */
const ROW_MS = 5_000;

const PROBE = "PROBE /probe HTTP/1.1\r\nHost: probe\r\n\r\n";
const REQUEST_LINE = /^([A-Z]+) \S+ HTTP\/1\.[01]\r?$/gm;
const DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

interface Server {
  readonly addr: Deno.NetAddr;
  shutdown(): Promise<unknown>;
}

interface Reply {
  status: number;
  lines: string[];
  /** The connection ended with the response, or before. */
  last: boolean;
  text: string;
}

/**
 * What a row's requests were answered with, line by line: of each response the
 * status line, the fields by name, the framing and the body; at last whether
 * the connection is still good for another request. Lines of a second response
 * begin with "2: ", and so on.
 */
export async function transcribe(
  row: Row,
  kind: ServerKind,
): Promise<string[]> {
  const lines: string[] = [];
  // What they log cannot be compared: Deno.serve has a console of its own.
  await withoutErrors(async () => {
    const server = start(row, kind);
    try {
      lines.push(...await converse(row, server));
    } finally {
      await deadline(server.shutdown(), "shutdown");
    }
  });
  return lines;
}

function start(row: Row, kind: ServerKind): Server {
  const handler = row.setup === undefined ? row.handler : row.setup();
  const handle: Handler = (request, info) =>
    request.method === "PROBE" ? new Response("probe") : handler(request, info);
  const options = {
    hostname: "127.0.0.1",
    port: 0,
    onListen: quiet,
    ...(row.onError === undefined ? {} : { onError: row.onError }),
  };
  if (kind === "Deno.serve") return Deno.serve(options, handle);
  const server = serve({ ...options, backend: kind }, handle);
  return {
    addr: server.addr as Deno.NetAddr,
    shutdown: () => server.shutdown({ timeout: 1 }),
  };
}

async function converse(row: Row, server: Server): Promise<string[]> {
  const { hostname, port: number } = server.addr;
  const client = new Wire(await Deno.connect({ hostname, port: number }));
  const talk = new Conversation(client, row).run();
  try {
    const lines = await deadline(talk, row.name, ROW_MS);
    const port = `:${number}`;
    return withoutBoundary(
      lines.map((line) => line.replaceAll(port, ":PORT")),
    );
  } finally {
    client.close();
    await talk.catch(() => {});
  }
}

/** What is said on one connection. */
class Conversation {
  readonly #client: Wire;
  readonly #row: Row;
  readonly #methods: string[];
  readonly #lines: string[] = [];
  #replies = 0;
  #finals = 0;
  #open = true;
  #ended = false;
  #more = false;

  constructor(client: Wire, row: Row) {
    this.#client = client;
    this.#row = row;
    const sent = [row.send].flat().join("");
    this.#methods = Array.from(sent.matchAll(REQUEST_LINE), (m) => m[1]!);
  }

  async run(): Promise<string[]> {
    const { send, fin, responses = 1 } = this.#row;
    const pieces = [send].flat();
    for (const [at, piece] of pieces.entries()) {
      await this.#client.write(piece);
      this.#more = at < pieces.length - 1;
      if (this.#more) await this.#next();
      if (this.#finals > 0 || !this.#open) break;
    }
    if (fin) await this.#end();
    while (this.#open && this.#finals < responses) await this.#next();
    if (!this.#ended) await this.#probe();
    else while (this.#open) await this.#next();
    return this.#lines;
  }

  async #end(): Promise<void> {
    this.#ended = true;
    await this.#client.closeWrite();
  }

  // Whether the connection is still good: one more request tells.
  async #probe(): Promise<void> {
    if (this.#open) {
      this.#methods.length = this.#finals;
      await this.#client.write(PROBE);
    }
    while (this.#open) {
      const reply = await this.#read();
      if (reply === null) break;
      if (reply.text === "probe") {
        this.#lines.push("connection: open");
        return;
      }
      this.#note(reply);
    }
    this.#lines.push("connection: closed");
  }

  async #next(): Promise<void> {
    const reply = await this.#read();
    if (reply !== null) this.#note(reply);
  }

  #note(reply: Reply): void {
    const prefix = this.#replies === 0 ? "" : `${this.#replies + 1}: `;
    this.#replies++;
    const lines = this.#row.refused
      ? [`${Math.floor(reply.status / 100)}xx`]
      : reply.lines;
    this.#lines.push(...lines.map((line) => prefix + line));
    if (reply.status >= 200) this.#finals++;
  }

  async #read(): Promise<Reply | null> {
    const method = this.#methods[this.#finals] ?? "GET";
    const head = await this.#client.through("\r\n\r\n");
    if (head === null) {
      this.#open = false;
      const rest = fromLatin1(await this.#client.atMost(Infinity));
      if (rest !== "") this.#lines.push(`rest: ${JSON.stringify(rest)}`);
      return null;
    }
    // A final answer, and the body is still here: it will not be sent.
    if (this.#more && !head.startsWith("HTTP/1.1 1")) await this.#end();
    const reply = await readReply(this.#client, head, method);
    if (reply.last) this.#open = false;
    return reply;
  }
}

async function readReply(
  client: Wire,
  head: string,
  method: string,
): Promise<Reply> {
  const [first, ...fields] = head.slice(0, -4).split("\r\n");
  const status = Number(first!.split(" ")[1]);
  const value = (name: string): string | null => {
    const line = fields.find((f) => f.toLowerCase().startsWith(`${name}:`));
    return line === undefined ? null : line.slice(name.length + 1).trim();
  };
  const lines = [first!, ...fields.map(normalized).sort(byName)];
  const coding = value("transfer-encoding");
  const length = value("content-length");
  let body: Body = { text: "", cut: false };
  let framing = "none";
  if (!isBodyless(method, status)) {
    if (coding === "chunked") {
      framing = coding;
      body = await readChunks(client);
    } else if (length !== null) {
      framing = "content-length";
      body = await readBytes(client, Number(length));
    } else if (status !== 205) {
      framing = "close";
      body = { ...await readBytes(client, Infinity), cut: false };
    }
  }
  const { text, cut } = body;
  if (framing !== "none") {
    lines.push(`framing: ${framing}`);
    lines.push(`body: ${JSON.stringify(text)}${cut ? " cut" : ""}`);
  }
  return { status, lines, last: cut || framing === "close", text };
}

interface Body {
  text: string;
  /** The connection ended before the body did. */
  cut: boolean;
}

function isBodyless(method: string, status: number): boolean {
  return method === "HEAD" || status < 200 || status === 204 || status === 304;
}

async function readBytes(client: Wire, length: number): Promise<Body> {
  const text = fromLatin1(await client.atMost(length));
  return { text, cut: text.length < length };
}

async function readChunks(client: Wire): Promise<Body> {
  let text = "";
  for (;;) {
    const line = await client.through("\r\n");
    if (line === null) return { text, cut: true };
    const size = parseInt(line, 16);
    if (Number.isNaN(size)) throw new Error(`Bad chunk size ${line}`);
    const chunk = await readBytes(client, size + 2);
    if (chunk.cut) return { text: text + chunk.text, cut: true };
    text += chunk.text.slice(0, -2);
    if (size === 0) return { text, cut: false };
  }
}

function normalized(line: string): string {
  const name = nameOf(line);
  const value = line.slice(line.indexOf(":") + 1).trim();
  if (name === "date" && DATE.test(value)) return "date: (now)";
  return `${name}: ${value}`;
}

// The case of a name means nothing: Deno.serve keeps that of the handler.
function nameOf(line: string): string {
  return line.slice(0, line.indexOf(":")).toLowerCase();
}

// Keeps the order of fields with the same name, which has a meaning.
function byName(a: string, b: string): number {
  const [left, right] = [nameOf(a), nameOf(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

// A boundary is made up for every form.
function withoutBoundary(lines: string[]): string[] {
  const found = lines.map((line) => /boundary=([\w-]+)/.exec(line)?.[1])
    .filter((boundary) => boundary !== undefined);
  return lines.map((line) =>
    found.reduce((text, one) => text.replaceAll(one, "BOUNDARY"), line)
  );
}
