// SPDX-License-Identifier: Apache-2.0
// Tests of the list of rules itself: every section has some, and every rule
// has tests that there are.

import { assert, assertEquals } from "@std/assert";
import { CORPUS_FILES, readWebSocketCorpus } from "./websocket_corpus.ts";
import { GENERATED } from "./websocket_generated.ts";
import { HANDSHAKES } from "./websocket_handshakes.ts";
import { RESPONSES } from "./websocket_responses.ts";
import { RULES, SECTIONS } from "./websocket_rules.ts";

const DIRECTORY = new URL(".", import.meta.url);

/** Names of the tests that run on both backends. */
function testNames(): string[] {
  return [...Deno.readDirSync(DIRECTORY)].filter(({ name }) =>
    name.endsWith("_test.ts")
  ).flatMap(({ name }) => {
    const text = Deno.readTextFileSync(new URL(name, DIRECTORY));
    return [...text.matchAll(/^testBackends\(\s*"([^"]+)"/gm)].map(([, name]) =>
      name!
    );
  });
}

const ENTRIES = [
  ...CORPUS_FILES.flatMap((file) => [
    ...readWebSocketCorpus(file),
    ...(file === "client.txt" ? readWebSocketCorpus(file, "client") : []),
  ]),
  ...GENERATED.flatMap(({ entries }) => entries()),
];
const IDS = [...ENTRIES, ...HANDSHAKES].map(({ id }) => id);

function isNamed(test: string, names: readonly string[]): boolean {
  return test.endsWith("*")
    ? names.some((name) => name.startsWith(test.slice(0, -1)))
    : names.includes(test);
}

Deno.test("every section with a MUST has rules, and no other", () => {
  const sections = [...new Set(RULES.map(({ section }) => section))];
  assertEquals(sections.toSorted(), [...SECTIONS].toSorted());
});

Deno.test("every rule has tests that there are", () => {
  const answers = RESPONSES.map(({ id }) => id);
  const names = [...IDS, ...answers, ...testNames()];
  const missing = RULES.flatMap(({ section, tests }) =>
    tests.filter((test) => !isNamed(test, names)).map((test) => [section, test])
  );
  assertEquals(missing, []);
  assert(RULES.every(({ tests }) => tests.length > 0));
});

Deno.test("every entry and every handshake has a rule", () => {
  const patterns = RULES.flatMap(({ tests }) => tests);
  const orphans = IDS.filter((id) =>
    !patterns.some((pattern) => isNamed(pattern, [id]))
  );
  // Of the 5001 codes, and of the characters, those at the ends of ranges stand for all.
  const expected = /^(close-code-\d+|utf8-[0-9a-f]+.*)$/;
  assertEquals(orphans.filter((id) => !expected.test(id)), []);
});

Deno.test("identifiers are unique", () => {
  const all = [...IDS, ...RESPONSES.map(({ id }) => id)];
  const twice = all.filter((id, at) => all.indexOf(id) !== at);
  assertEquals(twice, []);
});
