// SPDX-License-Identifier: Apache-2.0
// Tests of examples/lyrics.ts: both of its roles, as its user starts them.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { RawClient } from "./raw_client.ts";
import { deadline } from "./testing.ts";

const ROOT = new URL("..", import.meta.url).pathname;

function command(...args: string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-net",
      "--allow-ffi",
      "examples/lyrics.ts",
      ...args,
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function read(port: string, lines: string): Promise<string[]> {
  const output = await deadline(command("read", port, lines).output(), "read");
  const decoder = new TextDecoder();
  assertEquals([output.code, decoder.decode(output.stderr)], [0, ""]);
  return decoder.decode(output.stdout).trimEnd().split("\n");
}

Deno.test("a reader without a poet is told so in one line", async () => {
  // Nobody listens on a port that was free a moment ago.
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  taken.close();
  const output = await deadline(
    command("read", `${port}`, "1").output(),
    "read",
  );
  const errors = new TextDecoder().decode(output.stderr);
  assertEquals(output.code, 1);
  assertEquals(
    errors,
    `Cannot connect to 127.0.0.1:${port}: nobody accepts connections there (ECONNREFUSED)\n`,
  );
});

Deno.test("the poet sings as many lines as a reader asks for", async () => {
  const poet = command("poet", "0").spawn();
  const lines = poet.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const errors = new Response(poet.stderr).text();
  try {
    const { value = "" } = await deadline(lines.read(), "the poet listens");
    const [, port = ""] = /127\.0\.0\.1:(\d+)\n/.exec(value) ?? [];
    const song = await read(port, "9");
    assertEquals([song.length, song[8]], [9, song[0]]);
    assertStringIncludes(song[3]!, "auld lang syne");
    assertEquals((await read(port, "200000")).length, 200_000);
    const told = (await deadline(lines.read(), "it tells")).value!;
    assert(/: \d+ bytes are sent\n/.test(told), told);
    assertStringIncludes((await read(port, "none"))[0]!, "A number from 1");
    const addr = {
      transport: "tcp",
      hostname: "127.0.0.1",
      port: Number(port),
    } as const;
    using client = await RawClient.connect({ addr });
    await client.write("1".repeat(100));
    assertEquals(await client.ending(), { text: "", reset: true });
  } finally {
    poet.kill("SIGINT");
    const { code } = await deadline(poet.status, "the poet ends");
    await lines.cancel();
    assertEquals([code, await errors], [0, ""]);
  }
});
