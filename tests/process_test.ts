// SPDX-License-Identifier: Apache-2.0
// Tests of what a server means for its process: whether it ends, what it may,
// what it costs when idle, and what happens without descriptors.

import { assertEquals, assertStringIncludes } from "@std/assert";
import { runChild } from "./child.ts";
import { testBackends } from "./testing.ts";

const OPEN = `const server = serve(
  { port: 0, hostname: "127.0.0.1", backend, onListen: quiet },
  () => new Response("hello"),
);`;
const FETCH = `await (await fetch(
  "http://127.0.0.1:" + server.addr.port + "/",
)).text()`;

testBackends("an unreferenced server lets the process end", async (t) => {
  for (let round = 0; round < 5; round++) {
    const result = await runChild(
      `${OPEN}\nserver.unref();\nconsole.log(${FETCH});`,
      { backend: t.backend },
    );
    assertEquals(result, { code: 0, signal: null, out: "hello\n", err: "" });
  }
});

testBackends("a server that was referenced again keeps it alive", async (t) => {
  const result = await runChild(
    `${OPEN}\nserver.unref();\nserver.ref();
    const timer = setTimeout(() => {
      console.log("alive");
      void server.shutdown();
    }, 100);
    Deno.unrefTimer(timer);`,
    { backend: t.backend },
  );
  assertEquals(result, { code: 0, signal: null, out: "alive\n", err: "" });
});

testBackends("a server is shut down and the process ends", async (t) => {
  const result = await runChild(
    `${OPEN}\nconsole.log(${FETCH});\nawait server.shutdown({ timeout: 1 });`,
    { backend: t.backend },
  );
  assertEquals(result, { code: 0, signal: null, out: "hello\n", err: "" });
});

testBackends("Deno.exit() with an open server is orderly", async (t) => {
  for (let round = 0; round < 5; round++) {
    const result = await runChild(
      `${OPEN}\nconsole.log(${FETCH});\nDeno.exit(7);`,
      { backend: t.backend },
    );
    assertEquals(result, { code: 7, signal: null, out: "hello\n", err: "" });
  }
});

testBackends("an uncaught error beside an open server is shown", async (t) => {
  const result = await runChild(
    `${OPEN}\nconsole.log(${FETCH});\nthrow new Error("application broke");`,
    { backend: t.backend },
  );
  assertEquals([result.code, result.signal], [1, null]);
  assertStringIncludes(result.err, "application broke");
});

testBackends("a worker with a server can be terminated", async (t) => {
  const result = await runChild(
    `const source = ${
      JSON.stringify(`
      import { serve } from "MODULE";
      const server = serve(
        { port: 0, hostname: "127.0.0.1", backend: "BACKEND",
          onListen: () => {} },
        () => new Response("hello"));
      self.postMessage(server.addr.port);
    `)
    }.replace("BACKEND", backend).replace("MODULE", ${
      JSON.stringify(new URL("../mod.ts", import.meta.url).href)
    });
    const url = "data:application/typescript," + encodeURIComponent(source);
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(url, { type: "module" });
      const port = await new Promise((resolve) =>
        worker.onmessage = (event) => resolve(event.data));
      const response = await fetch("http://127.0.0.1:" + port + "/");
      console.log(await response.text());
      worker.terminate();
    }`,
    { backend: t.backend },
  );
  assertEquals(result, {
    code: 0,
    signal: null,
    out: "hello\n".repeat(5),
    err: "",
  });
});

testBackends("an idle server does nothing", async (t) => {
  const result = await runChild(
    `${OPEN}
    const idle = await Deno.connect({ port: server.addr.port });
    ${FETCH};
    // Two points in an idle time: nobody connects, sends or leaves between.
    const wait = (ms: number) => new Promise((done) => setTimeout(done, ms));
    let before = server.statistics().polls;
    for (let same = 0; same < 3;) {
      await wait(50);
      const { polls } = server.statistics();
      same = polls === before ? same + 1 : 0;
      before = polls;
    }
    await wait(1500);
    console.log(server.statistics().polls - before < 20);
    idle.close();
    await server.shutdown({ timeout: 1 });`,
    { backend: t.backend },
  );
  assertEquals(result, { code: 0, signal: null, out: "true\n", err: "" });
});

testBackends("without --allow-net nothing listens", async (t) => {
  const flags = [
    ["-A", "--deny-net"],
    ["-A", "--deny-net=127.0.0.1:54321"],
  ];
  for (const denying of flags) {
    const result = await runChild(
      `try {
        serve({ port: 54321, hostname: "127.0.0.1", backend, onListen: quiet },
          () => new Response());
      } catch (error) {
        console.log(error instanceof Deno.errors.NotCapable, error.message);
      }
      const { stdout } = await new Deno.Command("cat", {
        args: ["/proc/net/tcp"],
      }).output();
      const table = new TextDecoder().decode(stdout);
      console.log(/^ *\\d+: 0100007F:D431 /m.test(table));`,
      { backend: t.backend, flags: denying },
    );
    assertEquals(result, {
      code: 0,
      signal: null,
      out: 'true Requires net access to "127.0.0.1:54321", ' +
        "run again with the --allow-net flag\nfalse\n",
      err: "",
    });
  }
});

