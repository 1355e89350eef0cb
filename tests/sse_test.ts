// SPDX-License-Identifier: Apache-2.0
// Tests of server-sent events: what goes out, and what the producer learns of
// its client.

import {
  assert,
  assertEquals,
  assertIsError,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { sse, type SseEvent, type SseStream } from "../lib/sse.ts";
import { Example } from "./example.ts";
import { ResettableSocket } from "./libc.ts";
import { get, RawClient } from "./raw_client.ts";
import {
  deadline,
  fromLatin1,
  latin1,
  settled,
  testBackends,
  until,
  withoutErrors,
} from "./testing.ts";

const REQUEST = new Request("http://test/");

/** An event as a client dispatches it. */
interface Dispatched {
  type: string;
  data: string;
  lastEventId: string;
}

/** What a client makes of a stream: the rules of the HTML standard, 9.2.6. */
class Parser {
  readonly events: Dispatched[] = [];
  readonly comments: string[] = [];
  retry: number | null = null;
  #rest = "";
  #id = "";
  #type = "";
  #data = "";

  feed(text: string): void {
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop()!;
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return void this.comments.push(line.slice(1));
    const [, name, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line)!;
    if (name === "event") this.#type = value;
    if (name === "data") this.#data += `${value}\n`;
    if (name === "id" && !value.includes("\0")) this.#id = value;
    if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  #dispatch(): void {
    if (this.#data !== "") {
      this.events.push({
        type: this.#type || "message",
        data: this.#data.slice(0, -1),
        lastEventId: this.#id,
      });
    }
    this.#type = this.#data = "";
  }
}

function parse(text: string): Parser {
  const parser = new Parser();
  parser.feed(text);
  return parser;
}

/** What a client gets of these events. */
async function transmit(...events: SseEvent[]): Promise<string> {
  return await sse(REQUEST, async (stream) => {
    for (const event of events) await stream.send(event);
  }).text();
}

/** A client that has sent its request. */
async function connect(
  to: { addr: Deno.NetAddr },
  fields: string = "",
): Promise<RawClient> {
  const client = await RawClient.connect(to);
  await client.write(get("/", fields));
  return client;
}

/** A producer that has nothing to say, and what becomes of it. */
class Quiet {
  readonly started = Promise.withResolvers<SseStream>();
  readonly ended = Promise.withResolvers<unknown>();

  readonly produce = async (stream: SseStream): Promise<void> => {
    this.started.resolve(stream);
    await stream.closed;
    this.ended.resolve(stream.signal.reason);
  };
}

testBackends("an event stream has its fields and its events", async (t) => {
  const server = t.serve((request) =>
    sse(request, async (stream) => {
      await stream.send({ comment: "welcome" });
      await stream.send({
        event: "move",
        data: "a\nb",
        id: 7,
        retry: 1500,
        comment: "to\nall",
      });
      await stream.send({ data: "plain ü 🦕" });
      await stream.send({ id: "", data: "" });
    }, { headers: { "x-accel-buffering": "no" } })
  );
  const client = t.using(await connect(server));
  const response = await client.response();
  assertEquals(response.status, 200);
  assertEquals(response.field("content-type"), "text/event-stream");
  assertEquals(response.field("cache-control"), "no-store");
  assertEquals(response.field("x-accel-buffering"), "no");
  const { events, comments, retry } = parse(response.text);
  assertEquals(comments, ["welcome", "to", "all"]);
  assertEquals(retry, 1500);
  assertEquals(events, [
    { type: "move", data: "a\nb", lastEventId: "7" },
    { type: "message", data: "plain ü 🦕", lastEventId: "7" },
    { type: "message", data: "", lastEventId: "" },
  ]);
  // The stream was whole: the connection goes on.
  assertEquals((await client.request(get("/"))).status, 200);
});

Deno.test("all kinds of line breaks and leading spaces survive", async () => {
  const data = " a\n  b\r\nc\r d\n\n e \u2028 f\n";
  const { events } = parse(
    await transmit({ data, event: " type", id: "  id " }),
  );
  assertEquals(events, [{
    type: " type",
    data: data.replaceAll(/\r\n|\r/g, "\n"),
    lastEventId: "  id ",
  }]);
});

Deno.test("nothing in an event breaks out of it", async () => {
  const data = "x\n\nevent: evil\rdata: y\r\n\r\nid: 1";
  const { events } = parse(await transmit({ data, comment: "\n\ndata: z" }));
  assertEquals(events, [{
    type: "message",
    data: data.replaceAll(/\r\n|\r/g, "\n"),
    lastEventId: "",
  }]);
});

Deno.test("an event that cannot be expressed leaves the stream whole", async () => {
  const bad: [SseEvent, string][] = [
    [{}, "it has no field"],
    [{ event: "a\nb" }, '"event" must have no line break, is "a\\nb"'],
    [{ id: "a\r" }, '"id" must have no line break and no NUL'],
    [{ id: "a\0" }, '"id" must have no line break and no NUL'],
    [{ retry: 1.5 }, '"retry" must be an integer of at least 0, is 1.5'],
    [{ retry: -1 }, '"retry"'],
    [{ retry: 1e21 }, '"retry"'],
    [{ data: 5 as unknown as string }, '"data" must be a string, is 5'],
    [{ comment: null as unknown as string }, '"comment" must be a string'],
  ];
  const response = sse(REQUEST, async (stream) => {
    for (const [event, message] of bad) {
      await assertRejects(() => stream.send(event), TypeError, message);
    }
    await stream.send({ data: "good" });
  });
  assertEquals(parse(await response.text()).events.length, 1);
});

Deno.test("options out of range throw", () => {
  const never = (): Promise<void> => Promise.reject(new Error("never called"));
  for (const heartbeat of [-1, 0.5, NaN, 2 ** 31]) {
    assertThrows(
      () => sse(REQUEST, never, { heartbeat }),
      RangeError,
      'Cannot make an event stream: "heartbeat" must be an integer',
    );
  }
  assertThrows(() => sse(REQUEST, never, { retry: -1 }), RangeError, "retry");
  assertThrows(
    () => sse(REQUEST, never, { heartBeat: 1 } as never),
    TypeError,
    'Cannot make an event stream: unknown option "heartBeat"',
  );
  assertThrows(
    () => sse(REQUEST, undefined as never),
    TypeError,
    "a function that sends the events must be given",
  );
});

Deno.test("the application's cache-control stays, its content-type does not", () => {
  const { headers } = sse(REQUEST, () => Promise.resolve(), {
    headers: { "cache-control": "no-cache", "content-type": "text/plain" },
  });
  assertEquals(headers.get("cache-control"), "no-cache");
  assertEquals(headers.get("content-type"), "text/event-stream");
});

testBackends("Last-Event-ID arrives as it was sent out", async (t) => {
  const server = t.serve((request) =>
    sse(request, async (stream) => {
      await stream.send({ data: JSON.stringify(stream.lastEventId) });
    }, { retry: 250 })
  );
  const client = t.using(await RawClient.connect(server));
  for (const id of [null, "42", "grün 🦕"]) {
    const bytes = id === null ? "" : fromLatin1(new TextEncoder().encode(id));
    const fields = id === null ? "" : `Last-Event-ID: ${bytes}\r\n`;
    const { text } = await client.request(get("/", fields));
    const { events, retry } = parse(text);
    assertEquals(JSON.parse(events[0]!.data), id);
    assertEquals(retry, 250);
  }
});

testBackends("a silent stream has heartbeats between events", async (t) => {
  const quiet = new Quiet();
  const server = t.serve((request) =>
    sse(request, quiet.produce, { heartbeat: 5 })
  );
  const client = t.using(await connect(server));
  const stream = await quiet.started.promise;
  for (let i = 0; i < 3; i++) await client.through("\r\n:\n\n\r\n");
  await stream.send({ data: "x" });
  await client.through("data:x\n\n\r\n");
  for (let i = 0; i < 3; i++) await client.through("\r\n:\n\n\r\n");
  stream.close();
  await client.through("0\r\n\r\n");
});

Deno.test("no timer is left by streams of any fate", async () => {
  const options = { heartbeat: 60_000 };
  // Never read; read to the end; cancelled before and in the middle; failed.
  sse(REQUEST, () => Promise.resolve(), options);
  await sse(REQUEST, () => Promise.resolve(), options).text();
  await sse(REQUEST, () => Promise.resolve(), options).body!.cancel();
  const quiet = new Quiet();
  const reader = sse(REQUEST, quiet.produce, options).body!.getReader();
  const read = reader.read();
  const stream = await quiet.started.promise;
  await stream.send({ data: "x" });
  await read;
  await reader.cancel("left");
  assertEquals(await quiet.ended.promise, "left");
  await assertRejects(
    () => sse(REQUEST, () => Promise.reject(new Error("oops")), options).text(),
    Error,
    "oops",
  );
});

for (const way of ["FIN", "RST"] as const) {
  testBackends(
    `a client that leaves by ${way} ends its producer`,
    async (t) => {
      const quiet = new Quiet();
      const aborted = Promise.withResolvers<void>();
      const server = t.serve((request) =>
        sse(request, (stream) => {
          stream.signal.addEventListener("abort", () => aborted.resolve());
          return quiet.produce(stream);
        })
      );
      const socket = t.using(new ResettableSocket(server.addr.port));
      socket.send(latin1(get("/")));
      const stream = await quiet.started.promise;
      await stream.send({ data: "here" });
      if (way === "RST") socket.reset();
      else socket[Symbol.dispose]();
      await aborted.promise;
      const reason = await quiet.ended.promise;
      assertIsError(reason, DOMException, "The peer has disconnected");
      await assertRejects(
        () => stream.send({ data: "gone" }),
        DOMException,
      );
      // Not looked at, this is no unhandled rejection either.
      void stream.send({ data: "gone" });
      stream.close();
      assertEquals(stream.pending, 0);
    },
  );
}

testBackends(
  "a client that left before the answer has no producer",
  async (t) => {
    const left = Promise.withResolvers<void>();
    let produced = false;
    const server = t.serve(async (request) => {
      request.signal.addEventListener("abort", () => left.resolve());
      await left.promise;
      return sse(request, () => {
        produced = true;
        return Promise.resolve();
      });
    });
    const client = t.using(await connect(server));
    await client.closeWrite();
    await client.ending();
    await until(() => server.statistics().connections === 0, "the end");
    assertEquals(produced, false);
  },
);

testBackends("HEAD gets the fields, and no producer is called", async (t) => {
  let produced = false;
  const server = t.serve((request) =>
    sse(request, () => {
      produced = true;
      return Promise.resolve();
    })
  );
  const client = t.using(await RawClient.connect(server));
  const head = "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n";
  for (let i = 0; i < 2; i++) {
    const response = await client.request(head);
    assertEquals(response.field("content-type"), "text/event-stream");
  }
  assertEquals(produced, false);
});

const EVENT = "x".repeat(16 * 1024);

testBackends("a client that reads nothing holds its producer", async (t) => {
  const COUNT = 4000;
  let sent = 0;
  let held: SseStream | null = null;
  const server = t.serve((request) =>
    sse(request, async (stream) => {
      held = stream;
      for (; sent < COUNT; sent++) await stream.send({ data: EVENT, id: sent });
    }), { highWatermark: 65536, lowWatermark: 16384 });
  const client = t.using(await connect(server));
  await until(() => sent > 0, "the first event");
  const before = await settled(() => sent);
  assert(before < COUNT, `${before} events were taken`);
  assertEquals(held!.pending, 1);
  const { text } = await client.response();
  const { events } = parse(text);
  assertEquals(events.length, COUNT);
  assertEquals(events.at(-1)!.lastEventId, String(COUNT - 1));
  assert(events.every(({ data }) => data === EVENT));
});

testBackends("a producer that is held learns of the RST", async (t) => {
  const ended = Promise.withResolvers<unknown>();
  let sent = 0;
  const server = t.serve((request) =>
    sse(request, async (stream) => {
      try {
        for (;; sent++) await stream.send({ data: EVENT });
      } catch (error) {
        ended.resolve(error);
        throw error;
      }
    }), { highWatermark: 65536, lowWatermark: 16384 });
  const socket = t.using(new ResettableSocket(server.addr.port));
  const errors = await withoutErrors(async () => {
    socket.send(latin1(get("/")));
    await until(() => sent > 0, "the first event");
    await settled(() => sent);
    socket.reset();
    const error = await ended.promise;
    assertIsError(error, DOMException, "The peer has disconnected");
  });
  assertEquals(errors, []);
});

testBackends("a quiet stream outlives the timeouts", async (t) => {
  const quiet = new Quiet();
  const server = t.serve(
    (request) =>
      new URL(request.url).pathname === "/"
        ? sse(request, quiet.produce, { heartbeat: 0 })
        : new Response("ok"),
    { idleTimeout: 200, headTimeout: 200, bodyTimeout: 200, stallTimeout: 200 },
  );
  const client = t.using(await connect(server));
  const stream = await quiet.started.promise;
  // Two that came later and are idle show that the time is over.
  for (let i = 0; i < 2; i++) {
    const idle = t.using(await RawClient.connect(server));
    await idle.request(get("/ok"));
    assertEquals(await idle.rest(), "");
  }
  assertEquals(stream.signal.aborted, false);
  await stream.send({ data: "late" });
  await client.through("data:late\n\n");
});

testBackends("shutdown cuts streams at its deadline", async (t) => {
  const quiet = new Quiet();
  const server = t.serve((request) => sse(request, quiet.produce));
  const client = t.using(await connect(server));
  await quiet.started.promise;
  const { requests, forced } = await server.shutdown({ timeout: 1 });
  assertEquals([requests, forced], [1, 1]);
  await quiet.ended.promise;
  await client.ending();
});

testBackends("streams end by a signal before a shutdown", async (t) => {
  const quiet = new Quiet();
  const stop = new AbortController();
  const server = t.serve((request) =>
    sse(request, quiet.produce, { signal: stop.signal })
  );
  const client = t.using(await connect(server));
  const stream = await quiet.started.promise;
  void stream.send({ data: "last" });
  stop.abort();
  const shutdown = server.shutdown({ timeout: 0 });
  const { text } = await client.response();
  client.close();
  assertEquals(parse(text).events.map(({ data }) => data), ["last"]);
  const { requests, forced } = await shutdown;
  assertEquals([requests, forced], [1, 0]);
  assertEquals((await quiet.ended.promise as Error).name, "AbortError");
  // One that begins after that ends at once.
  const late = sse(REQUEST, quiet.produce, { signal: stop.signal });
  assertEquals(await late.text(), "");
});

testBackends("a producer that throws breaks its response off", async (t) => {
  const server = t.serve((request) =>
    sse(request, async (stream) => {
      await stream.send({ data: "first" });
      throw new Error("oops");
    })
  );
  const errors = await withoutErrors(async () => {
    const client = t.using(await connect(server));
    const { text } = await client.ending();
    assert(!text.includes("\r\n0\r\n\r\n"), "The body looks complete");
  });
  assertEquals(errors.length, 1);
  assertMatch(String(errors[0]), /oops/);
});

Deno.test("Deno.serve sends the same", async () => {
  const quiet = new Quiet();
  await using server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    onListen: (): void => {},
  }, (request) => sse(request, quiet.produce, { heartbeat: 5 }));
  const { port } = server.addr;
  const leaving = new AbortController();
  const response = await fetch(`http://127.0.0.1:${port}/`, {
    signal: leaving.signal,
  });
  const stream = await deadline(quiet.started.promise, "the producer");
  void stream.send({ data: "x", id: 1 });
  const parser = new Parser();
  const reader = response.body!.pipeThrough(new TextDecoderStream())
    .getReader();
  while (parser.events.length === 0 || parser.comments.length < 2) {
    parser.feed((await deadline(reader.read(), "more")).value!);
  }
  assertEquals(parser.events[0]!.lastEventId, "1");
  leaving.abort();
  await assertRejects(() => reader.read());
  await deadline(quiet.ended.promise, "the end of the producer");
});

