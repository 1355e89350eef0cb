// SPDX-License-Identifier: Apache-2.0
// Tests of framers: whole, cut at every place, byte by byte, with random and
// truncated input, and with callbacks that stop or throw.

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  DelimiterFramer,
  type Framer,
  FramingError,
  LengthPrefixFramer,
  type LengthPrefixOptions,
} from "../lib/framing.ts";
import { decodePacket, encodePacket, packetFramer } from "../lib/packet.ts";
import { concat, latin1, pattern } from "./testing.ts";

interface Kind {
  name: string;
  make(): Framer & { encode(frame: Uint8Array): Uint8Array };
  frames: Uint8Array[];
}

const FRAMES = [
  latin1("one"),
  latin1(""),
  latin1("two"),
  pattern(200),
  latin1(""),
  latin1("x"),
];

function prefixed(options: LengthPrefixOptions): Kind {
  return {
    name: JSON.stringify(options),
    make: () => new LengthPrefixFramer(options),
    frames: FRAMES,
  };
}

function delimited(delimiter: string, frames: Uint8Array[]): Kind {
  return {
    name: `delimiter ${JSON.stringify(delimiter)}`,
    make: () => new DelimiterFramer({ delimiter }),
    frames,
  };
}

const LINES = ["one", "", "two\r", "", "a".repeat(300), "\r\r"].map(latin1);

const KINDS: Kind[] = [
  ...([1, 2, 4, 8] as const).flatMap((lengthBytes) =>
    [false, true].flatMap((littleEndian) =>
      [false, true].map((inclusive) =>
        prefixed({ lengthBytes, littleEndian, inclusive })
      )
    )
  ),
  delimited("\n", LINES),
  delimited("\r\n", LINES.map((line) => line.filter((byte) => byte !== 13))),
  delimited("abac", ["ab", "aba", "", "xaba", "bac", "ab"].map(latin1)),
  {
    name: "packets",
    make: () => packetFramer(),
    frames: ["abcd", "abcdefgh"].map(latin1),
  },
];

/** What comes out when the bytes come in these pieces; frames are copied, as their bytes are lent. */
function cut(framer: Framer, pieces: Uint8Array[]): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (const piece of pieces) {
    const lent = piece.slice();
    framer.push(lent, (frame) => void frames.push(frame.slice()));
    lent.fill(0xdb);
  }
  return frames;
}

function encoded(kind: Kind): Uint8Array<ArrayBuffer> {
  const framer = kind.make();
  return concat(kind.frames.map((frame) => framer.encode(frame)));
}

for (const kind of KINDS) {
  Deno.test(`frames come out as they went in, however they are cut: ${kind.name}`, () => {
    const bytes = encoded(kind);
    assertEquals(cut(kind.make(), [bytes]), kind.frames);
    const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
    assertEquals(cut(kind.make(), single), kind.frames);
    for (let at = 0; at <= bytes.length; at++) {
      const pieces = [bytes.subarray(0, at), bytes.subarray(at)];
      assertEquals(cut(kind.make(), pieces), kind.frames, `cut at ${at}`);
    }
    for (const step of [2, 3, 5, 7]) {
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += step) {
        pieces.push(bytes.subarray(at, at + step));
      }
      assertEquals(cut(kind.make(), pieces), kind.frames, `by ${step}`);
    }
  });

  Deno.test(`a stream that ends within a frame is told of: ${kind.name}`, () => {
    const bytes = encoded(kind);
    let ends = 0;
    for (let at = 0; at <= bytes.length; at++) {
      const framer = kind.make();
      cut(framer, [bytes.subarray(0, at)]);
      if (framer.pending === 0) {
        framer.end();
        ends++;
      } else {
        const error = assertThrows(() => framer.end(), FramingError);
        assert(error.message.includes("ended within a frame"));
      }
    }
    assertEquals(ends, kind.frames.length + 1);
  });

  Deno.test(`a callback stops the frames, and they go on later: ${kind.name}`, () => {
    const bytes = encoded(kind);
    for (let at = 0; at <= bytes.length; at++) {
      const framer = kind.make();
      const frames: Uint8Array[] = [];
      const take = (frame: Uint8Array): boolean => {
        frames.push(frame.slice());
        return false;
      };
      for (const piece of [bytes.subarray(0, at), bytes.subarray(at)]) {
        const lent = piece.slice();
        framer.push(lent, take);
        lent.fill(0xdb);
      }
      while (!framer.resume(take));
      assertEquals(frames, kind.frames, `cut at ${at}`);
      framer.end();
    }
  });
}

