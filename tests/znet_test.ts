// SPDX-License-Identifier: Apache-2.0
// Tests against znet.py: an implementation of the packet format in another
// language is understood and answered, and the reverse.

import { assertEquals, assertRejects } from "@std/assert";
import { rpc, rpcClient, RpcCode, RpcError } from "../lib/rpc.ts";
import { deadline, testBackends } from "./testing.ts";

const SCRIPT = new URL("./znet.py", import.meta.url).pathname;

function python(...args: string[]): Deno.Command {
  return new Deno.Command("python3", {
    args: [SCRIPT, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

function packets(output: Uint8Array): unknown[] {
  const lines = new TextDecoder().decode(output).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

for (const kind of ["tcp", "websocket"] as const) {
  testBackends(`a client in Python is answered over ${kind}`, async (t) => {
    const app = rpc();
    for (const action of [1, -32768, 32767]) {
      app.route(action, ({ body }) => [action, body]);
    }
    const where = { hostname: "127.0.0.1", port: 0, backend: t.backend };
    const listener = kind === "tcp"
      ? app.listenTcp(where)
      : app.listenWebSocket(where);
    await app.start();
    const { port } = listener.addr as Deno.NetAddr;
    const client = python("client", "127.0.0.1", `${port}`, kind);
    const { stdout, stderr } = await deadline(client.output(), "the client");
    assertEquals(new TextDecoder().decode(stderr), "");
    assertEquals(packets(stdout), [
      [1, 1, [1, { foo: "bär" }]],
      [-32768, 32767, [-32768, 1]],
      [32767, -32768, [32767, [2]]],
      [1, 0, [1, null]],
      [-1, 5, [7, RpcCode.NotFound, "No route has the action 7"]],
      [1, 2, [1, "x".repeat(100_000)]],
    ]);
    await app.shutdown();
  });
}

testBackends("a server in Python is asked", async (t) => {
  const child = python("server").spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const port = Number((await deadline(lines.read(), "the port")).value);
  lines.releaseLock();
  const pushed = Promise.withResolvers<unknown>();
  const client = await rpcClient(`tcp://127.0.0.1:${port}`, {
    backend: t.backend,
    pushes: { 101: pushed.resolve },
  });
  assertEquals(await client.call(1, { a: "ü" }), { a: "ü" });
  const error = await assertRejects(() => client.call(2), RpcError, "nicht dä");
  assertEquals(error.code, 404);
  const both = [client.call(3), client.call(3)];
  assertEquals(await Promise.all(both), ["late", "early"]);
  assertEquals(await deadline(pushed.promise, "the push"), "welcome");
  client.notify(1, "unheard");
  await client.close();
  const { code } = await deadline(child.status, "the server");
  assertEquals(code, 0);
  await child.stderr.cancel();
});
