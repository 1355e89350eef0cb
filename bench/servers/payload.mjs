// SPDX-License-Identifier: Apache-2.0
// deno-lint-ignore-file explicit-function-return-type explicit-module-boundary-types -- JavaScript has none
// payload.mjs - what is downloaded; in JavaScript, so that Node can read it too.

/**
 * Payload 0 of ../load_payload.c, which knows what has to come.
 *
 * @param {number} length
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function payload(length) {
  const bytes = new Uint8Array(length).fill("0".charCodeAt(0));
  let random = 1;
  for (let i = 0; i < length - 4; i++) {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    bytes[i] = random >>> 7;
  }
  return bytes;
}
