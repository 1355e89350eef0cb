// SPDX-License-Identifier: Apache-2.0
// websocket_generated.ts - entries like those of tests/corpus/websocket, where every value of a range has its own.

import { constants, deflateRawSync, type ZlibOptions } from "node:zlib";
import { concat, fromLatin1, pattern } from "./testing.ts";
import {
  CORPUS_LIMITS,
  type Ending,
  entryOf,
  failing,
  frameOf,
  type WebSocketEntry,
} from "./websocket_corpus.ts";
import { closePayload, frame, TEXT } from "./ws_client.ts";

export interface Generated {
  what: string;
  /** Short and few enough to be cut at every byte. */
  everyCut: boolean;
  entries: () => WebSocketEntry[];
}

const OPEN: Ending = { how: "open" };
const MORE: Ending = { how: "more" };
const FIN = 0x80;
const RSV1 = 4;
const RESERVED_OPCODES = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];
const OPCODES = [0, 1, 2, 8, 9, 10];

// --- RFC 6455 section 5.2: opcodes and reserved bits

function opcodes(): WebSocketEntry[] {
  const failed = failing(1002, "WS_BAD_OPCODE");
  const start = frameOf(TEXT, "start");
  return RESERVED_OPCODES.flatMap((opcode) =>
    [0, FIN].flatMap((fin) =>
      ["", "x"].flatMap((payload) => {
        const id = `opcode-${opcode}-${fin}-${payload.length}`;
        const sent = frameOf(fin | opcode, payload);
        return [
          entryOf(id, "5.2", [sent], failed),
          entryOf(`${id}-in-a-message`, "5.2", [start, sent], failed),
        ];
      })
    )
  );
}

function reservedBits(): WebSocketEntry[] {
  const failed = failing(1002, "WS_RESERVED_BITS");
  const start = frameOf(TEXT, "start");
  return ["", "deflate"].flatMap((agreement) =>
    OPCODES.flatMap((opcode) =>
      [1, 2, 3, 4, 5, 6, 7].flatMap((rsv) => {
        const marks = agreement !== "" && rsv === RSV1;
        if (marks && (opcode === 1 || opcode === 2)) return [];
        const sent = [frameOf(FIN | rsv << 4 | opcode, "")];
        if (opcode === 0) sent.unshift(start);
        const id = `rsv-${rsv}-opcode-${opcode}-${agreement}`;
        const section = marks ? "D6.1" : "5.2";
        return [entryOf(id, section, sent, failed, [], agreement)];
      })
    )
  );
}

// --- RFC 6455 section 7.4: close codes

