// SPDX-License-Identifier: Apache-2.0
// machine.ts - on what a round was measured; written beside every raw result.
import { benchPath } from "./paths.ts";

/** Where and with what a run took place. */
export interface Machine {
  readonly date: string;
  readonly commit: string;
  readonly kernel: string;
  readonly deno: string;
  readonly cpu: string;
  readonly cores: number;
}

/** Describes this machine; what cannot be found out is empty. */
export async function describeMachine(): Promise<Machine> {
  return {
    date: new Date().toISOString(),
    commit: await commit(),
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    cpu: cpuModel(),
    cores: navigator.hardwareConcurrency,
  };
}

async function commit(): Promise<string> {
  const head = await git(["rev-parse", "--short=12", "HEAD"]);
  const changes = await git(["status", "--porcelain", "--", ".", ":!bench"]);
  return changes === "" ? head : `${head}+`;
}

async function git(args: string[]): Promise<string> {
  try {
    const result = await new Deno.Command("git", {
      args: ["-C", benchPath(".."), ...args],
      stderr: "null",
    }).output();
    return new TextDecoder().decode(result.stdout).trim();
  } catch {
    return "";
  }
}

function cpuModel(): string {
  const text = Deno.readTextFileSync("/proc/cpuinfo");
  return /^model name\s*:\s*(.*)$/m.exec(text)?.[1] ?? "";
}

/** Moves this process to one core, so that it stays off the core of the servers. */
export async function pinSelf(core: number): Promise<void> {
  await new Deno.Command("taskset", {
    args: ["-a", "-c", "-p", String(core), String(Deno.pid)],
  }).output();
}
