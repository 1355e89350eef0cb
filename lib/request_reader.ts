// SPDX-License-Identifier: Apache-2.0
// request_reader.ts - makes the request that a HEAD record tells of; called by http_connection.ts.

import type { Exchange } from "./exchange.ts";
import type { HttpHost } from "./http_host.ts";
import { LazyRequest } from "./http_request.ts";

/** A request whose turn has not come: the one before it is still being answered. */
export interface Waiting {
  request: LazyRequest;
  exchange: Exchange;
}

/** The request of the record at `index`. */
export function readRequest(
  host: HttpHost,
  index: number,
  exchange: Exchange,
): LazyRequest {
  const { heads, loop } = host;
  const { inbox } = loop.reactor;
  heads.select(inbox, index, loop.records, loop.turn);
  const { text, start } = heads;
  const aux = inbox.aux(index);
  const methodLength = aux & 0xff;
  if (methodLength === 4) exchange.headOnly = text.startsWith("HEAD", start);
  else if (methodLength === 7) {
    exchange.connects = text.startsWith("CONNECT", start);
  }
  return new LazyRequest(
    text,
    start,
    start + inbox.length(index),
    methodLength,
    aux >>> 8,
    exchange.body,
    exchange,
  );
}