/** Those that may be sent: of the standard and its registry, of libraries, of applications. */
export function isCloseCode(code: number): boolean {
  return [1000, 1001, 1002, 1003].includes(code) ||
    (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

function closeCodes(): WebSocketEntry[] {
  const failed = failing(1002, "WS_BAD_CLOSE_CODE");
  const codes = [...Array(5001).keys(), 10_000, 32_768, 65_535];
  return codes.map((code) => {
    const ending: Ending = isCloseCode(code)
      ? { how: "close", code, reason: "why" }
      : failed;
    const sent = frameOf(0x88, closePayload(code, "why"));
    return entryOf(`close-code-${code}`, "7.4", [sent], ending);
  });
}

// --- RFC 6455 section 8.1: UTF-8 as RFC 3629 has it

/** The first and last characters of each length, and those beside the surrogates. */
const CHARACTERS: number[][] = [
  [0xc2, 0x80],
  [0xdf, 0xbf],
  [0xe0, 0xa0, 0x80],
  [0xe2, 0x82, 0xac],
  [0xed, 0x9f, 0xbf],
  [0xee, 0x80, 0x80],
  [0xef, 0xbf, 0xbf],
  [0xf0, 0x90, 0x80, 0x80],
  [0xf0, 0x9f, 0x92, 0xa9],
  [0xf4, 0x8f, 0xbf, 0xbf],
];

/** What is none, and how many bytes of it might have been the beginning of one. */
const NO_CHARACTERS: [bytes: number[], good: number][] = [
  [[0x80], 0], // continuation bytes alone
  [[0xbf], 0],
  [[0xc0, 0x80], 0], // longer than need be
  [[0xc1, 0xbf], 0],
  [[0xe0, 0x80, 0x80], 1],
  [[0xe0, 0x9f, 0xbf], 1],
  [[0xf0, 0x80, 0x80, 0x80], 1],
  [[0xf0, 0x8f, 0xbf, 0xbf], 1],
  [[0xed, 0xa0, 0x80], 1], // surrogates
  [[0xed, 0xaf, 0xbf], 1],
  [[0xed, 0xb0, 0x80], 1],
  [[0xed, 0xbf, 0xbf], 1],
  [[0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], 1],
  [[0xf4, 0x90, 0x80, 0x80], 1], // beyond U+10FFFF
  [[0xf5, 0x80, 0x80, 0x80], 0],
  [[0xf7, 0xbf, 0xbf, 0xbf], 0],
  [[0xf8, 0x88, 0x80, 0x80, 0x80], 0], // of five and six bytes
  [[0xfc, 0x84, 0x80, 0x80, 0x80, 0x80], 0],
  [[0xfe], 0],
  [[0xff], 0],
  [[0xc3, 0x28], 1], // cut short by another character
  [[0xc3, 0xc3], 1],
  [[0xe2, 0x28, 0xa1], 1],
  [[0xe2, 0x82, 0x28], 2],
  [[0xf0, 0x28, 0x8c, 0xbc], 1],
  [[0xf0, 0x90, 0x28, 0xbc], 2],
  [[0xf0, 0x90, 0x8c, 0x28], 3],
];

function hex(bytes: readonly number[]): string {
  return bytes.map((byte) => byte.toString(16)).join("");
}

/** A text in two fragments, with a ping between. */
function cutText(bytes: Uint8Array, at: number): Uint8Array[] {
  return [
    frameOf(TEXT, bytes.subarray(0, at)),
    frameOf(0x89, "between"),
    frameOf(FIN, bytes.subarray(at)),
  ];
}

function characters(): WebSocketEntry[] {
  const failed = failing(1007, "WS_BAD_UTF8");
  return CHARACTERS.flatMap((character) => {
    const bytes = Uint8Array.from([0x61, ...character, 0x7a]);
    const text = fromLatin1(bytes);
    const id = `utf8-${hex(character)}`;
    const entries = [
      entryOf(id, "5.6", [frameOf(FIN | TEXT, bytes)], OPEN, [["text", text]]),
    ];
    for (let at = 2; at <= character.length; at++) {
      entries.push(
        entryOf(`${id}-over-fragments-${at}`, "5.6", cutText(bytes, at), OPEN, [
          ["ping", "between"],
          ["text", text],
        ]),
        entryOf(`${id}-cut-${at}`, "8.1", [
          frameOf(FIN | TEXT, bytes.subarray(0, at)),
        ], failed),
      );
    }
    return entries;
  });
}

function noCharacters(): WebSocketEntry[] {
  const failed = failing(1007, "WS_BAD_UTF8");
  return NO_CHARACTERS.flatMap(([values, good]) => {
    const bytes = Uint8Array.from([0x61, ...values, 0x7a]);
    const id = `utf8-not-${hex(values)}`;
    // As many bytes as that, of a frame and a message that are to be longer.
    const begun = (length: number): Uint8Array[] => [
      frame({
        opcode: TEXT,
        fin: false,
        payload: bytes.subarray(0, length),
        declared: BigInt(bytes.length + 9),
      }),
    ];
    const entries = [
      entryOf(id, "8.1", [frameOf(FIN | TEXT, bytes)], failed),
      entryOf(`${id}-fails-at-once`, "8.1", begun(1 + good + 1), failed),
      entryOf(`${id}-not-before`, "8.1", begun(1 + good), MORE),
    ];
    for (let at = 1; at <= 1 + good; at++) {
      const sent = cutText(bytes, at);
      entries.push(
        entryOf(`${id}-over-fragments-${at}`, "8.1", sent, failed, [
          ["ping", "between"],
        ]),
      );
    }
    return entries;
  });
}

// --- RFC 6455 section 5.4: control frames between fragments

function interleaved(): WebSocketEntry[] {
  const { maxFragments } = CORPUS_LIMITS;
  return [TEXT, 2].flatMap((opcode) =>
    Array.from({ length: maxFragments - 1 }, (_, more) => {
      const sent = [frameOf(opcode, "0")];
      const events: WebSocketEntry["events"] = [];
      let payload = "0";
      for (let part = 1; part <= more + 1; part++) {
        sent.push(frameOf(0x89, `ping ${part}`), frameOf(0x8a, `${part}`));
        events.push(["ping", `ping ${part}`], ["pong", `${part}`]);
        sent.push(frameOf(part === more + 1 ? FIN : 0, `${part}`));
        payload += part;
      }
      events.push([opcode === TEXT ? "text" : "binary", payload]);
      const id = `interleaved-${opcode}-${more + 2}`;
      return entryOf(id, "5.4", sent, OPEN, events);
    })
  );
}

// --- RFC 7692 section 7

const PROSE = "to be or not to be, that is the question; ".repeat(5);

/** A payload as section 7.2.1 has it. */
function deflated(
  bytes: string | Uint8Array,
  options: ZlibOptions = {},
): Uint8Array {
  const finishFlush = constants.Z_SYNC_FLUSH;
  return deflateRawSync(bytes, { ...options, finishFlush }).subarray(0, -4);
}

/** Senders of every kind. */
function encoders(): WebSocketEntry[] {
  const kinds: [id: string, options: ZlibOptions][] = [
    ["stored", { level: 0 }],
    ["level-1", { level: 1 }],
    ["level-9", { level: 9 }],
    ["fixed", { strategy: constants.Z_FIXED }],
    ["huffman", { strategy: constants.Z_HUFFMAN_ONLY }],
    ["rle", { strategy: constants.Z_RLE }],
    ["least-memory", { memLevel: 1 }],
  ];
  return kinds.map(([id, options]) =>
    entryOf(
      `deflate-by-${id}`,
      "D7.2.1",
      [frameOf(0xc1, deflated(PROSE, options))],
      OPEN,
      [["text", PROSE]],
      "deflate",
    )
  );
}

/** Blocks that follow one another, each ended by a flush, whose marker stays in the midst of the message. */
function manyBlocks(): WebSocketEntry[] {
  return [2, 5, 20].map((count) => {
    const part = deflated("block; ");
    const marker = Uint8Array.of(0, 0, 0xff, 0xff);
    const parts = Array.from({ length: count }, () => [part, marker]).flat();
    const payload = concat(parts.slice(0, -1));
    return entryOf(
      `deflate-blocks-${count}`,
      "D7.2.3.5",
      [frameOf(0xc1, payload)],
      OPEN,
      [["text", "block; ".repeat(count)]],
      "deflate",
    );
  });
}

/** 258 bytes, all by one reference to what is so far back (RFC 1951 section 3.2.6). */
function reference(distance: number): Uint8Array {
  // Codes begin with their highest bit, and all else with the lowest.
  const code = (value: number, length: number): number[] =>
    Array.from({ length }, (_, at) => value >> (length - 1 - at) & 1);
  const back = distance - 1;
  const extra = back < 4 ? 0 : Math.floor(Math.log2(back)) - 1;
  const bits = [
    ...[0, 1, 0], // a block with fixed codes, and not the last one
    ...code(0xc5, 8), // a length of 258
    ...code(2 * extra + (back >> extra), 5),
    ...code(back & (1 << extra) - 1, extra).reverse(),
    ...code(0, 7), // the end of the block
    ...[0, 0, 0], // a stored block, whose length is left out
  ];
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  for (const [at, bit] of bits.entries()) bytes[at >> 3]! |= bit << (at & 7);
  return bytes;
}

/** For every window: a peer that uses all of it, and one that goes a byte beyond. */
function windows(): WebSocketEntry[] {
  const { maxMessageBytes } = CORPUS_LIMITS;
  return [8, 9, 10, 11, 12, 13, 14, 15].flatMap((bits) => {
    const size = 2 ** bits;
    // One byte more than the window, as messages of the most bytes.
    const history = pattern(size + 1);
    const sent: Uint8Array[] = [];
    const events: WebSocketEntry["events"] = [];
    for (let at = 0; at < history.length; at += maxMessageBytes) {
      const part = history.subarray(at, at + maxMessageBytes);
      sent.push(frameOf(0xc2, deflated(part, { level: 0 })));
      events.push(["binary", fromLatin1(part)]);
    }
    const referred = Uint8Array.from(
      { length: 258 },
      (_, at) => history[1 + at % size]!,
    );
    const inside: WebSocketEntry["events"][0] = [
      "binary",
      fromLatin1(referred),
    ];
    const id = `deflate-window-${bits}`;
    const beyond = [...sent, frameOf(0xc2, reference(size + 1))];
    const entries = [
      entryOf(
        id,
        "D7.1.2.2",
        [...sent, frameOf(0xc2, reference(size))],
        OPEN,
        [...events, inside],
        `bits ${bits}`,
      ),
    ];
    // Nothing is farther away than deflate can refer to.
    if (bits === 15) return entries;
    const failed = failing(1007, "WS_BAD_DEFLATE");
    return [
      ...entries,
      entryOf(
        `${id}-beyond`,
        "D7.1.2.2",
        beyond,
        failed,
        events,
        `bits ${bits}`,
      ),
    ];
  });
}

export const GENERATED: readonly Generated[] = [
  { what: "reserved opcodes", everyCut: true, entries: opcodes },
  { what: "reserved bits", everyCut: true, entries: reservedBits },
  { what: "every close code", everyCut: false, entries: closeCodes },
  { what: "characters cut anywhere", everyCut: true, entries: characters },
  { what: "what is no UTF-8", everyCut: true, entries: noCharacters },
  {
    what: "control frames between fragments",
    everyCut: true,
    entries: interleaved,
  },
  { what: "every kind of deflate stream", everyCut: true, entries: encoders },
  { what: "many deflate blocks", everyCut: true, entries: manyBlocks },
  { what: "windows of every size", everyCut: false, entries: windows },
];
