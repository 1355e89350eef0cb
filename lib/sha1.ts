// SPDX-License-Identifier: Apache-2.0
// sha1.ts - SHA-1 of short text (RFC 3174), for which a hash object of the runtime costs several times as much;
// used by ws_handshake.ts, where it guards nothing.

const BLOCK_WORDS = 16;
const ROUNDS = 80;
const words = new Int32Array(ROUNDS);
const state = new Int32Array(5);

/** The digest as base64. The text has characters of one byte only. */
export function sha1Base64(text: string): string {
  state.set([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]);
  // Behind the text: a bit that is set, and in the last 64 bits its length.
  const blocks = ((text.length + 8) >> 6) + 1;
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < BLOCK_WORDS; i++) {
      words[i] = wordAt(text, block * 64 + i * 4);
    }
    if (block === blocks - 1) words[BLOCK_WORDS - 1] = text.length * 8;
    mixBlock();
  }
  let digest = "";
  for (const word of state) {
    digest += String.fromCharCode(
      word >>> 24,
      word >>> 16 & 0xff,
      word >>> 8 & 0xff,
      word & 0xff,
    );
  }
  return btoa(digest);
}

function byteAt(text: string, index: number): number {
  if (index < text.length) return text.charCodeAt(index);
  return index === text.length ? 0x80 : 0;
}

function wordAt(text: string, index: number): number {
  return byteAt(text, index) << 24 | byteAt(text, index + 1) << 16 |
    byteAt(text, index + 2) << 8 | byteAt(text, index + 3);
}

function rotate(word: number, bits: number): number {
  return word << bits | word >>> (32 - bits);
}

function mixBlock(): void {
  for (let i = BLOCK_WORDS; i < ROUNDS; i++) {
    words[i] = rotate(
      words[i - 3]! ^ words[i - 8]! ^ words[i - 14]! ^ words[i - 16]!,
      1,
    );
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  for (let i = 0; i < ROUNDS; i++) {
    const f = i < 20
      ? (b & c | ~b & d) + 0x5a827999
      : i < 40
      ? (b ^ c ^ d) + 0x6ed9eba1
      : i < 60
      ? (b & c | b & d | c & d) + 0x8f1bbcdc
      : (b ^ c ^ d) + 0xca62c1d6;
    const next = rotate(a, 5) + f + e + words[i]! | 0;
    e = d;
    d = c;
    c = rotate(b, 30);
    b = a;
    a = next;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
}