async function post(port: number, path: string, body: string): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    body,
  });
  assertEquals([await response.text(), response.status], ["", 204]);
}

Deno.test("the example tells all readers, who miss nothing", async () => {
  await using example = await new Example("sse.ts", "0").listening("/\n");
  const { port } = example;
  const page = await (await fetch(`http://127.0.0.1:${port}/`)).text();
  assertMatch(page, /new EventSource\("\/events"\)/);

  const addr = { transport: "tcp", hostname: "127.0.0.1", port } as const;
  const events = get("/events");
  using first = await RawClient.connect({ addr });
  await first.write(events);
  await first.through("retry:1000\n\n");
  await first.through("event:readers\ndata:1\n\n");
  await post(port, "/notes", "one");
  await first.through("id:1\n\n");
  await post(port, "/drop", "");
  await first.through("0\r\n\r\n");

  await post(port, "/notes", "two");
  await first.write(get("/events", "Last-Event-ID: 1\r\n"));
  const text = fromLatin1(await first.through("id:2\n\n"));
  assertMatch(text, /"text":"two"/);
  assertEquals(text.includes('"text":"one"'), false);

  example.kill("SIGTERM");
  const { code, errors } = await example.ended();
  assertEquals([code, errors], [0, ""]);
  await first.through("0\r\n\r\n");
});
