// SPDX-License-Identifier: Apache-2.0
// Tests of the codecs of the action router: values there and back, bodies that
// are wrong, and that nobody loads a library who does not ask for it.

import { assert, assertEquals, assertThrows } from "@std/assert";
import protobufjs from "protobufjs";
import { type Codec, json, raw } from "../lib/codec.ts";
import { msgpack } from "../lib/codec_msgpack.ts";
import { protobuf } from "../lib/codec_protobuf.ts";
import { RpcCode } from "../lib/rpc.ts";
import { asError, testCarriers } from "./packet_client.ts";
import { latin1, pattern } from "./testing.ts";

const SCHEMA = `
  syntax = "proto3";
  package chat;
  message Login { string name = 1; repeated int32 rooms = 2; }
  message Welcome { uint32 id = 1; bytes token = 2; }
  message Node { Node child = 1; }
`;

const proto = protobuf({
  1: { request: "chat.Login", reply: "chat.Welcome" },
  2: { request: "chat.Node" },
  101: { push: "chat.Login" },
}, SCHEMA);

function roundTrip(codec: Codec, value: unknown): unknown {
  return codec.decode(codec.encode(value, 1, "request"), 1, "request");
}

Deno.test("JSON goes there and back", () => {
  for (
    const value of [null, 1, "ü\u{1f600}\ufffd", [1, { a: [] }], { b: false }]
  ) {
    assertEquals(roundTrip(json, value), value);
  }
  assertEquals(json.encode(undefined, 1, "reply"), latin1("null"));
  assertEquals(json.decode(latin1(""), 1, "request"), undefined);
  for (const body of ["{", "undefined", '"\xff"', "\xef\xbb\xbf1"]) {
    assertThrows(() => json.decode(latin1(body), 1, "request"), Error);
  }
  for (const value of [1n, () => {}, Symbol("s")]) {
    assertThrows(() => json.encode(value, 1, "reply"), TypeError);
  }
});

Deno.test("raw bytes stay as they are, and are copied when they come", () => {
  const codec: Codec = raw;
  const bytes = pattern(10);
  const got = codec.decode(bytes, 1, "request") as Uint8Array;
  assert(got.buffer !== bytes.buffer);
  assertEquals(got, bytes);
  assertEquals(codec.encode(bytes, 1, "reply"), bytes);
  assertEquals(codec.encode("ü", 1, "reply"), Uint8Array.of(0xc3, 0xbc));
  assertEquals(codec.encode(undefined, 1, "reply"), new Uint8Array(0));
  assertThrows(() => codec.encode({}, 1, "reply"), TypeError, "Uint8Array");
});

Deno.test("MessagePack goes there and back", () => {
  const value = {
    text: "ü",
    list: [1, -1, 1.5, 2 ** 40, null, true],
    bytes: pattern(20),
    date: new Date(1e12),
  };
  const encoded = msgpack.encode(value, 1, "request");
  const lent = new Uint8Array(encoded);
  const got = msgpack.decode(lent, 1, "request");
  lent.fill(0xdb);
  assertEquals(got, value);
  // By the specification: a map of one, "a" to 1.
  assertEquals(
    msgpack.encode({ a: 1, b: undefined }, 1, "reply"),
    Uint8Array.of(0x81, 0xa1, 0x61, 1),
  );
  assertEquals(msgpack.encode(undefined, 1, "reply"), Uint8Array.of(0xc0));
  assertEquals(msgpack.decode(new Uint8Array(0), 1, "request"), undefined);
});

Deno.test("a MessagePack body that announces more than it has takes no memory", () => {
  for (const type of [0xdd, 0xdf, 0xdb, 0xc6, 0xc9]) {
    const body = Uint8Array.of(type, 0x01, 0xff, 0xff, 0xff, 0);
    assertThrows(() => msgpack.decode(body, 1, "request"), Error);
  }
});

