// SPDX-License-Identifier: Apache-2.0
// Tests of the client of the action router against servers that the test plays
// itself, packet by packet.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { json } from "../lib/codec.ts";
import { decodePacket, packetFramer } from "../lib/packet.ts";
import { connect as connectClient, RpcClient } from "../lib/rpc_client.ts";
import {
  resolveRpcClient,
  type RpcClientOptions,
} from "../lib/rpc_client_options.ts";
import { encodeError, RpcError } from "../lib/rpc_error.ts";
import { MOST_OWNERS, Sequences } from "../lib/rpc_sequences.ts";
import { StreamTransport } from "../lib/rpc_transport.ts";
import { asJson, packet, type Received } from "./packet_client.ts";
import { type PairedSocket, socketPair } from "./socket_pair.ts";
import {
  deadline,
  pattern,
  settled,
  turn,
  until,
  withoutErrors,
} from "./testing.ts";

/** A server that the test plays: it sees each packet, and sends what it likes. */
class Played {
  readonly received: Received[] = [];
  readonly socket: PairedSocket;
  /** The client's end. */
  readonly client: PairedSocket;

  constructor(client: PairedSocket, socket: PairedSocket) {
    this.client = client;
    this.socket = socket;
    const framer = packetFramer(0x7fffffff);
    const take = (bytes: Uint8Array): void => {
      const { action, sequence, body } = decodePacket(bytes);
      this.received.push({ action, sequence, body: body.slice() });
    };
    socket.events = {
      data: (chunk) => void framer.push(chunk, take),
      drain: () => {},
      end: () => {},
      closed: () => {},
    };
  }

  async next(): Promise<Received> {
    await until(() => this.received.length > 0, "a packet");
    return this.received.shift()!;
  }

  send(action: number, sequence: number, body: string | Uint8Array): void {
    this.socket.write(packet(action, sequence, body));
  }

  error(action: number, sequence: number, code: number, text: string): void {
    this.send(-1, sequence, encodeError(action, new RpcError(code, text)));
  }
}

interface Setup {
  client: RpcClient;
  /** All that the client has connected to; the last one is the one that counts. */
  servers: Played[];
  server: Played;
}

async function connect(
  options: RpcClientOptions = {},
  refuse: () => Error | null = () => null,
): Promise<Setup> {
  const servers: Played[] = [];
  const client = new RpcClient((events) => {
    const error = refuse();
    if (error !== null) return Promise.reject(error);
    const [near, far] = socketPair();
    servers.push(new Played(near, far));
    near.events = new StreamTransport(near, 1024 * 1024, events, () => {});
    return Promise.resolve();
  }, resolveRpcClient(options));
  await connectClient(client);
  return { client, servers, server: servers[0]! };
}

Deno.test("a call is answered by its sequence, in any order", async () => {
  const { client, server } = await connect();
  const calls = [1, 2, 3].map((n) => client.call(7, { n }));
  const packets = [
    await server.next(),
    await server.next(),
    await server.next(),
  ];
  assertEquals(packets.map(asJson), [
    [7, 1, { n: 1 }],
    [7, 2, { n: 2 }],
    [7, 3, { n: 3 }],
  ]);
  for (const sequence of [2, 3, 1]) {
    server.send(7, sequence, JSON.stringify(sequence * 10));
  }
  assertEquals(await Promise.all(calls), [10, 20, 30]);
  await client.close();
});

Deno.test("an error rejects its call alone", async () => {
  const { client, server } = await connect();
  const bad = client.call(7);
  const good = client.call(7);
  await server.next();
  server.error(7, 1, 404, "not there");
  server.send(7, 2, "true");
  const error = await assertRejects(() => bad, RpcError, "not there");
  assertEquals(error.code, 404);
  assertEquals(await good, true);
  await client.close();
});