Deno.test("a frame that is whole is a view of what was pushed", () => {
  for (const kind of KINDS) {
    const bytes = encoded(kind);
    kind.make().push(bytes, (frame) => {
      assert(frame.buffer === bytes.buffer, kind.name);
    });
  }
});

Deno.test("a callback that throws loses no other frame", () => {
  const framer = new DelimiterFramer({ delimiter: "\n" });
  const seen: number[] = [];
  const bytes = latin1("a\nb\nc\n");
  assertThrows(
    () =>
      framer.push(bytes, () => {
        throw new RangeError("mine");
      }),
    RangeError,
    "mine",
  );
  framer.resume((frame) => void seen.push(frame[0]!));
  assertEquals(seen, [98, 99]);
});

Deno.test("push() within a callback throws", () => {
  const framer = new DelimiterFramer({ delimiter: "\n" });
  assertThrows(
    () =>
      framer.push(latin1("a\n"), () => void framer.push(latin1("b"), () => {})),
    TypeError,
    "delivering a frame",
  );
});

Deno.test("lengths out of range are refused, from then on always", () => {
  const cases: [LengthPrefixOptions, number[], string][] = [
    [{ maxFrameBytes: 5 }, [0, 0, 0, 6], "is 6, and 0 to 5"],
    [{ lengthBytes: 1, maxFrameBytes: 5 }, [200], "is 200, and 0 to 5"],
    [{ inclusive: true }, [0, 0, 0, 3], "is 3, and 4 to 1048580"],
    [{ littleEndian: true }, [0, 0, 0, 1], "is 16777216, and 0 to 1048576"],
    [{ lengthBytes: 8 }, Array(8).fill(255), "and 0 to 1048576"],
    [{ minFrameBytes: 2 }, [0, 0, 0, 1], "is 1, and 2 to"],
  ];
  for (const [options, bytes, message] of cases) {
    const framer = new LengthPrefixFramer(options);
    const push = (): void =>
      void framer.push(Uint8Array.from(bytes), () => {
        throw new Error("No frame expected");
      });
    assertThrows(push, FramingError, message);
    assertThrows(push, FramingError, message);
    assertThrows(() => framer.end(), FramingError, message);
  }
});

Deno.test("a frame of just the largest size is taken, and one byte more is not", () => {
  const max = new LengthPrefixFramer({ maxFrameBytes: 300 });
  assertEquals(cut(max, [max.encode(pattern(300))]), [pattern(300)]);
  assertThrows(() => max.encode(pattern(301)), RangeError, "301 bytes");
  const one = new LengthPrefixFramer({ lengthBytes: 1, inclusive: true });
  assertEquals(cut(one, [one.encode(pattern(254))]), [pattern(254)]);
  assertThrows(() => one.encode(pattern(255)), RangeError, "0 to 254");
});

Deno.test("a delimiter that does not come is given up, however the bytes are cut", () => {
  for (const delimiter of ["\n", "\r\n"]) {
    for (let at = 0; at <= 12; at++) {
      const bytes = latin1("0123456789x" + delimiter);
      const make = (maxFrameBytes: number): DelimiterFramer =>
        new DelimiterFramer({ delimiter, maxFrameBytes });
      const pieces = [bytes.subarray(0, at), bytes.subarray(at)];
      assertEquals(cut(make(11), pieces).length, 1, `cut at ${at}`);
      assertThrows(() => cut(make(10), pieces), FramingError, "the 10 bytes");
    }
  }
});

Deno.test("a frame that its receiver would cut is not encoded", () => {
  const twice = new DelimiterFramer({ delimiter: "aa" });
  for (const text of ["aa", "xaay", "a", "xa"]) {
    assertThrows(() => twice.encode(latin1(text)), RangeError, "delimiter");
  }
  assertEquals(twice.encode(latin1("ax")), latin1("axaa"));
});

