// SPDX-License-Identifier: Apache-2.0
// bench_testing.ts - what the tests of the benchmark share: rounds that never
// were, and the load client.

import { buildLoad } from "../bench/build.ts";
import type { LoadResult, Round } from "../bench/measure.ts";

/** A round of one second without a flaw; what is given replaces its part. */
export function makeRound(part: Partial<Round> = {}): Round {
  return {
    workload: "ws-1",
    contender: "deno",
    version: "",
    round: 1,
    count: 1000,
    seconds: 1,
    rate: 1000,
    errors: 0,
    error_kinds: {},
    p50_us: 10,
    p99_us: 20,
    p999_us: 30,
    max_us: 40,
    client_cpu_seconds: 1,
    client_busy: 0.5,
    server_cpu_seconds: 1,
    server_user_seconds: 0.5,
    server_system_seconds: 0.5,
    other_cpu_seconds: 0,
    server_rest_bytes: 1 << 20,
    server_resident_bytes: 2 << 20,
    stolen_seconds: 0,
    connections: 64,
    in_flight: 1,
    ...part,
  };
}

// Now: no test shall be blamed for the time that a compiler takes.
const LOAD = await buildLoad();

/** What the load client said when it was done. */
export interface LoadRun {
  readonly code: number;
  readonly err: string;
  /** Only when it ended well. */
  readonly result: LoadResult;
}

/** Runs the load client to its end. */
export async function runLoad(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<LoadRun> {
  const { code, stdout, stderr } = await new Deno.Command(LOAD, {
    args: [...args],
    env,
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    err: decoder.decode(stderr),
    result: code === 0 ? JSON.parse(decoder.decode(stdout)) : undefined,
  };
}
