// SPDX-License-Identifier: Apache-2.0
// Tests of the server that serve() returns against that of Deno.serve: forms,
// options, addresses, and what handlers learn of clients and of the end.

import { assertEquals, assertNotEquals } from "@std/assert";
import { type BackendName, serve } from "../mod.ts";
import { INTENDED_SERVERS } from "./differential_intended_servers.ts";
import { get, hello, outcome, streamOf } from "./differential_rows.ts";
import { Wire } from "./differential_wire.ts";
import {
  BACKENDS,
  deadline,
  fromLatin1,
  quiet,
  until,
  withoutErrors,
} from "./testing.ts";

type Serve = typeof Deno.serve;
type Options = Deno.ServeTcpOptions;
type Address = { hostname: string; port: number } | { path: string };

const TCP = { hostname: "127.0.0.1", port: 0, onListen: quiet };

/** What is done with a server, and what is seen of it, by name. */
const CASES: Record<string, (serve: Serve) => Promise<unknown>> = {
  async "options and a handler"(serve): Promise<unknown> {
    await using server = serve(TCP, hello);
    return await ask(server.addr);
  },

  async "options with a handler"(serve): Promise<unknown> {
    await using server = serve({ ...TCP, handler: hello });
    return await ask(server.addr);
  },

  async "options with a handler, and another one"(serve): Promise<unknown> {
    const other = (): Response => new Response("other");
    const options = { ...TCP, handler: hello };
    await using server = serve(options as Options, other);
    return await ask(server.addr);
  },

  "no handler": (serve) => thrown(() => serve(TCP as never)),

  "no options": (serve) => thrown(() => serve(undefined as never)),

  "a handler that is no function": (serve) =>
    thrown(() => serve(TCP, "hello" as never)),

  async "addr and onListen"(serve): Promise<unknown> {
    const heard: unknown[] = [];
    const onListen = (addr: Deno.NetAddr): void => void heard.push(addr);
    await using server = serve({ ...TCP, onListen }, hello);
    const { port, ...rest } = server.addr;
    const [first] = heard as Deno.NetAddr[];
    return [heard.length, rest, port > 0, first!.port === port, keysOf(first!)];
  },

  async "onListen that throws"(serve): Promise<unknown> {
    const onListen = (): void => {
      throw new Error("not now");
    };
    return await outcome(async () => {
      const server = serve({ ...TCP, onListen }, hello);
      await server.shutdown();
    });
  },

  async "hostname localhost"(serve): Promise<unknown> {
    await using server = serve({ ...TCP, hostname: "localhost" }, hello);
    return [server.addr.hostname, await ask(server.addr)];
  },

  async "hostname 0.0.0.0"(serve): Promise<unknown> {
    await using server = serve({ ...TCP, hostname: "0.0.0.0" }, hello);
    const { port } = server.addr;
    return [server.addr.hostname, await ask({ hostname: "127.0.0.1", port })];
  },

  async "hostname ::1"(serve): Promise<unknown> {
    await using server = serve({ ...TCP, hostname: "::1" }, (_, info) => {
      const { transport, hostname } = info.remoteAddr;
      return Response.json([transport, hostname]);
    });
    return [server.addr.hostname, await ask(server.addr)];
  },

  async "no hostname"(serve): Promise<unknown> {
    await using server = serve({ port: 0, onListen: quiet }, hello);
    return server.addr.hostname;
  },

  "a hostname that is none": (serve) =>
    thrown(() => serve({ ...TCP, hostname: "300.1.1.1" }, hello)),

  "port 65536": (serve) => thrown(() => serve({ ...TCP, port: 65536 }, hello)),

  "port -1": (serve) => thrown(() => serve({ ...TCP, port: -1 }, hello)),

  async "a port that is taken"(serve): Promise<unknown> {
    await using server = serve(TCP, hello);
    const { port } = server.addr;
    return await thrown(() => serve({ ...TCP, port }, hello));
  },

  async "a port that is free again"(serve): Promise<unknown> {
    const one = serve(TCP, hello);
    const { port } = one.addr;
    await ask(one.addr);
    await one.shutdown();
    await using two = serve({ ...TCP, port }, hello);
    return await ask(two.addr);
  },

  async "a Unix socket"(serve): Promise<unknown> {
    const directory = await Deno.makeTempDir();
    const path = `${directory}/socket`;
    const heard: unknown[] = [];
    const onListen = (addr: Deno.UnixAddr): void => void heard.push(addr);
    const server = serve(
      { path, onListen },
      (request, info) => Response.json([request.url, info.remoteAddr]),
    );
    heard.push(server.addr);
    for (const host of ["test", "a.1", ""]) {
      heard.push(await ask({ path }, host));
    }
    await server.shutdown();
    heard.push([...Deno.readDirSync(directory)].length);
    await Deno.remove(directory, { recursive: true });
    const name = directory.slice(directory.lastIndexOf("/") + 1);
    return JSON.stringify(heard).replaceAll(name, "NAME");
  },

  async "ref and unref"(serve): Promise<unknown> {
    await using server = serve(TCP, hello);
    return [server.unref() ?? null, server.ref() ?? null];
  },

  async "finished"(serve): Promise<unknown> {
    const server = serve(TCP, hello);
    const order: string[] = [];
    const finished = server.finished.then((value) => {
      order.push(`finished ${value}`);
    });
    await ask(server.addr);
    order.push("answered");
    await server.shutdown();
    await finished;
    return order;
  },

  async "shutdown twice"(serve): Promise<unknown> {
    const server = serve(TCP, hello);
    await Promise.all([server.shutdown(), server.shutdown()]);
    await server.shutdown();
    return await thrown(() => dial(server.addr));
  },

  async "asyncDispose"(serve): Promise<unknown> {
    const server = serve(TCP, hello);
    await server[Symbol.asyncDispose]();
    return await thrown(() => dial(server.addr));
  },

  async "shutdown with an idle connection"(serve): Promise<unknown> {
    const server = serve(TCP, hello);
    const client = await connect(server.addr);
    await client.write(get());
    await client.through("hello");
    await server.shutdown();
    const rest = fromLatin1(await client.atMost(Infinity));
    client.close();
    return rest;
  },

  async "shutdown with a request in flight"(serve): Promise<unknown> {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const server = serve(TCP, async () => {
      begun.resolve();
      await gate.promise;
      return hello();
    });
    const client = await connect(server.addr);
    await client.write(get());
    await begun.promise;
    const shutdown = server.shutdown();
    gate.resolve();
    const head = await client.through("\r\n\r\n");
    const body = fromLatin1(await client.atMost(Infinity));
    client.close();
    await shutdown;
    return [body, /^connection: .*$/m.exec(head!)?.[0].trim() ?? null];
  },

  async "shutdown with a stream in flight"(serve): Promise<unknown> {
    const server = serve(TCP, () => new Response(streamOf("one", "two")));
    const client = await connect(server.addr);
    await client.write(get());
    await client.through("one");
    await server.shutdown();
    const rest = fromLatin1(await client.atMost(Infinity));
    client.close();
    return rest.endsWith("0\r\n\r\n");
  },

  async "signal"(serve): Promise<unknown> {
    const stop = new AbortController();
    const begun = Promise.withResolvers<void>();
    const server = serve({ ...TCP, signal: stop.signal }, async (request) => {
      begun.resolve();
      await aborted(request.signal);
      return hello();
    });
    const client = await connect(server.addr);
    await client.write(get());
    await begun.promise;
    stop.abort();
    await server.finished;
    const rest = fromLatin1(await client.atMost(Infinity));
    client.close();
    return [rest, await thrown(() => dial(server.addr))];
  },

  "signal that has aborted before": (serve) =>
    outcome(async () => {
      await using server = serve(
        { ...TCP, signal: AbortSignal.abort() },
        hello,
      );
      return await ask(server.addr);
    }),

  async "signal, when nothing is open"(serve): Promise<unknown> {
    const stop = new AbortController();
    const server = serve({ ...TCP, signal: stop.signal }, hello);
    stop.abort();
    await server.finished;
    await server.shutdown();
    return await thrown(() => dial(server.addr));
  },

  async "a client that leaves before the answer"(serve): Promise<unknown> {
    const seen: unknown[] = [];
    await using server = serve(TCP, async ({ signal }) => {
      seen.push(signal.aborted);
      await aborted(signal);
      seen.push(signal.aborted, (signal.reason as Error).name);
      return hello();
    });
    const client = await connect(server.addr);
    await client.write(get());
    await until(() => seen.length === 1, "the handler");
    client.close();
    await until(() => seen.length === 3, "the end");
    return seen;
  },

  async "a client that leaves inside a stream"(serve): Promise<unknown> {
    const seen: string[] = [];
    await using server = serve(TCP, (request) => {
      request.signal.addEventListener("abort", () => seen.push("aborted"));
      const body = new ReadableStream<Uint8Array>({
        start: (controller): void => controller.enqueue(new Uint8Array(1)),
        cancel: (): void => void seen.push("cancelled"),
      });
      return new Response(body);
    });
    const client = await connect(server.addr);
    await client.write(get());
    await client.through("\0");
    client.close();
    await until(() => seen.length === 2, "the end");
    return seen.sort();
  },

  async "a client that leaves inside its body"(serve): Promise<unknown> {
    const seen: unknown[] = [];
    await using server = serve(TCP, async (request) => {
      const read = request.text();
      seen.push("begun");
      seen.push(
        await read.then(() => "read", (error) => error instanceof Error),
      );
      return hello();
    });
    const head = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n";
    const client = await connect(server.addr);
    await client.write(head + "body");
    await until(() => seen.length === 1, "the handler");
    client.close();
    await until(() => seen.length === 2, "the end");
    return seen;
  },

  async "a client that stays"(serve): Promise<unknown> {
    const seen: unknown[] = [];
    await using server = serve(TCP, (_request, info) => {
      info.completed.then((value) => seen.push(value ?? null), quiet);
      return hello();
    });
    await ask(server.addr);
    await until(() => seen.length === 1, "completed");
    return seen;
  },
};

