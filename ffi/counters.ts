// SPDX-License-Identifier: Apache-2.0
// counters.ts - what C counts of a reactor, by name; used by reactor.ts and crew.ts.

import * as layout from "./layout.ts";

/** What a reactor counts; all but `connections`, `blocksFree`, `blocksRetained` and `deflateBytes` only grow. */
export interface ReactorCounters {
  /** Connections that are open. */
  connections: number;
  /** Connections that were accepted. */
  accepted: number;
  /** Connections that were closed at once: over `maxConnections`. */
  refused: number;
  /** Connections that were closed at once: over `maxConnectionsPerAddress`. */
  addressRefusals: number;
  /** Accepts that failed, for want of descriptors or memory. */
  acceptErrors: number;
  /** Receives that found no free buffer. */
  starved: number;
  /** Connections that were reset because all buffers were full. */
  exhausted: number;
  /** Connections that were reset because more waited for them than `maxQueueBytes`. */
  overflows: number;
  /** Deadlines that peers have missed: the sum of those from `silentTimeouts` to `socketTimeouts`. */
  timeouts: number;
  /** Connections that were closed without having said a word: `headTimeout`. */
  silentTimeouts: number;
  /** Request heads that took longer than `headTimeout`. */
  headTimeouts: number;
  /** Request bodies of which nothing came for `bodyTimeout`. */
  bodyTimeouts: number;
  /** Request bodies slower than `minBodyRate`. */
  slowBodies: number;
  /** Connections that were closed after `idleTimeout` without a request. */
  idleTimeouts: number;
  /** Peers that took nothing for `stallTimeout`. */
  stallTimeouts: number;
  /** Peers that took less than `minSendRate`. */
  slowReaders: number;
  /** WebSockets and raw sockets that were quiet, and WebSockets that did not end their closing handshake. */
  socketTimeouts: number;
  /** Connections that were closed because the rest of an unread body took longer than `drainTimeout`. */
  drainTimeouts: number;
  /** Peers that did not end their side within `lingerTimeout` after ours. */
  lingerTimeouts: number;
  /** Peers that sent more than `maxLingerBytes` instead. */
  lingerOverflows: number;
  /** Responses for which a further request had waited: `maxPipelined`. */
  pipelineWaits: number;
  /** Bytes received. */
  receivedBytes: number;
  /** Bytes sent. */
  sentBytes: number;
  /** Turns of the loop. */
  polls: number;
  /** Times that the loop went to sleep. */
  wakes: number;
  /** Buffers that nobody uses. */
  blocksFree: number;
  /** Receive buffers that the application has transferred away. */
  blocksLost: number;
  /** Memory that WebSockets have for compression now. */
  deflateBytes: number;
  /** Receive buffers that `retain()` keeps for the application now. */
  blocksRetained: number;
  /** Times that `retain()` has copied because an eighth of the buffers was kept already. */
  retainOverflows: number;
}

/** The counters, with what reads the one at an offset of struct mr_control. */
export function readCounters(
  connections: number,
  read: (offset: number) => number,
): ReactorCounters {
  return {
    connections,
    accepted: read(layout.CONTROL_ACCEPTED),
    refused: read(layout.CONTROL_REFUSED),
    addressRefusals: read(layout.CONTROL_ADDRESS_REFUSALS),
    acceptErrors: read(layout.CONTROL_ACCEPT_ERRORS),
    starved: read(layout.CONTROL_STARVED),
    exhausted: read(layout.CONTROL_EXHAUSTED),
    overflows: read(layout.CONTROL_OVERFLOWS),
    timeouts: read(layout.CONTROL_TIMEOUTS),
    silentTimeouts: read(layout.CONTROL_SILENT_TIMEOUTS),
    headTimeouts: read(layout.CONTROL_HEAD_TIMEOUTS),
    bodyTimeouts: read(layout.CONTROL_BODY_TIMEOUTS),
    slowBodies: read(layout.CONTROL_SLOW_BODIES),
    idleTimeouts: read(layout.CONTROL_IDLE_TIMEOUTS),
    stallTimeouts: read(layout.CONTROL_STALL_TIMEOUTS),
    slowReaders: read(layout.CONTROL_SLOW_READERS),
    socketTimeouts: read(layout.CONTROL_SOCKET_TIMEOUTS),
    drainTimeouts: read(layout.CONTROL_DRAIN_TIMEOUTS),
    lingerTimeouts: read(layout.CONTROL_LINGER_TIMEOUTS),
    lingerOverflows: read(layout.CONTROL_LINGER_OVERFLOWS),
    pipelineWaits: read(layout.CONTROL_PIPELINE_WAITS),
    receivedBytes: read(layout.CONTROL_RECEIVED_BYTES),
    sentBytes: read(layout.CONTROL_SENT_BYTES),
    polls: read(layout.CONTROL_POLLS),
    wakes: read(layout.CONTROL_WAKES),
    blocksFree: read(layout.CONTROL_BLOCKS_FREE),
    blocksLost: read(layout.CONTROL_BLOCKS_LOST),
    deflateBytes: read(layout.CONTROL_DEFLATE_BYTES),
    blocksRetained: read(layout.CONTROL_BLOCKS_RETAINED),
    retainOverflows: read(layout.CONTROL_RETAIN_OVERFLOWS),
  };
}

/** Counters of several reactors as those of one. */
export function addCounters(
  sum: ReactorCounters,
  counters: ReactorCounters,
): void {
  for (const name of Object.keys(counters) as (keyof ReactorCounters)[]) {
    sum[name] += counters[name];
  }
}
