// SPDX-License-Identifier: Apache-2.0
// http_host.ts - what an http_connection.ts needs of its server, which is http_server.ts.

import type { Compression } from "./compression.ts";
import type { HandlerInfo } from "./exchange.ts";
import type { HeadText } from "./head_text.ts";
import type { UrlBase } from "./http_request.ts";
import type { PollLoop } from "./poll_loop.ts";
import type { AllTimeouts } from "./request_timeouts.ts";
import type { StaticRoutes } from "./static_routes.ts";

/** A `Deno.serve` handler. */
export type Handler = (
  request: Request,
  info: HandlerInfo,
) => Response | Promise<Response>;

/** What a connection needs of its server. */
export interface HttpHost {
  readonly loop: PollLoop;
  readonly heads: HeadText;
  readonly handler: Handler;
  /** Null when the handler answers all requests. */
  readonly routes: StaticRoutes | null;
  readonly onError: (error: unknown) => Response | Promise<Response>;
  readonly base: UrlBase;
  /** Null when responses go out as they are. */
  readonly compression: Compression | null;
  readonly highWatermark: number;
  readonly maxDrainBytes: number;
  readonly maxRequests: number;
  readonly timeouts: AllTimeouts;
  readonly draining: boolean;
  /** The turn in which it began to drain. */
  readonly drainTurn: number;
  /** It waits for nothing but answers that are on their way. */
  readonly leaving: boolean;
  /** While it drains: whether the connection of this record, a request, has sent more of them already. */
  expectsMore(index: number): boolean;
  parseAddress(text: string): Deno.Addr;
}
