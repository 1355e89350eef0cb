// SPDX-License-Identifier: Apache-2.0
// Tests of lib/http_response.ts, byte by byte.

import { assert, assertEquals } from "@std/assert";
import {
  asksToClose,
  givenLength,
  isBodyless,
  latin1,
  type ResponseMode,
  writeBytesResponse,
  writeHead,
  writePlainResponse,
  writeTextResponse,
} from "../lib/http_response.ts";
import type { Field, ResponseParts } from "../lib/response_parts.ts";
import { FakeWire } from "./fake_wire.ts";
import { fromLatin1, pattern } from "./testing.ts";

const UTF8 = new TextEncoder();
const NOW = 784111777_000;
const DATE = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
const TEXT_TYPE = "text/plain;charset=UTF-8";
const TYPE_LINE = `content-type: ${TEXT_TYPE}\r\n`;

function parts(given: Partial<ResponseParts> = {}): ResponseParts {
  return {
    status: 200,
    statusText: "",
    contentType: TEXT_TYPE,
    fields: null,
    body: null,
    ...given,
  };
}

function mode(given: Partial<ResponseMode> = {}): ResponseMode {
  return { headOnly: false, close: false, http10: false, now: NOW, ...given };
}

function utf8(text: string): string {
  return fromLatin1(UTF8.encode(text));
}

function assertText(wire: FakeWire, text: string): void {
  const body = utf8(text);
  const head = `HTTP/1.1 200 OK\r\n${TYPE_LINE}${DATE}` +
    `content-length: ${body.length}\r\n\r\n`;
  const got = wire.text();
  assertEquals(got.slice(0, head.length), head, `${text.length} characters`);
  assert(got.slice(head.length) === body, `body of ${text.length} characters`);
}

// Around the 48 characters that are written by hand, and around each width of
// the digits, with as many bytes as characters, twice and three times as many.
const COUNTS = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 33, 34, 47, 48, 49, 50, 51]
  .concat([99, 100, 101, 333, 334, 499, 500, 501, 999, 1000, 1001, 3333, 3334])
  .concat([4999, 5000, 9999, 10_000, 33_333, 33_334, 50_000, 99_999, 100_000]);

for (const unit of ["a", "ü", "€", "😀", "aü", "\ud800"]) {
  Deno.test(`writeTextResponse() counts bytes of ${JSON.stringify(unit)}`, () => {
    for (const count of COUNTS) {
      const wire = new FakeWire();
      const text = unit.repeat(count);
      writeTextResponse(wire.outbox, 1, parts(), text, mode());
      assertText(wire, text);
      assertEquals(wire.responses(), 1);
    }
  });
}

Deno.test("writeTextResponse() finds one that is not ASCII anywhere", () => {
  for (const length of [48, 49]) {
    for (let at = 0; at < length; at++) {
      const wire = new FakeWire();
      const text = "x".repeat(at) + "ü" + "y".repeat(length - at - 1);
      writeTextResponse(wire.outbox, 1, parts(), text, mode());
      assertText(wire, text);
    }
  }
});

Deno.test("writeTextResponse() copes with every room that is left", () => {
  const outboxBytes = 1024;
  for (const text of ["", "a", "€", "ü".repeat(60), "€".repeat(100)]) {
    for (let used = 0; used <= outboxBytes; used++) {
      const wire = new FakeWire({ outboxBytes });
      if (used > 0) wire.outbox.write(2, pattern(used), 0);
      writeTextResponse(wire.outbox, 1, parts(), text, mode());
      assertText(wire, text);
      assertEquals(wire.bytes(2), pattern(used));
    }
  }
});

Deno.test("writeTextResponse() fits every size of an outbox or splits", () => {
  for (let count = 230; count < 1100; count++) {
    const wire = new FakeWire({ outboxBytes: 1024 });
    writeTextResponse(wire.outbox, 1, parts(), "x".repeat(count), mode());
    assertText(wire, "x".repeat(count));
    assertEquals(wire.responses(), 1);
  }
});

Deno.test("writeTextResponse() forgets the last head when anything changes", () => {
  const changes: [Partial<ResponseParts>, Partial<ResponseMode>, string][] = [
    [{}, {}, `200 OK\r\n${TYPE_LINE}${DATE}`],
    [{ status: 404 }, {}, `404 Not Found\r\n${TYPE_LINE}${DATE}`],
    [{ contentType: null }, {}, `200 OK\r\n${DATE}`],
    [{ contentType: "a/b" }, {}, `200 OK\r\ncontent-type: a/b\r\n${DATE}`],
    [
      {},
      { now: NOW + 1000 },
      `200 OK\r\n${TYPE_LINE}${DATE.replace(":37", ":38")}`,
    ],
    [{}, { close: true }, `200 OK\r\n${TYPE_LINE}${DATE}connection: close\r\n`],
    [{ statusText: "Fine" }, {}, `200 Fine\r\n${TYPE_LINE}${DATE}`],
    [{ status: 299 }, {}, `299 \r\n${TYPE_LINE}${DATE}`],
  ];
  for (const [first] of changes.entries()) {
    for (const [more, how, lines] of [changes[first]!, ...changes]) {
      const wire = new FakeWire();
      writeTextResponse(wire.outbox, 1, parts(more), "x", mode(how));
      assertEquals(
        wire.text(),
        `HTTP/1.1 ${lines}content-length: 1\r\n\r\nx`,
      );
    }
  }
});

