// SPDX-License-Identifier: Apache-2.0
// Tests of info.completed: one table against Deno.serve and both backends, and what Deno.serve leaves open.

import { assert, assertEquals, assertRejects } from "@std/assert";
import { serve, type ServeHandlerInfo } from "../mod.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  BACKENDS,
  deadline,
  latin1,
  pattern,
  quiet,
  testBackends,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";

const { Interrupted } = Deno.errors;
const MIB = 1024 * 1024;

function streamOf(count: number): ReadableStream<Uint8Array> {
  let left = count;
  return new ReadableStream({
    pull(controller): void {
      if (left-- === 0) controller.close();
      else controller.enqueue(new Uint8Array(1000));
    },
  });
}

interface Row {
  name: string;
  respond: () => Response | Promise<Response>;
  request?: string;
}

// Wherever the client takes the response, both resolve.
const ROWS: Row[] = [
  { name: "text", respond: () => new Response("hello") },
  { name: "bytes", respond: () => new Response(pattern(1000)) },
  { name: "many bytes", respond: () => new Response(pattern(3 * MIB)) },
  { name: "a stream", respond: () => new Response(streamOf(100)) },
  { name: "nothing", respond: () => new Response(null, { status: 204 }) },
  { name: "a promise", respond: () => turn().then(() => new Response("hi")) },
  {
    name: "HEAD",
    respond: () => new Response("hello"),
    request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
  },
  {
    name: "HEAD of a stream",
    respond: () => new Response(streamOf(1)),
    request: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
  },
  {
    name: "the last response of a connection",
    respond: () => new Response("hello"),
    request: get("/", "Connection: close\r\n"),
  },
  {
    name: "an unread upload",
    respond: () => new Response("early"),
    request: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n",
  },
  {
    name: "a handler that throws",
    respond: () => {
      throw new Error("oops");
    },
  },
];

for (const kind of ["Deno.serve", ...BACKENDS] as const) {
  for (const { name, respond, request } of ROWS) {
    Deno.test(`completed resolves after ${name} (${kind})`, async () => {
      let completed!: Promise<void>;
      const handler = (
        _request: Request,
        info: { completed: Promise<void> },
      ): Response | Promise<Response> => {
        completed = info.completed;
        return respond();
      };
      const options = {
        hostname: "127.0.0.1",
        port: 0,
        onListen: quiet,
        onError: () => new Response("oops", { status: 500 }),
      };
      await using server = kind === "Deno.serve"
        ? Deno.serve(options, handler)
        : serve({ ...options, backend: kind }, handler);
      using client = await RawClient.connect(
        { addr: server.addr as Deno.NetAddr },
      );
      await client.request(request ?? get("/"));
      assertEquals(await deadline(completed, "completed"), undefined);
    });
  }
}

/** Whether a promise has settled, and how, as far as is known. */
function watch(promise: Promise<void>): { state: string } {
  const watched = { state: "pending" };
  promise.then(
    () => watched.state = "resolved",
    (error) => watched.state = `rejected ${error.constructor.name}`,
  );
  return watched;
}

const LONG: Record<string, () => Response> = {
  "bytes": () => new Response(pattern(32 * MIB)),
  "a stream": () => new Response(new Blob([pattern(32 * MIB)]).stream()),
};

for (const [name, respond] of Object.entries(LONG)) {
  testBackends(`completed waits while nobody reads ${name}`, async (t) => {
    let watched!: { state: string };
    const server = t.serve((_request, info) => {
      watched = watch(info.completed);
      return respond();
    });
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/"));
    await client.through("\r\n\r\n");
    for (let i = 0; i < 20; i++) await turn();
    assertEquals(watched.state, "pending");
    client.close();
    await until(() => watched.state !== "pending", "the peer's end");
    assertEquals(watched.state, "rejected Interrupted");
  });

  // Deno's documentation promises what Millrace does. When this fails, Deno has come to do it too.
  Deno.test(`completed resolves for ${name} that nobody read (Deno.serve)`, async () => {
    let watched!: { state: string };
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: quiet },
      (_request, info) => {
        watched = watch(info.completed);
        return respond();
      },
    );
    using client = await RawClient.connect(server);
    await client.write(get("/"));
    await client.through("\r\n\r\n");
    client.close();
    await until(() => watched.state !== "pending", "the peer's end");
    assertEquals(watched.state, "resolved");
  });
}

