// SPDX-License-Identifier: Apache-2.0
// Tests of Millrace against the real Deno.serve: the same handlers, the same
// bytes, the same answers. What differs is said in the table, with its reason.

import { assert, assertEquals } from "@std/assert";
import { KNOWN_NAMES, ROWS } from "./differential_cases.ts";
import type { Difference, Row } from "./differential_rows.ts";
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

/** The lines of each that the other one has not, in their order. */
function differenceOf(deno: string[], millrace: string[]): Difference {
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

for (const row of ROWS) {
  for (const backend of BACKENDS) {
    Deno.test(`as Deno.serve: ${row.name} (${backend})`, async () => {
      const { deno, millrace } = differenceOf(
        await reference(row),
        await transcribe(row, backend),
      );
      const known = row.differs ?? row.bug;
      if (known === undefined) {
        assertEquals(millrace, deno);
        return;
      }
      const gone = deno.length + millrace.length === 0;
      const field = row.bug === undefined ? "differs" : "bug";
      assert(
        !gone,
        `Nothing differs any more: drop the field \`${field}\` of this row, ` +
          `which says: ${known.why}`,
      );
      assertEquals(
        { deno, millrace },
        { deno: known.deno, millrace: known.millrace },
        `Differs in another way than the field \`${field}\` says: ${known.why}`,
      );
    });
  }
}

Deno.test("as Deno.serve: what is known to differ is in the table", () => {
  const names = new Set(ROWS.map(({ name }) => name));
  assertEquals(KNOWN_NAMES.filter((name) => !names.has(name)), []);
  assertEquals(KNOWN_NAMES.length, new Set(KNOWN_NAMES).size);
});

Deno.test("as Deno.serve: no row has the name of another", () => {
  const names = ROWS.map(({ name }) => name);
  assertEquals(names.length, new Set(names).size);
});
