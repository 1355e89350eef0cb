// SPDX-License-Identifier: Apache-2.0
// text.ts - NUL-terminated text in buffers that are shared with C; used by reactor.ts and connect.ts.

import * as layout from "./layout.ts";

const UTF8 = new TextDecoder();

/** The text up to the first NUL. */
export function readText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return UTF8.decode(end === -1 ? bytes : bytes.subarray(0, end));
}

/** Writes the name of a host or a path, for whose NUL there is room. `action` is what it is needed for. */
export function writeName(
  bytes: Uint8Array,
  at: number,
  name: string,
  action: string,
): void {
  const text = new TextEncoder().encode(name);
  if (text.length >= layout.TEXT_BYTES || text.includes(0)) {
    throw new TypeError(
      `Cannot ${action} "${name}": the name is too long or contains NUL`,
    );
  }
  bytes.set(text, at);
}
