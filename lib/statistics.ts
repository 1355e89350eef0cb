// SPDX-License-Identifier: Apache-2.0
// statistics.ts - what is counted in TypeScript, beside the counters of the reactor; kept by poll_loop.ts.

import type { ReactorCounters } from "../ffi/mod.ts";
import { violationText } from "./violations.ts";

/** Counters of a server since it was started; all but `connections` and `blocksFree` only grow. */
export interface ServerStatistics extends ReactorCounters {
  /** Requests and WebSockets that were refused, by the words that the refusal has for the reason. */
  refusals: Record<string, number>;
  /** Connections that were closed at once: over `maxConnectionsPerAddress`. */
  addressRefusals: number;
  /** Handlers that did not answer within `handlerTimeout`. */
  handlerTimeouts: number;
  /** Connections that ended with their last request: `maxRequests`. */
  requestLimits: number;
  /** Requests that were answered by `routes`. */
  routed: number;
  /** Connections that ended because more than `maxDrainBytes` of a body was left unread. */
  unreadBodies: number;
}

/** Counts while a server runs. */
export class Tally {
  addressRefusals = 0;
  handlerTimeouts = 0;
  requestLimits = 0;
  routed = 0;
  unreadBodies = 0;
  readonly #refusals = new Map<number, number>();

  /** A peer has broken a rule: an mr_violation. */
  refused(violation: number): void {
    this.#refusals.set(violation, (this.#refusals.get(violation) ?? 0) + 1);
  }

  /** All counters as of now. */
  read(counters: ReactorCounters): ServerStatistics {
    const refusals: Record<string, number> = {};
    for (const [violation, count] of this.#refusals) {
      refusals[violationText(violation)] = count;
    }
    return {
      ...counters,
      refusals,
      addressRefusals: this.addressRefusals,
      handlerTimeouts: this.handlerTimeouts,
      requestLimits: this.requestLimits,
      routed: this.routed,
      unreadBodies: this.unreadBodies,
    };
  }
}
