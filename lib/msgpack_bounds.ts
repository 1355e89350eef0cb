// SPDX-License-Identifier: Apache-2.0
// msgpack_bounds.ts - refuses MessagePack that announces more values than it has bytes, before memory is taken for
// them; used by codec_msgpack.ts.

// For the types from 0xc0 to 0xdf: bytes of a length or count, and bytes beside those and what is counted.
const COUNT_BYTES = Uint8Array.of(
  ...[0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0],
  ...[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4],
);
const OTHER_BYTES = Uint8Array.of(
  ...[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 4, 8, 1, 2, 4, 8],
  ...[1, 2, 4, 8, 2, 3, 5, 9, 17, 0, 0, 0, 0, 0, 0, 0],
);

/**
 * Walks over a body without decoding it. A decoder takes memory for an array when it has read its head, and arrays may
 * lie within one another: what all of them announce together has to be there, at a byte for each value.
 *
 * @throws {RangeError} When there are less bytes than values.
 */
export function requireValues(bytes: Uint8Array): void {
  let at = 0;
  // Values that were announced and have not been come to.
  let missing = 1;
  while (missing > 0) {
    if (missing > bytes.length - at) {
      throw new RangeError(
        `Cannot decode the body: it has ${bytes.length} bytes, and announces more values than these`,
      );
    }
    const type = bytes[at++]!;
    missing--;
    if (type < 0x80 || type >= 0xe0) continue;
    if (type < 0x90) missing += 2 * (type & 0x0f);
    else if (type < 0xa0) missing += type & 0x0f;
    else if (type < 0xc0) at += type & 0x1f;
    else {
      let count = 0;
      const from = at + COUNT_BYTES[type - 0xc0]!;
      while (at < from) count = count * 256 + (bytes[at++] ?? 0);
      at += OTHER_BYTES[type - 0xc0]!;
      if (type >= 0xde) missing += 2 * count; // maps
      else if (type >= 0xdc) missing += count; // arrays
      else at += count;
    }
  }
}
