// SPDX-License-Identifier: Apache-2.0
// Tests of lib/permissions.ts, in processes that are allowed little.

import { assertEquals } from "@std/assert";
import { runChild } from "./child.ts";

const MODULE = new URL("../lib/permissions.ts", import.meta.url).href;

/** What becomes of each call under these flags: "ok" or name and message. */
async function outcomes(calls: string[], flags: string[]): Promise<string[]> {
  const body = `
    const { requireNet, requirePath } = await import(${JSON.stringify(MODULE)});
    const calls = [${calls.map((call) => `() => ${call}`)}];
    void requireNet; void requirePath;
    console.log(JSON.stringify(calls.map((call) => {
      try {
        call();
        return "ok";
      } catch (error) {
        return error.name + ": " + error.message;
      }
    })));`;
  const result = await runChild(body, { backend: "epoll", flags });
  assertEquals([result.code, result.err], [0, ""]);
  return JSON.parse(result.out);
}

function refused(name: string, what: string): string {
  return `NotCapable: Requires ${name} access to "${what}", ` +
    `run again with the --allow-${name} flag`;
}

Deno.test("requireNet() refuses without --allow-net", async () => {
  assertEquals(
    await outcomes([
      'requireNet("127.0.0.1", 80)',
      'requireNet("example.org", 0)',
      'requireNet("::1", 8000)',
    ], []),
    [
      refused("net", "127.0.0.1:80"),
      refused("net", "example.org:0"),
      refused("net", "[::1]:8000"),
    ],
  );
});

Deno.test("requireNet() accepts everything with --allow-net", async () => {
  assertEquals(
    await outcomes([
      'requireNet("127.0.0.1", 80)',
      'requireNet("::", 0)',
      'requireNet("localhost", 65535)',
    ], ["--allow-net"]),
    ["ok", "ok", "ok"],
  );
});

Deno.test("requireNet() accepts just what is allowed", async () => {
  assertEquals(
    await outcomes([
      'requireNet("127.0.0.1", 80)',
      'requireNet("127.0.0.1", 81)',
      'requireNet("::1", 80)',
      'requireNet("::1", 81)',
      'requireNet("localhost", 7)',
      'requireNet("0.0.0.0", 80)',
    ], ["--allow-net=127.0.0.1:80,[::1]:80,localhost"]),
    [
      "ok",
      refused("net", "127.0.0.1:81"),
      "ok",
      refused("net", "[::1]:81"),
      "ok",
      refused("net", "0.0.0.0:80"),
    ],
  );
});

Deno.test("requireNet() heeds --deny-net", async () => {
  assertEquals(
    await outcomes(
      ['requireNet("127.0.0.1", 80)', 'requireNet("127.0.0.2", 80)'],
      ["--allow-net", "--deny-net=127.0.0.1"],
    ),
    [refused("net", "127.0.0.1:80"), "ok"],
  );
});

Deno.test("requirePath() wants to read, to write and the net", async () => {
  const call = ['requirePath("/tmp/socket")'];
  const cases: [string[], string][] = [
    [[], refused("read", "/tmp/socket")],
    [["--allow-net"], refused("read", "/tmp/socket")],
    [["--allow-read"], refused("write", "/tmp/socket")],
    [["--allow-write"], refused("read", "/tmp/socket")],
    [
      ["--allow-read=/tmp", "--allow-write=/tmp"],
      refused("net", "unix:/tmp/socket"),
    ],
    [["--allow-read", "--allow-write", "--allow-net"], "ok"],
    [
      ["--allow-read", "--allow-write", "--allow-net=unix:/tmp/socket"],
      "ok",
    ],
    [["--allow-read", "--allow-write=/var"], refused("write", "/tmp/socket")],
  ];
  for (const [flags, expected] of cases) {
    assertEquals(await outcomes(call, flags), [expected], flags.join(" "));
  }
});

Deno.test("requirePath() takes paths and names that no flag could", async () => {
  const calls = ['requirePath("socket")', 'requirePath("@name")'];
  const files = ["--allow-read", "--allow-write"];
  const cases: [string[], string[]][] = [
    [["--allow-net"], ["ok", "ok"]],
    [["--allow-net", "--deny-net=127.0.0.1"], ["ok", "ok"]],
    [[`--allow-net=unix:${Deno.cwd()}/socket`], [
      "ok",
      refused("net", "unix:@name"),
    ]],
    [["--allow-net=127.0.0.1"], [
      refused("net", "unix:socket"),
      refused("net", "unix:@name"),
    ]],
    [["--allow-net", `--deny-net=unix:${Deno.cwd()}/socket`], [
      refused("net", "unix:socket"),
      "ok",
    ]],
  ];
  for (const [flags, expected] of cases) {
    const found = await outcomes(calls, [...files, ...flags]);
    assertEquals(found, expected, flags.join(" "));
  }
});
