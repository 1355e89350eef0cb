// SPDX-License-Identifier: Apache-2.0
// text.ts - NUL-terminated text that C wrote into a buffer; used by reactor.ts and topology.ts.

/** The text up to the first NUL. */
export function readText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end === -1 ? bytes : bytes.subarray(0, end));
}
