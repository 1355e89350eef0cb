// SPDX-License-Identifier: Apache-2.0
// Tests of serve(): the ways to call it, the addresses it listens on, and the
// options it refuses.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { serve, type ServeTcpOptions } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import { type Context, latin1, quiet, testBackends, until } from "./testing.ts";

const HELLO = (): Response => new Response("hello");

async function assertServes(to: { addr: Deno.Addr }): Promise<void> {
  using client = await RawClient.connect(
    to as { addr: Deno.NetAddr | Deno.UnixAddr },
  );
  const response = await client.request(get("/"));
  assertEquals([response.status, response.text], [200, "hello"]);
}

function base(t: Context): ServeTcpOptions {
  return {
    port: 0,
    hostname: "127.0.0.1",
    backend: t.backend,
    onListen: quiet,
  };
}

testBackends("serve() takes options, then a handler", async (t) => {
  const server = t.closing(serve(base(t), HELLO));
  assertEquals(server.addr.transport, "tcp");
  assertEquals(server.addr.hostname, "127.0.0.1");
  assert(server.addr.port > 0);
  assertEquals(server.backend, t.backend);
  assert(server.backendReason.length > 0);
  await assertServes(server);
});

testBackends("serve() takes the handler among the options", async (t) => {
  await assertServes(t.closing(serve({ ...base(t), handler: HELLO })));
});

Deno.test("serve() takes a handler alone and listens on port 8000", async () => {
  const lines: unknown[][] = [];
  const original = console.log;
  console.log = (...args: unknown[]): void => void lines.push(args);
  let server;
  try {
    server = serve(HELLO);
  } finally {
    console.log = original;
  }
  try {
    assertEquals(server.addr, {
      transport: "tcp",
      hostname: "0.0.0.0",
      port: 8000,
    });
    assertEquals(lines, [[
      "Listening on http://0.0.0.0:8000/ (http://localhost:8000/)",
    ]]);
    await assertServes({
      addr: { transport: "tcp", hostname: "127.0.0.1", port: 8000 },
    });
  } finally {
    await server.shutdown({ timeout: 1 });
  }
});

for (
  const { hostname, addr } of [
    { hostname: "127.0.0.1", addr: "127.0.0.1" },
    { hostname: "::1", addr: "::1" },
    { hostname: "0.0.0.0", addr: "0.0.0.0" },
    { hostname: "localhost", addr: null },
  ]
) {
  testBackends(`serve() listens on ${hostname}`, async (t) => {
    const server = t.serve(HELLO, { hostname });
    const bound = server.addr.hostname;
    if (addr !== null) assertEquals(bound, addr);
    else assert(bound === "127.0.0.1" || bound === "::1", bound);
    await assertServes({
      addr: {
        ...server.addr,
        hostname: bound === "0.0.0.0" ? "127.0.0.1" : bound,
      },
    });
  });
}

