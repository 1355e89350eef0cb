// SPDX-License-Identifier: Apache-2.0
// child.ts - programs in a process of their own: for what would end, starve or
// confine the process of the tests.

import type { BackendName } from "../mod.ts";
import { deadline } from "./testing.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;

export interface ChildOptions {
  backend: BackendName;
  /** Flags of deno run. */
  flags?: string[];
  env?: Record<string, string>;
  /** A program that runs deno, with its arguments. */
  under?: string[];
}

export interface ChildResult {
  code: number;
  signal: Deno.Signal | null;
  out: string;
  err: string;
}

/** Runs `body`, in which `serve`, `websocket` and `backend` are defined. */
export async function runChild(
  body: string,
  options: ChildOptions,
): Promise<ChildResult> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      file,
      `import { serve, websocket } from ${JSON.stringify(MODULE)};\n` +
        `const backend = ${JSON.stringify(options.backend)};\n` +
        `const quiet = (): void => {};\nvoid websocket;\n${body}\n`,
    );
    return await run(file, options);
  } finally {
    await Deno.remove(file);
  }
}

async function run(file: string, options: ChildOptions): Promise<ChildResult> {
  const config = new URL("../deno.json", import.meta.url).pathname;
  const [program = "", ...args] = [
    ...options.under ?? [],
    Deno.execPath(),
    "run",
    "--quiet",
    "--no-prompt",
    "--no-check",
    "--config",
    config,
    ...options.flags ?? ["-A"],
    file,
  ];
  const child = new Deno.Command(program, {
    args,
    env: { NO_COLOR: "1", ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  try {
    const output = await deadline(child.output(), "the child process");
    const decoder = new TextDecoder();
    return {
      code: output.code,
      signal: output.signal,
      out: decoder.decode(output.stdout),
      err: decoder.decode(output.stderr),
    };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}
