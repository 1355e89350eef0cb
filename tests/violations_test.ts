// SPDX-License-Identifier: Apache-2.0
// Tests of lib/violations.ts. That none is missing is tested in tidy_test.ts.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { layout } from "../ffi/mod.ts";
import { violationText } from "../lib/violations.ts";

const LAST = layout.RESPONSE_TOO_LARGE;

Deno.test("violationText() has words for a person", () => {
  assertEquals(
    violationText(layout.BAD_HOST),
    "missing, repeated or malformed Host",
  );
  assertEquals(violationText(layout.WS_BAD_UTF8), "text is not UTF-8");
});

Deno.test("violationText() fits into a close frame and a line", () => {
  let known = 0;
  for (let violation = 1; violation <= LAST; violation++) {
    const text = violationText(violation);
    if (text.startsWith("violation ")) continue;
    known++;
    assertMatch(text, /^[a-zA-Z][ -~]*[a-zA-Z0-9]$/);
    assert(text.length <= 123, text);
  }
  assert(known > 30, `${known}`);
});

Deno.test("violationText() has a number for what it does not know", () => {
  for (const unknown of [0, LAST + 1, 65535]) {
    assertEquals(violationText(unknown), `violation ${unknown}`);
  }
});
