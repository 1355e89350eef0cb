// SPDX-License-Identifier: Apache-2.0
// route_options.ts - checks what routes, sockets, files and event streams are made with: numbers, names of options,
// callbacks.

import { isIP } from "node:net";

const MAX = 0xffffffff;

/** Milliseconds of the longest timer; a longer one would fire at once. */
export const TIMER_MAX_MS = 0x7fffffff;

/**
 * The options with defaults for those that are not given. All are integers; those named in `mayBe0` from 0, the
 * others from 1. `what` is the thing to be made, with its article.
 */
export function resolveRoute<Options extends object>(
  what: string,
  options: Options,
  defaults: Required<Options>,
  mayBe0: ReadonlySet<string>,
): Required<Options> {
  requireKnown(`make ${what}`, options, Object.keys(defaults));
  const all = { ...defaults } as Record<string, unknown>;
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const min = mayBe0.has(name) ? 0 : 1;
    requireInteger(`make ${what}`, name, value, min, MAX);
    all[name] = value;
  }
  return all as Required<Options>;
}

/** The option `lowWatermark`, which has to stay below the other one; null for that of the server. */
export function resolveWatermark(
  what: string,
  low: number | undefined,
  high: number,
): number | null {
  if (low === undefined) return null;
  if (Number.isInteger(low) && low >= 0 && low <= high) return low;
  throw new RangeError(
    `Cannot make ${what}: "lowWatermark" must be an integer from 0 to "highWatermark" (${high}), is ${low}`,
  );
}

/** Throws a RangeError unless the value is an integer in the range. */
export function requireInteger(
  action: string,
  name: string,
  value: unknown,
  min: number,
  max: number,
): void {
  if (
    Number.isInteger(value) && value as number >= min && value as number <= max
  ) return;
  throw new RangeError(
    `Cannot ${action}: "${name}" must be an integer from ${min} to ${max}, is ${
      Deno.inspect(value)
    }`,
  );
}

/** Throws a TypeError unless each option that is given has its type. */
export function requireTypes(
  action: string,
  options: object,
  types: Readonly<Record<string, "boolean" | "function" | "number" | "string">>,
): void {
  for (const [name, type] of Object.entries(types)) {
    const value = (options as Record<string, unknown>)[name];
    if (value === undefined || typeof value === type) continue;
    throw new TypeError(
      `Cannot ${action}: "${name}" must be a ${type}, is ${
        Deno.inspect(value)
      }`,
    );
  }
}

/** Throws a TypeError unless the signal, if there is one, is an AbortSignal. */
export function requireSignal(action: string, signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new TypeError(`Cannot ${action}: "signal" must be an AbortSignal`);
}

/** Throws a TypeError unless the address to connect from, if one is given, is an IP address. */
export function requireLocalAddress(action: string, value: unknown): void {
  if (value === undefined || typeof value === "string" && isIP(value) !== 0) {
    return;
  }
  throw new TypeError(
    `Cannot ${action}: "localAddress" must be an IP address, is ${
      Deno.inspect(value)
    }`,
  );
}

/** Throws a TypeError for an option that is not known: it would be taken for one that has an effect. */
export function requireKnown(
  action: string,
  options: object,
  known: readonly string[],
): void {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new TypeError(`Cannot ${action}: unknown option "${name}"`);
  }
}

/** Throws a TypeError unless those of the callbacks that are given are functions. */
export function requireCallbacks<Handlers extends object>(
  what: string,
  handlers: Handlers,
  names: readonly (keyof Handlers & string)[],
): void {
  if (typeof handlers !== "object" || handlers === null) {
    throw new TypeError(
      `Cannot make ${what}: an object of callbacks must be given`,
    );
  }
  for (const name of names) {
    const callback: unknown = handlers[name];
    if (callback === undefined || typeof callback === "function") continue;
    throw new TypeError(
      `Cannot make ${what}: "${name}" must be a function, is ${
        Deno.inspect(callback)
      }`,
    );
  }
}
