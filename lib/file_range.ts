// SPDX-License-Identifier: Apache-2.0
// file_range.ts - the Range field of a request (RFC 9110 section 14); called by files.ts.

/** Part of a file. */
export interface ByteRange {
  start: number;
  length: number;
}

const SYNTAX = /^bytes=([\d\-, \t]*)$/i;
const SPEC = /^(\d*)-(\d*)$/;

/**
 * The ranges that are asked for, in the order in which they are; empty when none of them can be satisfied. Null
 * when the field is to be ignored: it is malformed, or asks for more ranges than `most`, or for the same bytes
 * twice, which only serves to have much sent for little (RFC 9110 section 17.15).
 */
export function parseRange(
  field: string,
  size: number,
  most: number,
): ByteRange[] | null {
  const list = SYNTAX.exec(field)?.[1];
  if (list === undefined) return null;
  const specs = list.split(",").map((spec) => spec.trim())
    .filter((spec) => spec !== "");
  if (specs.length === 0 || specs.length > most) return null;
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const range = parseSpec(spec, size);
    if (range === null) return null;
    if (range.length > 0) ranges.push(range);
  }
  return overlap(ranges) ? null : ranges;
}

// Null when it is malformed, of length 0 when it lies behind the end. Digits of any number become Infinity at
// worst.
function parseSpec(spec: string, size: number): ByteRange | null {
  const [, first, last] = SPEC.exec(spec) ?? [];
  if (first === undefined || last === undefined) return null;
  if (first === "") {
    if (last === "") return null;
    const length = Math.min(Number(last), size);
    return { start: size - length, length };
  }
  const start = Number(first);
  const end = last === "" ? Infinity : Number(last);
  if (isBefore(last, first)) return null;
  if (start >= size) return { start: size, length: 0 };
  return { start, length: Math.min(end, size - 1) - start + 1 };
}

// Compares digits as BigInt, since two numbers that differ may look the same as floating point.
function isBefore(last: string, first: string): boolean {
  return last !== "" && BigInt(last) < BigInt(first);
}

function overlap(ranges: ByteRange[]): boolean {
  const sorted = ranges.toSorted((a, b) => a.start - b.start);
  return sorted.some(({ start }, at) => {
    const before = sorted[at - 1];
    return before !== undefined && start < before.start + before.length;
  });
}
