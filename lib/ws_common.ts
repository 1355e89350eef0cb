// SPDX-License-Identifier: Apache-2.0
// ws_common.ts - what the WebSockets of one route, or of one client, have in common on a loop, so that each of them
// refers to it once; made by ws_route.ts and ws_client_session.ts, used by ws_connection.ts and ws_outbound.ts.

import type { Inbox, Outbox } from "../ffi/mod.ts";
import type { PollLoop } from "./poll_loop.ts";
import type { SocketHost } from "./ws_connection.ts";
import type { Masker } from "./ws_mask.ts";
import type { Texts } from "./ws_texts.ts";

/** What connections have in common. */
export class Common<Socket> {
  readonly host: SocketHost<Socket>;
  readonly loop: PollLoop;
  readonly inbox: Inbox;
  readonly outbox: Outbox;
  /** Null on the side of a server. */
  readonly masker: Masker | null;
  /** Null on that of a client. */
  readonly texts: Texts | null;
  /** Bytes that may wait for one peer. */
  readonly maxQueueBytes: number;
  /** Whether messages are held where they can be given up again. */
  readonly evicts: boolean;
  /** Bytes that may wait for the peer together with a message that is simply sent. */
  readonly limit: number;

  /** Whoever has a masker is the client. */
  constructor(
    host: SocketHost<Socket>,
    loop: PollLoop,
    masker: Masker | null = null,
  ) {
    this.host = host;
    this.loop = loop;
    this.inbox = loop.reactor.inbox;
    this.outbox = loop.reactor.outbox;
    this.masker = masker;
    this.texts = masker === null ? loop.texts : null;
    this.maxQueueBytes = Math.min(host.maxQueueBytes, loop.maxQueueBytes);
    this.evicts = host.slowConsumer === "drop-oldest" ||
      host.slowConsumer === "coalesce";
    this.limit = this.evicts
      ? Math.min(host.highWatermark, this.maxQueueBytes)
      : this.maxQueueBytes;
  }
}