Deno.test("MessagePack arrays within one another take no memory beyond the body's", () => {
  const length = 1024 * 1024;
  const body = new Uint8Array(length).fill(0xc0);
  const view = new DataView(body.buffer);
  // A decoder that believes each of these takes 8 MiB for each.
  for (let at = 0; at < 500 * 5; at += 5) {
    view.setUint8(at, 0xdd);
    view.setUint32(at + 1, length - at - 5);
  }
  assertThrows(
    () => msgpack.decode(body, 1, "request"),
    RangeError,
    "announces more values",
  );
});

Deno.test("MessagePack of every type is walked over as it is decoded", () => {
  const of = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);
  const zeros = (count: number): number[] => Array(count).fill(0);
  const bodies = [
    ...[0x7f, 0xe0, 0xc0, 0xc2, 0xc3, 0x80, 0x90, 0xa0].map((type) => of(type)),
    of(0x81, 0xa1, 0x61, 0x92, 1, 2),
    ...[[0xcc, 1], [0xcd, 2], [0xce, 4], [0xcf, 8], [0xca, 4], [0xcb, 8]]
      .map(([type, size]) => of(type!, ...zeros(size!))),
    ...[0, 1, 2, 3].map((n) => of(0xd0 + n, ...zeros(1 << n))),
    ...[0, 1, 2, 3, 4].map((n) => of(0xd4 + n, 1, ...zeros(1 << n))),
    ...[0xc4, 0xd9].map((type) => of(type, 3, ...zeros(3))),
    ...[0xc5, 0xda].map((type) => of(type, 0, 3, ...zeros(3))),
    ...[0xc6, 0xdb].map((type) => of(type, 0, 0, 0, 3, ...zeros(3))),
    of(0xc7, 3, 1, ...zeros(3)),
    of(0xc8, 0, 3, 1, ...zeros(3)),
    of(0xc9, 0, 0, 0, 3, 1, ...zeros(3)),
    of(0xdc, 0, 3, ...zeros(3)),
    of(0xdd, 0, 0, 0, 3, ...zeros(3)),
    of(0xde, 0, 1, 0xa0, 1),
    of(0xdf, 0, 0, 0, 1, 0xa0, 1),
  ];
  for (const body of bodies) {
    // In an array with one more value behind it, which the walk only finds if it has stepped over the first one.
    msgpack.decode(of(0x92, ...body, 0xc0), 1, "request");
    assertThrows(
      () => msgpack.decode(of(0x93, ...body, 0xc0), 1, "request"),
      RangeError,
      "announces more values",
    );
  }
});

Deno.test("Protocol Buffers go there and back", () => {
  const login = { name: "Zoë", rooms: [1, -2] };
  const bytes = proto.encode(login, 1, "request");
  // As the specification has it: field 1 by its length, field 2 packed.
  assertEquals([...bytes.subarray(0, 6)], [0x0a, 4, 0x5a, 0x6f, 0xc3, 0xab]);
  const lent = new Uint8Array(bytes);
  const got = proto.decode(lent, 1, "request") as typeof login;
  lent.fill(0xdb);
  assertEquals([got.name, got.rooms], ["Zoë", [1, -2]]);
  const empty = proto.decode(new Uint8Array(0), 1, "request") as typeof login;
  assertEquals([empty.name, empty.rooms], ["", []]);
  const token = pattern(5);
  const welcome = proto.encode({ id: 7, token }, 1, "reply");
  const reply = proto.decode(welcome, 1, "reply") as {
    id: number;
    token: Uint8Array;
  };
  welcome.fill(0xdb);
  assertEquals([reply.id, [...reply.token]], [7, [...token]]);
  assertEquals(proto.encode(undefined, 1, "reply").length, 0);
  assertEquals(proto.encode(login, 101, "push"), bytes);
});

