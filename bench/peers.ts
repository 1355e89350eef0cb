// SPDX-License-Identifier: Apache-2.0
// peers.ts - finds Bun in bench/.peers/, or installs it there from npm, with what its server imports.
import manifest from "../deno.json" with { type: "json" };
import { benchPath } from "./paths.ts";

const BUN = "bun@1.4";
// Of the version that Deno takes: "npm:hono@...".
const HONO = manifest.imports.hono.slice("npm:".length);
const INSTALL_SECONDS_MAX = 180;

/** Path of the Bun program, or the reason why there is none. */
export type Peer = { path: string } | { reason: string };

/** Where Bun finds the packages that its server imports. */
export const PEERS: string = benchPath(".peers/node_modules");

/** Finds Bun; asks npm for it when it is not there yet. */
export async function findBun(): Promise<Peer> {
  const found = hasHono() ? await runningBun() : undefined;
  if (found !== undefined) return { path: found };
  console.error(`Installing ${BUN} and ${HONO} from npm into bench/.peers/`);
  const reason = await install();
  if (reason !== undefined) return { reason };
  const installed = await runningBun();
  if (installed !== undefined) return { path: installed };
  return { reason: "npm installed Bun, but no program of it runs here" };
}

// The package `bun` puts the program of this machine in place when its install script runs; where scripts are
// off, the program is in the package of the platform.
async function runningBun(): Promise<string | undefined> {
  const candidates = [`${PEERS}/bun/bin/bun.exe`];
  for (const folder of folders(`${PEERS}/@oven`)) {
    candidates.push(`${folder}/bin/bun`);
  }
  for (const path of candidates) {
    if (await runs(path, ["--version"])) return path;
  }
  return undefined;
}

function hasHono(): boolean {
  try {
    const text = Deno.readTextFileSync(`${PEERS}/hono/package.json`);
    return HONO === `hono@${JSON.parse(text).version}`;
  } catch {
    return false;
  }
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
      args: [...args, BUN, HONO],
      signal,
    }).output();
    if (result.success) return undefined;
    return `npm cannot install it (exit code ${result.code})`;
  } catch (error) {
    return `npm cannot be run: ${error instanceof Error ? error.message : ""}`;
  }
}
