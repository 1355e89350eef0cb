// SPDX-License-Identifier: Apache-2.0
// Tests of Millrace against the real Deno.serve: the same handlers, the same
// bytes, the same answers. What differs is said in the table, with its reason.

import { assert, assertEquals } from "@std/assert";
import { INTENDED, ROWS } from "./differential_cases.ts";
import { INTENDED_SERVERS } from "./differential_intended_servers.ts";
import { differenceOf, type Row } from "./differential_rows.ts";
import { transcribe } from "./differential_run.ts";
import { BACKENDS } from "./testing.ts";

/** What Deno.serve answered, by the name of the row. */
const references = new Map<string, string[]>();

async function reference(row: Row): Promise<string[]> {
  const known = references.get(row.name);
  if (known !== undefined) return known;
  const lines = await transcribe(row, "Deno.serve");
  references.set(row.name, lines);
  return lines;
}

for (const row of ROWS) {
  for (const backend of BACKENDS) {
    Deno.test(`as Deno.serve: ${row.name} (${backend})`, async () => {
      const { deno, millrace } = differenceOf(
        await reference(row),
        await transcribe(row, backend),
      );
      const { differs } = row;
      if (differs === undefined) {
        assertEquals(millrace, deno);
        return;
      }
      assert(
        deno.length + millrace.length > 0,
        `Nothing differs any more, so that this is no reason: ${differs.why}`,
      );
      assertEquals(
        { deno, millrace },
        { deno: differs.deno, millrace: differs.millrace },
        `Differs in another way than is said: ${differs.why}`,
      );
    });
  }
}

Deno.test("as Deno.serve: what is said to differ is in the table", () => {
  const names = new Set(ROWS.map(({ name }) => name));
  const known = INTENDED.flatMap(({ differences }) =>
    differences.flatMap(({ rows }) => rows)
  );
  assertEquals(known.filter((name) => !names.has(name)), []);
  assertEquals(known.length, new Set(known).size);
});

Deno.test("as Deno.serve: the README lists what differs, and nothing else", () => {
  const readme = Deno.readTextFileSync(
    new URL("../README.md", import.meta.url),
  );
  const section = /### In requests, responses and servers\n(.*?)\n##+ /s.exec(
    readme,
  )![1]!;
  const [, ...items] = section.split(/^- /m);
  assertEquals(
    items.map((item) => item.replace(/\s+/g, " ").trim()),
    [...INTENDED, ...INTENDED_SERVERS].map(({ why }) => why),
  );
});

Deno.test("as Deno.serve: no row has the name of another", () => {
  const names = ROWS.map(({ name }) => name);
  assertEquals(names.length, new Set(names).size);
});
