// SPDX-License-Identifier: Apache-2.0
// measure.ts - one round: a fresh server on one core, the load client on another, one raw result.
import { type Contender, start } from "./contenders.ts";
import { voidReason } from "./flaws.ts";
import { parseStrace, type Syscalls, syscallsOf } from "./syscalls.ts";
import type { Workload } from "./workloads.ts";

/** Latencies of answers, in microseconds. */
export interface Latencies {
  readonly p50_us: number;
  readonly p99_us: number;
  readonly p999_us: number;
  readonly max_us: number;
}

/** What the load client prints. */
export interface LoadResult extends Latencies {
  /** Answers in the window. */
  readonly count: number;
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
  /** Memory before the server was asked for anything. */
  readonly server_rest_bytes: number;
  readonly server_resident_bytes: number;
  readonly stolen_seconds: number;
  readonly connections: number;
  readonly in_flight: number;
  /** The schedule's; answers of a closed loop have none. */
  readonly asked_rate?: number;
  /** Requests that were due and could not be sent, as too many of their connection were unanswered. */
  readonly backlog?: number;
  /** Answers that the connections had. */
  readonly evenness?: Evenness;
  /** Percentiles from 0 to 100, each with its latency. */
  readonly distribution_us?: readonly (readonly [number, number])[];
  readonly probe?: Latencies & {
    count: number;
    unanswered: number;
    failed: number;
  };
  readonly traced?: boolean;
  readonly untraced_because?: string;
}

/** How many answers the connections had; Jain's index is 1 when all had the same. */
export interface Evenness {
  readonly least: number;
  readonly median: number;
  readonly most: number;
  readonly jain: number;
}

/** A raw result with what was measured; `void` says why it does not count. */
export interface Round extends LoadResult {
  readonly workload: string;
  readonly contender: string;
  readonly version: string;
  readonly round: number;
  readonly void?: string;
  readonly syscalls?: Syscalls;
}

/** How a round is run. */
export interface MeasureOptions {
  readonly load: string;
  readonly seconds: number;
  readonly warmup: number;
  readonly serverCore: number;
  readonly clientCore: number;
  /** Whether system calls are counted, where a workload asks for it. */
  readonly syscalls: boolean;
}

/** The longest that all probes of a round may take. */
export const PROBE_SECONDS_MAX = 5;
/** The window in which strace counts, and the warm-up before it. */
export const TRACE_SECONDS = 0.3;
const TRACE_WARMUP = 0.1;
const OVERRUN_SECONDS_MAX = 60;

/** Measures one contender under one workload; counts its system calls behind that, in the first round. */
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
    const reason = voidReason(result);
    const counts = countsSyscalls(workload, round, options) &&
      reason === undefined;
    return {
      workload: workload.name,
      contender: contender.name,
      version: contender.version,
      round,
      ...result,
      ...(reason === undefined ? {} : { void: reason }),
      ...(counts ? { syscalls: await countSyscalls(args, options) } : {}),
    };
  } finally {
    await server.stop();
  }
}

/** Whether a round ends with strace: the first one does. */
export function countsSyscalls(
  workload: Workload,
  round: number,
  options: Pick<MeasureOptions, "syscalls">,
): boolean {
  return options.syscalls && workload.syscalls === true && round === 1;
}

/** Seconds of load before the window. */
export function warmupOf(
  workload: Pick<Workload, "warmup">,
  { warmup }: Pick<MeasureOptions, "warmup">,
): number {
  return Math.max(warmup, workload.warmup ?? 0);
}

/** What the load client is asked for. */
export function loadArguments(
  workload: Workload,
  port: number,
  pid: number,
  options: Pick<MeasureOptions, "seconds" | "warmup">,
): string[] {
  const { protocol, path, connections, inFlight, extra, probe, rate } =
    workload;
  const seconds = probe === undefined ? options.seconds : PROBE_SECONDS_MAX;
  const args = [protocol, "127.0.0.1", String(port), path, ...extra];
  args.push("--connections", String(connections));
  args.push("--in-flight", String(inFlight));
  args.push("--seconds", String(seconds));
  args.push("--warmup", String(warmupOf(workload, options)));
  args.push("--pid", String(pid));
  if (rate !== undefined) args.push("--rate", String(rate));
  if (rate !== undefined || connections === 1) args.push("--distribution");
  if (probe !== undefined) {
    args.push("--probe", probe.path, "--probe-expect", probe.expect);
    args.push("--probes", String(probe.count));
    if (probe.upstream) args.push("--upstream");
  }
  return args;
}

// The measured window is over: strace slows the server down. An option that is given again counts.
async function countSyscalls(
  args: readonly string[],
  options: MeasureOptions,
): Promise<Syscalls> {
  const file = await Deno.makeTempFile({ prefix: "millrace-strace-" });
  try {
    const result = await runLoad([
      ...args,
      ...["--seconds", String(TRACE_SECONDS), "--warmup", String(TRACE_WARMUP)],
      ...["--trace", file],
    ], options);
    const reason = voidReason(result);
    if (result.traced !== true) {
      return { reason: result.untraced_because ?? "strace did not start" };
    }
    if (reason !== undefined) return { reason: `under strace ${reason}` };
    const calls = parseStrace(await Deno.readTextFile(file));
    return syscallsOf(calls, result.count);
  } finally {
    await Deno.remove(file);
  }
}

async function runLoad(
  args: string[],
  options: MeasureOptions,
): Promise<LoadResult> {
  const seconds = options.seconds + options.warmup + OVERRUN_SECONDS_MAX;
  return await runClient(args, options, seconds) as LoadResult;
}

/** Runs the load client on its core, for so many seconds at most, and returns what it prints. Throws what it says is wrong. */
export async function runClient(
  args: readonly string[],
  { load, clientCore }: Pick<MeasureOptions, "load" | "clientCore">,
  seconds: number,
): Promise<unknown> {
  const result = await new Deno.Command("taskset", {
    args: ["-c", String(clientCore), load, ...args],
    signal: AbortSignal.timeout(seconds * 1000),
  }).output();
  const decoder = new TextDecoder();
  if (!result.success) {
    throw new Error(decoder.decode(result.stderr).trim() || "load was ended");
  }
  return JSON.parse(decoder.decode(result.stdout));
}
