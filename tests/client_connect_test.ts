// SPDX-License-Identifier: Apache-2.0
// Tests of how a client connects: to every kind of address, and what it says
// when it cannot.

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  type BackendName,
  connectWebSocket,
  serve,
  websocket,
} from "../mod.ts";
import { layout } from "../ffi/mod.ts";
import { resolveOptions } from "../lib/options.ts";
import { PollLoop } from "../lib/poll_loop.ts";
import { runChild } from "./child.ts";
import { Client } from "./client_testing.ts";
import { MutePort } from "./libc.ts";
import { RawServer } from "./raw_ws_server.ts";
import {
  quiet,
  sleep,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";
import { ECHO, serveRoute } from "./ws_client.ts";

const MODULE = new URL("../mod.ts", import.meta.url).href;

/** A port of 127.0.0.1 at which nobody listens. */
function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

testBackends("a client connects to a name", async (t) => {
  const server = serveRoute(t, ECHO);
  const url = `ws://localhost:${server.addr.port}`;
  const client = new Client(t, url);
  client.socket.opened.then(() => client.socket.send("x"));
  assertEquals(await client.message(), "x");
  assertEquals(client.socket.url, `${url}/`);
  assertEquals(client.socket.remoteAddress, "127.0.0.1");
  assertEquals(client.socket.remotePort, server.addr.port);
  assertEquals(client.socket.remoteAddr, {
    transport: "tcp",
    hostname: "127.0.0.1",
    port: server.addr.port,
  });
});

testBackends("a client connects to an IPv6 address", async (t) => {
  const route = websocket(ECHO);
  const server = t.closing(serve({
    hostname: "::1",
    port: 0,
    backend: t.backend,
    onListen: quiet,
  }, (request) => route.upgrade(request)));
  const { port } = server.addr as Deno.NetAddr;
  const client = new Client(t, `ws://[::1]:${port}/`);
  client.socket.opened.then(() => client.socket.send("x"));
  assertEquals(await client.message(), "x");
});

for (const abstract of [false, true]) {
  const kind = abstract ? "an abstract socket" : "a Unix socket";
  testBackends(`a client connects to ${kind}`, async (t) => {
    const directory = await Deno.makeTempDir();
    const path = abstract
      ? `@millrace-${crypto.randomUUID()}`
      : `${directory}/socket`;
    try {
      const hosts: (string | null)[] = [];
      const route = websocket(ECHO);
      t.closing(serve(
        { path, backend: t.backend, onListen: quiet },
        (request) => {
          hosts.push(request.headers.get("host"));
          return route.upgrade(request);
        },
      ));
      const client = new Client(t, "ws://name:81/", { path });
      assertEquals(client.socket.remoteAddr, null);
      assertEquals(client.socket.remoteAddress, "");
      client.socket.opened.then(() => client.socket.send("x"));
      assertEquals(await client.message(), "x");
      assertEquals(hosts, ["name:81"]);
      assertEquals(client.socket.remoteAddr, { transport: "unix", path });
      assertEquals(client.socket.remoteAddress, "");
      assertEquals(client.socket.remotePort, 0);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}

testBackends("a client says that nobody listens", async (t) => {
  const port = freePort();
  const client = new Client(t, `ws://127.0.0.1:${port}/`);
  const error = await client.failure();
  assertInstanceOf(error, Deno.errors.ConnectionRefused);
  assertEquals(
    error.message,
    `Cannot connect to 127.0.0.1:${port}: nobody accepts connections there (ECONNREFUSED)`,
  );
  await assertRejects(
    () => client.socket.opened,
    Deno.errors.ConnectionRefused,
  );
  assertEquals(client.errors.length, 1);
});

testBackends("a client says that there is no Unix socket", async (t) => {
  for (const path of ["/nowhere/at/all", "@nobody-listens-here"]) {
    const client = new Client(t, "ws://x/", { path });
    const error = await client.failure();
    assertMatch(
      error.message,
      /^Cannot connect to [/@].*: .* \((ENOENT|ECONNREFUSED)\)$/,
    );
  }
});

testBackends("a client says that a name has no address", async (t) => {
  const client = new Client(t, "ws://no-such-name.invalid/");
  const error = await client.failure();
  assertInstanceOf(error, Deno.errors.NotFound);
  assertMatch(
    error.message,
    /^Cannot find the address of no-such-name\.invalid: /,
  );
});

testBackends("a client gives up when nobody answers in time", async (t) => {
  const { port } = t.using(new MutePort());
  const client = new Client(t, `ws://127.0.0.1:${port}/`, {
    connectTimeout: 200,
  });
  const error = await client.failure();
  assertInstanceOf(error, Deno.errors.TimedOut);
  assertEquals(
    error.message,
    `Cannot connect to 127.0.0.1:${port}: timed out (ETIMEDOUT)`,
  );
});

testBackends(
  "a client gives up when the handshake is not answered in time",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url, { handshakeTimeout: 200 });
    const peer = await server.accept();
    // A byte now and then does not put it off.
    const writing = (async (): Promise<void> => {
      for (const byte of "HTTP/1.1 101 Switching Protocols".repeat(20)) {
        await peer.raw.write(byte);
        await sleep(20);
      }
    })().catch(() => {});
    const error = await client.failure();
    assertInstanceOf(error, Deno.errors.TimedOut);
    assertEquals(
      error.message,
      `Cannot open the WebSocket ${server.url}: timed out (ETIMEDOUT)`,
    );
    peer.raw.close();
    await writing;
  },
);

testBackends(
  "a client that is closed while it connects is told nothing",
  async (t) => {
    const { port } = t.using(new MutePort());
    const end = (client: Client, how: string): void => {
      if (how === "close") client.socket.close();
      else client.socket.terminate();
    };
    for (const how of ["close", "terminate"]) {
      // At once, during the look-up, and while connecting.
      for (const host of ["127.0.0.1", "localhost"]) {
        for (const later of [false, true]) {
          const client = new Client(t, `ws://${host}:${port}/`);
          const { socket } = client;
          const opened = assertRejects(() => socket.opened, DOMException);
          if (later) await sleep(10);
          end(client, how);
          await socket.finished;
          await opened;
          assertEquals(socket.readyState, 3);
          assertEquals([client.errors, client.closes], [[], []]);
        }
      }
    }
  },
);

testBackends(
  "a client that is closed during the handshake is told nothing",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url);
    const peer = await server.accept();
    await peer.head();
    assertEquals(client.socket.readyState, 0);
    client.socket.close();
    assertEquals(client.socket.readyState, 2);
    await client.socket.finished;
    client.socket.close();
    assertEquals(client.socket.readyState, 3);
    assertEquals([client.errors, client.closes], [[], []]);
    assert((await peer.raw.ending()).reset);
  },
);

