// SPDX-License-Identifier: Apache-2.0
// Tests of what a server makes of the raw requests in tests/corpus, however
// their bytes are cut. tests/c/corpus_test.c does the same with the shim alone,
// cut at every byte.

import { assert, assertEquals } from "@std/assert";
import { layout } from "../ffi/mod.ts";
import { violationText } from "../lib/violations.ts";
import { type CorpusEntry, corpusFiles, readCorpus } from "./corpus.ts";
import {
  byteByByte,
  cutsOf,
  inSteps,
  type Play,
  playAll,
  type Player,
  whole,
} from "./player.ts";
import {
  type Context,
  fromLatin1,
  latin1,
  type TcpServer,
  testBackends,
} from "./testing.ts";

const PROBE = "GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const PROBED = {
  method: "GET",
  url: "http://a/probe",
  fields: [] as [string, string][],
  body: "",
};

/** The limits that the corpus speaks of; no timeouts, as the pieces take as long as they take. */
const OPTIONS = {
  maxHeadBytes: 16384,
  maxTargetBytes: 8192,
  maxHeaderFields: 100,
  maxBodyBytes: 64 * 1024 * 1024,
  headTimeout: 0,
  bodyTimeout: 0,
  idleTimeout: 0,
  stallTimeout: 0,
};

interface Seen {
  method: string;
  url: string;
  headers: Headers;
  body: string | null;
}

function startServer(
  context: Context,
  seen: Map<number, Seen[]>,
): TcpServer {
  return context.serve(async (request, { remoteAddr }) => {
    const { method, url, headers } = request;
    const one: Seen = { method, url, headers, body: null };
    const list = seen.get(remoteAddr.port);
    if (list === undefined) seen.set(remoteAddr.port, [one]);
    else list.push(one);
    try {
      one.body = fromLatin1(await request.bytes());
    } catch {
      return new Response("cut", { status: 500 });
    }
    return new Response("ok", { status: method === "CONNECT" ? 405 : 200 });
  }, OPTIONS);
}

async function finish(player: Player<CorpusEntry>): Promise<void> {
  const { entry } = player.play;
  if (entry.end === "open") await player.write(latin1(PROBE));
  if (entry.end === "more") await player.conn.closeWrite();
  await player.done;
}

/** What a play came to, in the words of the corpus. */
function outcome(
  player: Player<CorpusEntry>,
  seen: Map<number, Seen[]>,
): unknown {
  const { entry } = player.play;
  const requests = (seen.get(player.port) ?? []).map((request, at) => ({
    method: request.method,
    url: request.url,
    fields: (entry.requests[at]?.fields ?? []).map((
      [name],
    ) => [name, request.headers.get(name)]),
    body: request.body,
  }));
  const { received, reset } = player;
  const methods = entry.requests.map(({ method }) => method);
  const last = received.slice(received.lastIndexOf("\r\n\r\n") + 4);
  const refusal = entry.refusal === 0 ? "" : last;
  return {
    statuses: statusesOf(received, methods),
    requests,
    refusal,
    reset,
  };
}

function expectedOutcome(entry: CorpusEntry, server: TcpServer): unknown {
  const own = `localhost:${server.addr.port}`;
  const requests = entry.requests.map((request) => {
    const { method, url, fields, body, broken } = request;
    // The Fetch standard shows no body of these, which are framed all the same.
    const hidden = ["GET", "HEAD", "CONNECT"].includes(method);
    const shown = broken ? null : body;
    return {
      method,
      url: url.replace("{server}", own),
      fields,
      body: hidden ? "" : shown,
    };
  });
  if (entry.end === "open") requests.push(PROBED);
  return {
    statuses: expectedStatuses(entry),
    requests,
    refusal: entry.refusal === 0 ? "" : textOf(entry.violation),
    reset: false,
  };
}

function textOf(violation: string): string {
  const numbers: Record<string, unknown> = { ...layout };
  return violationText(Number(numbers[violation]));
}

/** All that the server sends, in order. */
function expectedStatuses(entry: CorpusEntry): number[] {
  const statuses: number[] = [];
  for (const request of entry.requests) {
    if (request.statuses.length > 0) statuses.push(...request.statuses);
    else if (!request.broken) statuses.push(200);
    // The handler's own answer to a body that its client has cut off.
    else if (entry.end === "more") statuses.push(500);
  }
  if (entry.refusal !== 0) statuses.push(entry.refusal);
  if (entry.end === "open") statuses.push(200);
  return statuses;
}

/**
 * Statuses of all that was received, or what is wrong with it: each response has
 * a date and is framed as its request wants it, without a byte between them.
 */
function statusesOf(
  received: string,
  methods: readonly string[],
): number[] | string {
  const statuses: number[] = [];
  let at = 0;
  let final = 0;
  while (at < received.length) {
    const end = received.indexOf("\r\n\r\n", at) + 4;
    const [line = "", ...fields] = received.slice(at, end - 4).split("\r\n");
    const status = Number(/^HTTP\/1\.1 (\d{3}) [ -~]+$/.exec(line)?.[1]);
    if (end < at || !(status >= 100)) return garbled(received, at);
    statuses.push(status);
    at = end;
    if (status < 200) {
      if (fields.length > 0) return garbled(received, at);
      continue;
    }
    const field = (name: string): string | undefined =>
      fields.find((line) => line.startsWith(`${name}: `))?.slice(
        name.length + 2,
      );
    if (!field("date")?.endsWith(" GMT")) return garbled(received, at);
    const length = Number(field("content-length"));
    if (!(length > 0)) return garbled(received, at);
    if (methods[final++] !== "HEAD") at += length;
    if (at > received.length) return garbled(received, at);
  }
  return statuses;
}

function garbled(received: string, at: number): string {
  return `no response at ${at} of ${JSON.stringify(received)}`;
}

async function runAll(
  context: Context,
  plays: Play<CorpusEntry>[],
): Promise<void> {
  const seen = new Map<number, Seen[]>();
  const server = startServer(context, seen);
  const failures = await playAll(server, plays, {
    begin: () => seen.clear(),
    finish,
    outcome: (player) => ({
      actual: outcome(player, seen),
      expected: expectedOutcome(player.play.entry, server),
    }),
  });
  assertEquals(failures, []);
}

for (const file of corpusFiles()) {
  const entries = readCorpus(file);

  testBackends(`${file} of the corpus, whole`, async (context) => {
    await runAll(context, entries.map(whole));
  });

  testBackends(`${file} of the corpus, byte by byte`, async (context) => {
    await runAll(context, entries.map(byteByByte));
  });

  // tests/c/corpus_test.c cuts at every byte, not at every third.
  testBackends(`${file} of the corpus, cut in two`, async (context) => {
    await runAll(
      context,
      entries.flatMap((entry, index) =>
        cutsOf(entry, 3, index).map((cut) =>
          inSteps(entry, cut, entry.bytes.length)
        )
      ),
    );
  });
}

Deno.test("every rule that shows in the bytes of a request has entries, and ids are unique", () => {
  const all = corpusFiles().flatMap(readCorpus);
  const rules = new Set(
    all.flatMap(({ rule }) => rule.match(/H\d+/g) ?? []),
  );
  // What handlers put into fields (H33) and the half-closing client (H37) are not in the bytes of a request.
  for (const elsewhere of [33, 37]) rules.add(`H${elsewhere}`);
  for (let rule = 1; rule <= 39; rule++) {
    assert(rules.has(`H${rule}`), `H${rule}`);
  }
  assertEquals(new Set(all.map(({ id }) => id)).size, all.length);
});
