// SPDX-License-Identifier: Apache-2.0
// measure.ts - one round: a fresh server on one core, the load client on another, one raw result.
import { type Contender, start } from "./contenders.ts";
import type { Workload } from "./workloads.ts";

/** Latencies of answers, in microseconds. */
export interface Latencies {
  readonly count: number;
  readonly p50_us: number;
  readonly p99_us: number;
  readonly p999_us: number;
  readonly max_us: number;
}

/** What the load client prints. */
export interface LoadResult extends Latencies {
  readonly seconds: number;
  readonly rate: number;
  readonly errors: number;
  readonly error_kinds: Readonly<Record<string, number>>;
  readonly client_cpu_seconds: number;
  /** Share of the window in which the client had something to do. */
  readonly client_busy: number;
  readonly server_cpu_seconds: number;
  readonly server_user_seconds: number;
  readonly server_system_seconds: number;
  /** What all other processes of the machine used meanwhile. */
  readonly other_cpu_seconds: number;
  readonly server_resident_bytes: number;
  readonly stolen_seconds: number;
  readonly connections: number;
  readonly in_flight: number;
  readonly probe?: Latencies & { unanswered: number; failed: number };
}

/** A raw result with what was measured; `void` says why it does not count. */
export interface Round extends LoadResult {
  readonly workload: string;
  readonly contender: string;
  readonly version: string;
  readonly round: number;
  readonly void?: string;
}

/** How a round is run. */
export interface MeasureOptions {
  readonly load: string;
  readonly seconds: number;
  readonly warmup: number;
  readonly serverCore: number;
  readonly clientCore: number;
}

const PROBE_SECONDS_MAX = 20;
const OVERRUN_SECONDS_MAX = 60;

/** Measures one contender under one workload. */
export async function measure(
  contender: Contender,
  workload: Workload,
  round: number,
  options: MeasureOptions,
): Promise<Round> {
  const server = await start(contender, workload, options.serverCore);
  try {
    const args = loadArguments(workload, server.port, server.pid, options);
    const result = await runLoad(args, options);
    return {
      workload: workload.name,
      contender: contender.name,
      version: contender.version,
      round,
      ...result,
      ...voidReason(result),
    };
  } finally {
    await server.stop();
  }
}

function loadArguments(
  workload: Workload,
  port: number,
  pid: number,
  options: MeasureOptions,
): string[] {
  const { protocol, path, connections, inFlight, extra, probe } = workload;
  const seconds = probe === undefined ? options.seconds : PROBE_SECONDS_MAX;
  const args = [protocol, "127.0.0.1", String(port), path, ...extra];
  args.push("--connections", String(connections));
  args.push("--in-flight", String(inFlight));
  args.push("--seconds", String(seconds), "--warmup", String(options.warmup));
  args.push("--pid", String(pid));
  if (probe !== undefined) {
    args.push("--probe", probe.path, "--probe-expect", probe.expect);
    args.push("--probes", String(probe.count));
    if (probe.upstream) args.push("--upstream");
  }
  return args;
}

async function runLoad(
  args: string[],
  options: MeasureOptions,
): Promise<LoadResult> {
  const seconds = options.seconds + options.warmup + OVERRUN_SECONDS_MAX;
  const result = await new Deno.Command("taskset", {
    args: ["-c", String(options.clientCore), options.load, ...args],
    signal: AbortSignal.timeout(seconds * 1000),
  }).output();
  const decoder = new TextDecoder();
  if (!result.success) {
    throw new Error(decoder.decode(result.stderr).trim() || "load was ended");
  }
  return JSON.parse(decoder.decode(result.stdout));
}

// A wrong answer voids the round: a server that answers wrongly may be as fast as it likes.
function voidReason(result: LoadResult): { void?: string } {
  if (result.errors > 0) {
    return { void: `${result.errors} ${JSON.stringify(result.error_kinds)}` };
  }
  if (result.count === 0) return { void: "no answer" };
  if (result.probe !== undefined && result.probe.failed > 0) {
    return { void: `${result.probe.failed} probes failed` };
  }
  return {};
}
