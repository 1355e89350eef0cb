// SPDX-License-Identifier: Apache-2.0
// cli.ts - the program of the package: picks a command by its name; run by people.

/**
 * The program of the package: `deno run -A jsr:@millrace/millrace/cli serve app.ts`.
 *
 * `serve` serves a module on many workers, `doctor` tells what this machine allows and what to change; `--help`
 * tells the rest.
 *
 * @module
 */

/** A command: its line of the help, and the function that runs it and returns the exit code; null when it goes on. */
interface Command {
  summary: string;
  load: () => Promise<(args: readonly string[]) => Result | Promise<Result>>;
}

type Result = number | null;

// Each is loaded only when it is asked for.
const COMMANDS: Readonly<Record<string, Command>> = {
  serve: {
    summary: "serve a module on many workers",
    load: async () => (await import("./cli_serve.ts")).serveCommand,
  },
  doctor: {
    summary: "tell what this machine allows, and what to change",
    load: async () => (await import("./doctor.ts")).command,
  },
};

const OK = 0;
const MISUSED = 2;

/** Runs the command that the arguments name; returns its exit code. */
async function main([name, ...args]: readonly string[]): Promise<Result> {
  if (name === "--help" || name === "-h") {
    console.log(usage());
    return OK;
  }
  if (name === undefined || !Object.hasOwn(COMMANDS, name)) {
    console.error(
      name === undefined
        ? "No command is given"
        : `There is no command "${name}"`,
    );
    console.error(usage());
    return MISUSED;
  }
  const run = await COMMANDS[name]!.load();
  return await run(args);
}

function usage(): string {
  const rows = Object.entries(COMMANDS).map(([name, { summary }]) =>
    `  ${name.padEnd(10)} ${summary}`
  );
  return [
    "Usage: cli COMMAND [options]",
    "",
    ...rows,
    "",
    "cli COMMAND --help tells its options.",
  ].join("\n");
}

if (import.meta.main) {
  const code = await main(Deno.args);
  if (code !== null) Deno.exit(code);
}
