// SPDX-License-Identifier: Apache-2.0
// Tests of lib/head_text.ts, over records that are made here.

import { assertEquals } from "@std/assert";
import { type Inbox, layout } from "../ffi/mod.ts";
import { HeadText } from "../lib/head_text.ts";

/** Records of a turn: a string is a head, null a record of another kind. */
class FakeInbox {
  readonly decoded: string[] = [];
  readonly #records: (string | null)[];

  constructor(records: (string | null)[]) {
    this.#records = records;
  }

  kind(index: number): number {
    return this.#records[index] === null ? layout.BODY : layout.HEAD;
  }

  flags(index: number): number {
    // deno-lint-ignore no-control-regex
    return /[^\x00-\x7f]/.test(this.#records[index] ?? "")
      ? layout.NON_ASCII
      : 0;
  }

  start(index: number): number {
    return this.#records.slice(0, index).join("").length;
  }

  length(index: number): number {
    return this.#records[index]?.length ?? 999;
  }

  headsAscii(first: number, last: number): string {
    return this.#decode("ascii", first, last);
  }

  headsLatin1(first: number, last: number): string {
    return this.#decode("latin1", first, last);
  }

  #decode(how: string, first: number, last: number): string {
    this.decoded.push(`${how} ${first}-${last}`);
    return this.#records.slice(first, last + 1).join("");
  }
}

/** Selects every head in order; returns how they were decoded. */
function selectAll(
  records: (string | null)[],
  heads: HeadText = new HeadText(),
  turn: number = 1,
): string[] {
  const inbox = new FakeInbox(records);
  for (const [index, record] of records.entries()) {
    if (record === null) continue;
    heads.select(inbox as unknown as Inbox, index, records.length, turn);
    assertEquals(
      heads.text.slice(heads.start, heads.start + record.length),
      record,
    );
  }
  return inbox.decoded;
}

const HEAD = "GET / HTTP/1.1\r\n\r\n";

Deno.test("HeadText.select() decodes the heads of a turn at one blow", () => {
  assertEquals(selectAll([HEAD, HEAD + "2", HEAD + "three"]), ["ascii 0-2"]);
});

Deno.test("HeadText.select() skips other records between heads", () => {
  assertEquals(
    selectAll([null, HEAD, null, null, HEAD + "2", null, HEAD, null]),
    ["ascii 1-6"],
  );
});

Deno.test("HeadText.select() decodes again in the next turn", () => {
  const heads = new HeadText();
  assertEquals(selectAll([HEAD, HEAD], heads, 1), ["ascii 0-1"]);
  assertEquals(selectAll([HEAD + "new"], heads, 2), ["ascii 0-0"]);
});

Deno.test("HeadText.select() leaves older texts as they were", () => {
  const heads = new HeadText();
  selectAll(["first"], heads, 1);
  const { text } = heads;
  selectAll(["other"], heads, 2);
  assertEquals(text, "first");
});

for (
  const { lengths, decoded } of [
    { lengths: [4096], decoded: ["ascii 0-0"] },
    { lengths: [4095, 1], decoded: ["ascii 0-1"] },
    { lengths: [4095, 2], decoded: ["ascii 0-0", "ascii 1-1"] },
    { lengths: [4096, 1], decoded: ["ascii 0-0", "ascii 1-1"] },
    { lengths: [16384, 1, 1], decoded: ["ascii 0-0", "ascii 1-2"] },
    {
      lengths: [1, 16384, 1],
      decoded: ["ascii 0-0", "ascii 1-1", "ascii 2-2"],
    },
    { lengths: [2048, 2048, 2048, 2048], decoded: ["ascii 0-1", "ascii 2-3"] },
    { lengths: [4096, 4096], decoded: ["ascii 0-0", "ascii 1-1"] },
  ]
) {
  Deno.test(`HeadText.select() groups heads of ${lengths} bytes`, () => {
    const heads = lengths.map((length, i) => String(i).repeat(length));
    assertEquals(selectAll(heads), decoded);
  });
}

Deno.test("HeadText.select() decodes a group as Latin-1 when one needs it", () => {
  assertEquals(selectAll([HEAD, "x: \xe9\r\n", HEAD]), ["latin1 0-2"]);
  assertEquals(
    selectAll(["a".repeat(4096), "\xff", HEAD]),
    ["ascii 0-0", "latin1 1-2"],
  );
});