testBackends("a signal ends a client, whatever it does", async (t) => {
  const reason = new Error("enough");
  const { port: connecting } = t.using(new MutePort());
  const silent = t.using(new RawServer());
  const server = serveRoute(t, ECHO);
  for (const port of [connecting, silent.port, server.addr.port]) {
    const controller = new AbortController();
    const client = new Client(t, `ws://127.0.0.1:${port}/`, {
      signal: controller.signal,
      reconnect: true,
    });
    const { socket } = client;
    if (port === server.addr.port) await socket.opened;
    else await sleep(10);
    controller.abort(reason);
    await socket.finished;
    assertEquals(client.errors, []);
    if (port === server.addr.port) {
      assertEquals(client.closes, [{ code: 1006, reason: "" }]);
    } else {
      assertEquals(await socket.opened.catch((error) => error), reason);
    }
  }
  const { signal } = ((): AbortController => {
    const controller = new AbortController();
    controller.abort(reason);
    return controller;
  })();
  assertThrows(
    () => connectWebSocket("ws://x/", {}, { signal }),
    Error,
    "enough",
  );
});

testBackends("a failure that nobody asks for is logged", async (t) => {
  const port = freePort();
  const { backend } = t;
  const logged = await withoutErrors(async () => {
    const url = `ws://127.0.0.1:${port}/`;
    await connectWebSocket(url, {}, { backend }).finished;
    const asked = connectWebSocket(url, {}, { backend });
    await asked.opened.catch(() => {});
  });
  assertEquals(logged.length, 1);
  assertMatch(String(logged[0]![1]), /ECONNREFUSED/);
});

testBackends(
  "messages before the client is open are dropped, and counted",
  async (t) => {
    const server = t.using(new RawServer());
    const client = new Client(t, server.url);
    const { socket } = client;
    assertEquals(socket.send("x"), "dropped");
    assertEquals(socket.sendBinary(new Uint8Array(1)), "dropped");
    assertEquals(socket.sendFragment("x", true), "dropped");
    assertEquals(socket.ping(), "dropped");
    assertEquals(socket.bufferedAmount, 0);
    socket.pause();
    socket.resume();
    const peer = await server.open();
    await socket.opened;
    socket.send("first");
    assertEquals(
      new TextDecoder().decode((await peer.frame()).payload),
      "first",
    );
    assertEquals(socket.statistics(), {
      receivedMessages: 0,
      receivedBytes: 0,
      sentMessages: 1,
      sentBytes: 5,
      droppedMessages: 3,
    });
  },
);

