// SPDX-License-Identifier: Apache-2.0
// peers.ts - finds Bun and the packages of other servers in bench/.peers/, or installs them there from npm.
import manifest from "../deno.json" with { type: "json" };
import { benchPath } from "./paths.ts";

const BUN = "bun@1.4";
// Of the versions that Deno takes: "npm:hono@...".
const HONO = manifest.imports.hono.slice("npm:".length);
const WS = manifest.imports.ws.slice("npm:".length);
const INSTALL_SECONDS_MAX = 180;

/** A program and its version, or the reason why there is none. */
export type Peer = { path: string; version: string } | { reason: string };

/** Where Bun and Node find the packages that their servers import. */
export const PEERS: string = benchPath(".peers/node_modules");

/** Finds Bun; asks npm for it when it is not there yet. */
export async function findBun(): Promise<Peer> {
  const reason = await provide();
  return await runningBun() ??
    { reason: reason ?? "npm installed Bun, but no program of it runs here" };
}

/** Finds Node, and `ws` for it; asks npm for that when it is not there yet. */
export async function findNode(): Promise<Peer> {
  const version = await versionOf("node");
  if (version === undefined) return { reason: "there is no node in PATH" };
  const reason = has(WS) ? undefined : await provide();
  return reason !== undefined
    ? { reason }
    : { path: "node", version: `${version} with ${WS}` };
}

// The reason why something is missing all the same.
async function provide(): Promise<string | undefined> {
  if (has(HONO) && has(WS) && await runningBun() !== undefined) return;
  console.error(`Installing ${BUN}, ${HONO}, ${WS} from npm to bench/.peers/`);
  return await install();
}

// The package `bun` puts the program of this machine in place when its install script runs; where scripts are
// off, the program is in the package of the platform.
async function runningBun(): Promise<Peer | undefined> {
  const candidates = [`${PEERS}/bun/bin/bun.exe`];
  for (const folder of folders(`${PEERS}/@oven`)) {
    candidates.push(`${folder}/bin/bun`);
  }
  for (const path of candidates) {
    const version = await versionOf(path);
    if (version !== undefined) return { path, version };
  }
  return undefined;
}

function has(wanted: string): boolean {
  const [name] = wanted.split("@");
  try {
    const text = Deno.readTextFileSync(`${PEERS}/${name}/package.json`);
    return wanted === `${name}@${JSON.parse(text).version}`;
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

async function versionOf(program: string): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(program, {
      args: ["--version"],
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch {
    return undefined;
  }
}

async function install(): Promise<string | undefined> {
  const prefix = benchPath(".peers");
  await Deno.mkdir(prefix, { recursive: true });
  const signal = AbortSignal.timeout(INSTALL_SECONDS_MAX * 1000);
  const args = ["install", "--prefix", prefix, "--no-audit", "--no-fund"];
  try {
    const result = await new Deno.Command("npm", {
      args: [...args, BUN, HONO, WS],
      signal,
    }).output();
    if (result.success) return undefined;
    return `npm cannot install it (exit code ${result.code})`;
  } catch (error) {
    return `npm cannot be run: ${error instanceof Error ? error.message : ""}`;
  }
}
