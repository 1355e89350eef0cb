// SPDX-License-Identifier: Apache-2.0
// Tests of lib/file_range.ts, lib/file_coding.ts and lib/file_path.ts.

import { assertEquals } from "@std/assert";
import { acceptedCodings } from "../lib/file_coding.ts";
import { filePath } from "../lib/file_path.ts";
import { parseRange } from "../lib/file_range.ts";

/** Ranges of a file of 1000 bytes as "start+length". */
function ranges(field: string, size: number = 1000): string | null {
  return parseRange(field, size, 4)
    ?.map(({ start, length }) => `${start}+${length}`).join() ?? null;
}

Deno.test("parseRange() reads every form of RFC 9110", () => {
  const cases: [field: string, expected: string][] = [
    ["bytes=0-0", "0+1"],
    ["bytes=0-499", "0+500"],
    ["bytes=500-", "500+500"],
    ["bytes=999-", "999+1"],
    ["bytes=-1", "999+1"],
    ["bytes=-500", "500+500"],
    ["bytes=-1000", "0+1000"],
    ["bytes=-1001", "0+1000"],
    ["bytes=0-1000", "0+1000"],
    ["bytes=0-99999999999999999999999999", "0+1000"],
    ["bytes=-99999999999999999999999999", "0+1000"],
    [`bytes=${"0".repeat(500)}1-2`, "1+2"],
    ["Bytes=0-0", "0+1"],
    ["bytes= 0-0 ,\t5-6,,", "0+1,5+2"],
    ["bytes=5-6,0-0", "5+2,0+1"],
    ["bytes=0-1,2-3", "0+2,2+2"],
    ["bytes=0-0,1000-1001", "0+1"],
  ];
  for (const [field, expected] of cases) {
    assertEquals(ranges(field), expected, field);
  }
});

Deno.test("parseRange() knows what cannot be satisfied", () => {
  const all = [
    "bytes=1000-",
    "bytes=1000-1001",
    "bytes=-0",
    "bytes=99999999999999999999999999-",
    "bytes=1000-,2000-",
  ];
  for (const field of all) assertEquals(ranges(field), "", field);
});

Deno.test("parseRange() ignores what is malformed, too much or twice", () => {
  const all = [
    "",
    "bytes",
    "bytes=",
    "bytes=,",
    "bytes=-",
    "bytes=a-b",
    "bytes=0",
    "bytes=0--1",
    "bytes=0-1-2",
    "bytes=1-0",
    "bytes=9007199254740994-9007199254740993",
    "bytes=0x1-2",
    "bytes=0-1;2-3",
    "bytes=+0-1",
    "items=0-1",
    "bytes=0-0,2-2,4-4,6-6,8-8",
    "bytes=0-5,5-6",
    "bytes=0-,0-",
    "bytes=500-,-600",
  ];
  for (const field of all) assertEquals(ranges(field), null, field);
});

Deno.test("acceptedCodings() heeds weights, and order among equals", () => {
  const cases: [field: string | null, expected: string][] = [
    [null, ""],
    ["", ""],
    ["gzip, deflate, br", "br,gzip"],
    ["gzip", "gzip"],
    ["br;q=0.5, gzip", "gzip,br"],
    ["br;q=0, gzip;q=0.1", "gzip"],
    ["*", "br,gzip"],
    ["*;q=0.5, gzip;q=0", "br"],
    ["GZIP ; Q=0.3 , BR;q=0.2", "gzip,br"],
    ["br;q=x, identity", ""],
    ["brotli, xgzip", ""],
  ];
  for (const [field, expected] of cases) {
    assertEquals(
      acceptedCodings(field, ["br", "gzip"]).join(),
      expected,
      field ?? "none",
    );
  }
});

Deno.test("filePath() decodes once and takes names alone", () => {
  const cases: [pathname: string, expected: string | number][] = [
    ["/", "/"],
    ["/a", "a"],
    ["/a/b/", "a/b/"],
    ["/%61%20b", "a b"],
    ["/%C3%A9", "é"],
    ["/a%2520b", "a%20b"],
    ["/%252e%252e/canary", "%2e%2e/canary"],
    ["/a+b", "a+b"],
    ["/a:b", "a:b"],
    ["", 404],
    ["a", 404],
    ["//", 404],
    ["//a", 404],
    ["/a//b", 404],
    ["/.", 404],
    ["/..", 404],
    ["/../a", 404],
    ["/a/../b", 404],
    ["/a/./b", 404],
    ["/%2e%2e/a", 404],
    ["/.%2e/a", 404],
    ["/a%2fb", 404],
    ["/a%2Fb", 404],
    ["/a%5cb", 404],
    ["/a\\b", 404],
    ["/a%00", 404],
    ["/.git/config", 404],
    ["/a/.env", 404],
    ["/%2eenv", 404],
    ["/%", 400],
    ["/%4", 400],
    ["/%zz", 400],
    ["/%ff", 400],
    ["/%c0%ae%c0%ae/a", 400],
    ["/%ed%a0%80", 400],
  ];
  for (const [pathname, expected] of cases) {
    const found = filePath(pathname, false);
    const got = "status" in found
      ? found.status
      : found.path + (found.isDirectory ? "/" : "");
    assertEquals(got, expected, pathname);
  }
  assertEquals(filePath("/.env", true), { path: ".env", isDirectory: false });
  assertEquals(filePath("/..", true), { status: 404 });
});