function serveWith(backend: BackendName): Serve {
  const wrapped = (first: unknown, second: unknown): unknown =>
    serve(
      (typeof first === "object" ? { ...first, backend } : first) as never,
      second as never,
    );
  return wrapped as Serve;
}

function dial(addr: Address): Promise<Deno.Conn> {
  if ("path" in addr) {
    return Deno.connect({ transport: "unix", path: addr.path });
  }
  const { hostname, port } = addr;
  return Deno.connect({ hostname, port });
}

async function connect(addr: Address): Promise<Wire> {
  return new Wire(await dial(addr));
}

/** The body of the answer to a GET. */
async function ask(addr: Address, host: string = "test"): Promise<string> {
  const client = await connect(addr);
  await client.write(
    `GET /a HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
  );
  await client.through("\r\n\r\n");
  const body = fromLatin1(await client.atMost(Infinity));
  client.close();
  return body;
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
}

/** The class of what an action throws; the words are each server's own. */
async function thrown(action: () => unknown): Promise<string> {
  try {
    await action();
    return "nothing";
  } catch (error) {
    return (error as Error).constructor.name;
  }
}

function keysOf(object: object): string[] {
  return Object.keys(object).sort();
}

async function seen(name: string, serve: Serve): Promise<unknown> {
  let value: unknown;
  await withoutErrors(async () => {
    value = await deadline(CASES[name]!(serve), name);
  });
  return value;
}

for (const name of Object.keys(CASES)) {
  const differs = INTENDED_SERVERS.find((known) => known.name === name);
  for (const backend of BACKENDS) {
    Deno.test(`server as of Deno.serve: ${name} (${backend})`, async () => {
      const deno = await seen(name, Deno.serve);
      const millrace = await seen(name, serveWith(backend));
      if (differs === undefined) {
        assertEquals(millrace, deno);
      } else {
        const known = { deno: differs.deno, millrace: differs.millrace };
        assertEquals({ deno, millrace }, known, differs.why);
        assertNotEquals(millrace, deno, differs.why);
      }
    });
  }
}

Deno.test("server as of Deno.serve: what is said to differ is among the cases", () => {
  const known = INTENDED_SERVERS.map(({ name }) => name);
  assertEquals(known.filter((name) => !Object.hasOwn(CASES, name)), []);
  assertEquals(known.length, new Set(known).size);
});