testBackends(
  "completed is what the kernel has, not what was staged",
  async (t) => {
    const watched: { state: string }[] = [];
    const body = pattern(900_000);
    const server = t.serve((_request, info) => {
      watched.push(watch(info.completed));
      return new Response(body);
    }, { highWatermark: 64 * MIB });
    const client = t.using(
      new ResettableSocket(server.addr.port, { receiveBytes: 4096 }),
    );
    client.send(latin1(get("/").repeat(30)));
    await until(() => watched.length === 30, "all requests");
    for (let i = 0; i < 20; i++) await turn();
    const before = watched.map(({ state }) => state);
    assertEquals(before.at(-1), "pending");
    // The first fits the buffers of the kernel.
    assertEquals(before[0], "resolved");
    assertEquals(before.toSorted().reverse(), before);
    client.reset();
    await until(() => watched.at(-1)!.state !== "pending", "the reset");
    for (const [i, { state }] of watched.entries()) {
      assertEquals(
        state,
        before[i] === "resolved" ? "resolved" : "rejected Interrupted",
      );
    }
  },
);

testBackends(
  "completed of pipelined responses resolves for each",
  async (t) => {
    const watched: { state: string }[] = [];
    const server = t.serve((_request, info) => {
      watched.push(watch(info.completed));
      return new Response(pattern(100_000));
    });
    const client = t.using(await RawClient.connect(server));
    await client.write(get("/").repeat(50));
    for (let i = 0; i < 50; i++) await client.response();
    await until(
      () => watched.every(({ state }) => state === "resolved"),
      "all of them",
    );
  },
);

testBackends("completed never resolves for a peer that is gone", async (t) => {
  for (const late of [false, true]) {
    let info!: ServeHandlerInfo;
    let handled = 0;
    const server = t.serve((_request, given) => {
      info = given;
      if (!late) void info.completed;
      handled++;
      return new Response("hello");
    });
    const client = t.using(new ResettableSocket(server.addr.port));
    await until(() => server.statistics().connections === 1, "the connection");
    // Nothing of the server runs in between: it finds request and reset at once.
    client.send(latin1(get("/")));
    client.reset();
    await until(() => server.statistics().connections === 0, "the end");
    assertEquals(handled, 1);
    await assertRejects(() => info.completed, Interrupted);
  }
});

testBackends("completed may be asked for afterwards", async (t) => {
  const infos: ServeHandlerInfo[] = [];
  const server = t.serve((_request, info) => {
    infos.push(info);
    return new Response("hello");
  });
  const client = t.using(await RawClient.connect(server));
  await client.request(get("/"));
  await client.request(get("/"));
  await infos[0]!.completed;
  client.close();
  await until(() => server.statistics().connections === 0, "the end");
  await infos[1]!.completed;
});

testBackends("completed asked for after a loss rejects", async (t) => {
  let info!: ServeHandlerInfo;
  const server = t.serve((_request, given) => {
    info = given;
    return new Response(pattern(30 * MIB));
  }, { highWatermark: 64 * MIB });
  const client = t.using(
    new ResettableSocket(server.addr.port, { receiveBytes: 4096 }),
  );
  client.send(latin1(get("/")));
  await until(() => server.statistics().sentBytes > 0, "the response");
  client.reset();
  await until(() => server.statistics().connections === 0, "the end");
  await assertRejects(() => info.completed, Interrupted, "not sent");
});

testBackends("completed rejects with the stream that fails", async (t) => {
  let completed!: Promise<void>;
  const server = t.serve((_request, info) => {
    completed = info.completed;
    return new Response(
      new ReadableStream({
        pull(controller): void {
          controller.error(new Error("oops"));
        },
      }),
    );
  });
  const client = t.using(await RawClient.connect(server));
  await withoutErrors(async () => {
    await client.write(get("/"));
    await client.ending();
    const error = await assertRejects(() => completed, Interrupted);
    assertEquals((error.cause as Error).message, "oops");
  });
});

testBackends("completed rejects when the server is closed", async (t) => {
  let completed!: Promise<void>;
  const server = t.serve((_request, info) => {
    completed = info.completed;
    return new Response(pattern(30 * MIB));
  });
  const client = t.using(await RawClient.connect(server));
  await client.write(get("/"));
  await client.through("\r\n\r\n");
  const { forced } = await server.shutdown({ timeout: 20 });
  assertEquals(forced, 1);
  await assertRejects(() => completed, Interrupted);
  assert(client.localPort > 0);
});
