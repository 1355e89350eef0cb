// SPDX-License-Identifier: Apache-2.0
// Tests of upgradeWebSocket() against the real Deno.upgradeWebSocket(): the
// same code on both, the same events and the same frames.

import { assert, assertEquals } from "@std/assert";
import { INTENDED_WEBSOCKETS } from "./differential_intended_websockets.ts";
import { differenceOf } from "./differential_rows.ts";
import { CLOSING_CASES } from "./differential_websocket_closing.ts";
import { HANDSHAKE_CASES } from "./differential_websocket_handshakes.ts";
import { MESSAGE_CASES } from "./differential_websocket_messages.ts";
import {
  type SocketCase,
  transcribeSocket,
} from "./differential_websocket_run.ts";
import { BACKENDS } from "./testing.ts";

const CASES = [...MESSAGE_CASES, ...CLOSING_CASES, ...HANDSHAKE_CASES];

/** What Deno.upgradeWebSocket() came to, by the name of the case. */
const references = new Map<string, Promise<string[]>>();

function reference(test: SocketCase): Promise<string[]> {
  let lines = references.get(test.name);
  if (lines === undefined) {
    lines = transcribeSocket(test, "Deno.serve");
    references.set(test.name, lines);
  }
  return lines;
}

function expected(
  name: string,
): { why: string; deno: string[]; millrace: string[] } | null {
  for (const { why, differences } of INTENDED_WEBSOCKETS) {
    for (const { rows, deno, millrace } of differences) {
      if (rows.includes(name)) return { why, deno, millrace };
    }
  }
  return null;
}

for (const test of CASES) {
  for (const backend of BACKENDS) {
    Deno.test(`as Deno.upgradeWebSocket: ${test.name} (${backend})`, async () => {
      const deno = await reference(test);
      const millrace = await transcribeSocket(test, backend);
      const known = expected(test.name);
      if (known === null) return assertEquals(millrace, deno);
      const { why, ...difference } = known;
      assert(
        difference.deno.length + difference.millrace.length > 0,
        `Nothing differs, so that this is no reason: ${why}`,
      );
      assertEquals(
        differenceOf(deno, millrace),
        difference,
        `Differs in another way than is said: ${why}`,
      );
    });
  }
}

Deno.test("as Deno.upgradeWebSocket: what is said to differ is among the cases", () => {
  const names = CASES.map(({ name }) => name);
  assertEquals(names.length, new Set(names).size);
  const known = INTENDED_WEBSOCKETS.flatMap(({ differences }) =>
    differences.flatMap(({ rows }) => rows)
  );
  assertEquals(known.filter((name) => !names.includes(name)), []);
  assertEquals(known.length, new Set(known).size);
});

Deno.test("as Deno.upgradeWebSocket: the README lists what differs, and nothing else", () => {
  const readme = Deno.readTextFileSync(
    new URL("../README.md", import.meta.url),
  );
  const section = /### In WebSockets\n(.*?)\n##+ /s.exec(readme)![1]!;
  const [, ...items] = section.split(/^- /m);
  assertEquals(
    items.map((item) => item.replace(/\s+/g, " ").trim()),
    INTENDED_WEBSOCKETS.map(({ why }) => why),
  );
});