Deno.test("a reply that cannot be read rejects its call alone", async () => {
  const { client, server } = await connect();
  const bad = client.call(7);
  const good = client.call(7);
  server.send(7, 1, "{");
  server.send(7, 2, "2");
  const error = await assertRejects(
    () => bad,
    Deno.errors.InvalidData,
    "Cannot read the reply of the action 7, perhaps because the server has another codec: ",
  );
  assert(error.cause instanceof SyntaxError);
  assertEquals(await good, 2);
  await client.close();
});

Deno.test("sequences go round, and only free ones are used", async () => {
  const { client, server } = await connect();
  const first = client.call(1);
  for (let n = 2; n <= 0x7fff; n++) {
    const call = client.call(1);
    server.send(1, n, "0");
    await call;
  }
  server.received.length = 0;
  const second = client.call(1);
  assertEquals((await server.next()).sequence, 2);
  server.send(1, 2, '"second"');
  server.send(1, 1, '"first"');
  assertEquals([await first, await second], ["first", "second"]);
  await client.close();
});

Deno.test("numbers of answers that never come are free again in the end", () => {
  const sequences = new Sequences<string>();
  const kept = sequences.add("kept");
  for (let n = 0; n < 3 * 0x7fff; n++) sequences.abandon(sequences.add("lost"));
  assertEquals(sequences.size, 1);
  const taken = new Set<number>();
  for (let n = 1; n < MOST_OWNERS; n++) taken.add(sequences.add(`${n}`));
  assertEquals([taken.size, taken.has(kept)], [MOST_OWNERS - 1, false]);
  assertEquals(sequences.get(kept), "kept");
  assertEquals(sequences.clear().length, MOST_OWNERS);
});

Deno.test("no more calls are in flight than allowed, and the others follow in order", async () => {
  const { client, server } = await connect({ maxInFlight: 2 });
  const calls = [1, 2, 3, 4, 5].map((n) => client.call(1, n));
  await turn();
  assertEquals(server.received.length, 2);
  assertEquals(client.statistics().waiting, 3);
  const seen: unknown[] = [];
  for (let n = 0; n < 5; n++) {
    const got = await server.next();
    seen.push(asJson(got)[2]);
    server.send(1, got.sequence, "null");
  }
  await Promise.all(calls);
  assertEquals(seen, [1, 2, 3, 4, 5]);
  await client.close();
});

Deno.test("calls wait while the server takes nothing", async () => {
  const { client, server } = await connect();
  server.client.highWatermark = 40;
  server.client.stalled = true;
  const calls = Array.from({ length: 10 }, (_, n) => client.call(1, n));
  assertEquals(client.notify(2), false);
  await turn();
  assert(server.client.bufferedAmount < 200);
  server.client.stalled = false;
  server.client.flush();
  for (let n = 0; n < 10; n++) {
    const got = await server.next();
    assertEquals(asJson(got)[2], n);
    server.send(1, got.sequence, "null");
  }
  await Promise.all(calls);
  await client.close();
});

Deno.test("bytes of a call that waits are the client's", async () => {
  const { client, server } = await connect({
    maxInFlight: 1,
    codec: { encode: (value) => value as Uint8Array, decode: (b) => b.slice() },
  });
  const bytes = pattern(10);
  const calls = [client.call(1, bytes), client.call(1, bytes)];
  bytes.fill(0);
  for (const sequence of [1, 2]) {
    assertEquals((await server.next()).body, pattern(10));
    server.send(1, sequence, "");
  }
  await Promise.all(calls);
  await client.close();
});

Deno.test("a call gives up after its timeout, and its answer is nobody else's", async () => {
  const { client, server } = await connect();
  await assertRejects(
    () => client.call(1, null, { timeout: 5 }),
    Deno.errors.TimedOut,
    "within 5 milliseconds",
  );
  const pushed: unknown[] = [];
  client.on(1, (body) => void pushed.push(body));
  const next = client.call(1);
  server.send(1, 1, '"late"');
  server.send(1, 2, '"mine"');
  assertEquals([await next, pushed], ["mine", []]);
  await client.close();
});