testBackends("--allow-net for another address is not enough", async (t) => {
  for (const net of [[], ["--allow-net=127.0.0.1:1"]]) {
    const result = await runChild(
      `try {
        serve({ port: 54321, hostname: "127.0.0.1", backend, onListen: quiet },
          () => new Response());
      } catch (error) {
        console.log(error instanceof Deno.errors.NotCapable, error.message);
      }`,
      { backend: t.backend, flags: ["--allow-ffi", ...net] },
    );
    assertEquals(result, {
      code: 0,
      signal: null,
      out: 'true Requires net access to "127.0.0.1:54321", ' +
        "run again with the --allow-net flag\n",
      err: "",
    });
  }
});

testBackends("a Unix socket needs --allow-read and write", async (t) => {
  for (const [flag, word] of [["write", "read"], ["read", "write"]]) {
    const result = await runChild(
      `try {
        serve({ path: "/tmp/millrace-never", backend, onListen: quiet },
          () => new Response());
      } catch (error) {
        console.log(error instanceof Deno.errors.NotCapable, error.message);
      }`,
      { backend: t.backend, flags: ["--allow-ffi", `--allow-${flag}`] },
    );
    assertStringIncludes(result.out, `true Requires ${word} access`);
    assertEquals(result.code, 0, result.err);
  }
});

testBackends("without --allow-ffi the error says so", async (t) => {
  const result = await runChild(
    `try {
      serve({ port: 0, backend, onListen: quiet }, () => new Response());
    } catch (error) {
      console.log(error instanceof Deno.errors.NotCapable, error.message);
    }`,
    { backend: t.backend, flags: ["--allow-net"] },
  );
  assertStringIncludes(result.out, "true Requires ffi access");
});

testBackends("--allow-net and --allow-ffi are enough", async (t) => {
  const result = await runChild(
    `const echo = websocket({
      message: (socket, message) => void socket.send(message),
    });
    const server = serve(
      { port: 0, hostname: "127.0.0.1", backend, onListen: quiet },
      (request) => request.headers.has("upgrade")
        ? echo.upgrade(request)
        : new Response("hello"));
    console.log(${FETCH});
    const socket = new WebSocket("ws://127.0.0.1:" + server.addr.port);
    socket.onopen = () => socket.send("ws");
    console.log(await new Promise((resolve) =>
      socket.onmessage = (event) => resolve(event.data)));
    socket.close();
    await server.shutdown();`,
    { backend: t.backend, flags: ["--allow-net", "--allow-ffi"] },
  );
  assertEquals(result, { code: 0, signal: null, out: "hello\nws\n", err: "" });
});

testBackends("a wrong MILLRACE_LIBRARY is named", async (t) => {
  const path = "/nowhere/libmillrace.so";
  const result = await runChild(
    `try {
      serve({ port: 0, backend, onListen: quiet }, () => new Response());
    } catch (error) {
      console.log(error.message);
    }`,
    { backend: t.backend, env: { MILLRACE_LIBRARY: path } },
  );
  assertStringIncludes(result.out, "Cannot load the Millrace shim. Tried:");
  assertStringIncludes(result.out, `  ${path}: `);
  assertStringIncludes(result.out, "MILLRACE_LIBRARY");
  assertEquals(result.code, 0, result.err);
});

testBackends("a foreign MILLRACE_LIBRARY is refused", async (t) => {
  const result = await runChild(
    `try {
      serve({ port: 0, backend, onListen: quiet }, () => new Response());
    } catch (error) {
      console.log(error.message);
    }`,
    { backend: t.backend, env: { MILLRACE_LIBRARY: "libc.so.6" } },
  );
  assertStringIncludes(result.out, "Cannot load the Millrace shim. Tried:");
  assertStringIncludes(result.out, "libc.so.6");
});

const FLOOD = `const clients = [];
  for (let i = 0; i < 40; i++) {
    clients.push(await Deno.connect({ port: Number(Deno.args[0]) }));
  }
  console.log("connected");
  await Deno.stdin.read(new Uint8Array(1));
  for (const client of clients) client.close();`;

testBackends("more clients than descriptors are survived", async (t) => {
  const result = await runChild(
    `${OPEN}
    const wait = () => new Promise((done) => setTimeout(done, 5));
    // Deno needs descriptors of its own for signals, and panics without.
    Deno.addSignalListener("SIGUSR2", quiet);
    const floods = Array.from({ length: 4 }, () =>
      new Deno.Command(Deno.execPath(), {
        args: ["eval", ${JSON.stringify(FLOOD)}, String(server.addr.port)],
        stdin: "piped", stdout: "piped",
      }).spawn());
    // Asked for now: Deno needs descriptors of its own for it.
    const statuses = floods.map((flood) => flood.status);
    const readers = floods.map((flood) => flood.stdout.getReader());
    for (const reader of readers) await reader.read();
    while (server.statistics().acceptErrors === 0) await wait();
    const before = server.statistics();
    console.log(before.accepted < 160);
    // It retries now and then, and does not spin.
    for (let i = 0; i < 100; i++) await wait();
    const after = server.statistics();
    console.log(after.acceptErrors - before.acceptErrors < 50);
    console.log(after.polls - before.polls < 1000);
    for (const flood of floods) await flood.stdin.close();
    await Promise.all(statuses);
    for (const reader of readers) await reader.cancel();
    while (server.statistics().connections > 0) await wait();
    console.log(${FETCH});
    await server.shutdown({ timeout: 1 });
    Deno.removeSignalListener("SIGUSR2", quiet);`,
    { backend: t.backend, under: ["prlimit", "--nofile=96:96"] },
  );
  assertEquals(result, {
    code: 0,
    signal: null,
    out: "true\ntrue\ntrue\nhello\n",
    err: "",
  });
});
