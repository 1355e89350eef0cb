// SPDX-License-Identifier: Apache-2.0
// differential_websocket_run.ts - runs one case of upgradeWebSocket() against
// one server and writes down what either side has seen.

import { serve, upgradeWebSocket } from "../mod.ts";
import type { ServerKind } from "./differential_run.ts";
import { Wire } from "./differential_wire.ts";
import {
  deadline,
  fromLatin1,
  latin1,
  quiet,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";
import {
  CLOSE,
  closePayload,
  frame,
  type FrameInit,
  handshake,
} from "./ws_client.ts";

export type Upgrade = typeof Deno.upgradeWebSocket;
export type Note = (line: string) => void;

/** One connection: what the server does with its socket, and what its client does. */
export interface SocketCase {
  name: string;
  options?: Deno.UpgradeWebSocketOptions;
  /** Fields of the handshake, in place of the usual ones or beside them. */
  fields?: Record<string, string | null>;
  /** The whole handshake, where fields are not enough. */
  request?: string;
  /** Compares the answer to the handshake, and what the handler has thrown. */
  handshakes?: true;
  /** In place of a handler that upgrades and returns the response. */
  handler?: (
    request: Request,
    upgrade: Upgrade,
    note: Note,
  ) => Response | Promise<Response>;
  /** What the server does with the socket before it is open. */
  server?: (socket: WebSocket, note: Note) => void;
  /** What the client does once the socket is open; then everything up to the end is read. */
  client?: (client: Peer) => Promise<void>;
  /** The client breaks a rule: words, and what it is told of it, are not compared. */
  violates?: true;
}

/** For all of a case; none takes a tenth of it. */
const CASE_MS = 10_000;

const OPCODES: Record<number, string> = {
  0: "continuation",
  1: "text",
  2: "binary",
  8: "close",
  9: "ping",
  10: "pong",
};

/** What server and client of a case have seen. */
export async function transcribeSocket(
  test: SocketCase,
  kind: ServerKind,
): Promise<string[]> {
  const server: string[] = [];
  const client: string[] = [];
  await withoutErrors(async () => {
    const running = start(test, kind, (line) => server.push(`server: ${line}`));
    const { hostname, port } = running.addr;
    const wire = new Wire(await Deno.connect({ hostname, port }));
    try {
      const peer = new Peer(wire, (line) => client.push(`client: ${line}`));
      await deadline(converse(test, peer, server), test.name, CASE_MS);
    } finally {
      wire.close();
      await deadline(running.shutdown(), "shutdown");
    }
  });
  const isCompared = (line: string): boolean =>
    !(test.violates && line.startsWith("client: "));
  return [...server, ...client].filter(isCompared);
}

function start(
  test: SocketCase,
  kind: ServerKind,
  note: Note,
): { addr: Deno.NetAddr; shutdown(): Promise<unknown> } {
  const upgrade: Upgrade = kind === "Deno.serve"
    ? Deno.upgradeWebSocket
    : upgradeWebSocket;
  const watched: Upgrade = (request, options) => {
    const upgraded = upgrade(request, options);
    watch(upgraded.socket, note, test);
    return upgraded;
  };
  const handler = test.handler ?? ((request: Request): Response => {
    const { socket, response } = watched(request, test.options);
    test.server?.(socket, note);
    return response;
  });
  const options = {
    hostname: "127.0.0.1",
    port: 0,
    onListen: quiet,
    onError(error: unknown): Response {
      note(`thrown ${told(error)}`);
      return new Response("error", { status: 500 });
    },
  };
  const handle = (request: Request): Response | Promise<Response> =>
    handler(request, watched, note);
  if (kind === "Deno.serve") return Deno.serve(options, handle);
  const server = serve({ ...options, backend: kind }, handle);
  return {
    addr: server.addr as Deno.NetAddr,
    shutdown: () => server.shutdown({ timeout: 1 }),
  };
}

function watch(socket: WebSocket, note: Note, test: SocketCase): void {
  const log = (line: string): void => note(`${line} (${socket.readyState})`);
  socket.addEventListener("open", () => log("open"));
  socket.addEventListener(
    "message",
    ({ data }) => log(`message ${shown(data)}`),
  );
  socket.addEventListener("error", (event) => {
    const { message, error } = event as ErrorEvent;
    const text = test.violates ? message !== "" : message;
    log(`error ${text} ${error instanceof Error}`);
  });
  socket.addEventListener(
    "close",
    ({ code, reason, wasClean }) =>
      log(`close ${code} "${reason}" ${wasClean ? "clean" : "not clean"}`),
  );
}

async function converse(
  test: SocketCase,
  client: Peer,
  server: string[],
): Promise<void> {
  await client.write(latin1(test.request ?? handshake("/", test.fields)));
  const opened = await client.head(test.handshakes ?? false);
  if (!opened) return;
  await test.client?.(client);
  await client.rest();
  await until(
    () => server.some((line) => line.startsWith("server: close ")),
    "close",
  );
  // Whatever may still follow.
  for (let turns = 0; turns < 3; turns++) await turn();
}

/** The client of a case, which notes what it reads. */
export class Peer {
  readonly #wire: Wire;
  readonly #note: Note;

  constructor(wire: Wire, note: Note) {
    this.#wire = wire;
    this.#note = note;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#wire.write(fromLatin1(bytes));
  }

  send(...frames: FrameInit[]): Promise<void> {
    return this.#wire.write(
      frames.map((init) => fromLatin1(frame(init))).join(""),
    );
  }

  /** Sends a close frame. */
  close(code: number = 1000, reason: string = ""): Promise<void> {
    return this.send({ opcode: CLOSE, payload: closePayload(code, reason) });
  }

  /** FIN. */
  end(): Promise<void> {
    return this.#wire.closeWrite();
  }

  /** The answer to the handshake; false unless it opens the socket. */
  async head(noted: boolean): Promise<boolean> {
    const head = await this.#wire.through("\r\n\r\n");
    const [status = "", ...fields] = (head ?? "").trim().split("\r\n");
    const isOpen = status.startsWith("HTTP/1.1 101");
    if (!noted) return isOpen;
    this.#note(status);
    const shown = fields.filter((field) => /^(sec-|upgrade|x-)/i.test(field));
    for (const field of shown.sort()) this.#note(field);
    return isOpen;
  }

  /** Reads and notes one frame; null at the end. */
  async next(): Promise<FrameInit | null> {
    const start = await this.#wire.atMost(2);
    if (start.length < 2) return null;
    const [first, second] = [start[0]!, start[1]!];
    const short = second & 0x7f;
    const length = short < 126 ? short : Number(
      `0x${hex(await this.#wire.atMost(short === 126 ? 2 : 8))}`,
    );
    const opcode = first & 15;
    const payload = await this.#wire.atMost(length);
    const isText = opcode === 1;
    const content = isText ? JSON.stringify(decoded(payload)) : hex(payload);
    const fin = (first & 0x80) !== 0 ? "" : " more";
    this.#note(`${OPCODES[opcode]} ${content}${fin}`);
    return { opcode, payload };
  }

  /** Reads and notes everything up to the end. */
  async rest(): Promise<void> {
    while (await this.next() !== null);
  }
}

/** What was thrown: its class, its name and, of those with words in common, its message. */
export function told(error: unknown): string {
  const { constructor, name, message } = error as Error;
  return `${constructor.name} ${name}: ${message}`;
}

function shown(data: unknown): string {
  if (typeof data === "string") return JSON.stringify(data);
  if (data instanceof ArrayBuffer) return `<${hex(new Uint8Array(data))}>`;
  return data instanceof Blob ? `Blob of ${data.size}` : Deno.inspect(data);
}

function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

function decoded(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
