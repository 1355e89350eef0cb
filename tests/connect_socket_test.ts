// SPDX-License-Identifier: Apache-2.0
// Tests of connect() and adopt(): sockets that no server of ours has accepted.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  adopt,
  connect,
  type Connecting,
  listen,
  type Socket,
  type SocketHandlers,
  StreamConn,
  streams,
} from "../mod.ts";
import { runChild } from "./child.ts";
import { MutePort, ResettableSocket } from "./libc.ts";
import {
  assertSameBytes,
  concat,
  type Context,
  latin1,
  pattern,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;
const MIB = 1024 * 1024;
const HOST = "127.0.0.1";

const echo: SocketHandlers<undefined> = {
  data(socket, chunk): void {
    if (socket.write(chunk) !== "sent") socket.pause();
  },
  drain: (socket) => socket.resume(),
};

interface Place {
  hostname: string;
  port: number;
}

function serve(t: Context, handlers: SocketHandlers<undefined>): Place {
  const { backend } = t;
  const server = listen({ hostname: HOST, port: 0, backend }, handlers);
  const { hostname, port } = t.closing(server).addr;
  return { hostname, port };
}

/** A port at which nobody listens. */
function freePort(): number {
  using listener = Deno.listen({ hostname: HOST, port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

/** Collects what a socket is told. */
function collector(): [SocketHandlers<undefined>, string[], Uint8Array[]] {
  const told: string[] = [];
  const chunks: Uint8Array[] = [];
  return [
    {
      open: () => void told.push("open"),
      data: (_, chunk) => void chunks.push(chunk.slice()),
      end: (socket) => {
        told.push("end");
        socket.close();
      },
      error: (_, error) => void told.push(`error ${error.name}`),
      close: (_, error) => void told.push(`close ${error?.name ?? null}`),
    },
    told,
    chunks,
  ];
}

testBackends("connects, writes, reads and ends", async (t) => {
  const { backend } = t;
  const addr = serve(t, echo);
  const [handlers, told, chunks] = collector();
  const socket = await connect({ ...addr, backend }, handlers);
  assertEquals(told, ["open"]);
  assertEquals(socket.remoteAddr, { transport: "tcp", ...addr });
  assertEquals((socket.localAddr as Deno.NetAddr).hostname, HOST);
  assertEquals(socket.write("hello"), "sent");
  await until(() => concat(chunks).length === 5, "the echo came");
  assertEquals(concat(chunks), latin1("hello"));
  socket.end();
  await until(() => told.length === 3, "it is over");
  assertEquals(told, ["open", "end", "close null"]);
  assertEquals(socket.statistics(), {
    receivedBytes: 5,
    sentBytes: 5,
    bufferedAmount: 0,
  });
});

testBackends("many bytes go both ways at once", async (t) => {
  const { backend } = t;
  const addr = serve(t, echo);
  const bytes = pattern(8 * MIB);
  const [handlers, told, chunks] = collector();
  const socket = await connect({ ...addr, backend }, handlers);
  assert(socket.write(bytes) !== "dropped");
  socket.end();
  await until(() => told.at(-1) === "close null", "it is over");
  assertSameBytes(concat(chunks), bytes, "the echo");
});

testBackends("connects to paths and abstract names", async (t) => {
  const { backend } = t;
  const directory = await Deno.makeTempDir();
  const paths = [`${directory}/socket`, `@millrace-connect-${Deno.pid}`];
  try {
    for (const path of paths) {
      const server = listen({ path, backend }, echo);
      t.closing(server);
      const [handlers, , chunks] = collector();
      const socket = await connect({ path, backend }, handlers);
      assertEquals(socket.remoteAddr, { transport: "unix", path });
      socket.write("hello");
      await until(() => concat(chunks).length === 5, "the echo came");
      socket.close();
      await server.shutdown();
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testBackends("connects to a name", async (t) => {
  const { backend } = t;
  const { port } = serve(t, echo);
  const [handlers] = collector();
  const options = { hostname: "localhost", port, backend };
  const socket = await connect(options, handlers);
  assertEquals((socket.remoteAddr as Deno.NetAddr).hostname, HOST);
  socket.close();
});

testBackends("errors say what was tried and what went wrong", async (t) => {
  const { backend } = t;
  const port = freePort();
  const [handlers, told] = collector();
  const tcp = (hostname: string): Connecting<undefined> =>
    connect({ hostname, port, backend }, handlers);
  await assertRejects(
    () => tcp(HOST),
    Deno.errors.ConnectionRefused,
    `Cannot connect to ${HOST}:${port}: nobody accepts connections there`,
  );
  await assertRejects(
    () => tcp("localhost"),
    Deno.errors.ConnectionRefused,
    `Cannot connect to localhost:${port} (`,
  );
  await assertRejects(
    () => tcp("no-such-host.invalid"),
    Deno.errors.NotFound,
    "Cannot find the address of no-such-host.invalid",
  );
  await assertRejects(
    () => connect({ path: "/nowhere/socket", backend }, handlers),
    Deno.errors.NotFound,
    "Cannot connect to /nowhere/socket",
  );
  assertEquals(told, []);
});

Deno.test("connect() says which option is wrong", () => {
  const make = (options: Record<string, unknown>) => () =>
    void connect(options as { port: number }, {});
  assertThrows(make({}), RangeError, '"port"');
  const port = 1;
  assertThrows(make({ port, path: "/a" }), TypeError, 'unknown option "port"');
  assertThrows(make({ port: 0 }), RangeError, '"port"');
  assertThrows(make({ port, idle: 1 }), TypeError, 'unknown option "idle"');
  assertThrows(make({ port, transport: "unix" }), TypeError, '"transport"');
  assertThrows(make({ port, hostname: 1 }), TypeError, '"hostname"');
  assertThrows(make({ port, connectTimeout: -1 }), RangeError, "Timeout");
  assertThrows(make({ port, stallTimeout: -1 }), RangeError, "connect");
  assertThrows(make({ port, backend: "x" }), TypeError, "Cannot connect");
  assertThrows(make({ port, signal: 1 }), TypeError, '"signal"');
  const none = undefined as never;
  assertThrows(() => void connect(none, {}), TypeError, "must be an object");
  assertThrows(() => void connect({ port }, none), TypeError, "callbacks");
  const signal = AbortSignal.abort(new Error("too late"));
  assertThrows(make({ port, signal }), Error, "too late");
});

testBackends(
  "what is written before the connection stands waits",
  async (t) => {
    const { backend } = t;
    const addr = serve(t, echo);
    const [handlers, told, chunks] = collector();
    const { socket } = connect({ ...addr, backend }, handlers);
    const bytes = pattern(MIB);
    assertEquals(socket.write("hello "), "sent");
    const buffer = bytes.slice();
    assertEquals(socket.write(buffer), "queued");
    buffer.fill(0);
    assertEquals(socket.bufferedAmount, 6 + MIB);
    assertEquals(socket.remoteAddr, { transport: "tcp", ...addr });
    assertEquals(socket.localAddr, null);
    socket.setNoDelay();
    socket.setTimeout(10_000);
    const flushed = socket.flushed();
    socket.end();
    assertEquals([socket.writable, socket.write("no")], [false, "dropped"]);
    await flushed;
    await until(() => told.at(-1) === "close null", "it is over");
    assertSameBytes(
      concat(chunks),
      concat([latin1("hello "), bytes]),
      "the echo",
    );
    assertEquals(told[0], "open");
  },
);

testBackends("drain follows what was queued before it stood", async (t) => {
  const { backend } = t;
  const addr = serve(t, echo);
  const told: string[] = [];
  const options = { ...addr, backend, highWatermark: 10, maxQueueBytes: 20 };
  const { socket } = connect(options, {
    open: () => void told.push("open"),
    drain: () => void told.push("drain"),
  });
  const statuses = [9, 1, 10, 1].map((length) => socket.write(pattern(length)));
  assertEquals(statuses, ["sent", "queued", "queued", "dropped"]);
  await until(() => told.length === 2, "drain was called");
  assertEquals(told, ["open", "drain"]);
  socket.terminate();
});

testBackends("a socket that never stands is told why", async (t) => {
  const { backend } = t;
  const [handlers, told] = collector();
  const { socket } = connect(
    { hostname: HOST, port: freePort(), backend },
    handlers,
  );
  socket.write("hello");
  const flushed = assertRejects(
    () => socket.flushed(),
    Deno.errors.ConnectionRefused,
  );
  await until(() => told.length === 2, "it was told");
  assertEquals(told, ["error ConnectionRefused", "close ConnectionRefused"]);
  await flushed;
  assertEquals([socket.writable, socket.bufferedAmount], [false, 0]);
  assertEquals(socket.write("more"), "dropped");
  await assertRejects(() => socket.flushed(), Deno.errors.ConnectionRefused);
});

testBackends("terminating or aborting gives up", async (t) => {
  const { backend } = t;
  const addr = serve(t, echo);
  const [handlers, told] = collector();
  const terminated = connect({ ...addr, backend }, handlers);
  terminated.socket.terminate();
  await assertRejects(() => terminated, Deno.errors.Interrupted);
  assertEquals(told, ["error Interrupted", "close Interrupted"]);
  const controller = new AbortController();
  const { signal } = controller;
  const aborted = connect({ ...addr, backend, signal }, handlers);
  controller.abort(new Error("no longer wanted"));
  await assertRejects(() => aborted, Error, "no longer wanted");
  assertEquals(told.length, 2);
  const stands = new AbortController();
  const options = { ...addr, backend, signal: stands.signal };
  const socket = await connect(options, handlers);
  stands.abort();
  assert(socket.writable);
  socket.close();
});

testBackends("a time that is over is an error", async (t) => {
  const { backend } = t;
  using full = new MutePort();
  const [handlers] = collector();
  const { port } = full;
  await assertRejects(
    () =>
      connect({ hostname: HOST, port, backend, connectTimeout: 200 }, handlers),
    Deno.errors.TimedOut,
    `Cannot connect to ${HOST}:${port}: timed out`,
  );
});

testBackends("what cannot be tuned is not connected", async (t) => {
  const { backend } = t;
  const path = `@millrace-untuned-${backend}-${Deno.pid}`;
  const server = t.closing(listen({ path, backend }, echo));
  const [handlers, told] = collector();
  await assertRejects(
    () => connect({ path, backend, keepAlive: { idle: 1 } }, handlers),
    Deno.errors.NotSupported,
  );
  await until(() => server.statistics().connections === 0, "it is gone");
  assertEquals(told, []);
});

testBackends("streams() serve clients too", async (t) => {
  const { backend } = t;
  const addr = serve(t, echo);
  const { data: conn } = await connect<StreamConn>(
    { ...addr, backend },
    streams(),
  );
  await conn.write(latin1("hello"));
  const buffer = new Uint8Array(5);
  for (let at = 0; at < 5;) at += await conn.read(buffer.subarray(at)) ?? 0;
  assertEquals(buffer, latin1("hello"));
  await conn.closeWrite();
  assertEquals(await conn.read(buffer), null);
});

testBackends("idle and stalled clients are cut", async (t) => {
  const { backend } = t;
  const closed: unknown[] = [];
  const addr = serve(t, { open: (socket) => socket.pause() });
  const close = (_: Socket, error: Error | null): void =>
    void closed.push(error?.name);
  await connect({ ...addr, backend, idleTimeout: 200 }, { close });
  await until(() => closed.length === 1, "the idle one is cut");
  const options = { ...addr, backend, stallTimeout: 300, minSendRate: 0 };
  const socket = await connect(options, { close });
  socket.write(pattern(16 * MIB));
  await until(() => closed.length === 2, "the stalled one is cut");
  assertEquals(closed, ["TimedOut", "TimedOut"]);
});

testBackends("a connected socket is adopted", async (t) => {
  const { backend } = t;
  const addr = serve(t, echo);
  const [handlers, told, chunks] = collector();
  const fd = new ResettableSocket(addr.port).release();
  const socket = adopt<undefined>(fd, handlers, { backend });
  assertEquals(told, ["open"]);
  assertEquals(socket.remoteAddr, { transport: "tcp", ...addr });
  const bytes = pattern(4 * MIB);
  assert(socket.write(bytes) !== "dropped");
  socket.end();
  await until(() => told.at(-1) === "close null", "it is over");
  assertSameBytes(concat(chunks), bytes, "the echo");
});

testBackends("what is no connected socket is not adopted", (t) => {
  const { backend } = t;
  const [handlers, told] = collector();
  using full = new MutePort();
  const cases: [number, new () => Error, string][] = [
    [0, Error, "Cannot take over descriptor 0: it is no socket"],
    [100_000, Deno.errors.BadResource, "there is no such descriptor"],
    [full.fd, Deno.errors.NotConnected, "the socket is not connected"],
    [-1, RangeError, '"fd"'],
  ];
  for (const [fd, error, text] of cases) {
    assertThrows(() => adopt(fd, handlers, { backend }), error, text);
  }
  assertThrows(
    () => adopt(full.fd, handlers, { port: 1 } as never),
    TypeError,
    "unknown option",
  );
  assertEquals(told, []);
  return Promise.resolve();
});

testBackends("a socket may let the process end", async (t) => {
  const open = `
    const { connect, listen } = await import(${JSON.stringify(MODULE)});
    const at = { hostname: "127.0.0.1", backend };
    const server = listen({ ...at, port: 0 }, {});
    server.unref();
    const { port } = server.addr;
    const socket = await connect({ ...at, port }, {});
    const other = await connect({ ...at, port }, {});
    socket.unref();`;
  const { backend } = t;
  const unreferenced = await runChild(`${open} other.unref();`, { backend });
  assertEquals(unreferenced, { code: 0, signal: null, out: "", err: "" });
  const referenced = await runChild(
    `${open}
    const timer = setTimeout(() => {
      console.log("alive");
      other.terminate();
    }, 100);
    Deno.unrefTimer(timer);`,
    { backend },
  );
  assertEquals(referenced, { code: 0, signal: null, out: "alive\n", err: "" });
});

testBackends("connecting has to be allowed", async (t) => {
  const { backend } = t;
  const { code, err } = await runChild(
    `const { connect } = await import(${JSON.stringify(MODULE)});
    connect({ port: 1, backend }, {});`,
    { backend, flags: ["--allow-ffi", "--allow-read"] },
  );
  assertEquals(code, 1);
  assertStringIncludes(err, 'Requires net access to "127.0.0.1:1"');
});

testBackends("no more waits than a connection could take", async (t) => {
  const { backend } = t;
  const addr = serve(t, {});
  const [handlers] = collector();
  const options = { ...addr, backend, maxQueueBytes: 256 * MIB };
  const connecting = connect(options, handlers);
  const { socket } = connecting;
  assertEquals(socket.write(new Uint8Array(80 * MIB)), "dropped");
  socket.terminate();
  assertEquals([socket.writable, socket.write("late")], [false, "dropped"]);
  await assertRejects(() => connecting, Deno.errors.Interrupted);
});

testBackends("no drain follows the end of what was queued", async (t) => {
  const { backend } = t;
  const addr = serve(t, echo);
  const told: string[] = [];
  const closed = Promise.withResolvers<void>();
  const { socket } = connect({ ...addr, backend, highWatermark: 1 }, {
    open(socket): void {
      told.push("open");
      socket.close();
    },
    drain: () => void told.push("drain"),
    close(): void {
      told.push("close");
      closed.resolve();
    },
  });
  // So many go to the kernel at once when it stands: the queue has fallen.
  assertEquals(socket.write(pattern(128 * 1024)), "queued");
  await closed.promise;
  assertEquals(told, ["open", "close"]);
});

testBackends("streams() bear a socket that never stands", async (t) => {
  const { backend } = t;
  const errors = await withoutErrors(async () => {
    const options = { hostname: HOST, port: freePort(), backend };
    const connecting = connect<StreamConn>(options, streams());
    assert(!(connecting.socket.data instanceof StreamConn));
    await assertRejects(() => connecting, Deno.errors.ConnectionRefused);
  });
  assertEquals(errors, []);
});

testBackends("the peer of an adopted socket has to be allowed", async (t) => {
  const { backend } = t;
  const path = `@millrace-denied-${backend}-${Deno.pid}`;
  t.closing(listen({ path, backend }, echo));
  const result = await runChild(
    `
    const { adopt } = await import(${JSON.stringify(MODULE)});
    const { symbols: libc } = Deno.dlopen("libc.so.6", {
      socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
      connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
    });
    const address = new TextEncoder().encode("\\x01\\0\\0" + ${
      JSON.stringify(path)
    }.slice(1));
    const fds = [libc.socket(1, 1, 0), libc.socket(1, 1, 0)];
    for (const fd of fds) libc.connect(fd, address, address.length);
    const socket = adopt(fds[0], {}, { backend });
    console.log(socket.remoteAddr.path);
    socket.terminate();
    Deno.permissions.revokeSync({ name: "net" });
    try {
      adopt(fds[1], {}, { backend });
    } catch (error) {
      console.log(error.name);
    }`,
    { backend },
  );
  assertEquals([result.code, result.err], [0, ""]);
  assertEquals(result.out, `${path}\nNotCapable\n`);
});

testBackends(
  "callbacks get an error, whatever the signal's reason",
  async (t) => {
    const { backend } = t;
    const addr = serve(t, echo);
    for (const reason of ["no longer wanted", null]) {
      const errors: (Error | null)[] = [];
      const controller = new AbortController();
      const { signal } = controller;
      const connecting = connect({ ...addr, backend, signal }, {
        close: (_, error) => void errors.push(error),
      });
      const { socket } = connecting;
      controller.abort(reason);
      assertEquals(await connecting.catch((error) => error), reason);
      assertEquals(errors.length, 1);
      assert(errors[0] instanceof Error);
      assertEquals(errors[0].cause, reason);
      assertEquals([socket.writable, socket.write("x")], [false, "dropped"]);
    }
  },
);
