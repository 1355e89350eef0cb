// SPDX-License-Identifier: Apache-2.0
// system_limits.ts - whether the system allows as many connections as are asked for: descriptors, and local ports; asked
// by ../stress.ts before it connects.

import type { Plan } from "./options.ts";

// What a process of Deno has open beside the connections.
const OTHER_DESCRIPTORS = 64;

/** What stands in the way of a plan, with what to do about it; null where nothing is known to. */
export function obstacleOf(
  plan: Plan,
  read: (path: string) => string | null = readSystem,
): string | null {
  return descriptorObstacle(plan, read("/proc/self/limits")) ??
    portObstacle(plan, read("/proc/sys/net/ipv4/ip_local_port_range"));
}

function descriptorObstacle(
  { connections }: Plan,
  limits: string | null,
): string | null {
  const found = /^Max open files +(\d+)/m.exec(limits ?? "");
  if (found === null) return null;
  const needed = connections + OTHER_DESCRIPTORS;
  const limit = Number(found[1]);
  if (needed <= limit) return null;
  // Deno has raised its soft limit to the hard one already.
  return `${connections} connections need ${needed} descriptors, and this process may have ${limit}: run "ulimit -n ${needed}" in this shell before, as root; or raise "nofile" in /etc/security/limits.conf`;
}

// Each pair of addresses has as many connections as there are local ports.
function portObstacle(
  { url, connections, sources }: Plan,
  range: string | null,
): string | null {
  const found = /^(\d+)\s+(\d+)/.exec(range ?? "");
  if (found === null || url.startsWith("unix:")) return null;
  const ports = Number(found[2]) - Number(found[1]) + 1;
  const needed = Math.ceil(connections / ports);
  if (needed <= Math.max(1, sources.length)) return null;
  const example = Array.from(
    { length: needed },
    (_, at) => `127.0.0.${at + 2}`,
  );
  return `${connections} connections need ${needed} local addresses, since one has ${ports} ports: give as many, such as --source ${
    example.join(",")
  } on loopback`;
}

// Reading these needs a permission that not every program has.
function readSystem(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}
