// SPDX-License-Identifier: Apache-2.0
// go_peers.ts - builds the servers that are written in Go into bench/.peers/, where there is a Go toolchain and its
// module proxy has what they import.
import { modified } from "./build.ts";
import { benchPath } from "./paths.ts";
import type { Peer } from "./peers.ts";

const BUILD_SECONDS_MAX = 300;
// Hon has no releases: the last commit whose programming interface the server was written for.
const HON = "github.com/DevNewbie1826/hon@2cb5c97260f8";

/** Finds the program of gnet's server; builds it when a source is newer. */
export function findGnet(): Promise<Peer> {
  return find("gnet", "github.com/panjf2000/gnet/v2", []);
}

/** The same of Hon's. */
export function findHon(): Promise<Peer> {
  return find("hon", "github.com/DevNewbie1826/hon", [["get", HON]]);
}

// The sources are built where what Go writes beside them is in nobody's way.
async function find(
  name: string,
  module: string,
  before: readonly string[][],
): Promise<Peer> {
  const source = benchPath(`servers/${name}`);
  const folder = benchPath(`.peers/${name}`);
  const path = `${folder}/${name}`;
  const files = [...Deno.readDirSync(source)].map((entry) => entry.name);
  if (files.some((file) => modified(`${source}/${file}`) >= modified(path))) {
    if ("reason" in await go(["version"], ".")) {
      return { reason: "there is no go in PATH" };
    }
    console.error(`Building ${name} in bench/.peers/`);
    await Deno.mkdir(folder, { recursive: true });
    for (const file of files) {
      await Deno.copyFile(`${source}/${file}`, `${folder}/${file}`);
    }
    for (const args of [...before, ["build", "-o", path, "."]]) {
      const result = await go(args, folder);
      if ("reason" in result) return result;
    }
  }
  const version = await go(["list", "-m", module], folder);
  return "reason" in version ? version : { path, version: version.output };
}

async function go(
  args: string[],
  cwd: string,
): Promise<{ output: string } | { reason: string }> {
  const signal = AbortSignal.timeout(BUILD_SECONDS_MAX * 1000);
  try {
    const { success, stdout, stderr } = await new Deno.Command("go", {
      args,
      cwd,
      signal,
    }).output();
    const decoder = new TextDecoder();
    return success
      ? { output: decoder.decode(stdout).trim() }
      : { reason: `go ${args[0]} failed: ${lastLine(decoder.decode(stderr))}` };
  } catch (error) {
    return { reason: `go cannot be run: ${error}` };
  }
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
