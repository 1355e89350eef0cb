// SPDX-License-Identifier: Apache-2.0
// ws_reconnect.ts - when a WebSocket client tries again, and how long it waits before that; used by
// ws_client_session.ts.

import { requireKnown, TIMER_MAX_MS } from "./route_options.ts";

/** How a client connects again. */
export interface ReconnectOptions {
  /**
   * Milliseconds that the first wait is at most.
   *
   * @default {1000}
   */
  minDelay?: number;
  /**
   * Milliseconds that any wait is at most.
   *
   * @default {30000}
   */
  maxDelay?: number;
  /**
   * By what the longest possible wait grows with each attempt that has failed; at least 1.
   *
   * @default {2}
   */
  factor?: number;
  /**
   * Which part of a wait is left to chance, from 0 to 1. With 1 a wait is anything from 0 to the longest possible one,
   * which keeps the clients of a server that comes back from returning all at once.
   *
   * @default {1}
   */
  jitter?: number;
  /**
   * Attempts in a row that may fail, the first one not among them; then the client gives up. A connection that has
   * stood for less than `maxDelay` counts as one that failed.
   *
   * @default {Infinity}
   */
  maxAttempts?: number;
}

/** The options, none missing. */
export type ReconnectSettings = Required<ReconnectOptions>;

const DEFAULTS: ReconnectSettings = {
  minDelay: 1000,
  maxDelay: 30_000,
  factor: 2,
  jitter: 1,
  maxAttempts: Infinity,
};

const RANGES: Record<keyof ReconnectSettings, [min: number, max: number]> = {
  minDelay: [0, TIMER_MAX_MS],
  maxDelay: [0, TIMER_MAX_MS],
  factor: [1, 1000],
  jitter: [0, 1],
  maxAttempts: [1, Infinity],
};

/** The option `reconnect` of `what` with its defaults; null when there is to be no further attempt. */
export function resolveReconnect(
  option: boolean | ReconnectOptions | undefined,
  what = "a WebSocket client",
): ReconnectSettings | null {
  if (option === undefined || option === false) return null;
  if (option === true) return DEFAULTS;
  if (typeof option !== "object" || option === null) {
    throw new TypeError(
      `Cannot make ${what}: "reconnect" must be a boolean or an object, is ${
        String(option)
      }`,
    );
  }
  requireKnown(`make ${what}`, option, Object.keys(DEFAULTS));
  const all = { ...DEFAULTS };
  for (const [name, range] of Object.entries(RANGES)) {
    const key = name as keyof ReconnectSettings;
    const value = option[key];
    if (value === undefined) continue;
    const [min, max] = range;
    if (typeof value !== "number" || !(value >= min && value <= max)) {
      throw new RangeError(
        `Cannot make ${what}: "reconnect.${name}" must be from ${min} to ${max}, is ${
          String(value)
        }`,
      );
    }
    all[key] = value;
  }
  if (all.minDelay <= all.maxDelay) return all;
  throw new RangeError(
    `Cannot make ${what}: "reconnect.minDelay" (${all.minDelay}) must not be more than ` +
      `"reconnect.maxDelay" (${all.maxDelay})`,
  );
}

/** Milliseconds to wait before an attempt, the first of which is 1; `random` is from 0 to 1. */
export function reconnectDelay(
  { minDelay, maxDelay, factor, jitter }: ReconnectSettings,
  attempt: number,
  random: number,
): number {
  // Infinite after a thousand attempts, and infinite times 0 is no number.
  const growth = Math.min(factor ** (attempt - 1), Number.MAX_VALUE);
  const most = Math.min(maxDelay, minDelay * growth);
  return most * (1 - jitter * random);
}
