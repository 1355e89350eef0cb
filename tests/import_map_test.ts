// SPDX-License-Identifier: Apache-2.0
// Tests of the code in README.md. With its import map, and with nothing else, an
// application in a directory of its own runs, and passes the type check.

import { assertEquals } from "@std/assert";
import { deadline } from "./testing.ts";

const ROOT = new URL("..", import.meta.url);
const README = Deno.readTextFileSync(new URL("README.md", ROOT));

const APPLICATION = `
import { rawSocket, serve, websocket } from "@millrace/millrace";
import { serveDir } from "@millrace/millrace/files";
import { sse } from "@millrace/millrace/sse";
import { cached } from "@millrace/millrace/cached";
import { Executor } from "@millrace/millrace/executor";
import { LengthPrefixFramer } from "@millrace/millrace/framing";
import { Ring } from "@millrace/millrace/ring";
import { rpc } from "@millrace/millrace/rpc";

const server = serve(
  { hostname: "127.0.0.1", port: 0, onListen: () => {}, compress: true },
  (request) =>
    request.url.endsWith("/events")
      ? sse(request, (stream) => stream.send({ data: "hello" }))
      : serveDir(request, "."),
);
const twice = cached(() => new Response(), { ttl: 1 });
const { port } = server.addr;
const events = await (await fetch(\`http://127.0.0.1:\${port}/events\`)).text();
const file = await (await fetch(\`http://127.0.0.1:\${port}/main.ts\`)).text();
for (const one of [twice, Executor, LengthPrefixFramer, Ring, rpc]) {
  if (typeof one !== "function") throw new Error("Not exported");
}
console.log(JSON.stringify([typeof rawSocket, typeof websocket, events, file]));
await server.shutdown();
`;

function importMap(): { imports: Record<string, string> } {
  return JSON.parse(/```json\n(\{\n {2}"imports".*?)```/s.exec(README)![1]!);
}

Deno.test("the import map of the README names what deno.json names", () => {
  const own: Record<string, string> = JSON.parse(
    Deno.readTextFileSync(new URL("deno.json", ROOT)),
  ).imports;
  const { imports } = importMap();
  const others = Object.keys(imports).filter((name) =>
    !name.startsWith("@millrace/")
  );
  assertEquals(others.length, 5);
  for (const name of others) assertEquals(imports[name], own[name], name);
});

Deno.test("the import map of the README is enough for an application", async () => {
  const cwd = await Deno.makeTempDir();
  try {
    await Deno.symlink(ROOT.pathname, `${cwd}/millrace`);
    await Deno.writeTextFile(`${cwd}/deno.json`, JSON.stringify(importMap()));
    await Deno.writeTextFile(`${cwd}/main.ts`, APPLICATION);
    const permissions = ["--allow-net", "--allow-ffi", "--allow-read=."];
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--check", ...permissions, "main.ts"],
      cwd,
      env: { NO_COLOR: "1" },
      stdin: "null",
    });
    const { stdout, stderr } = await deadline(
      child.output(),
      "the application",
    );
    const decoder = new TextDecoder();
    const out = decoder.decode(stdout).trim();
    assertEquals(
      out,
      JSON.stringify(["function", "function", "data:hello\n\n", APPLICATION]),
      decoder.decode(stderr),
    );
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});

Deno.test("blocks of TypeScript in the README are complete, and their types right", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["check", "--doc-only", "README.md"],
    cwd: ROOT.pathname,
    env: { NO_COLOR: "1" },
    stdin: "null",
  });
  const { code, stderr } = await deadline(child.output(), "the check");
  assertEquals(code, 0, new TextDecoder().decode(stderr));
});
