// SPDX-License-Identifier: Apache-2.0
// rpc_workloads.ts - what is asked of the action router: calls over TCP and WebSockets, in JSON and Protocol Buffers.
import type { Workload } from "./workloads.ts";

const CONNECTIONS = 64;
const PROTOCOLS = { tcp: "TCP", ws: "WebSocket" } as const;
const CODECS = { json: "JSON", protobuf: "Protocol Buffers" } as const;

/** Workloads whose servers answer calls. */
export const RPC_WORKLOADS: readonly Workload[] = [
  call("tcp", "json", 1),
  call("tcp", "json", 16),
  call("tcp", "protobuf", 1),
  call("tcp", "protobuf", 16),
  call("ws", "json", 1),
  call("ws", "json", 16),
  call("ws", "protobuf", 1),
  call("ws", "protobuf", 16),
];

function call(
  protocol: keyof typeof PROTOCOLS,
  codec: keyof typeof CODECS,
  inFlight: number,
): Workload {
  return {
    name: `rpc-${protocol}-${codec}-${inFlight}`,
    title: `RPC calls over ${PROTOCOLS[protocol]}, ${
      CODECS[codec]
    }, ${inFlight} in flight`,
    protocol,
    path: "/",
    connections: CONNECTIONS,
    inFlight,
    codec,
    ...(inFlight === 1 ? { minor: true } : {}),
    extra: ["--packets", codec],
  };
}
