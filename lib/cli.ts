// SPDX-License-Identifier: Apache-2.0
// cli.ts - the program of the package: a table of its commands; `deno run -A jsr:@millrace/millrace/cli --help`.

/**
 * The command line of Millrace.
 *
 * @module
 */

import { serveCommand } from "./cli_serve.ts";

/** A command of the program. */
interface Command {
  /** What it does, in a line of `--help`. */
  summary: string;
  /** Runs it, and returns the exit code; null when it goes on. */
  run(args: readonly string[]): Promise<number | null>;
}

const COMMANDS: Readonly<Record<string, Command>> = {
  serve: { summary: "serve a module on many workers", run: serveCommand },
};

function usage(): string {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) =>
    `  ${name.padEnd(8)}${summary}`
  );
  return `Usage: millrace COMMAND [options]\n\n${
    lines.join("\n")
  }\n\nmillrace COMMAND --help tells more.`;
}

async function main([name, ...args]: readonly string[]): Promise<void> {
  if (name === "--help" || name === "-h") return console.log(usage());
  const command = name !== undefined && Object.hasOwn(COMMANDS, name)
    ? COMMANDS[name]
    : undefined;
  if (command === undefined) {
    console.error(
      name === undefined ? usage() : `unknown command "${name}"; try --help`,
    );
    Deno.exit(2);
  }
  const code = await command.run(args);
  if (code !== null) Deno.exit(code);
}

if (import.meta.main) await main(Deno.args);
