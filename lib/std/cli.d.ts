// See assert.d.ts for why these declarations exist.

declare module "@std/cli/parse-args" {
  /** The options of {@linkcode parseArgs}. */
  export interface ParseOptions<
    B extends string = string,
    S extends string = string,
    C extends string = string,
    D extends object = Record<string, unknown>,
  > {
    /** Keep what follows `--` apart, in `["--"]`. */
    "--"?: boolean;
    alias?: Record<string, string | readonly string[]>;
    /** Options that take no value; false unless given. */
    boolean?: B | readonly B[];
    /** Options whose value stays a string, even if it looks like a number. */
    string?: S | readonly S[];
    /** Options that may be given many times and become an array. */
    collect?: C | readonly C[];
    /** Options that `--no-…` sets to false. */
    negatable?: string | readonly string[];
    default?: D;
    /** Take everything after the first plain argument as plain arguments. */
    stopEarly?: boolean;
    /** Called for each unknown option; false leaves it out. */
    unknown?: (arg: string, key?: string, value?: unknown) => unknown;
  }

  type Value<K, T, C, D> = K extends C ? T[]
    : K extends keyof D ? T | D[K]
    : T extends boolean ? T
    : T | undefined;

  /** What {@linkcode parseArgs} returns: the named options and the rest. */
  export type Args<
    B extends string = never,
    S extends string = never,
    C extends string = never,
    D extends object = Record<never, never>,
  > =
    & { [K in B]: Value<K, boolean, C, D> }
    & { [K in S]: Value<K, string, C, D> }
    & { [K in Exclude<C, B | S>]: unknown[] }
    & { [K in Exclude<keyof D, B | S | C>]: unknown }
    & { _: (string | number)[]; "--"?: string[]; [name: string]: unknown };

  export function parseArgs<
    const B extends string = never,
    const S extends string = never,
    const C extends string = never,
    D extends object = Record<never, never>,
  >(
    args: readonly string[],
    options?: ParseOptions<B, S, C, D>,
  ): Args<B, S, C, D>;
}
