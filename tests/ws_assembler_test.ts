// SPDX-License-Identifier: Apache-2.0
// Tests of lib/ws_assembler.ts.

import { assert, assertEquals, assertNotStrictEquals } from "@std/assert";
import { Assembler } from "../lib/ws_assembler.ts";
import { assertSameBytes, pattern } from "./testing.ts";

const MIB = 1 << 20;

/** Pieces of one frame that says how long it is, or says something else. */
function assemble(
  bytes: Uint8Array,
  size: number,
  expected: number = bytes.length,
): Uint8Array {
  const assembler = new Assembler();
  for (let at = 0; at < bytes.length; at += size) {
    assembler.push(bytes.subarray(at, at + size), expected);
  }
  return assembler.takeBytes();
}

Deno.test("Assembler.takeBytes() joins pieces of every size", () => {
  const bytes = pattern(1000);
  for (let size = 1; size <= 1001; size++) {
    assertSameBytes(assemble(bytes, size), bytes, `pieces of ${size}`);
  }
});

for (const length of [MIB - 1, MIB, MIB + 1, 2 * MIB, 2 * MIB + 1, 5 * MIB]) {
  Deno.test(`Assembler.takeBytes() joins ${length} bytes`, () => {
    const bytes = pattern(length);
    assertSameBytes(assemble(bytes, 16_000), bytes, "all");
  });
}

Deno.test("Assembler.push() does not believe in any length", () => {
  for (const expected of [0, 1, MIB, 2 ** 32, 2 ** 53, Infinity]) {
    const bytes = pattern(3000);
    const got = assemble(bytes, 1000, expected);
    assertSameBytes(got, bytes, `${expected} expected`);
    assert(got.buffer.byteLength <= MIB);
  }
});

Deno.test("Assembler.push() joins frames of different lengths", () => {
  const assembler = new Assembler();
  const bytes = pattern(700);
  assembler.push(bytes.subarray(0, 100), 100);
  assembler.push(bytes.subarray(100, 100), 0);
  assembler.push(bytes.subarray(100, 300), 500);
  assembler.push(bytes.subarray(300, 600), 500);
  assembler.push(bytes.subarray(600), 100);
  assertSameBytes(assembler.takeBytes(), bytes, "the message");
});

Deno.test("Assembler.push() copies what it is given", () => {
  const assembler = new Assembler();
  const piece = pattern(100);
  assembler.push(piece, 200);
  piece.fill(0);
  assembler.push(pattern(100), 200);
  const got = assembler.takeBytes();
  assertSameBytes(got.subarray(0, 100), pattern(100), "the first piece");
});

Deno.test("Assembler.takeBytes() gives bytes that nobody else holds", () => {
  for (const expected of [100, 1000]) {
    const assembler = new Assembler();
    assembler.push(pattern(100), expected);
    const first = assembler.takeBytes();
    assembler.push(pattern(100, 7), expected);
    const second = assembler.takeBytes();
    assertNotStrictEquals(first.buffer, second.buffer);
    assertSameBytes(first, pattern(100), "first");
    assertSameBytes(second, pattern(100, 7), "second");
  }
});

Deno.test("Assembler.takeBytes() gives nothing when nothing came", () => {
  const assembler = new Assembler();
  assertEquals(assembler.takeBytes().length, 0);
  assembler.push(new Uint8Array(0), 0);
  assertEquals(assembler.takeBytes().length, 0);
  assertEquals(assembler.takeText(), "");
});

Deno.test("Assembler.lendBytes() gives memory again, and nothing of what was in it", () => {
  const buffers = new Set<ArrayBuffer>();
  for (const length of [60_000, 40_000, 50_000]) {
    const assembler = new Assembler();
    assembler.push(pattern(length), length);
    const bytes = assembler.lendBytes();
    assertSameBytes(bytes, pattern(length), `${length} bytes`);
    const rest = new Uint8Array(bytes.buffer, length);
    assertEquals(rest.findIndex((byte) => byte !== 0), -1);
    buffers.add(bytes.buffer);
    assembler.release();
  }
  assertEquals(buffers.size, 1);
});

Deno.test("Assembler.release() keeps nothing that was transferred away", () => {
  for (let round = 0; round < 2; round++) {
    const assembler = new Assembler();
    assembler.push(pattern(70_000), 70_000);
    const bytes = assembler.lendBytes();
    assertSameBytes(bytes, pattern(70_000), "the message");
    bytes.buffer.transfer();
    assembler.release();
  }
});

Deno.test("Assembler.takeText() joins characters that were cut", () => {
  const text = "\ufeffaü€😀\0z";
  const bytes = new TextEncoder().encode(text);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const assembler = new Assembler();
    assembler.push(bytes.subarray(0, cut), cut);
    assembler.push(bytes.subarray(cut), bytes.length - cut);
    assertEquals(assembler.takeText(), text);
  }
});