Deno.test("a call gives up when its signal aborts", async () => {
  const { client, server } = await connect({ maxInFlight: 1 });
  const aborted = AbortSignal.abort(new RangeError("before"));
  await assertRejects(
    () => client.call(1, 0, { signal: aborted }),
    RangeError,
    "before",
  );
  const sent = new AbortController();
  const waiting = new AbortController();
  const calls = [
    client.call(1, 1, { signal: sent.signal }),
    client.call(1, 2, { signal: waiting.signal }),
    client.call(1, 3),
  ];
  await server.next();
  waiting.abort(new RangeError("waiting"));
  sent.abort(new RangeError("sent"));
  await assertRejects(() => calls[0]!, RangeError, "sent");
  await assertRejects(() => calls[1]!, RangeError, "waiting");
  const got = await server.next();
  assertEquals(asJson(got), [1, 2, 3]);
  server.send(1, 2, "null");
  await calls[2];
  await client.close();
});

Deno.test("a notification has the sequence -1", async () => {
  const { client, server } = await connect();
  assertEquals(client.notify(5, [1]), true);
  assertEquals(asJson(await server.next()), [5, -1, [1]]);
  await client.close();
  assertEquals(client.notify(5), false);
});

Deno.test("pushes are given to whoever listens, and harm nobody", async () => {
  const errors: unknown[] = [];
  const { client, server } = await connect({
    onError: (error) => void errors.push(error),
  });
  const seen: unknown[] = [];
  const off = client.on(9, (body) => void seen.push(body));
  client.on(9, () => {
    throw new RangeError("mine");
  });
  client.on(9, () => Promise.reject(new RangeError("later")));
  const call = client.call(1);
  server.send(9, 0, '"a"');
  // As a znet server may: the sequence is that of a call, the action is not.
  server.send(9, 1, '"b"');
  server.send(8, 0, '"nobody"');
  server.send(9, 0, "{");
  server.send(1, 1, '"reply"');
  assertEquals(await call, "reply");
  await until(() => errors.length === 5, "errors");
  const unread = errors.find((e) => e instanceof Deno.errors.InvalidData);
  assertStringIncludes(
    unread?.message ?? "",
    "Cannot read the push of the action 9",
  );
  off();
  server.send(9, 0, '"c"');
  await until(() => errors.length === 7, "errors");
  assertEquals(seen, ["a", "b"]);
  assertEquals(client.statistics().pushes, 5);
  await client.close();
});

Deno.test("an error that belongs to no call is told of", async () => {
  const errors: unknown[] = [];
  const { client, server } = await connect({
    onError: (error) => void errors.push(error),
  });
  server.error(0, 0, 7, "no packet");
  await until(() => errors.length === 1, "the error");
  assertEquals((errors[0] as RpcError).message, "no packet");
  await client.close();
});

Deno.test("when the connection is lost, calls reject and the client is closed", async () => {
  const closes: unknown[] = [];
  const { client, server } = await connect({
    maxInFlight: 1,
    onClose: (error) => void closes.push(error),
  });
  const calls = [client.call(1), client.call(1)];
  await server.next();
  server.socket.terminate();
  for (const call of calls) {
    await assertRejects(() => call, Deno.errors.ConnectionAborted, "lost");
  }
  assert(await client.closed instanceof Deno.errors.ConnectionReset);
  assertEquals(closes.length, 1);
  assertEquals(client.open, false);
  await assertRejects(() => client.call(1), Deno.errors.ConnectionAborted);
});

Deno.test("a call while the connection closes is rejected with its end", async () => {
  const { client, server } = await connect();
  server.client.stalled = true;
  server.client.close();
  assertEquals(client.notify(1), false);
  const call = client.call(1);
  server.client.terminate();
  await assertRejects(() => call, Deno.errors.ConnectionAborted, "is closed");
  assertEquals(await client.closed, null);
});

