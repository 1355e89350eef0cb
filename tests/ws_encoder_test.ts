// SPDX-License-Identifier: Apache-2.0
// Tests of lib/ws_encoder.ts: every frame is taken apart again by hand.

import { assert, assertEquals } from "@std/assert";
import {
  OPCODE_BINARY,
  OPCODE_CLOSE,
  OPCODE_PING,
  OPCODE_PONG,
  OPCODE_TEXT,
  writeCloseFrame,
  writeFrame,
  writeTextFrame,
} from "../lib/ws_encoder.ts";
import { FakeWire } from "./fake_wire.ts";
import { assertSameBytes, concat, pattern } from "./testing.ts";

const UTF8 = new TextEncoder();

/** The frame that RFC 6455 section 5.2 asks for, with the shortest length. */
function expected(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const head = new DataView(
    new ArrayBuffer(length < 126 ? 2 : length < 65536 ? 4 : 10),
  );
  head.setUint8(0, 0x80 | opcode);
  head.setUint8(1, length < 126 ? length : length < 65536 ? 126 : 127);
  if (head.byteLength === 4) head.setUint16(2, length);
  if (head.byteLength === 10) head.setBigUint64(2, BigInt(length));
  return concat([new Uint8Array(head.buffer), payload]);
}

const LENGTHS = [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535]
  .concat([65_536, 65_537, 1 << 20, (1 << 20) + 1]);

for (const length of LENGTHS) {
  Deno.test(`writeFrame() sends ${length} bytes`, () => {
    const wire = new FakeWire();
    writeFrame(wire.outbox, 1, OPCODE_BINARY, pattern(length));
    assertSameBytes(
      wire.bytes(),
      expected(OPCODE_BINARY, pattern(length)),
      "the frame",
    );
    assertEquals(wire.responses(), 0);
  });
}

Deno.test("writeFrame() writes each opcode with FIN", () => {
  const opcodes = [OPCODE_TEXT, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_PING];
  for (const opcode of [...opcodes, OPCODE_PONG]) {
    const wire = new FakeWire();
    writeFrame(wire.outbox, 1, opcode, new Uint8Array(0));
    assertEquals(wire.bytes(), Uint8Array.of(0x80 | opcode, 0));
  }
});

Deno.test("writeFrame() splits what the outbox cannot hold", () => {
  const outboxBytes = 4096;
  for (const length of [4091, 4092, 4093, 4096, 8192, 20_000, 70_000]) {
    for (const used of [0, 1, 4094, 4095, 4096]) {
      const wire = new FakeWire({ outboxBytes });
      if (used > 0) wire.outbox.write(2, pattern(used), 0);
      writeFrame(wire.outbox, 1, OPCODE_BINARY, pattern(length));
      const frame = expected(OPCODE_BINARY, pattern(length));
      assertSameBytes(wire.bytes(), frame, `${length} behind ${used}`);
      assertSameBytes(wire.bytes(2), pattern(used), "what came before");
    }
  }
});

Deno.test("writeFrame() makes one send of frames that follow one another", () => {
  const wire = new FakeWire();
  for (let i = 0; i < 10; i++) {
    writeFrame(wire.outbox, 1, OPCODE_BINARY, pattern(10));
  }
  assertEquals(wire.outbox.count, 1);
});

// Characters at which a guess by their number is just right or wrong: 2 to 4
// bytes of header, 4 to 10, and the longest text that is encoded in place.
const COUNTS = [0, 1, 31, 32, 41, 42, 62, 63, 120, 124, 125, 126, 127]
  .concat([16_383, 16_384, 21_844, 21_845, 21_846, 32_767, 32_768])
  .concat([65_534, 65_535, 65_536]);

for (const unit of ["a", "ü", "€", "😀", "\ud800", "\0"]) {
  Deno.test(`writeTextFrame() measures ${JSON.stringify(unit)}`, () => {
    for (const count of COUNTS) {
      const wire = new FakeWire();
      const text = unit.repeat(count);
      writeTextFrame(wire.outbox, 1, text);
      const frame = expected(OPCODE_TEXT, UTF8.encode(text));
      assertSameBytes(wire.bytes(), frame, `${count} characters`);
    }
  });
}

Deno.test("writeTextFrame() moves 120 characters with umlauts", () => {
  for (let umlauts = 0; umlauts <= 120; umlauts++) {
    const wire = new FakeWire();
    const text = "ü".repeat(umlauts) + "u".repeat(120 - umlauts);
    writeTextFrame(wire.outbox, 1, text);
    const bytes = wire.bytes();
    assertSameBytes(bytes, expected(1, UTF8.encode(text)), `${umlauts}`);
    assertEquals(bytes[1] === 126, umlauts > 5);
  }
});

Deno.test("writeTextFrame() keeps a byte order mark", () => {
  const wire = new FakeWire();
  writeTextFrame(wire.outbox, 1, "\ufeffx");
  assertEquals([...wire.bytes()], [0x81, 4, 0xef, 0xbb, 0xbf, 0x78]);
});

Deno.test("writeTextFrame() copes with every room that is left", () => {
  const outboxBytes = 1024;
  for (const text of ["x".repeat(125), "ü".repeat(120), "€".repeat(340)]) {
    for (let used = 0; used <= outboxBytes; used++) {
      const wire = new FakeWire({ outboxBytes });
      if (used > 0) wire.outbox.write(2, pattern(used), 0);
      writeTextFrame(wire.outbox, 1, text);
      const frame = expected(OPCODE_TEXT, UTF8.encode(text));
      assertSameBytes(wire.bytes(), frame, `behind ${used}`);
      assertSameBytes(wire.bytes(2), pattern(used), "what came before");
    }
  }
});

Deno.test("writeTextFrame() splits what the outbox cannot hold", () => {
  // One of three sizes is just one byte short of the longest UTF-8.
  for (const outboxBytes of [1022, 1023, 1024]) {
    for (let count = 330; count < 1100; count++) {
      const wire = new FakeWire({ outboxBytes });
      writeTextFrame(wire.outbox, 1, "€".repeat(count));
      const frame = expected(OPCODE_TEXT, UTF8.encode("€".repeat(count)));
      assertSameBytes(wire.bytes(), frame, `${count} characters`);
    }
  }
});

Deno.test("writeCloseFrame() has a code and a reason, or nothing", () => {
  const cases: [number | null, string, number[]][] = [
    [null, "", []],
    [null, "unheard", []],
    [1000, "", [0x03, 0xe8]],
    [4999, "a€", [0x13, 0x87, 0x61, 0xe2, 0x82, 0xac]],
  ];
  for (const [code, reason, payload] of cases) {
    const wire = new FakeWire();
    writeCloseFrame(wire.outbox, 1, code, reason);
    assertEquals([...wire.bytes()], [0x88, payload.length, ...payload]);
  }
});

Deno.test("writeCloseFrame() fits the longest reason into a control frame", () => {
  const wire = new FakeWire();
  writeCloseFrame(wire.outbox, 1, 1000, "€".repeat(41));
  assertEquals(wire.bytes()[1], 125);
  assert(wire.bytes().length === 127);
});
