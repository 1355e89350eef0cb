// SPDX-License-Identifier: Apache-2.0
// request_timeouts.ts - timeouts that a handler sets for its request alone; kept by exchange.ts.

import { checkedOption } from "./options.ts";

/** What one request may have otherwise than the server's options say; the meaning of each is that of the option. */
export interface RequestTimeouts {
  /** Milliseconds between two pieces of the request body; 0 for no limit. */
  bodyTimeout?: number;
  /** Bytes a second that the request body has to come with; 0 for no limit. */
  minBodyRate?: number;
  /** Milliseconds for which the peer may take nothing of the response; 0 for no limit. */
  stallTimeout?: number;
  /** Bytes a second that the peer has to take of the response; 0 for no limit. */
  minSendRate?: number;
  /** Milliseconds from now to the handler's response; 0 for no limit. */
  handlerTimeout?: number;
}

/** The same, none missing. */
export type AllTimeouts = Readonly<Required<RequestTimeouts>>;

const NAMES = [
  "bodyTimeout",
  "minBodyRate",
  "stallTimeout",
  "minSendRate",
  "handlerTimeout",
] as const;

/** Those among all options. */
export function timeoutsOf(settings: AllTimeouts): AllTimeouts {
  const { bodyTimeout, minBodyRate, stallTimeout, minSendRate } = settings;
  const { handlerTimeout } = settings;
  return {
    bodyTimeout,
    minBodyRate,
    stallTimeout,
    minSendRate,
    handlerTimeout,
  };
}

/** `base` with what was asked for. Throws a RangeError or TypeError that names what is wrong. */
export function mergeTimeouts(
  base: AllTimeouts,
  wanted: RequestTimeouts,
): AllTimeouts {
  const merged = { ...base };
  for (const [name, value] of Object.entries(wanted)) {
    const known = NAMES.find((one) => one === name);
    if (known === undefined) {
      throw new TypeError(`Cannot set timeouts: unknown timeout "${name}"`);
    }
    if (value !== undefined) {
      merged[known] = checkedOption(known, value, "set timeouts");
    }
  }
  return merged;
}
