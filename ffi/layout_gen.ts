// SPDX-License-Identifier: Apache-2.0
// layout_gen.ts - generates ffi/layout.ts from c/layout.h and c/millrace.h; run by `deno task build`, its output
// is compared by tests/abi_test.ts.

const SIZES: Record<string, number> = {
  char: 1,
  uint8_t: 1,
  uint16_t: 2,
  uint32_t: 4,
  uint64_t: 8,
};

/** One field of a struct in layout.h. */
interface StructField {
  name: string;
  offset: number;
}

function withoutComments(source: string): string {
  return source.replace(/\/\/.*$/gm, "");
}

function constantName(name: string): string {
  return name.replace(/^mr_/i, "").toUpperCase();
}

function defines(source: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, name, value] of source.matchAll(/^#define (MR_\w+) (\w+)$/gm)) {
    found.set(name!, Number(value));
  }
  return found;
}

function enumerators(source: string): [string, number][] {
  const bodies = [...source.matchAll(/enum \w+ \{([^}]*)\};/g)].map((m) =>
    m[1]!
  );
  return bodies.flatMap((body) =>
    [...body.matchAll(/(MR_\w+)\s*=\s*(\d+)/g)].map((
      [, name, value],
    ): [string, number] => [name!, Number(value)])
  );
}

function structFields(
  body: string,
  sizes: Map<string, number>,
): [StructField[], number] {
  const fields: StructField[] = [];
  let offset = 0;
  for (
    const [, type, name, length] of body.matchAll(
      /(\w+) (\w+)(?:\[(\w+)\])?;/g,
    )
  ) {
    const size = SIZES[type!];
    if (size === undefined) {
      throw new SyntaxError(
        `Cannot lay out field "${name}": unknown type "${type}"`,
      );
    }
    if (offset % size !== 0) {
      throw new RangeError(`Cannot lay out field "${name}": it needs padding`);
    }
    fields.push({ name: name!, offset });
    offset += size *
      (length === undefined ? 1 : sizes.get(length) ?? Number(length));
  }
  return [fields, offset];
}

function structLines(source: string, sizes: Map<string, number>): string[] {
  const lines: string[] = [];
  for (
    const [, name, body] of source.matchAll(/struct (mr_\w+) \{([^}]*)\};/g)
  ) {
    const prefix = constantName(name!);
    const [fields, bytes] = structFields(body!, sizes);
    lines.push("", `export const ${prefix}_BYTES = ${bytes};`);
    for (const field of fields) {
      lines.push(
        `export const ${prefix}_${field.name.toUpperCase()} = ${field.offset};`,
      );
    }
  }
  return lines;
}

async function abiHash(...sources: string[]): Promise<string> {
  const bytes = new TextEncoder().encode(sources.join(""));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return "0x" + digest.subarray(0, 4).toHex();
}

/** The text of ffi/layout.ts for these headers. */
export async function generateLayout(
  layout: string,
  contract: string,
): Promise<string> {
  const source = withoutComments(layout);
  const sizes = defines(source);
  const constants = [...sizes, ...enumerators(source)].map(([name, value]) =>
    `export const ${constantName(name)} = ${value};`
  );
  return [
    "// SPDX-License-Identifier: Apache-2.0",
    "// layout.ts - generated from c/layout.h by ffi/layout_gen.ts, do not edit: constants, and offsets in bytes.",
    "",
    "/** First 32 bits of the SHA-256 of c/layout.h and c/millrace.h. */",
    `export const ABI_HASH = ${await abiHash(layout, contract)};`,
    "",
    ...constants,
    ...structLines(source, sizes),
    "",
  ].join("\n");
}

/** Writes ffi/layout.ts when the headers have changed. */
export async function writeLayout(): Promise<void> {
  const read = (path: string): string =>
    Deno.readTextFileSync(new URL(path, import.meta.url));
  const text = await generateLayout(
    read("../c/layout.h"),
    read("../c/millrace.h"),
  );
  const target = new URL("./layout.ts", import.meta.url);
  let had = "";
  try {
    had = Deno.readTextFileSync(target);
  } catch {
    // The first time there is none.
  }
  if (had !== text) Deno.writeTextFileSync(target, text);
}

if (import.meta.main) await writeLayout();
