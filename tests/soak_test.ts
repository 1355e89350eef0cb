// SPDX-License-Identifier: Apache-2.0
// A soak of seconds, so that `deno task soak` works when it is needed, and tests of what it holds to be wrong.

import { assertEquals } from "@std/assert";
import { judge, soak, type SoakResult } from "./soak_run.ts";
import type { Sample } from "./soak_server.ts";
import { BACKENDS, deadline } from "./testing.ts";

const MIB = 2 ** 20;
/** Clients that were slow to leave included; only a hung soak takes as long. */
const SOAK_MS = 120_000;

for (const backend of BACKENDS) {
  Deno.test(`a short soak leaves nothing behind (${backend})`, async () => {
    const lines: string[] = [];
    const result = await deadline(
      soak({
        backend,
        seed: 20261120,
        seconds: 4,
        every: 1,
        patience: 2000,
        say: (line) => lines.push(line),
      }),
      "the soak",
      SOAK_MS,
    );
    assertEquals(judge(result), [], lines.join("\n"));
  });
}

function sampleOf(changes: Partial<Sample> = {}): Sample {
  return {
    rss: 100 * MIB,
    heap: 80 * MIB,
    descriptors: { socket: 9 },
    connections: 1,
    blocksFree: 100,
    open: {},
    exhausted: 0,
    overflows: 0,
    acceptErrors: 0,
    timeouts: 1,
    expectedErrors: 1,
    ...changes,
  };
}

function resultOf(changes: Partial<SoakResult>): SoakResult {
  return {
    seconds: 600,
    before: sampleOf({ descriptors: { socket: 7 } }),
    warm: sampleOf(),
    samples: Array.from({ length: 40 }, () => sampleOf()),
    after: sampleOf(),
    tally: { visits: {}, answers: 1, failures: [] },
    ending: {
      code: 0,
      errors: "",
      report: { connections: 0, requests: 0, forced: 0 },
    },
    pause: 0,
    ...changes,
  };
}

Deno.test("a soak after which all is as before is ok", () => {
  assertEquals(judge(resultOf({})), []);
});

Deno.test("a soak that leaves something behind is not", () => {
  const left = (after: Partial<Sample>): string[] =>
    judge(resultOf({ after: sampleOf(after) }));
  assertEquals(left({ connections: 3 }), ["2 connections left"]);
  assertEquals(left({ blocksFree: 98 }), ["98 free blocks instead of 100"]);
  assertEquals(left({ open: { handlers: 2 } }), ["2 of handlers never ended"]);
  assertEquals(left({ exhausted: 1 }), ["1 exhausted"]);
  assertEquals(left({ descriptors: { socket: 10 } }).length, 1);
  assertEquals(left({ heap: 84 * MIB }), [
    "At rest the heap grew from 80.0 MiB to 84.0 MiB",
  ]);
});

Deno.test("a soak during which memory grows is not", () => {
  const growing = (name: "heap" | "rss"): string[] =>
    judge(resultOf({
      samples: Array.from(
        { length: 40 },
        (_, at) => sampleOf({ [name]: (100 + 2 * at) * MIB }),
      ),
    }));
  assertEquals(growing("heap").length, 1);
  assertEquals(growing("rss").length, 1);
});

Deno.test("a soak whose clients or server complain is not", () => {
  const tally = { visits: {}, answers: 0, failures: ["wrong bytes"] };
  assertEquals(judge(resultOf({ tally })), ["wrong bytes"]);
  const report = { connections: 1, requests: 0, forced: 1 };
  for (
    const change of [{ code: 1 }, { errors: "Exception\n" }, { report }]
  ) {
    const ending = { ...resultOf({}).ending, ...change };
    assertEquals(judge(resultOf({ ending })).length, 1);
  }
});
