// SPDX-License-Identifier: Apache-2.0
// route_options.ts - checks the limits that a route is made with; called by websocket.ts and raw_socket.ts.

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
  const all = { ...defaults } as Record<string, unknown>;
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(defaults, name)) {
      throw new TypeError(`Cannot make ${what}: unknown option "${name}"`);
    }
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
