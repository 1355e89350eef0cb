// SPDX-License-Identifier: Apache-2.0
// route_options.ts - checks what websocket(), connectWebSocket(), rawSocket(), files and event streams are made with:
// limits, names of options, callbacks.

const MAX = 0xffffffff;

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
    if (!Number.isInteger(value) || value < min || value > MAX) {
      throw new RangeError(
        `Cannot make ${what}: "${name}" must be an integer from ${min} to ${MAX}, is ${value}`,
      );
    }
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
