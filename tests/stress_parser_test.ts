// SPDX-License-Identifier: Apache-2.0
// Tests of lib/stress/response_parser.ts: responses whole, cut everywhere, and malformed.

import { assertEquals, assertThrows } from "@std/assert";
import { MalformedResponse } from "../lib/stress/response_head.ts";
import { ResponseParser } from "../lib/stress/response_parser.ts";
import { concat, latin1 } from "./testing.ts";

interface Seen {
  status: number;
  bodyBytes: number;
  right: boolean;
  last: boolean;
}

interface Reading {
  isHead?: boolean;
  expect?: string;
  /** Whether the peer ends the connection behind the bytes. */
  ends?: boolean;
}

function read(
  pieces: readonly Uint8Array[],
  { isHead = false, expect, ends = false }: Reading = {},
): Seen[] {
  const seen: Seen[] = [];
  const sink = {
    response: (
      status: number,
      bodyBytes: number,
      right: boolean,
      last: boolean,
    ) => void seen.push({ status, bodyBytes, right, last }),
  };
  const expected = expect === undefined ? null : latin1(expect);
  const parser = new ResponseParser(sink, isHead, expected);
  for (const piece of pieces) parser.push(piece);
  if (ends) parser.end();
  return seen;
}

/** Reads it whole, cut in two everywhere, and byte by byte: all have to see the same. */
function everyWay(text: string, reading: Reading = {}): Seen[] {
  const bytes = latin1(text);
  const seen = read([bytes], reading);
  for (let cut = 1; cut < bytes.length; cut++) {
    const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)];
    assertEquals(read(pieces, reading), seen, `cut at ${cut}`);
  }
  const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
  assertEquals(read(single, reading), seen, "byte by byte");
  return seen;
}

function seen(
  status: number,
  bodyBytes: number,
  more: Partial<Seen> = {},
): Seen {
  return { status, bodyBytes, right: true, last: false, ...more };
}

const OK = "HTTP/1.1 200 OK\r\n";

Deno.test("a response of known length", () => {
  const text = `${OK}Content-Length: 5\r\nServer: x\r\n\r\nhello`;
  assertEquals(everyWay(text, { expect: "hello" }), [seen(200, 5)]);
  assertEquals(everyWay(text, { expect: "hellO" }), [
    seen(200, 5, { right: false }),
  ]);
  assertEquals(everyWay(text, { expect: "hell" }), [
    seen(200, 5, { right: false }),
  ]);
  assertEquals(everyWay(text, { expect: "hello!" }), [
    seen(200, 5, { right: false }),
  ]);
});

Deno.test("responses one behind the other, each compared anew", () => {
  const one = `${OK}content-length: 2\r\n\r\nab`;
  const wrong = `${OK}content-length: 2\r\n\r\nba`;
  assertEquals(everyWay(one + wrong + one, { expect: "ab" }), [
    seen(200, 2),
    seen(200, 2, { right: false }),
    seen(200, 2),
  ]);
});

Deno.test("chunks, with extensions and trailers", () => {
  const text = `${OK}Transfer-Encoding: CHUNKED\r\n\r\n` +
    "3\r\nhel\r\n2 ; a=b\r\nlo\r\n0\r\nDigest: 1\r\n\r\n" +
    `${OK}transfer-encoding: chunked\r\n\r\n0\r\n\r\n`;
  assertEquals(everyWay(text, { expect: "hello" }), [
    seen(200, 5),
    seen(200, 0, { right: false }),
  ]);
});

Deno.test("responses without a body", () => {
  assertEquals(
    everyWay(
      "HTTP/1.1 204 No Content\r\n\r\n" +
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n" +
        `${OK}Content-Length: 0\r\n\r\n`,
    ),
    [seen(204, 0), seen(304, 0), seen(200, 0)],
  );
  const head = `${OK}Content-Length: 1000\r\n\r\n`;
  assertEquals(everyWay(head + head, { isHead: true }), [
    seen(200, 0),
    seen(200, 0),
  ]);
});

Deno.test("interim responses are passed over", () => {
  const interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  assertEquals(
    everyWay(`${interim}${interim}${OK}Content-Length: 1\r\n\r\nx`),
    [seen(200, 1)],
  );
});

Deno.test("a body that ends with the connection", () => {
  assertEquals(everyWay(`${OK}\r\nhello`, { ends: true, expect: "hello" }), [
    seen(200, 5, { last: true }),
  ]);
});

