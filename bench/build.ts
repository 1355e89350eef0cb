// SPDX-License-Identifier: Apache-2.0
// build.ts - compiles the load client and the C floor into bench/build/ when a source is newer than the program.
import { benchPath } from "./paths.ts";

interface Program {
  readonly name: string;
  /** Folders relative to `bench/`, with what the names of their sources begin with. */
  readonly sources: readonly { folder: string; prefix: string }[];
  readonly flags: readonly string[];
  readonly libraries: readonly string[];
}

const COMMON = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra"];
const HARDENING = ["-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"];

const LOAD: Program = {
  name: "load",
  sources: [{ folder: "./", prefix: "load" }],
  flags: [...COMMON, "-O3"],
  libraries: ["-l:libz.a"],
};

// The floor is compiled from the sources of the shim and with its flags, so that no build of the library has to
// exist and no symbol lookup stands between the two.
const FLOOR: Program = {
  name: "floor",
  sources: [
    { folder: "./", prefix: "floor" },
    { folder: "../c/", prefix: "" },
  ],
  flags: [
    ...COMMON,
    ...HARDENING,
    "-O2",
    "-DMR_ABI_HASH=0u",
    `-I${benchPath("../c")}`,
  ],
  libraries: ["-l:liburing.a", "-l:libz.a", "-ldl", "-lpthread"],
};

/** Compiles the load client if it is stale and returns its path. */
export function buildLoad(): Promise<string> {
  return build(LOAD);
}

/** Compiles the C floor if it is stale and returns its path. */
export function buildFloor(): Promise<string> {
  return build(FLOOR);
}

async function build(program: Program): Promise<string> {
  const output = benchPath(`build/${program.name}`);
  const sources = program.sources.flatMap(({ folder, prefix }) =>
    listSources(folder, prefix)
  );
  if (isFresh(output, [...sources, ...listHeaders()])) return output;
  await Deno.mkdir(benchPath("build"), { recursive: true });
  const compiler = Deno.env.get("CC") ?? "cc";
  const result = await new Deno.Command(compiler, {
    args: [...program.flags, ...sources, "-o", output, ...program.libraries],
  }).output();
  if (!result.success) {
    const reason = new TextDecoder().decode(result.stderr);
    throw new Error(`Cannot compile ${program.name}: ${reason}`);
  }
  return output;
}

function listSources(folder: string, prefix: string): string[] {
  return list(folder).filter((path) =>
    path.endsWith(".c") && path.slice(path.lastIndexOf("/") + 1)
      .startsWith(prefix)
  );
}

function listHeaders(): string[] {
  return [...list("./"), ...list("../c/")].filter((path) =>
    path.endsWith(".h")
  );
}

function list(folder: string): string[] {
  const entries = [...Deno.readDirSync(benchPath(folder))];
  return entries.filter((entry) => entry.isFile)
    .map((entry) => benchPath(folder + entry.name)).sort();
}

function isFresh(output: string, inputs: readonly string[]): boolean {
  const built = modified(output);
  return built > 0 && inputs.every((input) => modified(input) < built);
}

/** When a file was last written, in milliseconds; 0 when there is none. */
export function modified(path: string): number {
  try {
    return Deno.statSync(path).mtime?.getTime() ?? 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}
