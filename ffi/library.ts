// SPDX-License-Identifier: Apache-2.0
// library.ts - finds and opens the shim, once for each isolate; the only Deno.dlopen. Called by arena.ts,
// reactor.ts and topology.ts.

import { ABI_HASH } from "./layout.ts";
import { SYMBOLS } from "./symbols.ts";

/** Names a shim other than the one that was built beside the sources. */
const OVERRIDE = "MILLRACE_LIBRARY";

const LOCAL_BUILD = "../c/build/libmillrace.so";

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Symbols | null = null;

/** The shim's functions. Throws when no library can be opened, and says which were tried. */
export function library(): Symbols {
  return opened ??= openFirst();
}

function openFirst(): Symbols {
  const tried: string[] = [];
  const causes: unknown[] = [];
  for (const path of candidates()) {
    try {
      return open(path);
    } catch (error) {
      // Permission is the caller's to give: no other path would do better.
      if (error instanceof Deno.errors.NotCapable) throw error;
      tried.push(`  ${path}: ${(error as Error).message}`);
      causes.push(error);
    }
  }
  throw new Error(
    `Cannot load the Millrace shim. Tried:\n${tried.join("\n")}\n` +
      `Build it with "deno task setup" in Millrace's directory, or name one in ${OVERRIDE}`,
    { cause: causes.length === 1 ? causes[0] : new AggregateError(causes) },
  );
}

function candidates(): string[] {
  const override = overridden();
  if (override !== undefined) return [override];
  const local = new URL(LOCAL_BUILD, import.meta.url);
  return [
    local.protocol === "file:"
      ? decodeURIComponent(local.pathname)
      : local.href,
  ];
}

// Asked only where it needs no prompt: a server does not have to be given --allow-env.
function overridden(): string | undefined {
  const permission = Deno.permissions.querySync({
    name: "env",
    variable: OVERRIDE,
  });
  return permission.state === "granted" ? Deno.env.get(OVERRIDE) : undefined;
}

function open(path: string): Symbols {
  const dynamic = Deno.dlopen(path, SYMBOLS);
  const abi = dynamic.symbols.mr_abi();
  if (abi === ABI_HASH) return dynamic.symbols;
  dynamic.close();
  throw new Error(
    `it was built from other sources (ABI ${abi.toString(16)}, need ${
      ABI_HASH.toString(16)
    })`,
  );
}