Deno.test("which response is the last one", () => {
  const last = [seen(200, 0, { last: true })];
  for (
    const head of [
      `${OK}Connection: close\r\n`,
      `${OK}Connection: foo, Close ,bar\r\n`,
      "HTTP/1.0 200 OK\r\n",
    ]
  ) {
    assertEquals(everyWay(`${head}Content-Length: 0\r\n\r\n`), last, head);
  }
  const kept =
    `${OK}Connection: x-close, keep-alive\r\nContent-Length: 0\r\n\r\n`;
  assertEquals(everyWay(kept), [seen(200, 0)]);
});

Deno.test("the same length twice, and values with space around", () => {
  assertEquals(
    everyWay(`${OK}Content-Length:\t1 \r\ncontent-length: 1\r\n\r\nx`),
    [seen(200, 1)],
  );
});

const MALFORMED: [string, string][] = [
  ["HTTP/2.0 200 OK\r\n\r\n", "status line"],
  ["HTTP/1.1 20 OK\r\n\r\n", "status line"],
  ["HTTP/1.1 2000 OK\r\n\r\n", "status line"],
  ["HTTP/1.1 099 No\r\n\r\n", "status line"],
  ["http/1.1 200 OK\r\n\r\n", "status line"],
  [" HTTP/1.1 200 OK\r\n\r\n", "status line"],
  ["HTTP/1.1 200 OK\n\n", "control character"],
  ["HTTP/1.1 200 O\0K\r\n\r\n", "control character"],
  ["HTTP/1.1 200 OK\rX\r\n\r\n", "a CR stands alone"],
  ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "nobody asked for 101"],
  [`${OK}: x\r\n\r\n`, "no name"],
  [`${OK}a b: x\r\n\r\n`, "no name"],
  [`${OK}a\r\n\r\n`, "no name"],
  [`${OK}a: x\r\n folded\r\n\r\n`, "no name"],
  [`${OK}a: \x7f\r\n\r\n`, "control character"],
  [`${OK}a: x\r\n\rX`, "a CR stands alone"],
  [`${OK}Content-Length: -1\r\n\r\n`, "its length is"],
  [`${OK}Content-Length: 1, 1\r\n\r\n`, "its length is"],
  [`${OK}Content-Length: \r\n\r\n`, "its length is"],
  [`${OK}Content-Length: 1234567890123456\r\n\r\n`, "its length is"],
  [`${OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, "two lengths"],
  [`${OK}Transfer-Encoding: gzip, chunked\r\n\r\n`, "transfer coding"],
  [
    `${OK}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    "transfer coding",
  ],
  [
    `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    "is chunked too",
  ],
  [`${OK}Connection: close\r\nContent-Length: 0\r\n\r\nx`, "follow the last"],
];

for (
  const [chunks, why] of [
    ["x\r\n", "no size"],
    ["\r\n", "no size"],
    ["123456789\r\n", "no size"],
    ["1 1\r\n", "no size"],
    ["1\nx", "without CR"],
    ["1\r\nxy", "no end"],
    ["1\r\nx\rX", "no end"],
    ["0\r\n: x\r\n\r\n", "no name"],
  ] as const
) MALFORMED.push([`${OK}Transfer-Encoding: chunked\r\n\r\n${chunks}`, why]);

Deno.test("malformed responses are refused, however they are cut", () => {
  for (const [text, why] of MALFORMED) {
    assertThrows(() => everyWay(text), MalformedResponse, why, text);
    const single = Array.from(latin1(text), (byte) => Uint8Array.of(byte));
    assertThrows(() => read(single), MalformedResponse, why, text);
  }
});

Deno.test("heads, lines and trailers have an end", () => {
  const endless = (start: string, piece: string): () => void => () => {
    const pieces = [latin1(start)];
    for (let count = 0; count < 2000; count++) pieces.push(latin1(piece));
    read([concat(pieces)]);
  };
  const chunked = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
  const line = `a: ${"x".repeat(96)}\r\n`;
  assertThrows(endless(OK, line), MalformedResponse, "its head is too long");
  assertThrows(
    endless(`${chunked}1;`, "a=bcd;"),
    MalformedResponse,
    "a line is too long",
  );
  assertThrows(
    endless(`${chunked}0\r\n`, line),
    MalformedResponse,
    "its trailers are too long",
  );
});

Deno.test("a connection that ends in the midst of a response is told of", () => {
  for (
    const text of [
      "HTTP",
      `${OK}Content-Length: 5\r\n\r\nhell`,
      `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`,
      `${OK}Content-Length: 0\r\n`,
    ]
  ) {
    assertThrows(
      () => everyWay(text, { ends: true }),
      MalformedResponse,
      "in the midst",
      text,
    );
  }
  const whole = `${OK}Content-Length: 0\r\n\r\n`;
  assertEquals(everyWay(whole, { ends: true }), [seen(200, 0)]);
});
