// SPDX-License-Identifier: Apache-2.0
// Tests of sockets that another process has opened: listen({ fd }) and
// systemdSockets().

import { assertEquals, assertStringIncludes } from "@std/assert";
import { type ChildResult, runChild } from "./child.ts";
import { type Context, testBackends } from "./testing.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;
const INHERIT = new URL("inherit.ts", import.meta.url).pathname;

const ECHO = `
const { listen, systemdSockets } = await import(${JSON.stringify(MODULE)});
const echo = { data: (socket, chunk) => void socket.write(chunk) };
async function ask(port) {
  const client = await Deno.connect({ hostname: "127.0.0.1", port });
  await client.write(new TextEncoder().encode("hello"));
  const bytes = new Uint8Array(5);
  await client.read(bytes);
  client.close();
  return new TextDecoder().decode(bytes);
}`;

function run(t: Context, body: string, flags = ["-A"]): Promise<ChildResult> {
  const { backend } = t;
  const under = [Deno.execPath(), "run", "--quiet", "-A", INHERIT];
  return runChild(ECHO + body, { backend, flags, under });
}

testBackends("an inherited socket is listened on", async (t) => {
  const result = await run(
    t,
    `const sockets = systemdSockets();
    console.log(JSON.stringify(sockets));
    const server = listen({ fd: sockets[0].fd, backend }, echo);
    console.log(server.addr.transport, server.addr.hostname);
    console.log(await ask(server.addr.port));
    await server.close();`,
  );
  assertEquals(result, {
    code: 0,
    signal: null,
    out: '[{"fd":3,"name":"echo"}]\ntcp 0.0.0.0\nhello\n',
    err: "",
  });
});

testBackends("closing leaves an inherited socket to others", async (t) => {
  const result = await run(
    t,
    `const { symbols } = Deno.dlopen("libc.so.6", {
      dup: { parameters: ["i32"], result: "i32" },
    });
    const fd = symbols.dup(3);
    for (const socket of [3, fd]) {
      const server = listen({ fd: socket, backend }, echo);
      console.log(await ask(server.addr.port));
      await server.shutdown({ timeout: 1 });
    }`,
  );
  assertEquals(result, {
    code: 0,
    signal: null,
    out: "hello\nhello\n",
    err: "",
  });
});

testBackends("an inherited socket is not taken over twice", async (t) => {
  const result = await run(
    t,
    `const server = listen({ fd: 3, backend }, echo);
    try {
      listen({ fd: 3, backend }, echo);
    } catch (error) {
      console.log(error.name);
    }
    console.log(await ask(server.addr.port));
    await server.close();`,
  );
  assertEquals(result, {
    code: 0,
    signal: null,
    out: "Busy\nhello\n",
    err: "",
  });
});

testBackends("an inherited address has to be allowed", async (t) => {
  const result = await run(
    t,
    `listen({ fd: 3, backend }, echo);`,
    ["--allow-ffi", "--allow-read", "--allow-net=127.0.0.1:1"],
  );
  assertEquals(result.code, 1);
  assertStringIncludes(result.err, "Requires net access to");
});

testBackends("what is no listening socket is refused", async (t) => {
  const result = await run(
    t,
    `
    for (const fd of [0, 1000]) {
      try {
        listen({ fd, backend }, echo);
      } catch (error) {
        console.log(error.name, error.message);
      }
    }
    `,
  );
  assertEquals([result.code, result.err], [0, ""]);
  assertEquals(result.out.split("\n"), [
    "Error Cannot listen on descriptor 0: it is no socket (ENOTSOCK)",
    "BadResource Cannot listen on descriptor 1000: there is no such descriptor (EBADF)",
    "",
  ]);
});

testBackends("sockets for another process are none of ours", async (t) => {
  const result = await run(
    t,
    `for (const set of [
      { LISTEN_PID: "1" },
      { LISTEN_PID: String(Deno.pid), LISTEN_FDS: "many" },
      { LISTEN_FDS: "0" },
      { LISTEN_FDS: "2", LISTEN_FDNAMES: "a" },
    ]) {
      for (const name in set) Deno.env.set(name, set[name]);
      console.log(JSON.stringify(systemdSockets()));
    }
    Deno.env.delete("LISTEN_PID");
    console.log(JSON.stringify(systemdSockets()));`,
  );
  assertEquals(result, {
    code: 0,
    signal: null,
    out: '[]\n[]\n[]\n[{"fd":3,"name":"a"},{"fd":4,"name":""}]\n[]\n',
    err: "",
  });
});
