// SPDX-License-Identifier: Apache-2.0
// affinity.ts - affinity.pin() and unpin(): which CPUs the calling thread runs on; used by applications and by
// workers_thread.ts.

import { errnoError, pinThread, unpinThread } from "../ffi/mod.ts";
import { setPinned, setUnpinned } from "./pinned.ts";
import { topology } from "./topology.ts";

/** What a thread is pinned to: one CPU, or the CPUs of one NUMA node. */
export type AffinityTarget = { cpu: number } | { node: number };

/** What came of pinning a thread. */
export type AffinityResult =
  | {
    /** It has been done. */
    ok: true;
    /** The CPUs that the thread may run on now. */
    cpus: number[];
  }
  | {
    /** It has not been done, and the thread runs where it did. */
    ok: false;
    /** Why not, for a log. */
    reason: string;
  };

/** Pins threads; see {@linkcode affinity}. */
export interface Affinity {
  /**
   * Has the calling thread run on one CPU, or on those of one NUMA node that this process may use. Memory that it
   * touches first from then on comes from that node.
   *
   * Workers that it starts later inherit this, as do threads on which Deno reads files for it; those of an `Executor`
   * and of `serveAll()` do not. Threads of V8 are not touched.
   *
   * @param target The CPU or the node.
   * @returns Whether it has been done, and why not.
   */
  pin(target: AffinityTarget): AffinityResult;
  /**
   * Lets the calling thread run again wherever the process might when it was started.
   *
   * @returns Whether it has been done, and why not.
   */
  unpin(): AffinityResult;
}

/**
 * On which CPUs the calling thread runs: the main one, or that of a worker that calls. Nothing here throws, since a
 * server that runs elsewhere than it was meant to is better than none.
 *
 * @example
 * ```ts
 * import { affinity } from "@millrace/millrace";
 *
 * const pinned = affinity.pin({ cpu: 0 });
 * if (!pinned.ok) console.warn(pinned.reason);
 * affinity.unpin();
 * ```
 */
export const affinity: Affinity = { pin, unpin };

function pin(target: AffinityTarget): AffinityResult {
  const { cpu, node }: { cpu?: number; node?: number } = target ?? {};
  if (cpu === undefined && node === undefined) {
    const reason = `Cannot pin the thread: { cpu } or { node } must be given`;
    return { ok: false, reason };
  }
  const name = cpu === undefined ? `node ${node}` : `CPU ${cpu}`;
  const action = `pin the thread to ${name}`;
  return attempt(action, () => {
    const cpus = topology().cpus.filter((one) =>
      cpu === undefined ? one.node === node : one.id === cpu
    );
    const allowed = cpus.filter((one) => one.allowed).map((one) => one.id);
    if (allowed.length > 0) return [hold(allowed), allowed];
    const why = cpus.length > 0
      ? "this process may not use it"
      : "there is none that is online";
    throw new RangeError(`Cannot ${action}: ${why}`);
  });
}

function unpin(): AffinityResult {
  return attempt("unpin the thread", () => {
    const allowed = topology().cpus.filter((cpu) => cpu.allowed);
    const errno = unpinThread();
    if (errno === 0) setUnpinned();
    return [errno, allowed.map((cpu) => cpu.id)];
  });
}

/** Pins the calling thread to these CPUs, which are known to be there. */
export function pinTo(cpus: readonly number[]): AffinityResult {
  const action = `pin the thread to CPU ${cpus.join(", ")}`;
  return attempt(action, () => [hold(cpus), [...cpus]]);
}

function hold(cpus: readonly number[]): number {
  const errno = pinThread(cpus);
  if (errno === 0) setPinned(() => pinThread(cpus), unpinThread);
  return errno;
}

function attempt(
  action: string,
  change: () => [errno: number, cpus: number[]],
): AffinityResult {
  try {
    const [errno, cpus] = change();
    if (errno !== 0) throw errnoError(errno, action);
    return { ok: true, cpus };
  } catch (error) {
    return { ok: false, reason: (error as Error).message };
  }
}
