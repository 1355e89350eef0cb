// SPDX-License-Identifier: Apache-2.0
// Tests of lib/dial.ts: addresses in turns, attempts side by side (RFC 8305).

import { assert, assertEquals } from "@std/assert";
import type { Connection } from "../lib/connection.ts";
import { Dial, type DialTarget, inTurns } from "../lib/dial.ts";
import { layout } from "../ffi/mod.ts";
import { listen } from "../mod.ts";
import { MutePort } from "./libc.ts";
import { type Context, testBackends } from "./testing.ts";

/** A connection that is as good as gone. */
class Ending implements Connection {
  readonly handle: number;

  constructor(handle: number) {
    this.handle = handle;
  }

  receive(): void {}

  drain(): void {}

  lost(): void {}
}

interface Outcome {
  port?: number;
  hostname?: string;
  error?: Error;
}

/** What becomes of connecting to these addresses. */
function dial(
  t: Context,
  addresses: string[] | Promise<string[]>,
  port: number,
  options: { timeout?: number; abort?: Error } = {},
): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const target: DialTarget = { transport: "tcp", hostname: "example", port };
  const { timeout = 0, abort } = options;
  const attempt = new Dial(
    target,
    { backend: t.backend, source: "", timeout, response: false },
    {
      connected(handle, client): Connection {
        const { reactor } = client.loop;
        const addr = reactor.remoteAddress(handle) as Deno.NetAddr;
        reactor.outbox.command(handle, layout.CMD_TERMINATE);
        resolve({ port: addr.port, hostname: addr.hostname });
        return new Ending(handle);
      },
      failed: (error) => resolve({ error }),
    },
    () => Promise.resolve(addresses),
  );
  if (abort !== undefined) attempt.abort(abort);
  return promise;
}

Deno.test("addresses of both families take turns", () => {
  const cases: [string, string][] = [
    ["", ""],
    ["4a", "4a"],
    ["4a 4b", "4a 4b"],
    ["6a 6b 4a 4b", "6a 4a 6b 4b"],
    ["4a 4b 4c 6a", "4a 6a 4b 4c"],
    ["6a 4a 4b 4c", "6a 4a 4b 4c"],
  ];
  const write = (text: string): string[] =>
    text.split(" ").filter((word) => word !== "").map((word) =>
      word.replace("6", "2001:db8::").replace("4", "192.0.2.")
    );
  for (const [given, expected] of cases) {
    assertEquals(inTurns(write(given)), write(expected), given);
  }
});

testBackends("a refused address is followed by the next", async (t) => {
  const { backend } = t;
  const server = t.closing(
    listen({ hostname: "127.0.0.1", port: 0, backend }, {}),
  );
  const { port } = server.addr;
  const addresses = ["::1", "127.0.0.2", "::1", "127.0.0.1", "127.0.0.4"];
  const outcome = await dial(t, addresses, port);
  assertEquals(outcome, { hostname: "127.0.0.1", port });
});

testBackends("a silent address does not hold the next one up", async (t) => {
  const { backend } = t;
  const server = t.closing(
    listen({ hostname: "127.0.0.1", port: 0, backend }, {}),
  );
  const { port } = server.addr;
  using _silent = new MutePort(2, port);
  const outcome = await dial(t, ["127.0.0.2", "127.0.0.1"], port);
  assertEquals(outcome, { hostname: "127.0.0.1", port });
});

testBackends("a slow address is not given up for the next", async (t) => {
  const { backend } = t;
  const server = t.closing(
    listen({ hostname: "127.0.0.1", port: 0, backend }, {}),
  );
  const { port } = server.addr;
  using _silent = new MutePort(2, port);
  // The last ones are refused while the first is still waited for.
  const addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.4"];
  assertEquals(await dial(t, addresses, port), {
    hostname: "127.0.0.1",
    port,
  });
  const { error } = await dial(t, ["127.0.0.2", "127.0.0.3"], port, {
    timeout: 400,
  });
  assert(error instanceof Deno.errors.TimedOut);
});

testBackends("when all fail, all errors are told", async (t) => {
  using silent = new MutePort(2);
  const { port } = silent;
  const { error } = await dial(t, ["127.0.0.3", "127.0.0.4"], port);
  assert(error instanceof Deno.errors.ConnectionRefused);
  assert(error.message.includes(`example:${port} (127.0.0.4)`), error.message);
  assert(error.cause instanceof AggregateError);
  assertEquals(error.cause.errors.length, 1);
});

testBackends("a name without an address is an error", async (t) => {
  const { error } = await dial(t, [], 1);
  assert(error instanceof Deno.errors.NotFound);
});

testBackends("a look-up counts towards the time", async (t) => {
  const never = new Promise<string[]>(() => {});
  const { error } = await dial(t, never, 1, { timeout: 50 });
  assert(error instanceof Deno.errors.TimedOut);
});

testBackends("a dial that is aborted at once tells that", async (t) => {
  const abort = new Error("not any more");
  assertEquals(await dial(t, ["127.0.0.1"], 1, { abort }), { error: abort });
});
