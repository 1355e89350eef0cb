// Swaps the import map from npm:deno-std to jsr:@std before publishing, since
// a package on JSR should stand on the std of JSR. That one brings its own
// types, so the declarations of lib/std go. `git checkout deno.json` undoes it.

const FILE = "deno.json";

/** `@std/http/cookie` becomes `jsr:@std/http@^1.0.0/cookie`. */
function toJsr(name: string): string {
  const [scope, pkg, ...path] = name.split("/");
  return [`jsr:${scope}`, `${pkg}@^1.0.0`, ...path].join("/");
}

async function swap(): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(FILE));
  for (const name of Object.keys(config.imports)) {
    if (name.startsWith("@std/")) config.imports[name] = toJsr(name);
  }
  delete config.compilerOptions.types;
  await Deno.writeTextFile(FILE, JSON.stringify(config, null, 2) + "\n");
}

await swap();
