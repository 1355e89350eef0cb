// SPDX-License-Identifier: Apache-2.0
// tcp_workloads.ts - what is asked without a protocol: bytes that have to come back.
import type { Workload } from "./workloads.ts";

const FEW = 64;
const MANY = 512;
const SIZES = { "64b": 64, "16k": 16 * 1024 };

/** Workloads whose servers send back what they are sent. */
export const TCP_WORKLOADS: readonly Workload[] = [
  { ...echo("64b", 1, FEW), syscalls: true },
  echo("64b", 16, FEW),
  { ...echo("64b", 1, MANY), minor: true },
  echo("16k", 1, FEW),
  { ...echo("16k", 16, FEW), minor: true },
];

function echo(
  size: keyof typeof SIZES,
  inFlight: number,
  connections: number,
): Workload {
  const bytes = SIZES[size];
  const text = bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`;
  const few = connections === FEW;
  return {
    name: `tcp-${size}-${inFlight}${few ? "" : `-${connections}`}`,
    title: `TCP echo, ${text}, ${inFlight} in flight${
      few ? "" : `, connections: ${connections}`
    }`,
    protocol: "tcp",
    path: "/",
    connections,
    inFlight,
    extra: ["--payload", String(bytes)],
  };
}