Deno.test("writeTextResponse() repeats fields until one of them changes", () => {
  const rows: [fields: Field[], lines: string][] = [
    [[["X-A", "1"]], `x-a: 1\r\n${DATE}`],
    [[["x-a", "2"]], `x-a: 2\r\n${DATE}`],
    [[["x-b", "2"]], `x-b: 2\r\n${DATE}`],
    [[["x-b", "2"], ["x-a", "1"]], `x-b: 2\r\nx-a: 1\r\n${DATE}`],
    [[["x-b", "\xfc"]], `x-b: \xfc\r\n${DATE}`],
    [[["Content-Length", "7"], ["Date", "never"]], "date: never\r\n"],
    [[["connection", "x"]], `${DATE}connection: x\r\n`],
  ];
  for (const [first] of rows.entries()) {
    for (const [fields, lines] of [rows[first]!, ...rows, ...rows]) {
      const wire = new FakeWire();
      const given = fields.map(([name, value]): Field => [name, value]);
      const made = parts({ contentType: null, fields: given });
      writeTextResponse(wire.outbox, 1, made, "x", mode());
      // The handler may still have hold of its fields.
      given[0]![1] = "changed";
      assertEquals(
        wire.text(),
        `HTTP/1.1 200 OK\r\n${lines}content-length: 1\r\n\r\nx`,
      );
    }
  }
});

Deno.test("writeTextResponse() repeats a text until it or its head changes", () => {
  const texts = ["one", "two", "€", "", "x".repeat(256), "y".repeat(257)];
  const write = (text: string, given: Partial<ResponseParts>): string => {
    const wire = new FakeWire();
    const made = parts({ contentType: null, ...given });
    writeTextResponse(wire.outbox, 1, made, text, mode());
    assertEquals(wire.responses(), 1);
    return wire.text();
  };
  for (const first of texts) {
    for (const text of [first, first, first, ...texts, ...texts]) {
      for (const status of [200, 200, 200, 404, 200]) {
        const reason = status === 200 ? "OK" : "Not Found";
        const body = utf8(text);
        assertEquals(
          write(text, { status }),
          `HTTP/1.1 ${status} ${reason}\r\n${DATE}` +
            `content-length: ${body.length}\r\n\r\n${body}`,
        );
      }
    }
  }
});

Deno.test("writeTextResponse() repeats a text in an outbox that it fills", () => {
  const head = `HTTP/1.1 200 OK\r\n${DATE}content-length: 3\r\n\r\n`;
  for (const size of [head.length + 2, head.length + 3, 3 * head.length]) {
    const wire = new FakeWire({ outboxBytes: size });
    for (let count = 1; count <= 5; count++) {
      const made = parts({ contentType: null });
      writeTextResponse(wire.outbox, 1, made, "abc", mode());
    }
    assertEquals(wire.text(), `${head}abc`.repeat(5));
    assertEquals(wire.responses(), 5);
  }
});

Deno.test("writeTextResponse() answers HEAD with the length alone", () => {
  const wire = new FakeWire();
  writeTextResponse(
    wire.outbox,
    1,
    parts(),
    "ü".repeat(5),
    mode({ headOnly: true }),
  );
  assertEquals(
    wire.text(),
    `HTTP/1.1 200 OK\r\n${TYPE_LINE}${DATE}content-length: 10\r\n\r\n`,
  );
  assertEquals(wire.responses(), 1);
});

Deno.test("writeTextResponse() tells HTTP/1.0 of keep-alive or close", () => {
  for (const close of [false, true]) {
    const wire = new FakeWire();
    writeTextResponse(
      wire.outbox,
      1,
      parts(),
      "x",
      mode({ http10: true, close }),
    );
    assertEquals(
      wire.text(),
      `HTTP/1.1 200 OK\r\n${TYPE_LINE}${DATE}` +
        `connection: ${close ? "close" : "keep-alive"}\r\n` +
        "content-length: 1\r\n\r\nx",
    );
  }
});

