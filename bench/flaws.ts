// SPDX-License-Identifier: Apache-2.0
// flaws.ts - when a round does not count, and what takes worth from one that does.
import type { LoadResult } from "./measure.ts";

/** A server that used less of its core than this was not the bottleneck. */
export const SERVER_CPU_MIN = 0.9;

/** A client that had something to do for more than this share of the time may have been the bottleneck. */
export const CLIENT_BUSY_MAX = 0.98;

/** Others that used, or were given, more of a core than this disturbed the round. */
export const DISTURBANCE_MAX = 0.05;

/** A server that answered less than this share of a schedule did not keep up with it. */
export const KEPT_RATE_MIN = 0.98;

/** What takes worth from a round. */
export type Flaw = "serverIdle" | "clientFull" | "disturbed" | "behind";

/** All flaws, in the order in which they are told. */
export const FLAWS: readonly Flaw[] = [
  "behind",
  "serverIdle",
  "clientFull",
  "disturbed",
];

/** The part of a result that tells its flaws. */
export type Evidence = Pick<
  LoadResult,
  | "seconds"
  | "rate"
  | "connections"
  | "client_busy"
  | "server_cpu_seconds"
  | "other_cpu_seconds"
  | "stolen_seconds"
  | "asked_rate"
>;

const HAS: Readonly<Record<Flaw, (round: Evidence) => boolean>> = {
  // A server that is asked on a schedule, or for one thing at a time, is meant to have time left.
  serverIdle: (round) =>
    round.asked_rate === undefined && round.connections > 1 &&
    round.server_cpu_seconds < SERVER_CPU_MIN * round.seconds,
  clientFull: (round) => round.client_busy > CLIENT_BUSY_MAX,
  disturbed: (round) => disturbance(round) > DISTURBANCE_MAX,
  behind: (round) =>
    round.asked_rate !== undefined &&
    round.rate < KEPT_RATE_MIN * round.asked_rate,
};

/** The flaws of a round. */
export function flawsOf(round: Evidence): Flaw[] {
  return FLAWS.filter((flaw) => HAS[flaw](round));
}

/** What others had of the machine meanwhile, in cores: other processes, and the hypervisor's other guests. */
export function disturbance(
  round: Pick<Evidence, "seconds" | "other_cpu_seconds" | "stolen_seconds">,
): number {
  return (round.other_cpu_seconds + round.stolen_seconds) / round.seconds;
}

/** Why a round is in no median: a server that answers wrongly may be as fast as it likes. */
export function voidReason(
  result: Pick<LoadResult, "count" | "errors" | "error_kinds" | "probe">,
): string | undefined {
  if (result.errors > 0) {
    return `${result.errors} wrong: ${JSON.stringify(result.error_kinds)}`;
  }
  if (result.count === 0) return "no answer";
  if (result.probe !== undefined && result.probe.failed > 0) {
    return `${result.probe.failed} probes failed`;
  }
  return undefined;
}