Deno.test("memory follows what has come, not what a length announces", () => {
  const framer = new LengthPrefixFramer({
    lengthBytes: 8,
    maxFrameBytes: Number.MAX_SAFE_INTEGER,
  });
  framer.push(Uint8Array.of(0, 0x0f, 0, 0, 0, 0, 0, 0, 1), () => {});
  assertEquals(framer.pending, 9);
});

Deno.test("framers refuse options that are wrong", () => {
  const wrong: LengthPrefixOptions[] = [
    { lengthBytes: 3 as 4 },
    { maxFrameBytes: -1 },
    { maxFrameBytes: 1.5 },
    { minFrameBytes: NaN },
    { minFrameBytes: 11, maxFrameBytes: 10 },
    { lengthBytes: 1, minFrameBytes: 256 },
  ];
  for (const options of wrong) {
    assertThrows(() => new LengthPrefixFramer(options), RangeError);
  }
  assertThrows(
    () => new LengthPrefixFramer({ inclusive: 1 as unknown as boolean }),
    TypeError,
    "inclusive",
  );
  assertThrows(
    () => new LengthPrefixFramer({ size: 4 } as LengthPrefixOptions),
    TypeError,
    'unknown option "size"',
  );
  for (const most of [-1, 7, 8.5, 2 ** 31]) {
    assertThrows(() => packetFramer(most), RangeError, "maxPacketBytes");
  }
  assertThrows(() => new DelimiterFramer({ delimiter: "" }), RangeError);
  assertThrows(
    () => new DelimiterFramer({ delimiter: 10 as unknown as string }),
    TypeError,
  );
});

Deno.test("random bytes in random pieces come out the same, or are refused the same", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const bytes = pattern(600, seed);
    // Small lengths, so that frames are found.
    if (seed % 2 === 0) { for (let at = 0; at < 600; at++) bytes[at]! %= 4; }
    for (const make of RANDOM_FRAMERS) {
      const whole = attempt(make(), [bytes]);
      assertEquals(attempt(make(), randomPieces(bytes, seed)), whole);
    }
  }
});

const RANDOM_FRAMERS: (() => Framer)[] = [
  (): Framer => new LengthPrefixFramer({ lengthBytes: 1 }),
  (): Framer => new LengthPrefixFramer({ lengthBytes: 2, maxFrameBytes: 700 }),
  (): Framer => new LengthPrefixFramer({ inclusive: true, maxFrameBytes: 70 }),
  (): Framer => new DelimiterFramer({ delimiter: "\x00" }),
  (): Framer => new DelimiterFramer({ delimiter: "\x01\x02\x01" }),
  (): Framer =>
    new DelimiterFramer({ delimiter: "\x01\x01", maxFrameBytes: 9 }),
];

function attempt(framer: Framer, pieces: Uint8Array[]): unknown[] {
  const seen: unknown[] = [];
  try {
    for (const piece of pieces) {
      framer.push(piece, (frame) => void seen.push([...frame]));
    }
    seen.push(framer.pending);
  } catch (error) {
    assert(error instanceof FramingError);
    seen.push(error.message);
  }
  return seen;
}

function randomPieces(bytes: Uint8Array, seed: number): Uint8Array[] {
  const lengths = pattern(bytes.length, seed + 1000);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = lengths[pieces.length]! % 11;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

Deno.test("a packet is encoded as znet does", () => {
  const body = latin1('{"foo":"bar"}');
  assertEquals(
    encodePacket({ action: 1, sequence: -2, body }),
    concat([Uint8Array.of(0, 0, 0, 21, 0, 1, 0xff, 0xfe), body]),
  );
  const large = encodePacket({
    action: 0x7fff,
    sequence: -0x8000,
    body: pattern(0x12345),
  });
  assertEquals(
    large.subarray(0, 8),
    Uint8Array.of(0, 1, 0x23, 0x4d, 0x7f, 0xff, 0x80, 0),
  );
  assertEquals(cut(packetFramer(), [large]).map(decodePacket), [
    { action: 0x7fff, sequence: -0x8000, body: pattern(0x12345) },
  ]);
  assertThrows(() => decodePacket(latin1("abc")), RangeError, "3 bytes");
  for (const action of [0x8000, -0x8001, 1.5, NaN]) {
    assertThrows(
      () => encodePacket({ action, sequence: 0, body }),
      RangeError,
      '"action"',
    );
  }
});