testBackends(
  "what the application does to the address does not lead a client elsewhere",
  async (t) => {
    const directory = await Deno.makeTempDir();
    const path = `${directory}/socket`;
    try {
      const route = websocket({
        message: (socket) => socket.close(1001),
      });
      t.closing(serve(
        { path, backend: t.backend, onListen: quiet },
        (request) => route.upgrade(request),
      ));
      let opens = 0;
      const client = new Client(t, "ws://x/", {
        path,
        reconnect: { minDelay: 1, maxDelay: 5 },
      }, {
        open(socket): void {
          opens++;
          (socket.remoteAddr as Deno.UnixAddr).path = "/nowhere";
          if (opens === 1) socket.send("x");
        },
      });
      await until(() => opens === 2, "the second open");
      assertEquals(client.errors, []);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  },
);

testBackends(
  "a slot is free once the end of its connection has been told",
  async (t) => {
    const { port } = t.using(new RawServer());
    const loop = new PollLoop(
      resolveOptions({ backend: t.backend, maxConnections: 1 }),
      () => {
        throw new Error("There is no listener");
      },
    );
    const told: [port: number, kind: number][] = [];
    const begin = (port: number, then: () => void): void => {
      const address = { host: "127.0.0.1", source: "", port, timeout: 0 };
      loop.connect({ ...address, unix: false, response: false }, (handle) => ({
        handle,
        receive(index): void {
          told.push([port, loop.reactor.inbox.kind(index)]);
          then();
        },
        drain: quiet,
        lost: quiet,
      }));
    };
    const nobody = freePort();
    let refused: unknown;
    begin(nobody, () => {
      try {
        begin(port, quiet);
      } catch (error) {
        refused = error;
      }
    });
    await until(() => told.length === 1, "the end of the first");
    assertStringIncludes(`${refused}`, "EDQUOT");
    await turn();
    begin(port, quiet);
    await until(() => told.length === 2, "both ends");
    assertEquals(told, [[nobody, layout.CLOSED], [port, layout.CONNECTED]]);
    await loop.close();
  },
);

testBackends("a thousand clients are open at a time", async (t) => {
  const server = serveRoute(t, ECHO);
  const url = `ws://127.0.0.1:${server.addr.port}/`;
  const clients = Array.from({ length: 1000 }, () => new Client(t, url));
  await Promise.all(clients.map(({ socket }) => socket.opened));
  assertEquals(server.statistics().connections, 1000);
  clients.forEach(({ socket }, at) => socket.send(`${at}`));
  for (const [at, client] of clients.entries()) {
    assertEquals(await client.message(), `${at}`);
  }
  for (const { socket } of clients) socket.close();
  await Promise.all(clients.map(({ socket }) => socket.finished));
  await until(() => server.statistics().connections === 0, "the ends");
  for (const { closes } of clients) assertEquals(closes.length, 1);
});

Deno.test("a client needs the permission to connect", async () => {
  const result = await runChild(
    `
    const { connectWebSocket } = await import(${JSON.stringify(MODULE)});
    for (const options of [{}, { path: "/tmp/x" }]) {
      try {
        connectWebSocket("ws://127.0.0.1:1/", {}, options);
      } catch (error) {
        console.log(error.name + ": " + error.message);
      }
    }`,
    { backend: "epoll", flags: [] },
  );
  assertEquals(result.out.trim().split("\n"), [
    'NotCapable: Requires net access to "127.0.0.1:1", run again with the --allow-net flag',
    'NotCapable: Requires read access to "/tmp/x", run again with the --allow-read flag',
  ]);
});

/** Runs a program in which `lookup` of node:dns is the one that is given. */
async function runWithLookup(
  lookup: string,
  body: string,
  backend: BackendName,
  permissions: string[] = ["-A"],
): Promise<string[]> {
  const source =
    `export function lookup(hostname, options, tell) { ${lookup} }`;
  const config = new URL("../deno.json", import.meta.url);
  const { imports } = JSON.parse(await Deno.readTextFile(config));
  imports["node:dns"] = `data:text/javascript,${encodeURIComponent(source)}`;
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(file, JSON.stringify({ imports }));
    const result = await runChild(
      `import { connectWebSocket } from ${JSON.stringify(MODULE)};\n${body}`,
      { backend, flags: ["--import-map", file, ...permissions] },
    );
    assertEquals([result.code, result.err], [0, ""]);
    return result.out.trim().split("\n");
  } finally {
    await Deno.remove(file);
  }
}

