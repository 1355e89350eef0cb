// SPDX-License-Identifier: Apache-2.0
// soak.ts - `deno task soak`: clients of every kind for minutes, after which all must be as it was.
//
//   --minutes 10     how long each backend is under load
//   --backend both   io_uring, epoll, or both, one after the other
//   --seed 1         makes the clients do the same again
//
// The server runs in a process of its own (soak_server.ts). The clients that keep to the rules check every answer, and
// those that do not must get an answer or an end. A line every ten seconds tells how it goes; the exit code is 0 only
// when nothing was wrong.

import { parseArgs } from "@std/cli/parse-args";
import type { BackendName } from "../mod.ts";
import { judge, soak } from "./soak_run.ts";
import { BACKENDS } from "./testing.ts";

const LINE_EVERY = 10;
const PATIENCE = 5000;

async function run(
  backend: BackendName,
  seconds: number,
  seed: number,
): Promise<boolean> {
  console.log(`${backend}: ${seconds} s, seed ${seed}`);
  const result = await soak({
    backend,
    seed,
    seconds,
    patience: PATIENCE,
    every: Math.min(LINE_EVERY, seconds / 10),
    say: (line) => console.log(line),
  });
  const wrong = judge(result);
  const { tally, after, ending } = result;
  for (const [name, count] of Object.entries(tally.visits)) {
    console.log(`${String(count).padStart(8)} ${name}`);
  }
  console.log(
    `${tally.answers} answers checked, ${tally.failures.length} failures; ` +
      `${after.timeouts} timeouts and ${after.expectedErrors} broken responses as intended; ` +
      `the clients stood still for ${result.pause.toFixed(0)} ms at most; ` +
      `exit code ${ending.code}`,
  );
  for (const what of wrong) console.log(`WRONG: ${what}`);
  console.log(`${backend}: ${wrong.length === 0 ? "ok" : "FAILED"}`);
  return wrong.length === 0;
}

function options(): { backends: BackendName[]; seconds: number; seed: number } {
  const { minutes, backend, seed } = parseArgs(Deno.args, {
    string: ["minutes", "backend", "seed"],
    default: { minutes: "10", backend: "both", seed: "1" },
  });
  const backends = BACKENDS.filter((name) =>
    backend === "both" || backend === name
  );
  const seconds = Number(minutes) * 60;
  if (backends.length === 0) {
    throw new Error(
      `Cannot soak: --backend must be io_uring, epoll or both, is ${backend}`,
    );
  }
  if (!(seconds > 0)) {
    throw new Error(`Cannot soak: --minutes must be above 0, is ${minutes}`);
  }
  if (!Number.isInteger(Number(seed))) {
    throw new Error(`Cannot soak: --seed must be an integer, is ${seed}`);
  }
  return { backends, seconds, seed: Number(seed) };
}

if (import.meta.main) {
  const { backends, seconds, seed } = options();
  let ok = true;
  for (const backend of backends) {
    ok = await run(backend, seconds, seed) && ok;
  }
  Deno.exit(ok ? 0 : 1);
}
