// SPDX-License-Identifier: Apache-2.0
// Tests of lib/http_date.ts.

import { assertEquals, assertMatch, assertStrictEquals } from "@std/assert";
import { httpDate } from "../lib/http_date.ts";

Deno.test("httpDate() has the form of RFC 9110", () => {
  // The example of section 5.6.7.
  assertEquals(httpDate(784111777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
  assertEquals(httpDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  assertMatch(httpDate(Date.now()), /^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/);
});

Deno.test("httpDate() changes with the second and not within it", () => {
  const first = httpDate(951782399_000);
  assertStrictEquals(httpDate(951782399_999), first);
  assertEquals(first, "Mon, 28 Feb 2000 23:59:59 GMT");
  assertEquals(httpDate(951782400_000), "Tue, 29 Feb 2000 00:00:00 GMT");
});

Deno.test("httpDate() follows a clock that is set back", () => {
  httpDate(2_000_000);
  assertEquals(httpDate(1_999_999), "Thu, 01 Jan 1970 00:33:19 GMT");
});