testBackends("the time to connect is that of the look-up too", async (t) => {
  const lines = await runWithLookup(
    "",
    `connectWebSocket("ws://name/", {
      error: (_, error) => console.log(String(error)),
    }, { backend, connectTimeout: 50 });`,
    t.backend,
  );
  assertEquals(lines, [
    "TimedOut: Cannot connect to name:80: timed out (ETIMEDOUT)",
  ]);
});

testBackends("a name that is allowed can be looked up", async (t) => {
  const server = serveRoute(t, ECHO);
  const { port } = server.addr;
  const result = await runChild(
    `
    const { connectWebSocket } = await import(${JSON.stringify(MODULE)});
    connectWebSocket("ws://localhost:${port}/", {
      open(socket) {
        console.log("open");
        socket.close();
      },
    }, { backend });`,
    {
      backend: t.backend,
      flags: [`--allow-net=localhost:${port}`, "--allow-ffi", "--allow-read"],
    },
  );
  assertEquals([result.err, result.out], ["", "open\n"]);
});

testBackends("a client tries all addresses of a name", async (t) => {
  const server = serveRoute(t, ECHO);
  const lines = await runWithLookup(
    `tell(null, ["127.0.0.2", "127.0.0.1"].map((address) => ({ address })));`,
    `const socket = connectWebSocket("ws://name:${server.addr.port}/", {
      open(socket) {
        console.log(socket.remoteAddr.hostname);
        socket.close();
      },
    }, { backend });
    await socket.finished;
    connectWebSocket("ws://name:${freePort()}/", {
      error: (_, error) => console.log(String(error).replaceAll(/\\d{4,}/g, "")),
    }, { backend });`,
    t.backend,
  );
  assertEquals(lines, [
    "127.0.0.1",
    "ConnectionRefused: Cannot connect to name: (127.0.0.1): nobody accepts connections there (ECONNREFUSED)",
  ]);
});

testBackends("an address that is denied is not connected to", async (t) => {
  const server = serveRoute(t, ECHO);
  const { port } = server.addr;
  const body = `connectWebSocket("ws://name:${port}/", {
    open(socket) {
      console.log("open");
      socket.close();
    },
    error: (_, error) => console.log(String(error)),
  }, { backend, reconnect: true });`;
  const run = (...permissions: string[]): Promise<string[]> =>
    runWithLookup(`tell(null, [{ address: "127.0.0.1" }]);`, body, t.backend, [
      "--allow-ffi",
      "--allow-read",
      ...permissions,
    ]);
  assertEquals(await run("--allow-net", "--deny-net=127.0.0.1"), [
    `NotCapable: Requires net access to "127.0.0.1:${port}", run again with the --allow-net flag`,
  ]);
  // As with Deno, it is the name that has to be allowed.
  assertEquals(await run(`--allow-net=name:${port}`), ["open"]);
});

testBackends("a client asks again when it connects again", async (t) => {
  const route = websocket({ open: (socket) => socket.close(1001) });
  const server = t.serve((request) => route.upgrade(request));
  const { port } = server.addr;
  const result = await runChild(
    `
    const { connectWebSocket } = await import(${JSON.stringify(MODULE)});
    connectWebSocket("ws://127.0.0.1:${port}/", {
      close() {
        console.log("close");
        Deno.permissions.revokeSync({ name: "net" });
      },
      error: (_, error) => console.log(String(error)),
    }, { backend, reconnect: { minDelay: 1, maxDelay: 5 } });`,
    {
      backend: t.backend,
      flags: ["--allow-net", "--allow-ffi", "--allow-read"],
    },
  );
  assertEquals(result.out.trim().split("\n"), [
    "close",
    `NotCapable: Requires net access to "127.0.0.1:${port}", run again with the --allow-net flag`,
  ]);
});

testBackends(
  "clients keep the process alive until the last one is closed",
  async (t) => {
    const server = serveRoute(t, ECHO);
    const result = await runChild(
      `
    const { connectWebSocket } = await import(${JSON.stringify(MODULE)});
    const url = "ws://127.0.0.1:${server.addr.port}/";
    let left = 3;
    for (let i = 0; i < left; i++) {
      connectWebSocket(url, {
        open: (socket) => void socket.send("x"),
        message(socket) { setTimeout(() => socket.close(), 50 * i); },
        close() { if (--left === 0) console.log("all closed"); },
      }, { backend: "${t.backend}" });
    }`,
      { backend: t.backend, flags: ["-A"] },
    );
    assertEquals([result.code, result.out.trim()], [0, "all closed"]);
  },
);
