// SPDX-License-Identifier: Apache-2.0
// ws_workloads.ts - what is asked over WebSockets: echoes of all sizes, compressed JSON, broadcasts.
import type { Workload } from "./workloads.ts";

const CONNECTIONS = 64;
const MANY_CONNECTIONS = 512;
const SIZE = 64;
const JSON_BYTES = 2048;
const SUBSCRIBERS = [1000, 10_000];
// Messages that are published before everybody has the first of them.
const PUBLISHED = 4;

const SIZES = { "16b": 16, "1k": 1024, "16k": 16 * 1024, "1m": 1024 * 1024 };

/** Workloads whose servers are asked over WebSockets. */
export const WS_WORKLOADS: readonly Workload[] = [
  { ...echo("ws-1", SIZE, 1), syscalls: true },
  { ...echo("ws-16", SIZE, 16), syscalls: true },
  echo("ws-text-16", SIZE, 16, CONNECTIONS, "text"),
  { ...echo("ws-1-512", SIZE, 1, MANY_CONNECTIONS), syscalls: true },
  {
    ...echo("ws-16-512", SIZE, 16, MANY_CONNECTIONS),
    evenness: true,
    minor: true,
  },
  echo("ws-latency", SIZE, 1, 1),
  ...minor(sized("16b", [1, 16], [1, 16])),
  ...sized("16b", [128], []),
  ...minor(sized("1k", [1], [])),
  ...sized("1k", [16], []),
  ...sized("16k", [1, 16], []),
  ...minor(sized("1k", [], [1, 16])),
  ...minor(sized("16k", [], [1, 16])),
  // More of them would be more memory than servers have for what is on its way.
  ...sized("1m", [1], []),
  json(1),
  ...minor([json(16)]),
  ...SUBSCRIBERS.map((subscribers) => broadcast(subscribers, PUBLISHED)),
];

/**
 * Deliveries of one message at a time, for servers with many workers: of several that wait for a subscriber, one worker
 * alone sends more at once than many do that come by them at different times.
 */
export const PUBLISH: Workload = broadcast(1000, 1);

function minor(workloads: readonly Workload[]): Workload[] {
  return workloads.map((workload) => ({ ...workload, minor: true }));
}

function sized(
  size: keyof typeof SIZES,
  inFlight: readonly number[],
  inFlightOnMany: readonly number[],
): Workload[] {
  const name = `ws-${size}`;
  const bytes = SIZES[size];
  return [
    ...inFlight.map((count) => echo(`${name}-${count}`, bytes, count)),
    ...inFlightOnMany.map((count) =>
      echo(
        `${name}-${count}-${MANY_CONNECTIONS}`,
        bytes,
        count,
        MANY_CONNECTIONS,
      )
    ),
  ];
}

function echo(
  name: string,
  bytes: number,
  inFlight: number,
  connections = CONNECTIONS,
  kind: "binary" | "text" = "binary",
): Workload {
  const many = connections === CONNECTIONS
    ? ""
    : `, connections: ${connections}`;
  return {
    name,
    title: `WebSocket echo, ${sizeText(bytes)} ${kind}, ` +
      `${inFlight} in flight${many}`,
    protocol: "ws",
    path: "/ws",
    connections,
    inFlight,
    extra: [`--${kind}`, "--payload", String(bytes)],
  };
}

function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${bytes / 1024} KiB` : "1 MiB";
}

function json(inFlight: number): Workload {
  return {
    name: `ws-json-${inFlight}`,
    title: `WebSocket echo, ${sizeText(JSON_BYTES)} of JSON, ` +
      `permessage-deflate, ${inFlight} in flight`,
    protocol: "ws",
    path: "/ws-json",
    connections: CONNECTIONS,
    inFlight,
    extra: ["--deflate", "--payload", String(JSON_BYTES)],
  };
}

function broadcast(subscribers: number, inFlight: number): Workload {
  return {
    name: `broadcast-${subscribers}`,
    title: `Deliveries of ${SIZE} B of text to ${
      subscribers.toLocaleString("en")
    } subscribers, ${inFlight} published in flight`,
    protocol: "ws",
    path: "/subscribe",
    connections: subscribers,
    inFlight,
    extra: ["--publish", "/publish", "--text", "--payload", String(SIZE)],
  };
}
