// SPDX-License-Identifier: Apache-2.0
// Tests of the sources themselves: rules of style that nobody shall have to
// remember.

import { assert, assertEquals } from "@std/assert";
import { layout } from "../ffi/mod.ts";
import { violationText } from "../lib/violations.ts";

const ROOT = new URL("..", import.meta.url);
const FUNCTION_LINES = 70;
const FILE_LINES = 600;

interface Source {
  /** Path from the root, for example "c/conn.c". */
  path: string;
  name: string;
  text: string;
  lines: string[];
}

function sources(directory: string, pattern: RegExp): Source[] {
  const names = [...Deno.readDirSync(new URL(directory, ROOT))]
    .filter(({ isFile, name }) => isFile && pattern.test(name))
    .map(({ name }) => name).sort();
  assert(names.length > 0, `No sources in ${directory}`);
  return names.map((name) => {
    const path = `${directory}/${name}`;
    const text = Deno.readTextFileSync(new URL(path, ROOT));
    return { path, name, text, lines: text.trimEnd().split("\n") };
  });
}

const C = sources("c", /\.[ch]$/);
const FFI = sources("ffi", /\.ts$/);
const LIB = ["lib", "lib/doctor", "lib/stress"]
  .flatMap((directory) => sources(directory, /\.ts$/));
const TESTS = sources("tests", /\.ts$/);
const C_TESTS = sources("tests/c", /\.[ch]$/);
const PRODUCT = [...C, ...FFI, ...LIB];
const ALL = [...PRODUCT, ...TESTS, ...C_TESTS];

/** "path:line text" of every line that matches. */
function matches(files: Source[], pattern: RegExp): string[] {
  return files.flatMap(({ path, lines }) =>
    lines.flatMap((line, at) =>
      pattern.test(line) ? [`${path}:${at + 1} ${line.trim()}`] : []
    )
  );
}

/** Text of C without comments and literals, line by line. */
function bare({ lines }: Source): string[] {
  return lines.map((line) =>
    line.replace(/"(\\.|[^"\\])*"/g, '""').replace(/'(\\.|[^'\\])*'/g, "''")
      .replace(/\/\/.*$/, "")
  );
}

/** Functions of a C file with the number of their lines. */
function functionsOf(file: Source): { name: string; lines: number }[] {
  const found: { name: string; lines: number }[] = [];
  let depth = 0;
  let start = 0;
  let name = "";
  for (const [at, line] of bare(file).entries()) {
    if (depth === 0 && /^[a-z].*\(/.test(line)) {
      name = /(\w+)\(/.exec(line)![1]!;
      start = at;
    }
    for (const [brace] of line.matchAll(/[{}]/g)) {
      depth += brace === "{" ? 1 : -1;
      if (depth > 0 || brace === "{" || name === "") continue;
      found.push({ name: `${file.path} ${name}`, lines: at - start + 1 });
      name = "";
    }
  }
  return found;
}

Deno.test("a function of C has at most 70 lines", () => {
  const all = C.flatMap(functionsOf);
  assert(all.length > 100, "The functions were not found");
  assertEquals(all.filter(({ lines }) => lines > FUNCTION_LINES), []);
});

Deno.test("a file has at most 600 lines", () => {
  const long = ALL.filter(({ lines }) => lines.length > FILE_LINES);
  assertEquals(long.map(({ path }) => path), []);
});

Deno.test("a file says in its head what it is", () => {
  for (const { path, name, lines } of PRODUCT) {
    assertEquals(lines[0], "// SPDX-License-Identifier: Apache-2.0", path);
    assert(lines[1]!.startsWith(`// ${name} - `), `${path}: ${lines[1]}`);
  }
});

Deno.test("every test file has its licence", () => {
  for (const { path, lines } of TESTS) {
    if (path === "tests/run.ts") continue;
    assertEquals(lines[0], "// SPDX-License-Identifier: Apache-2.0", path);
  }
});

Deno.test("the shim neither prints nor exits", () => {
  const code = C.map((file) => ({ ...file, lines: bare(file) }));
  const banned =
    /\b(v?f?printf|perror|puts|exit|_exit|abort|errx?|warnx?)\s*\(/;
  assertEquals(matches(code, banned), []);
});

Deno.test("only ffi/ touches foreign memory", () => {
  const outside = [...LIB, ...sources(".", /^mod\.ts$/)];
  assertEquals(
    matches(outside, /Deno\.dlopen|UnsafePointer|UnsafeFn|new DataView/),
    [],
  );
});

Deno.test("Deno.dlopen occurs once", () => {
  const calls = matches(FFI, /Deno\.dlopen\(/);
  assertEquals(calls.length, 1, calls.join("\n"));
});

Deno.test("lib/ imports ffi/ through ffi/mod.ts alone", () => {
  const imports = matches(LIB, /"(\.\.\/)+ffi\//);
  assert(imports.length > 0);
  assertEquals(imports.filter((line) => !line.includes("/ffi/mod.ts")), []);
});

Deno.test("ffi/ imports nothing of lib/", () => {
  assertEquals(matches(FFI, /"\.\.\/lib\//), []);
});

Deno.test("the data plane neither throws nor unwraps", () => {
  const files = PRODUCT.filter(({ path }) =>
    ["ffi/inbox.ts", "ffi/outbox.ts", "lib/poll_loop.ts"].includes(path)
  );
  assertEquals(files.length, 3);
  assertEquals(matches(files, /unwrap\(|\bthrow\b/), []);
});

Deno.test("nothing is left to do", () => {
  const words = new RegExp(
    `\\b(${["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|")})\\b`,
  );
  assertEquals(matches(ALL, words), []);
});

Deno.test("every source is named in the documents", () => {
  const documents = ["README.md", ".github/ARCHITECTURE.md"]
    .map((path) => Deno.readTextFileSync(new URL(path, ROOT))).join("\n");
  // The header of a source that is named goes without saying.
  const missing = PRODUCT.filter(({ name }) =>
    !documents.includes(name) && !documents.includes(name.replace(/\.h$/, ".c"))
  );
  assertEquals(missing.map(({ path }) => path), []);
});

Deno.test("every violation of layout.h has its text", () => {
  const body = /enum mr_violation \{([^}]*)\}/.exec(
    Deno.readTextFileSync(new URL("c/layout.h", ROOT)),
  )![1]!;
  const names = Array.from(body.matchAll(/MR_(\w+) = /g), (m) => m[1]!);
  assert(names.length > 30);
  const numbers = layout as unknown as Record<string, number>;
  const texts = names.map((name) => violationText(numbers[name]!));
  assertEquals(texts.filter((text) => /^violation \d+$/.test(text)), []);
  assertEquals(new Set(texts).size, texts.length, "two with the same text");
});
