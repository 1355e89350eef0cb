// SPDX-License-Identifier: Apache-2.0
// websocket_corpus.ts - reads tests/corpus/websocket: frames and what has to
// become of them (see the README there).

import { layout } from "../ffi/mod.ts";
import { violationText } from "../lib/violations.ts";
import { unescape } from "./corpus.ts";
import { concat, latin1 } from "./testing.ts";
import { frame } from "./ws_client.ts";

/** What an endpoint is told, in the words of the corpus; one character for each byte. */
export type WebSocketEvent = [
  kind: "text" | "binary" | "ping" | "pong",
  payload: string,
];

export type Ending =
  | { how: "open" | "more" }
  | { how: "close" | "fail"; code: number; reason: string };

/** What of permessage-deflate was agreed on; "" is nothing. */
export type Agreement = string;

export interface WebSocketEntry {
  id: string;
  /** Of RFC 6455, or, with a D before it, of RFC 7692. */
  section: string;
  with: Agreement;
  /** What is sent to a server behind the handshake. */
  bytes: Uint8Array<ArrayBuffer>;
  events: WebSocketEvent[];
  ending: Ending;
}

/** What the corpus and the limits of the tests agree on. */
export const CORPUS_LIMITS = { maxMessageBytes: 1000, maxFragments: 8 };

export const CORPUS_FILES = [
  "client.txt",
  "close.txt",
  "deflate.txt",
  "frames.txt",
  "utf8.txt",
];

const DIRECTORY = new URL("corpus/websocket/", import.meta.url);

/** A new entry that is not complete. */
export function entryOf(
  id: string,
  section: string,
  parts: readonly Uint8Array[],
  ending: Ending,
  events: WebSocketEvent[] = [],
  agreement: Agreement = "",
): WebSocketEntry {
  return {
    id,
    section,
    with: agreement,
    bytes: concat(parts),
    events,
    ending,
  };
}

/** The end of a connection that breaks a rule, by the rule's name in c/layout.h. */
export function failing(code: number, violation: string): Ending {
  const number = ({ ...layout } as Record<string, unknown>)[violation];
  if (typeof number !== "number") throw new Error(`No violation ${violation}`);
  return { how: "fail", code, reason: violationText(number) };
}

/** A frame that begins with that byte, as it is sent to a server; without a mask as it is to a client. */
export function frameOf(
  first: number,
  payload: string | Uint8Array,
  masked: boolean = true,
): Uint8Array<ArrayBuffer> {
  return frame({
    masked,
    fin: (first & 0x80) !== 0,
    rsv: first >> 4 & 7,
    opcode: first & 15,
    payload: typeof payload === "string" ? latin1(payload) : payload,
  });
}

/** The same as a server sends it. */
export function withoutMasks(
  entry: WebSocketEntry,
): WebSocketEntry {
  const { bytes } = entry;
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const short = bytes[at + 1]! & 0x7f;
    // No payload is longer than three bytes can say.
    const field = short === 126 ? 2 : 0;
    const length = field === 0 ? short : bytes[at + 2]! << 8 | bytes[at + 3]!;
    const mask = bytes.subarray(at + 2 + field, at + 6 + field);
    const end = Math.min(at + 6 + field + length, bytes.length);
    parts.push(
      Uint8Array.of(bytes[at]!, short),
      bytes.subarray(at + 2, at + 2 + field),
      bytes.slice(at + 6 + field, end).map((byte, i) => byte ^ mask[i & 3]!),
    );
    at = end;
  }
  return { ...entry, bytes: concat(parts) };
}

/**
 * The entries of one file that hold for a server or for a client, with the bytes that it is sent. Throws where the file
 * breaks the rules of its format.
 */
export function readWebSocketCorpus(
  file: string,
  side: "server" | "client" = "server",
): WebSocketEntry[] {
  const text = Deno.readTextFileSync(new URL(file, DIRECTORY));
  const blocks = text.split("\n").filter((line) => !line.startsWith("#"))
    .join("\n").trim().split(/\n\n+/);
  return blocks.flatMap((block) => {
    const forClient = /^side client$/m.test(block);
    // Bytes as they stand have the mask that a server wants.
    const forBoth = !forClient && !/^\| /m.test(block);
    if (side === "client" ? !forClient && !forBoth : forClient) return [];
    try {
      return [readEntry(block.split("\n"), side === "server")];
    } catch (error) {
      throw new Error(`${file}: ${error} in\n${block}`);
    }
  });
}

function readEntry(lines: string[], masked: boolean): WebSocketEntry {
  const head = /^@ ([a-z0-9-]+) \| (D?[0-9.]+) \| \S.*$/.exec(lines[0]!);
  if (head === null) throw new Error("No head");
  const sent: Uint8Array[] = [];
  const events: WebSocketEvent[] = [];
  let agreement = "";
  for (const line of lines.slice(1, -1)) {
    const mark = line.split(" ", 1)[0]!;
    const rest = line.slice(mark.length + 1);
    if (mark === "side") continue;
    if (mark === "with") agreement = rest;
    else if (mark === "|") sent.push(latin1(unescape(rest)));
    else if (mark === "f") {
      const payload = unescape(rest.slice(3));
      sent.push(frameOf(parseInt(rest, 16), payload, masked));
    } else if (mark === ">") events.push(eventOf(rest));
    else throw new Error(`Cannot read ${line}`);
  }
  const ending = endingOf(lines.at(-1)!);
  return entryOf(head[1]!, head[2]!, sent, ending, events, agreement);
}

function eventOf(text: string): WebSocketEvent {
  const [, kind, payload] = /^(text|binary|ping|pong)(?: (.*))?$/.exec(text)!;
  return [kind as WebSocketEvent[0], unescape(payload ?? "")];
}

function endingOf(line: string): Ending {
  if (line === "open" || line === "more") return { how: line };
  const fail = /^! (\d{4}) (\w+)$/.exec(line);
  if (fail !== null) return failing(Number(fail[1]), fail[2]!);
  const [, code, reason] = /^close (\d{4})(?: (.*))?$/.exec(line)!;
  return { how: "close", code: Number(code), reason: unescape(reason ?? "") };
}
