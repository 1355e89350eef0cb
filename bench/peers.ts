// SPDX-License-Identifier: Apache-2.0
// peers.ts - finds Bun in bench/.peers/, or installs it there from npm.
import { benchPath } from "./paths.ts";

const BUN_VERSION = "1.4";
const INSTALL_SECONDS_MAX = 180;

/** Path of the Bun program, or the reason why there is none. */
export type Peer = { path: string } | { reason: string };

/** Finds Bun; asks npm for it when it is not there yet. */
export async function findBun(): Promise<Peer> {
  const found = await runningBun();
  if (found !== undefined) return { path: found };
  console.error(`Installing Bun ${BUN_VERSION} from npm into bench/.peers/`);
  const reason = await install();
  if (reason !== undefined) return { reason };
  const installed = await runningBun();
  if (installed !== undefined) return { path: installed };
  return { reason: "npm installed Bun, but no program of it runs here" };
}

// The package `bun` puts the program of this machine in place when its install script runs; where scripts are
// off, the program is in the package of the platform.
async function runningBun(): Promise<string | undefined> {
  const candidates = [benchPath(".peers/node_modules/bun/bin/bun.exe")];
  for (const folder of folders(benchPath(".peers/node_modules/@oven"))) {
    candidates.push(`${folder}/bin/bun`);
  }
  for (const path of candidates) {
    if (await runs(path, ["--version"])) return path;
  }
  return undefined;
}

function folders(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].map((entry) => `${path}/${entry.name}`)
      .sort();
  } catch {
    return [];
  }
}

async function runs(path: string, args: string[]): Promise<boolean> {
  try {
    const result = await new Deno.Command(path, { args, stderr: "null" })
      .output();
    return result.success;
  } catch {
    return false;
  }
}

async function install(): Promise<string | undefined> {
  const prefix = benchPath(".peers");
  await Deno.mkdir(prefix, { recursive: true });
  const signal = AbortSignal.timeout(INSTALL_SECONDS_MAX * 1000);
  const args = ["install", "--prefix", prefix, "--no-audit", "--no-fund"];
  try {
    const result = await new Deno.Command("npm", {
      args: [...args, `bun@${BUN_VERSION}`],
      signal,
    }).output();
    if (result.success) return undefined;
    return `npm cannot install it (exit code ${result.code})`;
  } catch (error) {
    return `npm cannot be run: ${error instanceof Error ? error.message : ""}`;
  }
}
