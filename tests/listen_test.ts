// SPDX-License-Identifier: Apache-2.0
// Tests of listen(): where it listens, whom it lets in, and how it ends.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { listen, type Socket, type SocketHandlers } from "../mod.ts";
import { runChild } from "./child.ts";
import { ResettableSocket } from "./libc.ts";
import { RawClient } from "./raw_client.ts";
import {
  assertSameBytes,
  type Context,
  latin1,
  pattern,
  settled,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;
const MIB = 1024 * 1024;
const LOCAL = { hostname: "127.0.0.1", port: 0 };

// Reads no faster than its peer does.
const echo: SocketHandlers<undefined> = {
  data(socket, chunk): void {
    if (socket.write(chunk) !== "sent") socket.pause();
  },
  drain: (socket) => socket.resume(),
};

function connect(t: Context, server: { addr: Deno.Addr }): Promise<RawClient> {
  const addr = server.addr as Deno.NetAddr | Deno.UnixAddr;
  return RawClient.connect({ addr }).then((client) => t.using(client));
}

async function assertEchoes(
  t: Context,
  server: { addr: Deno.Addr },
): Promise<void> {
  const client = await connect(t, server);
  await client.write("hello");
  assertEquals(await client.exactly(5), latin1("hello"));
  const bytes = pattern(3 * MIB);
  const [received] = await Promise.all([
    client.exactly(bytes.length),
    client.write(bytes),
  ]);
  assertSameBytes(received, bytes, "the echo");
  await client.closeWrite();
  assertEquals(await client.rest(), "");
}

testBackends("listens on IPv4", async (t) => {
  const { backend } = t;
  const server = t.closing(listen({ ...LOCAL, backend }, echo));
  assertEquals(server.backend, backend);
  assert(server.backendReason !== "");
  assertEquals(server.addr.hostname, "127.0.0.1");
  await assertEchoes(t, server);
});

testBackends("listens on IPv6", async (t) => {
  const { backend } = t;
  const server = t.closing(
    listen({ hostname: "::1", port: 0, backend }, echo),
  );
  assertEquals(server.addr.hostname, "::1");
  await assertEchoes(t, server);
});

testBackends("listens on both with the IPv6 wildcard", async (t) => {
  const { backend } = t;
  const seen: Deno.Addr[] = [];
  const server = t.closing(listen({ hostname: "::", port: 0, backend }, {
    ...echo,
    open: (socket) => void seen.push(socket.remoteAddr, socket.localAddr!),
  }));
  const { port } = server.addr;
  const hosts = ["127.0.0.1", "::1"];
  for (const hostname of hosts) {
    const addr = { transport: "tcp", hostname, port } as const;
    const client = await connect(t, { addr });
    await client.write("hello");
    assertEquals(await client.exactly(5), latin1("hello"));
    const [remote, local] = seen.splice(0) as Deno.NetAddr[];
    assertEquals(remote!.port, client.localPort);
    assertEquals(local!.port, port);
    assert(remote!.hostname.endsWith(hostname), remote!.hostname);
  }
});

testBackends("ipv6Only leaves IPv4 to others", async (t) => {
  const { backend } = t;
  const server = t.closing(
    listen({ hostname: "::", port: 0, ipv6Only: true, backend }, echo),
  );
  const { port } = server.addr;
  await assertRejects(
    () => Deno.connect({ hostname: "127.0.0.1", port }),
    Deno.errors.ConnectionRefused,
  );
  // Nor would the port be free for it otherwise.
  const other = t.closing(
    listen({ hostname: "0.0.0.0", port, backend }, echo),
  );
  await assertEchoes(t, {
    addr: { transport: "tcp", hostname: "127.0.0.1", port: other.addr.port },
  });
});

testBackends("listens on the path of a Unix socket", async (t) => {
  const { backend } = t;
  const directory = await Deno.makeTempDir();
  const path = `${directory}/socket`;
  try {
    const server = t.closing(listen({ path, backend }, {
      ...echo,
      open(socket): void {
        assertEquals(socket.remoteAddr, { transport: "unix", path });
        assertEquals(socket.localAddr, { transport: "unix", path });
      },
    }));
    assertEquals(server.addr, { transport: "unix", path });
    await assertEchoes(t, server);
    await server.shutdown();
    assertEquals([...Deno.readDirSync(directory)], []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testBackends("listens on an abstract Unix socket", async (t) => {
  const { backend } = t;
  const path = `@millrace-listen-${backend}-${Deno.pid}`;
  const server = t.closing(listen({ path, backend }, echo));
  assertEquals(server.addr, { transport: "unix", path });
  const addr = { transport: "unix", path: `\0${path.slice(1)}` } as const;
  await assertEchoes(t, { addr });
});

testBackends("a port that is taken is refused", (t) => {
  const { backend } = t;
  const server = t.closing(listen({ ...LOCAL, backend }, echo));
  const { port } = server.addr;
  assertThrows(
    () => listen({ ...LOCAL, port, backend }, echo),
    Deno.errors.AddrInUse,
    `Cannot listen on 127.0.0.1:${port}`,
  );
  return Promise.resolve();
});

testBackends("reusePort shares a port", (t) => {
  const options = { ...LOCAL, reusePort: true, backend: t.backend };
  const first = t.closing(listen(options, echo));
  const { port } = first.addr;
  const second = t.closing(listen({ ...options, port }, echo));
  assertEquals(second.addr.port, port);
  return Promise.resolve();
});

Deno.test("listen() says which option is wrong", () => {
  const make = (options: Record<string, unknown>) => () =>
    void listen(options as { port: number }, {});
  assertThrows(make({}), TypeError, '"port", "path" or "fd" must be given');
  const port = 0;
  assertThrows(make({ port, idle: 1 }), TypeError, 'unknown option "idle"');
  assertThrows(make({ port, path: "/a" }), TypeError, "unknown option");
  assertThrows(make({ port, maxBodyBytes: 1 }), TypeError, "unknown option");
  assertThrows(make({ path: "/a", noDelay: 1 }), TypeError, '"noDelay"');
  assertThrows(make({ fd: 3, hostname: "a" }), TypeError, '"hostname"');
  assertThrows(make({ fd: -1 }), RangeError, '"fd" must be an integer from 0');
  assertThrows(make({ port: 65536 }), RangeError, '"port"');
  assertThrows(make({ port, tcpBacklog: 0 }), RangeError, '"tcpBacklog"');
  assertThrows(make({ port, transport: "unix" }), TypeError, '"transport"');
  assertThrows(make({ port, hostname: 1 }), TypeError, '"hostname"');
  assertThrows(make({ port, reusePort: 1 }), TypeError, '"reusePort"');
  assertThrows(make({ port, data: 1 }), TypeError, '"data"');
  assertThrows(make({ port, signal: 1 }), TypeError, '"signal"');
  assertThrows(make({ port, backend: "x" }), TypeError, "Cannot listen");
  assertThrows(make({ port, idleTimeout: -1 }), RangeError, '"idleTimeout"');
  assertThrows(make({ port, maxUnreadBytes: 0 }), RangeError, "Cannot listen");
  assertThrows(make({ port, ring: 3 }), RangeError, "Cannot listen");
  assertThrows(
    make({ port, highWatermark: 10, lowWatermark: 11 }),
    RangeError,
    '"lowWatermark" must be an integer from 0 to 10',
  );
  assertThrows(make({ port, keepAlive: true }), TypeError, '"keepAlive"');
  assertThrows(
    make({ port, keepAlive: { idle: 0 } }),
    RangeError,
    '"keepAlive.idle"',
  );
  assertThrows(
    make({ port, keepAlive: { idle: 1, counts: 1 } }),
    TypeError,
    'unknown option "counts"',
  );
  assertThrows(
    make({ port, sendBufferBytes: 0 }),
    RangeError,
    '"sendBufferBytes"',
  );
  const none = undefined as never;
  assertThrows(() => void listen(none, {}), TypeError, "must be an object");
  assertThrows(() => void listen({ port }, none), TypeError, "callbacks");
  const both = { data(): void {}, read(): void {} };
  assertThrows(() => void listen({ port }, both), TypeError, "not to both");
  const aborted = AbortSignal.abort(new Error("too late"));
  assertThrows(make({ port, signal: aborted }), Error, "too late");
});

testBackends("sockets have the tuning that was asked for", async (t) => {
  const path = `@millrace-tuned-${t.backend}-${Deno.pid}`;
  const tuned = {
    noDelay: false,
    keepAlive: { idle: 30, interval: 5, count: 3 },
    sendBufferBytes: 65536,
    receiveBufferBytes: 65536,
  };
  const server = t.closing(
    listen({ ...LOCAL, ...tuned, backend: t.backend }, echo),
  );
  await assertEchoes(t, server);
  assertThrows(
    () => listen({ path, keepAlive: { idle: 1 } }, {}),
    Deno.errors.NotSupported,
    "Cannot listen on @millrace-tuned",
  );
});

testBackends("sockets of a path have their buffer sizes too", async (t) => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/socket`;
  try {
    for (const sendBufferBytes of [undefined, 4096]) {
      const sockets: Socket[] = [];
      const options = { path, backend: t.backend };
      const server = t.closing(
        listen(sendBufferBytes ? { ...options, sendBufferBytes } : options, {
          open(socket): void {
            sockets.push(socket);
            socket.write(pattern(100_000));
          },
        }),
      );
      await connect(t, server);
      await until(() => sockets.length === 1, "it is open");
      const waiting = await settled(() => sockets[0]!.bufferedAmount);
      assertEquals(waiting > 0, sendBufferBytes !== undefined);
      await server.close();
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testBackends("data is made for each socket", async (t) => {
  const closed: number[] = [];
  const server = t.closing(
    listen<{ port: number }>({
      ...LOCAL,
      backend: t.backend,
      data: (addr) => ({ port: (addr as Deno.NetAddr).port }),
    }, {
      open: (socket) => void socket.write(`${socket.data.port}\n`),
      close: (socket) => void closed.push(socket.data.port),
    }),
  );
  const clients = [await connect(t, server), await connect(t, server)];
  for (const client of clients) {
    const port = `${client.localPort}\n`;
    assertEquals(await client.exactly(port.length), latin1(port));
    await client.closeWrite();
    await client.rest();
  }
  await until(() => closed.length === 2, "both are closed");
  assertEquals(closed, clients.map((client) => client.localPort));
});

testBackends("who makes no data gets no connection", async (t) => {
  const told: unknown[] = [];
  const options = {
    ...LOCAL,
    backend: t.backend,
    data: (): string => {
      throw new Error("no data");
    },
  };
  const errors = await withoutErrors(async () => {
    const server = t.closing(
      listen<string>(options, {
        open: () => void told.push("open"),
        close: (_, error) => void told.push(error?.message),
      }),
    );
    t.using(new ResettableSocket(server.addr.port));
    await until(() => told.length > 0, "close was called");
  });
  assertEquals([told, errors.length], [["no data"], 1]);
});

testBackends("maxConnections holds the others back", async (t) => {
  const server = t.closing(
    listen({ ...LOCAL, maxConnections: 2, backend: t.backend }, {
      open: (socket) => void socket.write("!"),
    }),
  );
  const clients = [];
  for (let i = 0; i < 3; i++) clients.push(await connect(t, server));
  await clients[0]!.exactly(1);
  await clients[1]!.exactly(1);
  assertEquals(await settled(() => server.statistics().accepted), 2);
  clients[0]!.close();
  await clients[2]!.exactly(1);
  assertEquals(server.statistics().connections, 2);
});

testBackends("maxConnectionsPerAddress refuses the others", async (t) => {
  let opened = 0;
  const server = t.closing(
    listen({ ...LOCAL, maxConnectionsPerAddress: 1, backend: t.backend }, {
      open: (socket) => {
        opened++;
        socket.write("!");
      },
    }),
  );
  const first = await connect(t, server);
  await first.exactly(1);
  t.using(new ResettableSocket(server.addr.port));
  const refused = (): number => server.statistics().addressRefusals;
  await until(() => refused() === 1, "the second is refused");
  await until(() => server.statistics().connections === 1, "and gone");
  assertEquals(opened, 1);
});

testBackends("shutdown() waits for the sockets it has told", async (t) => {
  const sockets: Socket[] = [];
  const server = listen({ ...LOCAL, backend: t.backend }, {
    open: (socket) => void sockets.push(socket),
    shutdown: (socket) => {
      socket.write("bye");
      socket.close();
    },
  });
  t.closing(server);
  const client = await connect(t, server);
  await until(() => sockets.length === 1, "it is open");
  const report = server.shutdown();
  assertEquals(await client.rest(), "bye");
  client.close();
  assertEquals(await report, { connections: 1, requests: 0, forced: 0 });
  await server.finished;
  assertEquals(server.statistics().accepted, 1);
});

testBackends("shutdown() cuts sockets at its deadline", async (t) => {
  const closed: unknown[] = [];
  const server = t.closing(listen({ ...LOCAL, backend: t.backend }, {
    open: (socket) => void socket.write("!"),
    close: (_, error) =>
      void closed.push(error instanceof Deno.errors.Interrupted),
  }));
  const client = await connect(t, server);
  await client.exactly(1);
  const report = await server.shutdown({ timeout: 20 });
  assertEquals(report, { connections: 1, requests: 0, forced: 1 });
  assertEquals(closed, [true]);
  await client.ending();
});

testBackends("close() and a signal cut everything at once", async (t) => {
  for (const how of ["close", "signal", "dispose"]) {
    const controller = new AbortController();
    let open = 0;
    const server = listen({
      ...LOCAL,
      backend: t.backend,
      signal: controller.signal,
    }, {
      open: () => void open++,
      close: () => void open--,
      shutdown: (socket) => socket.terminate(),
    });
    const client = await connect(t, server);
    await until(() => open === 1, "it is open");
    if (how === "close") await server.close();
    if (how === "signal") controller.abort();
    if (how === "dispose") await server[Symbol.asyncDispose]();
    await server.finished;
    assertEquals(open, 0, how);
    await client.ending();
    await assertRejects(
      () => Deno.connect({ ...LOCAL, port: server.addr.port }),
      Deno.errors.ConnectionRefused,
    );
  }
});

testBackends("an address that is denied is not listened on", async (t) => {
  const result = await runChild(
    `
    const { listen } = await import(${JSON.stringify(MODULE)});
    for (const open of [
      () => listen({ hostname: "localhost", port: 0, backend }, {}),
      () => serve({ hostname: "localhost", port: 0, backend }, () => new Response()),
    ]) {
      try {
        open();
        console.log("listens");
      } catch (error) {
        console.log(error.name);
      }
    }
    Deno.exit();`,
    {
      backend: t.backend,
      flags: [
        "--allow-ffi",
        "--allow-read",
        "--allow-net",
        "--deny-net=127.0.0.1,[::1]",
      ],
    },
  );
  assertEquals(result.out.trim().split("\n"), ["NotCapable", "NotCapable"]);
});

testBackends("shutdown() tells who is accepted last too", async (t) => {
  const { backend } = t;
  const told: string[] = [];
  const server = listen({ ...LOCAL, backend }, {
    open: () => void told.push("open"),
    shutdown(socket): void {
      told.push("shutdown");
      socket.terminate();
    },
  });
  // The kernel has taken it in, and the server has not yet.
  using _client = new ResettableSocket(server.addr.port);
  const report = await server.shutdown({ timeout: 3000 });
  assertEquals(told, ["open", "shutdown"]);
  assertEquals(report, { connections: 0, requests: 0, forced: 0 });
});

testBackends("a file that cannot be removed ends no process", async (t) => {
  const directory = await Deno.makeTempDir();
  try {
    const { code, out, err } = await runChild(
      `
      const { listen } = await import(${JSON.stringify(MODULE)});
      const path = ${JSON.stringify(`${directory}/socket`)};
      const controller = new AbortController();
      const { signal } = controller;
      const server = listen({ path, backend, signal }, {});
      Deno.permissions.revokeSync({ name: "write" });
      controller.abort();
      await server.finished;
      await new Promise((resolve) => setTimeout(resolve));
      console.log("goes on");`,
      { backend: t.backend },
    );
    assertEquals([code, out], [0, "goes on\n"]);
    assertStringIncludes(err, "NotCapable");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