for (const length of [0, 1, 1023, 1024, 1025, 5000]) {
  Deno.test(`writeBytesResponse() sends ${length} bytes`, () => {
    const wire = new FakeWire({ outboxBytes: 1024 });
    const body = pattern(length);
    writeBytesResponse(wire.outbox, 1, parts(), body, mode());
    const head = `HTTP/1.1 200 OK\r\n${TYPE_LINE}${DATE}` +
      `content-length: ${length}\r\n\r\n`;
    assertEquals(wire.text(), head + fromLatin1(body));
    assertEquals(wire.responses(), 1);
  });
}

for (
  const { status, line } of [
    { status: 200, line: "content-length: 0\r\n" },
    { status: 204, line: "" },
    { status: 205, line: "content-length: 0\r\n" },
    { status: 304, line: "" },
  ]
) {
  Deno.test(`writeBytesResponse() frames ${status} without a body`, () => {
    const wire = new FakeWire();
    const none = parts({ status, contentType: null });
    writeBytesResponse(wire.outbox, 1, none, null, mode());
    const text = wire.text();
    assert(text.startsWith(`HTTP/1.1 ${status} `));
    assert(text.endsWith(`\r\n${DATE}${line}\r\n`), text);
    assertEquals(wire.responses(), 1);
  });
}

Deno.test("writeBytesResponse() believes a handler's length for HEAD alone", () => {
  const fields: [string, string][] = [["Content-Length", "77"]];
  for (const [headOnly, expected] of [[true, 77], [false, 0]] as const) {
    const wire = new FakeWire();
    const given = parts({ contentType: null, fields });
    writeBytesResponse(wire.outbox, 1, given, null, mode({ headOnly }));
    assertEquals(
      wire.text(),
      `HTTP/1.1 200 OK\r\n${DATE}content-length: ${expected}\r\n\r\n`,
    );
  }
});

Deno.test("writeHead() leaves out fields that frame, and keeps a date", () => {
  const wire = new FakeWire();
  const fields: [string, string][] = [
    ["X-One", "1"],
    ["Connection", "upgrade"],
    ["Transfer-Encoding", "gzip"],
    ["content-length", "5"],
    ["Keep-Alive", "timeout=5"],
    ["Date", "today"],
    ["set-cookie", "a"],
    ["set-cookie", "b"],
    ["x-latin", "J\xfcrgen"],
  ];
  const given = parts({ contentType: null, fields });
  writeHead(wire.outbox, 1, given, "x-framing: 1\r\n", mode(), 3);
  assertEquals(
    wire.text(),
    "HTTP/1.1 200 OK\r\nx-one: 1\r\nkeep-alive: timeout=5\r\ndate: today\r\n" +
      "set-cookie: a\r\nset-cookie: b\r\nx-latin: J\xfcrgen\r\n" +
      "connection: upgrade\r\nx-framing: 1\r\n\r\n",
  );
  assertEquals(wire.responses(), 3);
});

Deno.test("writePlainResponse() says why", () => {
  const wire = new FakeWire();
  writePlainResponse(wire.outbox, 1, 431, "too long: ü", mode({ close: true }));
  assertEquals(
    wire.text(),
    `HTTP/1.1 431 Request Header Fields Too Large\r\n${TYPE_LINE}${DATE}` +
      `connection: close\r\ncontent-length: 12\r\n\r\n${utf8("too long: ü")}`,
  );
});

Deno.test("isBodyless() knows the statuses without a body", () => {
  const bodyless = [100, 101, 199, 204, 205, 304];
  for (const status of [...bodyless, 200, 201, 203, 206, 303, 305, 404, 500]) {
    assertEquals(isBodyless(status), bodyless.includes(status), `${status}`);
  }
});

Deno.test("asksToClose() looks for close in Connection", () => {
  assertEquals(asksToClose(null), false);
  assertEquals(asksToClose([]), false);
  assertEquals(asksToClose([["X-Close", "close"]]), false);
  assertEquals(asksToClose([["connection", "keep-alive"]]), false);
  assertEquals(asksToClose([["Connection", "Close"]]), true);
  assertEquals(asksToClose([["connection", "x, close"]]), true);
});

Deno.test("givenLength() believes digits and nothing else", () => {
  assertEquals(givenLength(null), null);
  for (const bad of ["", "-1", "1.5", "1e3", "0x1", " 1", "1234567890123456"]) {
    assertEquals(givenLength([["content-length", bad]]), null, bad);
  }
  assertEquals(givenLength([["Content-Length", "0"]]), 0);
  assertEquals(givenLength([["content-length", "007"]]), 7);
  assertEquals(givenLength([["content-length", "9".repeat(15)]]), 10 ** 15 - 1);
});

Deno.test("latin1() has a byte for each character", () => {
  assertEquals(
    latin1("a\x00\x7f\x80\xff"),
    Uint8Array.of(97, 0, 127, 128, 255),
  );
  assertEquals(latin1("").length, 0);
});