Deno.test("close() rejects calls", async () => {
  const { client } = await connect({ maxInFlight: 1 });
  const calls = [client.call(1), client.call(1)].map((call) =>
    assertRejects(() => call, Deno.errors.ConnectionAborted, "closed")
  );
  await Promise.all([client.close(), client.close(), ...calls]);
  assertEquals(await client.closed, null);
});

Deno.test("what is no packet closes the connection with a clear error", async () => {
  const { client, server } = await connect();
  const call = client.call(1);
  server.socket.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
  await assertRejects(
    () => call,
    Deno.errors.ConnectionAborted,
    "its length is 4294967295",
  );
  const error = await client.closed;
  assert(error?.message.startsWith("The server sent what is no packet"));
});

Deno.test("a client that reconnects sends what waits, and rejects what was sent", async () => {
  let refusals = 0;
  let opens = 0;
  const setup = await connect(
    {
      maxInFlight: 1,
      reconnect: { minDelay: 1, maxDelay: 4 },
      onOpen: (client) => void client.call(2, opens++).catch(() => {}),
    },
    () => refusals-- > 0 ? new Deno.errors.ConnectionRefused("no") : null,
  );
  const { client, servers, server } = setup;
  assertEquals(asJson(await server.next()), [2, 1, 0]);
  server.send(2, 1, "null");
  const sent = client.call(1, "sent");
  const waits = client.call(1, "waits");
  await server.next();
  refusals = 3;
  server.socket.terminate();
  await assertRejects(() => sent, Deno.errors.ConnectionAborted);
  await until(() => servers.length === 2, "the second connection");
  const second = servers[1]!;
  assertEquals(asJson(await second.next()), [2, 3, 1]);
  second.send(2, 3, "null");
  assertEquals(asJson(await second.next()), [1, 4, "waits"]);
  second.send(1, 4, '"done"');
  assertEquals(await waits, "done");
  assertEquals(client.statistics().connects, 2);
  await client.close();
});

Deno.test("a client gives reconnecting up after so many attempts, or when it is closed", async () => {
  let refuse = false;
  const options = { reconnect: { minDelay: 1, maxAttempts: 3 } };
  const refusal = (): Error | null =>
    refuse ? new Deno.errors.ConnectionRefused("no") : null;
  const first = await connect(options, refusal);
  const second = await connect({
    reconnect: { minDelay: 0x7fffffff, maxDelay: 0x7fffffff, jitter: 0 },
  }, refusal);
  refuse = true;
  first.server.socket.terminate();
  const waits = first.client.call(1);
  await assertRejects(() => waits, Deno.errors.ConnectionAborted, "lost: no");
  assert(await first.client.closed instanceof Deno.errors.ConnectionRefused);
  second.server.socket.terminate();
  await until(() => !second.client.open, "the loss");
  await second.client.close();
});

Deno.test("a connection that stands for a moment only counts as an attempt that failed", async () => {
  const { client, servers, server } = await connect({
    reconnect: { minDelay: 1, maxDelay: 60_000, factor: 1, maxAttempts: 3 },
  });
  server.socket.terminate();
  for (const count of [2, 3, 4]) {
    await until(() => servers.length === count, "the next connection");
    servers[count - 1]!.socket.terminate();
  }
  const error = await deadline(client.closed, "the end");
  assert(error instanceof Deno.errors.ConnectionReset);
  assertEquals(client.statistics().connects, 4);
});

Deno.test("calls that wait are settled when onOpen closes the client, or gives them up", async () => {
  let connects = 0;
  const given = new AbortController();
  const { client, servers, server } = await connect({
    reconnect: { minDelay: 1 },
    onOpen(client): void {
      connects++;
      if (connects === 2) given.abort(new Error("given up"));
      if (connects === 3) void client.close();
    },
  });
  server.socket.terminate();
  await until(() => !client.open, "the loss");
  const first = client.call(1, 1, { signal: given.signal });
  await assertRejects(() => first, Error, "given up");
  assertEquals(await settled(() => servers[1]!.received.length), 0);
  servers[1]!.socket.terminate();
  await until(() => !client.open, "the loss");
  const second = client.call(1, 1);
  await assertRejects(
    () => deadline(second, "the end of the call"),
    Deno.errors.ConnectionAborted,
    "closed",
  );
  await client.closed;
});