Deno.test("Protocol Buffers that are wrong are refused", () => {
  const wrong: [unknown, string][] = [
    [{ name: 5 }, "name: string expected"],
    [{ rooms: 5 }, "rooms: array expected"],
    [5, "object expected"],
  ];
  for (const [value, message] of wrong) {
    assertThrows(() => proto.encode(value, 1, "request"), TypeError, message);
  }
  assertThrows(() => proto.encode({}, 3, "reply"), TypeError, "reply of 3");
  assertEquals(proto.encode(undefined, 3, "reply").length, 0);
  assertEquals(proto.decode(pattern(5), 3, "request"), undefined);
  for (const bytes of [[0x0a, 5, 1], [0x0a], [0x0f], [0xff]]) {
    assertThrows(() => proto.decode(Uint8Array.from(bytes), 1, "request"));
  }
  // Nested deeper than anybody means.
  let deep: number[] = [];
  for (let n = 0; n < 5000; n++) {
    const { length } = deep;
    deep = length < 128 ? [0x0a, length, ...deep] : [
      0x0a,
      length & 127 | 128,
      length >> 7 & 127 | 128,
      length >> 14,
      ...deep,
    ];
  }
  assertThrows(() => proto.decode(Uint8Array.from(deep), 2, "request"), Error);
  assertThrows(() => protobuf({ 1: { request: "A" } }), TypeError, "a schema");
  assertThrows(() => protobuf({ 1: { request: "A" } }, SCHEMA), Error, "A");
  assertThrows(() => protobuf({}, "message {"), Error);
});

Deno.test("types of Protocol Buffers may come from elsewhere", () => {
  const { root } = protobufjs.parse(SCHEMA);
  const byRoot = protobuf({ 1: { request: "chat.Login" } }, root);
  const byType = protobuf({ 1: { request: root.lookupType("chat.Login") } });
  for (const codec of [byRoot, byType]) {
    const got = roundTrip(codec, { name: "x" }) as { name: string };
    assertEquals(got.name, "x");
  }
});

for (
  const [name, codec] of Object.entries<Codec>({ json, raw, msgpack, proto })
) {
  Deno.test(`random and truncated bodies decode or throw, and nothing else: ${name}`, () => {
    const good = codec.encode(
      name === "raw" ? pattern(30) : { name: "abcdef", rooms: [1, 2, 3] },
      1,
      "request",
    );
    for (let length = 0; length <= good.length; length++) {
      attempt(codec, good.slice(0, length));
    }
    for (let seed = 1; seed <= 500; seed++) {
      attempt(codec, pattern(1 + seed % 40, seed));
    }
  });

  testCarriers(`a bad body is answered with an error: ${name}`, async (t) => {
    if (name === "raw") return;
    const app = t.app({ codec });
    app.route(1, () => undefined);
    const client = await t.connect(app);
    for (const sequence of [1, 2]) {
      // No JSON, a code that MessagePack does not have, a wire type that protobuf does not have.
      await client.send(1, sequence, Uint8Array.of(0xc1, 0x0f));
      const [got, action, code] = asError(await client.receive());
      assertEquals([got, action, code], [sequence, 1, RpcCode.BadRequest]);
    }
  });
}

function attempt(codec: Codec, bytes: Uint8Array): void {
  try {
    codec.decode(bytes, 1, "request");
  } catch (error) {
    assert(error instanceof Error);
  }
}

Deno.test("neither mod.ts nor the action router loads a codec's library", async () => {
  for (const entry of ["mod.ts", "lib/rpc.ts"]) {
    const command = new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", new URL(`../${entry}`, import.meta.url).href],
      stderr: "null",
    });
    const { stdout } = await command.output();
    const graph = new TextDecoder().decode(stdout);
    assert(graph.includes(entry));
    for (const library of ["protobufjs", "@msgpack"]) {
      const { modules } = JSON.parse(graph) as {
        modules: { specifier: string }[];
      };
      assert(modules.length > 10);
      assert(!modules.some(({ specifier }) => specifier.includes(library)));
    }
  }
});
