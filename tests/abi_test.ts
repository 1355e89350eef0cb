// SPDX-License-Identifier: Apache-2.0
// Tests that what JavaScript believes of the shim is what C declares and what
// the library exports.

import { assert, assertEquals } from "@std/assert";
import { generateLayout } from "../ffi/layout_gen.ts";
import { SYMBOLS } from "../ffi/symbols.ts";

const ROOT = new URL("..", import.meta.url);

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

interface Declaration {
  name: string;
  result: string;
  /** "type name" of each parameter. */
  parameters: string[];
}

/** The functions that millrace.h declares. */
function declarations(): Declaration[] {
  const source = read("c/millrace.h").replace(/\/\/.*$/gm, "")
    .replace(/^#.*$/gm, "");
  const found = source.matchAll(/^([\w ]+?[ *]+)(mr_\w+)\(([^)]*)\);/gm);
  return Array.from(found, ([, result, name, list]) => ({
    name: name!,
    result: result!.trim(),
    parameters: list === "void"
      ? []
      : list!.split(",").map((text) => text.trim().replace(/\s+/g, " ")),
  }));
}

const NUMBERS: Record<string, string> = {
  "uint32_t": "u32",
  "int32_t": "i32",
  "uint64_t": "u64",
};

/** How Deno has to pass a parameter: handles as pointers, memory as buffers. */
function passedAs(parameter: string): string {
  const type = parameter.replace(/\w+$/, "").trim();
  if (/^mr_\w+ \*$/.test(type)) return "pointer";
  return type.endsWith("*") ? "buffer" : NUMBERS[type] ?? `? ${type}`;
}

/** Functions of ffi/symbols.ts with the comment behind each parameter. */
function commented(): Map<string, string[]> {
  const source = read("ffi/symbols.ts");
  const found = source.matchAll(/^ {2}(mr_\w+): \{([^}]*)\}/gm);
  return new Map(Array.from(found, ([, name, body]) => [
    name!,
    Array.from(body!.matchAll(/^ {6}"\w+", \/\/ (.*)$/gm), (m) => m[1]!),
  ]));
}

Deno.test("SYMBOLS has the functions of millrace.h in its order", () => {
  assertEquals(Object.keys(SYMBOLS), declarations().map(({ name }) => name));
});

Deno.test("SYMBOLS has the types of millrace.h", () => {
  const symbols: Deno.ForeignLibraryInterface = SYMBOLS;
  for (const { name, result, parameters } of declarations()) {
    const symbol = symbols[name] as Deno.ForeignFunction;
    assertEquals(symbol.parameters, parameters.map(passedAs) as never, name);
    const expected = result.endsWith("*") ? "pointer" : NUMBERS[result];
    assertEquals(symbol.result as string, expected, name);
  }
});

Deno.test("SYMBOLS shows the C declaration of each parameter", () => {
  const comments = commented();
  for (const { name, parameters } of declarations()) {
    assertEquals(comments.get(name), parameters, name);
  }
});

// --- the library

interface Section {
  type: number;
  offset: number;
  size: number;
  link: number;
}

const SHT_DYNSYM = 11;
const SYMBOL_BYTES = 24;

/** Names of the defined dynamic symbols of an ELF64 library. */
function exported(path: string): string[] {
  const bytes = Deno.readFileSync(new URL(path, ROOT));
  const view = new DataView(bytes.buffer);
  const all = sections(view);
  const table = all.find(({ type }) => type === SHT_DYNSYM)!;
  const strings = all[table.link]!;
  const names: string[] = [];
  for (let at = 0; at < table.size; at += SYMBOL_BYTES) {
    const symbol = table.offset + at;
    const defined = view.getUint16(symbol + 6, true) !== 0;
    const start = strings.offset + view.getUint32(symbol, true);
    const name = bytes.subarray(start, bytes.indexOf(0, start));
    if (defined) names.push(new TextDecoder().decode(name));
  }
  return names;
}

function sections(view: DataView): Section[] {
  assertEquals(view.getUint32(0), 0x7f454c46, "no ELF file");
  const offset = Number(view.getBigUint64(0x28, true));
  const size = view.getUint16(0x3a, true);
  const count = view.getUint16(0x3c, true);
  return Array.from({ length: count }, (_, index) => {
    const at = offset + index * size;
    return {
      type: view.getUint32(at + 4, true),
      offset: Number(view.getBigUint64(at + 0x18, true)),
      size: Number(view.getBigUint64(at + 0x20, true)),
      link: view.getUint32(at + 0x28, true),
    };
  });
}

Deno.test("libmillrace.so exports the functions of millrace.h alone", () => {
  assertEquals(
    exported("c/build/libmillrace.so").sort(),
    declarations().map(({ name }) => name).sort(),
  );
});

Deno.test("millrace.map lets nothing but mr_* out", () => {
  const map = read("c/millrace.map").replace(/\s+/g, " ");
  assert(map.includes("local: *"), map);
  assertEquals(map.match(/global: ([^;]*);/)?.[1], "mr_*");
});

Deno.test("ffi/layout.ts is what the headers generate", async () => {
  const generated = await generateLayout(
    read("c/layout.h"),
    read("c/millrace.h"),
  );
  assertEquals(flat(read("ffi/layout.ts")), flat(generated));
});

// Without what deno fmt may change.
function flat(source: string): string {
  return source.replace(/\s+/g, " ").trim();
}
