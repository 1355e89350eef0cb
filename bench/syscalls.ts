// SPDX-License-Identifier: Apache-2.0
// syscalls.ts - how many system calls a server makes for a request: what strace has counted, divided.

/** System calls for one request, of all kinds and of the most frequent ones, or why they were not counted. */
export type Syscalls =
  | {
    readonly per_request: number;
    readonly requests: number;
    readonly by_name: Readonly<Record<string, number>>;
  }
  | { readonly reason: string };

const NAMES_MAX = 5;
const DIGITS = 4;

/** Calls by name, from the table that `strace -c` writes. */
export function parseStrace(text: string): Map<string, number> {
  const calls = new Map<string, number>();
  for (const line of text.split("\n")) {
    // % time, seconds, µs a call, calls, errors (empty when there are none), name
    const found = /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*$/
      .exec(line);
    if (found === null || found[2] === "total") continue;
    calls.set(found[2]!, Number(found[1]));
  }
  return calls;
}

/** Divides what was counted by the requests that were answered meanwhile. */
export function syscallsOf(
  calls: ReadonlyMap<string, number>,
  requests: number,
): Syscalls {
  if (requests === 0) return { reason: "nothing was answered under strace" };
  const share = (count: number): number =>
    Number((count / requests).toFixed(DIGITS));
  const sorted = [...calls].sort(([, a], [, b]) => b - a);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  const named = sorted.slice(0, NAMES_MAX)
    .map(([name, count]) => [name, share(count)] as const);
  return {
    per_request: share(total),
    requests,
    by_name: Object.fromEntries(named),
  };
}
