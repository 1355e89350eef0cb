// SPDX-License-Identifier: Apache-2.0
// upgrade.ts - responses that turn their connection over to another protocol; made by ws_route.ts and
// raw_socket.ts, carried out by http_connection.ts.

import { parseAddress } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import { LazyRequest } from "./http_request.ts";
import { headLine } from "./http_response.ts";
import type { PollLoop } from "./poll_loop.ts";

/** The peer of a connection: as an address, or, for one of TCP, as the text that few ever ask to be made one. */
export type PeerAddress = Deno.Addr | string;

/** The address of a peer. */
export function addressOf(peer: PeerAddress): Deno.Addr {
  return typeof peer === "string" ? parseAddress(peer, false) : peer;
}

/** What happens to the connection when a handler returns an upgrade response. */
export interface Upgrade {
  /** The status that the response must have kept. */
  readonly status: 101 | 200;
  /** Writes the head of the answer, with those fields, and takes the connection over. */
  accept(
    handle: number,
    loop: PollLoop,
    peer: PeerAddress,
    headers: Headers,
  ): Connection;
}

/**
 * A Response that, returned from the handler of the request, turns its connection over to `upgrade`. The request
 * knows, so that any response of that status does: middleware makes responses anew to add fields.
 */
export function upgradeResponse(
  request: LazyRequest,
  upgrade: Upgrade,
  headers: HeadersInit = {},
): Response {
  request.offer(upgrade);
  return new Response(null, { status: upgrade.status, headers });
}

/** The request as it came in, whose connection is known. */
export function upgradable(request: Request): LazyRequest {
  if (request instanceof LazyRequest) return request;
  throw new TypeError(
    "Cannot upgrade: the request must be the one that the handler was given",
  );
}

/** The answer to a request that cannot be upgraded. */
export function refuse(
  status: number,
  text: string,
  headers: Record<string, string> = {},
): Response {
  return new Response(text, { status, headers });
}

/** Members of a field that is a list, without the empty ones (RFC 9110 section 5.6.1). */
export function listOf(value: string | null): string[] {
  return (value ?? "").split(",").map((item) => item.trim()).filter((item) =>
    item !== ""
  );
}

/** Field lines of the application and its middleware, without those that the answer says itself. */
export function extraLines(
  headers: Headers,
  own: ReadonlySet<string>,
): string {
  let lines = "";
  for (const [name, value] of headers) {
    if (!own.has(name)) lines += headLine(`${name}: ${value}`);
  }
  return lines;
}
