// SPDX-License-Identifier: Apache-2.0
// Tests that threads start wherever Millrace was imported from: from the web, as from JSR, and from a program that
// `deno compile` has made.

import { assert, assertEquals } from "@std/assert";
import { deadline, testBackends } from "./testing.ts";

const ROOT = new URL("..", import.meta.url);

/** The sources, as a registry serves them: without a shim. */
function registry(): Deno.HttpServer<Deno.NetAddr> {
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  return Deno.serve(options, async (request) => {
    const { pathname } = new URL(request.url);
    if (!/^\/(?:mod|lib\/[\w/]+|ffi\/\w+)\.ts$/.test(pathname)) {
      return new Response("not here", { status: 404 });
    }
    const source = await Deno.readTextFile(new URL(`.${pathname}`, ROOT));
    const headers = { "content-type": "application/typescript" };
    return new Response(source, { headers });
  });
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

async function deno(
  args: string[],
  options: Deno.CommandOptions,
): Promise<Deno.CommandOutput> {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    stdin: "null",
    ...options,
    env: { NO_COLOR: "1", ...options.env },
  });
  return await deadline(child.output(), "the program");
}

/** Runs a program in a directory of its own, beside which only the packages of npm are known. */
async function runRemote(files: Record<string, string>): Promise<string> {
  const cwd = await Deno.makeTempDir();
  const server = registry();
  const site = `127.0.0.1:${server.addr.port}`;
  try {
    const { stdout } = await deno(["info", "--json"], {});
    await Deno.mkdir(`${cwd}/cache`);
    await Deno.symlink(JSON.parse(text(stdout)).npmCache, `${cwd}/cache/npm`);
    for (const [name, source] of Object.entries(files)) {
      const placed = source.replaceAll("SITE", `http://${site}`);
      await Deno.writeTextFile(`${cwd}/${name}`, placed);
    }
    const config = new URL("deno.json", ROOT).pathname;
    const { code, stdout: out, stderr } = await deno([
      "run",
      "--quiet",
      "--no-prompt",
      "--no-check",
      "--no-lock",
      `--config=${config}`,
      "--allow-ffi",
      "--allow-net=127.0.0.1",
      `--allow-import=${site}`,
      "--allow-read=.",
      "--allow-env=MILLRACE_LIBRARY",
      "main.ts",
    ], {
      cwd,
      env: {
        DENO_DIR: `${cwd}/cache`,
        MILLRACE_LIBRARY: new URL("c/build/libmillrace.so", ROOT).pathname,
      },
    });
    assertEquals([code, text(stderr)], [0, ""]);
    return text(out);
  } finally {
    await server.shutdown();
    await Deno.remove(cwd, { recursive: true });
  }
}

testBackends("imported from the web, workers serve", async ({ backend }) => {
  const out = await runRemote({
    "app.ts": `export default { fetch: () => new Response("served") };`,
    "main.ts": `
      import { serveAll } from "SITE/lib/workers.ts";
      const server = await serveAll(new URL("./app.ts", import.meta.url), {
        hostname: "127.0.0.1",
        port: 0,
        workers: 2,
        backend: "${backend}",
        onListen: () => {},
      });
      const { port } = server.addr;
      console.log(await (await fetch(\`http://127.0.0.1:\${port}/\`)).text());
      console.log(server.workers().map(({ state }) => state));
      await server.shutdown();`,
  });
  assertEquals(out, 'served\n[ "serving", "serving" ]\n');
});

testBackends(
  "imported from the web, an executor and a load have threads",
  async ({ backend }) => {
    const out = await runRemote({
      "jobs.ts": `
      export const double = (n: number): number => n * 2;
      export function fail(): never { throw new RangeError("not so"); }`,
      "main.ts": `
      import { Executor } from "SITE/lib/executor.ts";
      import { stress } from "SITE/lib/stress.ts";
      import { serve } from "SITE/mod.ts";
      await using executor = new Executor({ maximum: 1 });
      const jobs = new URL("./jobs.ts", import.meta.url);
      console.log(await executor.run(jobs, "double", [21]));
      const error = await executor.run(jobs, "fail").catch((error) => error);
      console.log(error.name, error.message, error.stack.includes("jobs.ts"));
      await using server = serve({
        hostname: "127.0.0.1",
        port: 0,
        backend: "${backend}",
        onListen: () => {},
      }, () => new Response("served"));
      const url = \`http://127.0.0.1:\${server.addr.port}/\`;
      const options = { kind: "http", url, connections: 2, requests: 20, workers: 2 };
      console.log((await stress({ ...options, backend: "${backend}" })).ok);`,
    });
    assertEquals(out, "42\nRangeError not so true\ntrue\n");
  },
);

Deno.test("a compiled program contains the modules of its threads", async () => {
  const cwd = await Deno.makeTempDir();
  try {
    const module = (name: string): string =>
      JSON.stringify(new URL(`lib/${name}.ts`, ROOT).href);
    await Deno.writeTextFile(
      `${cwd}/main.ts`,
      `import { serveAll } from ${module("workers")};
       import { Executor } from ${module("executor")};
       import { stress } from ${module("stress")};
       console.log(serveAll, Executor, stress);`,
    );
    const { code, stdout, stderr } = await deno(
      [
        "info",
        "--json",
        `--config=${new URL("deno.json", ROOT).pathname}`,
        "main.ts",
      ],
      { cwd },
    );
    assertEquals(code, 0, text(stderr));
    const graph: { modules: { specifier: string }[] } = JSON.parse(
      text(stdout),
    );
    const found = new Set(graph.modules.map(({ specifier }) => specifier));
    for (const name of ["workers_thread", "executor_worker", "stress/worker"]) {
      const { href } = new URL(`lib/${name}.ts`, ROOT);
      assert(found.has(href), `${href} is not among the modules`);
    }
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});
