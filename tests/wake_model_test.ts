// SPDX-License-Identifier: Apache-2.0
// Tests that the wake-up of sleeping reactors loses nothing: Spin visits every
// state of tests/c/model/wake.pml, and finds the fault in each of its variants
// that lack a step.

import { assert, assertEquals } from "@std/assert";

const MODEL = new URL("c/model/wake.pml", import.meta.url).pathname;
const VARIANTS = [
  "POST_WITHOUT_FENCE",
  "SLEEP_WITHOUT_FENCE",
  "SLEEP_WITHOUT_LOOK",
  "WAKE_WITHOUT_EXCHANGE",
  "FILL_BEFORE_WRITING",
  "EMPTY_BEFORE_READING",
];

interface Verdict {
  errors: number;
  /** Whether no state was left out. */
  complete: boolean;
  states: number;
  report: string;
}

async function run(cwd: string, ...command: string[]): Promise<string> {
  const [program = "", ...args] = command;
  const { success, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd,
  }).output();
  const text = new TextDecoder();
  const output = text.decode(stdout) + text.decode(stderr);
  assert(success, `${command.join(" ")}:\n${output}`);
  return output;
}

/** Has Spin make a program of the model, which visits its states. */
async function verify(variant?: string): Promise<Verdict> {
  const directory = await Deno.makeTempDir();
  try {
    const define = variant === undefined ? [] : [`-D${variant}`];
    await run(directory, "spin", ...define, "-a", MODEL);
    const flags = ["-O2", "-w", "-DSAFETY", "-DCOLLAPSE"];
    await run(directory, "gcc", ...flags, "-o", "pan", "pan.c");
    const report = await run(directory, "./pan", "-m10000");
    return {
      errors: Number(/errors: (\d+)/.exec(report)?.[1]),
      complete: report.includes("Full statespace search") &&
        !/search depth too small|interrupted|out of memory/.test(report),
      states: Number(/(\d+) states, stored/.exec(report)?.[1]),
      report,
    };
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("no message and no wake-up is lost in any state", async () => {
  const { errors, complete, states, report } = await verify();
  assertEquals(errors, 0, report);
  assert(complete, report);
  assert(states > 1_000_000, `${states} states are too few:\n${report}`);
  // Every line of the model was reached.
  assert(/proctype producer\s+\(0 of/.test(report), report);
  assert(/proctype reader\s+\(0 of/.test(report), report);
});

for (const variant of VARIANTS) {
  Deno.test(`a fault is found in the variant ${variant}`, async () => {
    const { errors, report } = await verify(variant);
    assertEquals(errors, 1, report);
  });
}

Deno.test("each variant of the model is tested", () => {
  const model = Deno.readTextFileSync(MODEL);
  const found = [...model.matchAll(/^#ifn?def (\w+_\w+)$/gm)].map((m) => m[1]!);
  assertEquals([...new Set(found)].sort(), [...VARIANTS].sort());
});
