// SPDX-License-Identifier: Apache-2.0
// doctor.ts - the command doctor: what this machine allows, and what to change; called by cli.ts.

import { gather } from "./doctor/facts.ts";
import { findings } from "./doctor/findings.ts";
import { printed } from "./doctor/print.ts";

const USAGE = `Usage: cli doctor [options]

Tells what this machine allows and what to change, with the commands for it.
Nothing is changed, and nothing is sent or listened to.

  --json      print facts and findings as JSON
  -h, --help  print this

Exits with 0, with 1 when something keeps servers from running, and with 2 for a wrong command line.`;

const OK = 0;
const SICK = 1;
const MISUSED = 2;

/** Examines the machine and prints what it found; returns the exit code. */
export function command(args: readonly string[]): number {
  const unknown = args.find((arg) => !["--json", "--help", "-h"].includes(arg));
  if (unknown !== undefined) {
    console.error(`unknown option ${unknown}\nTry --help`);
    return MISUSED;
  }
  if (args.includes("--help") || args.includes("-h")) {
    console.log(USAGE);
    return OK;
  }
  const facts = gather();
  const found = findings(facts);
  console.log(
    args.includes("--json")
      ? JSON.stringify({ facts, findings: found }, null, 2)
      : printed(facts, found),
  );
  return found.some(({ level }) => level === "error") ? SICK : OK;
}
