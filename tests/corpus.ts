// SPDX-License-Identifier: Apache-2.0
// corpus.ts - reads tests/corpus: raw requests and what has to become of them
// (tests/corpus/README.md).

import { latin1 } from "./testing.ts";

/** A request that the handler is given. */
export interface CorpusRequest {
  method: string;
  target: string;
  url: string;
  fields: [name: string, value: string][];
  /** One character for each byte. */
  body: string;
  /** The rest of the body does not come. */
  broken: boolean;
  statuses: number[];
}

export interface CorpusEntry {
  id: string;
  rule: string;
  bytes: Uint8Array<ArrayBuffer>;
  requests: CorpusRequest[];
  /** Status of a refusal, 0 without one. */
  refusal: number;
  /** Name of the violation of a refusal. */
  violation: string;
  end: "open" | "close" | "more";
}

const DIRECTORY = new URL("corpus/", import.meta.url);

/** Names of the files, without their directory. */
export function corpusFiles(): string[] {
  return [...Deno.readDirSync(DIRECTORY)].map(({ name }) => name)
    .filter((name) => name.endsWith(".txt")).sort();
}

/** The entries of one file. Throws where it breaks the rules of its format. */
export function readCorpus(file: string): CorpusEntry[] {
  const lines = Deno.readTextFileSync(new URL(file, DIRECTORY)).split("\n");
  const entries: CorpusEntry[] = [];
  let sent = "";
  let ended = true;
  for (const [at, line] of lines.entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const entry = entries.at(-1);
    if (line.startsWith("@ ")) {
      if (!ended) throw new Error(`${file}:${at}: the entry has no end`);
      const [id, rule] = line.slice(2).split(" | ") as [string, string];
      entries.push({ ...EMPTY, id, rule, requests: [] });
      sent = "";
      ended = false;
    } else if (entry === undefined || ended) {
      throw new Error(`${file}:${at + 1}: outside of an entry`);
    } else if (line.startsWith("| ")) {
      sent += line.slice(2);
    } else {
      expect(entry, line, `${file}:${at + 1}`);
      ended = /^(!|open$|close$|more$)/.test(line);
      if (ended) entry.bytes = latin1(unescape(sent));
    }
  }
  if (!ended) throw new Error(`${file}: the last entry has no end`);
  return entries;
}

const EMPTY: CorpusEntry = {
  id: "",
  rule: "",
  bytes: new Uint8Array(0),
  requests: [],
  refusal: 0,
  violation: "",
  end: "close",
};

function expect(entry: CorpusEntry, line: string, where: string): void {
  const mark = line.split(" ", 1)[0]!;
  const text = line.slice(mark.length + 1);
  const request = entry.requests.at(-1);
  if (mark === "open" || mark === "close" || mark === "more") {
    entry.end = mark;
  } else if (mark === "!") {
    entry.refusal = Number(text.slice(0, 3));
    entry.violation = text.slice(4);
  } else if (mark === ">") {
    entry.requests.push(requestOf(unescape(text)));
  } else if (request !== undefined) {
    ofRequest(request, mark, text, where);
  } else throw new Error(`${where}: cannot read ${line}`);
}

function requestOf(text: string): CorpusRequest {
  const space = text.indexOf(" ");
  const target = text.slice(space + 1);
  return {
    method: text.slice(0, space),
    target,
    url: `http://a${target}`,
    fields: [],
    body: "",
    broken: false,
    statuses: [],
  };
}

function ofRequest(
  request: CorpusRequest,
  mark: string,
  text: string,
  where: string,
): void {
  if (mark === "=" || mark === "~") {
    request.body = unescape(text);
    request.broken = mark === "~";
  } else if (mark === "<") {
    request.statuses.push(Number(text));
  } else if (mark === "url") {
    request.url = unescape(text);
  } else if (mark === ":") {
    const field = unescape(text);
    const colon = field.indexOf(":");
    request.fields.push([field.slice(0, colon), field.slice(colon + 2)]);
  } else throw new Error(`${where}: unknown mark ${mark}`);
}

/** Bytes as the corpus writes them, one character for each. */
export function unescape(text: string): string {
  return text.replace(
    /\\\{(\d+) ([^}]*)\}|\\x([0-9a-f]{2})|\\(.)/g,
    (_all, count, repeated, hex, letter) => {
      if (count !== undefined) return unescape(repeated).repeat(Number(count));
      if (hex !== undefined) return String.fromCharCode(parseInt(hex, 16));
      const byte = ({ r: "\r", n: "\n", t: "\t" } as Record<string, string>)[
        letter
      ];
      return byte ?? letter;
    },
  );
}