Deno.test("callbacks whose promises reject harm nobody", async () => {
  const told: unknown[] = [];
  const logged = await withoutErrors(async () => {
    const { client, server } = await connect({
      onOpen: () => Promise.reject("in onOpen"),
      onClose: () => Promise.reject("in onClose"),
      onError(error): Promise<void> {
        told.push(error);
        return Promise.reject("in onError");
      },
    });
    server.socket.terminate();
    await client.closed;
    await turn();
  });
  assertEquals(told, ["in onOpen", "in onClose"]);
  assertEquals(logged.map(([text]) => text), [
    "Exception in onError of the action router",
    "Exception in onError of the action router",
  ]);
});

Deno.test("calls that are wrong are refused before they are sent", async () => {
  const { client, server } = await connect({ maxPacketBytes: 20 });
  const cases: [() => Promise<unknown>, typeof Error, string][] = [
    [() => client.call(-1), RangeError, "not -1"],
    [() => client.call(0x8000), RangeError, "is 32768"],
    [() => client.call(1, "x".repeat(20)), RangeError, "30 bytes"],
    [() => client.call(1, 1n), TypeError, "BigInt"],
    [() => client.call(1, 1, { timeout: -1 }), RangeError, "timeout"],
  ];
  for (const [call, kind, message] of cases) {
    await assertRejects(call, kind, message);
  }
  assertThrows(() => client.on(-1, () => {}), RangeError);
  assertThrows(() => client.notify(99999), RangeError);
  assertEquals(server.received, []);
  await client.close();
});

Deno.test("options that are wrong are refused", () => {
  const dial = (): Promise<void> => Promise.resolve();
  const wrong: [object, string][] = [
    [{ codec: {} }, "codec"],
    [{ maxInFlight: 20000 }, "maxInFlight"],
    [{ maxPacketBytes: 7 }, "maxPacketBytes"],
    [{ timeout: Infinity }, "timeout"],
    [{ reconnect: { tries: 3 } }, "tries"],
    [{ reconnect: { maxAttempts: -1 } }, "maxAttempts"],
    [{ onOpen: 1 }, "onOpen"],
    [{ pushes: { 5: 1 } }, "function must be given for 5"],
    [{ pushes: { x: () => {} } }, "NaN"],
    [{ more: 1 }, "more"],
  ];
  for (const [options, name] of wrong) {
    assertThrows(
      () => new RpcClient(dial, resolveRpcClient(options)),
      Error,
      name,
    );
  }
});

Deno.test("random bytes from the server harm nobody", async () => {
  const logged = await withoutErrors(async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const { client, server } = await connect();
      client.on(1, () => {});
      const call = client.call(1).catch((error) => error);
      const bytes = pattern(64 + seed, seed);
      // Half of them begin as packets do.
      if (seed % 2 === 0) bytes.set([0, 0, 0, 8 + seed % 30, 0xff, 0xff, 0, 1]);
      server.client.other.pieceBytes = 1 + seed % 9;
      server.socket.write(bytes);
      server.socket.close();
      await deadline(client.closed, "closed");
      const outcome = await call;
      assert(
        outcome instanceof RpcError ||
          outcome instanceof Deno.errors.ConnectionAborted,
        Deno.inspect(outcome),
      );
    }
  });
  for (const [, error] of logged) {
    assert(error instanceof RpcError || error instanceof Error);
  }
  assertEquals(json.decode(new Uint8Array(0), 0, "push"), undefined);
});
