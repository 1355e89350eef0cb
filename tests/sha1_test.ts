// SPDX-License-Identifier: Apache-2.0
// Tests of lib/sha1.ts: digests as OpenSSL makes them, whatever the padding.

import { assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import { sha1Base64 } from "../lib/sha1.ts";

function expected(text: string): string {
  return createHash("sha1").update(text, "latin1").digest("base64");
}

Deno.test("sha1Base64() agrees with a hash object at every length of three blocks", () => {
  for (let length = 0; length <= 192; length++) {
    const text = "\x80\xff\x01z".repeat(48).slice(0, length);
    assertEquals(sha1Base64(text), expected(text), `length ${length}`);
  }
});

Deno.test("sha1Base64() agrees with a hash object for texts that only differ in one character", () => {
  for (let code = 0; code < 256; code++) {
    const text = `${String.fromCharCode(code)} in a block`;
    assertEquals(sha1Base64(text), expected(text), `character ${code}`);
  }
});