testBackends("serve() listens on the path of a Unix socket", async (t) => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/socket`;
  try {
    let remote: Deno.Addr | null = null;
    const server = t.closing(serve({
      transport: "unix",
      path,
      backend: t.backend,
      onListen: (addr) => assertEquals(addr, { transport: "unix", path }),
    }, (_request, info) => {
      remote = info.remoteAddr;
      return HELLO();
    }));
    assertEquals(server.addr, { transport: "unix", path });
    await assertServes(server);
    assertEquals(remote, { transport: "unix", path });
    await server.shutdown({ timeout: 1 });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testBackends("serve() removes the file of its Unix socket", async (t) => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/socket`;
  try {
    for (let round = 0; round < 2; round++) {
      const server = t.closing(
        serve({ path, backend: t.backend, onListen: quiet }, HELLO),
      );
      await assertServes(server);
      await server.shutdown({ timeout: 1 });
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

testBackends("serve() listens on an abstract Unix socket", async (t) => {
  const name = `millrace-test-${Deno.pid}-${t.backend}`;
  const server = t.closing(
    serve({ path: `@${name}`, backend: t.backend, onListen: quiet }, HELLO),
  );
  assertEquals(server.addr, { transport: "unix", path: `@${name}` });
  await assertServes({ addr: { transport: "unix", path: `\0${name}` } });
});

testBackends("serve() reports a Unix path that is too long", async (t) => {
  const path = "/tmp/" + "x".repeat(200);
  assertThrows(
    () => serve({ path, backend: t.backend, onListen: quiet }, HELLO),
    Error,
    "ENAMETOOLONG",
  );
  await Promise.resolve();
});

testBackends("serve() shares a port with reusePort", async (t) => {
  const first = t.serve(() => new Response("hello"), { reusePort: true });
  const { port } = first.addr;
  const second = t.serve(() => new Response("hello"), {
    reusePort: true,
    port,
  });
  assertEquals(second.addr.port, port);
  for (let round = 0; round < 64; round++) await assertServes(first);
  const accepted = [first, second].map((s) => s.statistics().accepted);
  assert(accepted.every((count) => count > 0), String(accepted));
  assertEquals(accepted[0]! + accepted[1]!, 64);
});

testBackends("serve() throws AddrInUse for a port that is taken", async (t) => {
  const server = t.serve(HELLO);
  const { port } = server.addr;
  const error = assertThrows(
    () => t.serve(HELLO, { port }),
    Deno.errors.AddrInUse,
  );
  assertStringIncludes(error.message, `127.0.0.1:${port}`);
  assertStringIncludes(error.message, "EADDRINUSE");
  await assertServes(server);
});

testBackends("serve() throws for an address of another machine", async (t) => {
  assertThrows(
    () => t.serve(HELLO, { hostname: "192.0.2.1" }),
    Deno.errors.AddrNotAvailable,
  );
  await Promise.resolve();
});

testBackends("serve() throws for a host that does not exist", async (t) => {
  assertThrows(
    () => t.serve(HELLO, { hostname: "does-not-exist.invalid" }),
    Deno.errors.NotFound,
  );
  await Promise.resolve();
});

testBackends("serve() accepts every engine option", async (t) => {
  const server = t.serve(HELLO, {
    batch: 1,
    ring: 64,
    spin: 50,
    maxConnections: 100,
    maxHeadBytes: 4096,
    maxTargetBytes: 2048,
    maxHeaderFields: 20,
    maxBodyBytes: 0,
    headTimeout: 1000,
    bodyTimeout: 1000,
    idleTimeout: 1000,
    stallTimeout: 1000,
    highWatermark: 65536,
    lowWatermark: 1024,
    maxQueueBytes: 1 << 20,
    bufferBytes: 16 << 20,
    maxDeflateBytes: 1 << 20,
    tcpBacklog: 16,
    automaticCompression: false,
  });
  await assertServes(server);
});

testBackends("serve() ignores options that are undefined", async (t) => {
  const options = { cert: undefined, port: undefined, hostname: undefined };
  const server = t.serve(HELLO, { ...options as object, port: 0 });
  await assertServes(server);
});

const BAD_OPTIONS: {
  options: Record<string, unknown>;
  error: typeof TypeError | typeof RangeError;
  says: string;
}[] = [
  { options: { prot: 1 }, error: TypeError, says: '"prot"' },
  { options: { cert: "x" }, error: TypeError, says: '"cert"' },
  { options: { key: "x" }, error: TypeError, says: '"key"' },
  { options: { certFile: "x" }, error: TypeError, says: '"certFile"' },
  { options: { keyFile: "x" }, error: TypeError, says: '"keyFile"' },
  { options: { keyFormat: "pem" }, error: TypeError, says: '"keyFormat"' },
  { options: { alpnProtocols: [] }, error: TypeError, says: "alpnProtocols" },
  {
    options: { automaticCompression: true, compress: true },
    error: TypeError,
    says: "automaticCompression",
  },
  { options: { compress: "br" }, error: TypeError, says: '"compress"' },
  {
    options: { compress: { gzipLevel: 0 } },
    error: RangeError,
    says: '"compress.gzipLevel"',
  },
  { options: { port: -1 }, error: RangeError, says: '"port"' },
  { options: { port: 65536 }, error: RangeError, says: '"port"' },
  { options: { port: 1.5 }, error: RangeError, says: '"port"' },
  { options: { port: NaN }, error: RangeError, says: '"port"' },
  { options: { tcpBacklog: 0 }, error: RangeError, says: '"tcpBacklog"' },
  {
    options: { tcpBacklog: 2 ** 31 },
    error: RangeError,
    says: '"tcpBacklog"',
  },
  {
    options: { transport: "unix" },
    error: TypeError,
    says: '"transport" is "unix", which needs a "path"',
  },
  {
    options: { transport: "udp" },
    error: TypeError,
    says: '"transport" must be "tcp" or "unix", is "udp"',
  },
  {
    options: { transport: "vsock", path: "/tmp/x" },
    error: TypeError,
    says: '"transport" must be "tcp" or "unix", is "vsock"',
  },
  {
    options: { transport: "tcp", path: "/tmp/x" },
    error: TypeError,
    says: '"transport" is "tcp", which has no "path"',
  },
  { options: { backend: "kqueue" }, error: TypeError, says: '"backend"' },
  { options: { batch: 0 }, error: RangeError, says: '"batch"' },
  { options: { batch: 65537 }, error: RangeError, says: '"batch"' },
  { options: { batch: "1" }, error: TypeError, says: '"batch"' },
  { options: { ring: 1000 }, error: RangeError, says: '"ring"' },
  { options: { ring: 4 }, error: RangeError, says: '"ring"' },
  { options: { ring: 65536 }, error: RangeError, says: '"ring"' },
  { options: { spin: -1 }, error: RangeError, says: '"spin"' },
  { options: { spin: 1.5 }, error: TypeError, says: '"spin"' },
  {
    options: { maxConnections: 0 },
    error: RangeError,
    says: '"maxConnections"',
  },
  {
    options: { maxConnections: 2 ** 20 + 1 },
    error: RangeError,
    says: '"maxConnections"',
  },
  { options: { maxHeadBytes: 255 }, error: RangeError, says: "maxHeadBytes" },
  { options: { maxHeadBytes: 16385 }, error: RangeError, says: "maxHeadBytes" },
  { options: { maxTargetBytes: 0 }, error: RangeError, says: "maxTargetBytes" },
  {
    options: { maxHeaderFields: 0 },
    error: RangeError,
    says: "maxHeaderFields",
  },
  { options: { maxBodyBytes: -1 }, error: RangeError, says: "maxBodyBytes" },
  { options: { maxBodyBytes: NaN }, error: TypeError, says: "maxBodyBytes" },
  { options: { headTimeout: -1 }, error: RangeError, says: "headTimeout" },
  { options: { bodyTimeout: 2 ** 32 }, error: RangeError, says: "bodyTimeout" },
  { options: { idleTimeout: null }, error: TypeError, says: "idleTimeout" },
  { options: { stallTimeout: "x" }, error: TypeError, says: "stallTimeout" },
  { options: { bufferBytes: 1 }, error: RangeError, says: "bufferBytes" },
  {
    options: { lowWatermark: 2, highWatermark: 1 },
    error: RangeError,
    says: "lowWatermark",
  },
  {
    options: { highWatermark: 2 ** 21, maxQueueBytes: 2 ** 20 },
    error: RangeError,
    says: "maxQueueBytes",
  },
  { options: { onError: 1 }, error: TypeError, says: '"onError"' },
  { options: { onError: null }, error: TypeError, says: '"onError"' },
  { options: { onListen: "x" }, error: TypeError, says: '"onListen"' },
  { options: { hostname: 1 }, error: TypeError, says: '"hostname"' },
  { options: { hostname: null }, error: TypeError, says: '"hostname"' },
  { options: { path: 1 }, error: TypeError, says: '"path"' },
  { options: { transport: 1 }, error: TypeError, says: '"transport"' },
  { options: { backend: 1 }, error: TypeError, says: '"backend"' },
  { options: { port: "8000" }, error: TypeError, says: '"port"' },
  { options: { port: null }, error: TypeError, says: '"port"' },
  { options: { tcpBacklog: "1" }, error: TypeError, says: '"tcpBacklog"' },
  { options: { reusePort: "yes" }, error: TypeError, says: '"reusePort"' },
  { options: { signal: {} }, error: TypeError, says: '"signal"' },
  {
    options: { automaticCompression: "yes" },
    error: TypeError,
    says: "automaticCompression",
  },
];

for (const { options, error, says } of BAD_OPTIONS) {
  testBackends(`serve() refuses ${JSON.stringify(options)}`, async (t) => {
    const thrown = assertThrows(
      () => t.closing(serve({ ...base(t), ...options } as never, HELLO)),
      error,
      says,
    );
    assert(thrown.message.startsWith("Cannot serve: "), thrown.message);
    await Promise.resolve();
  });
}

for (const options of [null, undefined, 1, "x", true]) {
  Deno.test(`serve() refuses ${options} in place of options`, () => {
    assertThrows(
      () => serve(options as never, HELLO),
      TypeError,
      "the options must be an object",
    );
  });
}

for (const handler of [undefined, null, "x", {}]) {
  testBackends(`serve() refuses the handler ${handler}`, async (t) => {
    assertThrows(
      () => serve({ ...base(t), handler } as never),
      TypeError,
      "a handler function must be given",
    );
    assertThrows(() => serve(handler as never), TypeError);
    await Promise.resolve();
  });
}

testBackends(
  "serve() throws when the signal has aborted already",
  async (t) => {
    const error = assertThrows(
      () => t.serve(HELLO, { signal: AbortSignal.abort() }),
      DOMException,
    );
    assertEquals(error.name, "AbortError");
    await Promise.resolve();
  },
);

testBackends("serve() closes at once when its signal aborts", async (t) => {
  const controller = new AbortController();
  const { promise: never, resolve } = Promise.withResolvers<Response>();
  const started = Promise.withResolvers<void>();
  const server = t.serve(() => {
    started.resolve();
    return never;
  }, { signal: controller.signal });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await started.promise;
  controller.abort();
  await server.finished;
  assertEquals((await client.ending()).text, "");
  await assertRejects(
    () => RawClient.connect(server),
    Deno.errors.ConnectionRefused,
  );
  resolve(HELLO());
});

testBackends("serve() calls onListen once, before it returns", async (t) => {
  const heard: Deno.NetAddr[] = [];
  const server = t.serve(HELLO, { onListen: (addr) => heard.push(addr) });
  assertEquals(heard, [server.addr]);
  await assertServes(server);
  assertEquals(heard.length, 1);
});

testBackends("serve() closes its socket when onListen throws", async (t) => {
  let port = 0;
  assertThrows(
    () =>
      t.serve(HELLO, {
        onListen: (addr) => {
          port = addr.port;
          throw new Error("not today");
        },
      }),
    Error,
    "not today",
  );
  await assertRejects(
    () =>
      RawClient.connect({
        addr: { transport: "tcp", hostname: "127.0.0.1", port },
      }),
    Deno.errors.ConnectionRefused,
  );
});

testBackends("info.remoteAddr is the peer's address", async (t) => {
  for (const hostname of ["127.0.0.1", "::1"]) {
    const seen: Deno.NetAddr[] = [];
    const server = t.serve((_request, info) => {
      seen.push(info.remoteAddr, info.remoteAddr);
      return HELLO();
    }, { hostname });
    const client = t.using(await RawClient.connect(server));
    await client.request(get("/"));
    const addr = { transport: "tcp" as const, hostname };
    assertEquals(seen, [
      { ...addr, port: client.localPort },
      { ...addr, port: client.localPort },
    ]);
  }
});

testBackends("info.completed resolves once the response is sent", async (t) => {
  const outcomes: string[] = [];
  const server = t.serve((_request, info) => {
    info.completed.then(
      () => outcomes.push("resolved"),
      () => outcomes.push("rejected"),
    );
    return HELLO();
  });
  await assertServes(server);
  await until(() => outcomes.length > 0, "completed");
  assertEquals(outcomes, ["resolved"]);
});

testBackends("info.completed rejects when the peer has left", async (t) => {
  const outcomes: string[] = [];
  const { promise, resolve } = Promise.withResolvers<Response>();
  const server = t.serve((request, info) => {
    request.signal.addEventListener("abort", () => outcomes.push("aborted"));
    info.completed.then(
      () => outcomes.push("resolved"),
      () => outcomes.push("rejected"),
    );
    return promise;
  });
  const socket = t.using(new ResettableSocket(server.addr.port));
  socket.send(latin1(get("/")));
  await until(() => server.statistics().receivedBytes > 0, "the request");
  socket.reset();
  await until(() => outcomes.length === 2, "completed and the signal");
  assertEquals(outcomes.sort(), ["aborted", "rejected"]);
  resolve(HELLO());
  await assertServes({ addr: t.serve(HELLO).addr });
});

testBackends("server.statistics() counts what happened", async (t) => {
  const server = t.serve(HELLO);
  const before = server.statistics();
  await assertServes(server);
  const after = server.statistics();
  assertEquals(after.accepted - before.accepted, 1);
  assert(after.receivedBytes > 0 && after.sentBytes > 0);
  assert(after.polls > before.polls);
  await server.shutdown({ timeout: 1 });
  assertEquals(server.statistics().accepted, 1);
});

testBackends("server.unref() and ref() leave it serving", async (t) => {
  const server = t.serve(HELLO);
  server.unref();
  await assertServes(server);
  server.ref();
  await assertServes(server);
});

testBackends("await using closes a server", async (t) => {
  let finished: Promise<void>;
  let addr: Deno.NetAddr;
  {
    await using server = serve({ ...base(t) }, HELLO);
    finished = server.finished;
    addr = server.addr;
    await assertServes(server);
  }
  await finished;
  await assertRejects(
    () => RawClient.connect({ addr }),
    Deno.errors.ConnectionRefused,
  );
});

testBackends("server.shutdown() twice is one shutdown", async (t) => {
  const server = t.serve(HELLO);
  await assertServes(server);
  const [first, second] = await Promise.all([
    server.shutdown(),
    server.shutdown(),
  ]);
  assertEquals(first, second);
  await server.finished;
  await server[Symbol.asyncDispose]();
});

testBackends("server.shutdown() after an abort reports nothing", async (t) => {
  const controller = new AbortController();
  const server = t.serve(HELLO, { signal: controller.signal });
  controller.abort();
  await server.finished;
  assertEquals(await server.shutdown(), {
    connections: 0,
    requests: 0,
    forced: 0,
  });
  assertInstanceOf(server.finished, Promise);
});
