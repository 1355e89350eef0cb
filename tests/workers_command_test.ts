// SPDX-License-Identifier: Apache-2.0
// Tests of `serve` on the command line: its flags, and a server that signals reload and end.

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { readServe } from "../lib/cli_serve.ts";
import { deadline } from "./testing.ts";

const ROOT = new URL("..", import.meta.url);

Deno.test("flags become options", () => {
  const command = readServe([
    "app.ts",
    "--workers",
    "2",
    "--affinity",
    "none",
    "--numa",
    "-1",
    "--batch=16",
    "--ring",
    "64",
    "--port",
    "0",
    "--host",
    "127.0.0.1",
    "--balance",
    "least",
    "--max-connections",
    "100",
    "--executor",
    "3",
  ]);
  assert(command !== "help");
  assert(command.module.href.endsWith("/app.ts"));
  assertEquals(command.module.protocol, "file:");
  assertEquals(
    command.options,
    {
      workers: 2,
      affinity: "none",
      numa: -1,
      batch: 16,
      ring: 64,
      port: 0,
      hostname: "127.0.0.1",
      balance: "least",
      maxConnections: 100,
      executor: { maximum: 3 },
    } as typeof command.options,
  );
});

Deno.test("a URL is taken as it is, and auto as itself", () => {
  const command = readServe(["https://example.com/a.ts", "--workers", "auto"]);
  assert(command !== "help");
  assertEquals(command.module.href, "https://example.com/a.ts");
  assertEquals(command.options, { workers: "auto" });
  assertEquals(readServe(["--help"]), "help");
});

Deno.test("a wrong command line says what is wrong", () => {
  const wrong: [string[], string][] = [
    [[], "one module"],
    [["a.ts", "b.ts"], "one module"],
    [["a.ts", "--threads", "2"], "--threads"],
    [["a.ts", "--port", "http"], '--port must be an integer, is "http"'],
    [["a.ts", "--executor", "all"], '--executor must be an integer, is "all"'],
    [["a.ts", "--workers", "all"], '--workers must be an integer, is "all"'],
  ];
  for (const [args, message] of wrong) {
    assertThrows(() => readServe(args), Error, message);
  }
});

async function run(
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await deadline(
    spawn(...args).output(),
    "the end of the program",
  );
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

function spawn(...args: string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "lib/cli.ts", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("the program tells its commands, and refuses others", async () => {
  const help = await run("--help");
  assertEquals(help.code, 0);
  assert(help.out.includes("serve"), help.out);
  const wrong = await run("sevre");
  assertEquals(wrong.code, 2);
  assert(wrong.err.includes('There is no command "sevre"'), wrong.err);
  const ranges = await run("serve", "app.ts", "--workers", "0");
  assertEquals(ranges.code, 2);
  assert(ranges.err.includes('"workers"'), ranges.err);
  const missing = await run("serve", "no_such.ts", "--port", "0");
  assertEquals(missing.code, 1);
});

Deno.test("what a module of plain sockets serves is not called HTTP", async () => {
  const child = spawn(
    "serve",
    "tests/workers_socket_app.ts",
    "--port=0",
    "--host=127.0.0.1",
    "--workers=1",
  );
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let out = "";
  while (!out.includes("1 worker on")) {
    const { value, done } = await deadline(lines.read(), "the address");
    assert(!done, out);
    out += value;
  }
  assertMatch(out, /^Listening on tcp:\/\/127\.0\.0\.1:\d+$/m);
  child.kill("SIGTERM");
  await lines.cancel();
  await child.stderr.cancel();
  assertEquals((await child.status).code, 0);
});

Deno.test("serve answers, reloads on SIGHUP and drains on SIGTERM", async () => {
  const child = spawn(
    "serve",
    "tests/workers_app.ts",
    "--port=0",
    "--host=127.0.0.1",
    "--workers=2",
  );
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let out = "";
  const printed = async (text: string): Promise<void> => {
    while (!out.includes(text)) {
      const { value, done } = await deadline(lines.read(), text);
      assert(!done, out);
      out += value;
    }
  };
  await printed("2 workers on");
  const url = /http:\S+/.exec(out)![0];
  const get = async (): Promise<string> => await (await fetch(url)).text();
  const before = await get();
  child.kill("SIGHUP");
  await printed("reloaded");
  assert(before !== await get());
  child.kill("SIGTERM");
  await printed("drained: ");
  await lines.cancel();
  await child.stderr.cancel();
  assertEquals((await child.status).code, 0);
});
