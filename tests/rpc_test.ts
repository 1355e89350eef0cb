// SPDX-License-Identifier: Apache-2.0
// Tests of rpc(): actions, replies, errors and middleware, over TCP and
// WebSocket, on both backends.

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  json,
  raw,
  RpcCode,
  type RpcConnection,
  type RpcContext,
  RpcError,
  type RpcMiddleware,
} from "../lib/rpc.ts";
import {
  asError,
  asJson,
  type Received,
  testCarriers,
} from "./packet_client.ts";
import { settled, until, withoutErrors } from "./testing.ts";

testCarriers("a reply has the action and the sequence", async (t) => {
  const app = t.app();
  app.route<{ n: number }>(1, ({ body }) => ({ twice: body.n * 2 }));
  app.route<{ n: number }>(-2, async ({ body }) => {
    await Promise.resolve();
    return [body.n];
  });
  const client = await t.connect(app);
  await client.send(1, 7, '{"n":21}');
  assertEquals(asJson(await client.receive()), [1, 7, { twice: 42 }]);
  await client.send(-2, -3, '{"n":1}');
  assertEquals(asJson(await client.receive()), [-2, -3, [1]]);
  await client.send(1, 0, '{"n":0}');
  assertEquals(asJson(await client.receive()), [1, 0, { twice: 0 }]);
});

testCarriers("an error is answered and harms nobody", async (t) => {
  const app = t.app();
  app.route(1, () => {
    throw new RpcError(1234, "no: ünlösbar");
  });
  app.route(2, () => {
    throw new Error("a secret");
  });
  app.route(3, () => Promise.reject(new RpcError(-5, "later")));
  app.route(4, () => 1n);
  app.route(5, ({ body }) => body);
  const client = await t.connect(app);
  const logged = await withoutErrors(async () => {
    const ask = async (action: number, body = ""): Promise<unknown> => {
      await client.send(action, action * 100, body);
      return asError(await client.receive());
    };
    assertEquals(await ask(1), [100, 1, 1234, "no: ünlösbar"]);
    assertEquals(await ask(2), [200, 2, RpcCode.Internal, "Internal error"]);
    assertEquals(await ask(3), [300, 3, -5, "later"]);
    assertEquals(await ask(4), [400, 4, RpcCode.Internal, "Internal error"]);
    const [sequence, action, code, message] = await ask(5, "{") as unknown[];
    assertEquals([sequence, action, code], [500, 5, RpcCode.BadRequest]);
    assertEquals(String(message).startsWith("Bad request: "), true);
    assertEquals(await ask(6), [
      600,
      6,
      RpcCode.NotFound,
      "No route has the action 6",
    ]);
  });
  assertEquals(logged.map(([text]) => text), [
    "Exception in the handler of 2",
    "Exception in the handler of 4",
  ]);
  await client.send(5, 1, '"still here"');
  assertEquals(asJson(await client.receive()), [5, 1, "still here"]);
  assertEquals(app.statistics().errors, 6);
});

testCarriers("what no route wants goes to onNotFound", async (t) => {
  const app = t.app();
  app.onNotFound(({ action, body }) => [action, body.length]);
  const client = await t.connect(app);
  await client.send(99, 5, "{no json");
  assertEquals(asJson(await client.receive()), [99, 5, [99, 8]]);
});

testCarriers("middleware runs around handlers, global first", async (t) => {
  const app = t.app();
  const log: string[] = [];
  const noting = (name: string): RpcMiddleware => async (context, next) => {
    log.push(`${name} in`);
    context.state.set("by", name);
    await next();
    log.push(`${name} out ${context.reply}`);
  };
  app.use(noting("a"));
  app.route(1, ({ state }) => {
    log.push("handler");
    return state.get("by");
  }, { middleware: [noting("c")] });
  app.route(2, () => "plain");
  app.use(noting("b"));
  app.route(3, () => "replaced", {
    middleware: [async (context, next): Promise<void> => {
      await next();
      context.reply = `not ${context.reply}`;
    }],
  });
  const client = await t.connect(app);
  await client.send(1, 1);
  assertEquals(asJson(await client.receive()), [1, 1, "c"]);
  assertEquals(log.splice(0), [
    "a in",
    "b in",
    "c in",
    "handler",
    "c out c",
    "b out c",
    "a out c",
  ]);
  await client.send(2, 2);
  assertEquals(asJson(await client.receive()), [2, 2, "plain"]);
  assertEquals(log.splice(0), [
    "a in",
    "b in",
    "b out plain",
    "a out plain",
  ]);
  await client.send(3, 3);
  assertEquals(asJson(await client.receive()), [3, 3, "not replaced"]);
  await client.send(4, 4);
  assertEquals(asError(await client.receive())[2], RpcCode.NotFound);
});

testCarriers("abort() ends the chain", async (t) => {
  const app = t.app();
  let handled = 0;
  const aborting = (
    how: (context: RpcContext) => void,
  ): { middleware: RpcMiddleware[] } => ({
    middleware: [
      async (context, next): Promise<void> => {
        how(context);
        await next();
      },
      async (_, next): Promise<void> => {
        handled++;
        await next();
      },
    ],
  });
  const handler = (): string => {
    handled++;
    return "handled";
  };
  app.route(1, handler, aborting((context) => context.abort()));
  app.route(
    2,
    handler,
    aborting((context) => context.abort(new RpcError(403, "not you"))),
  );
  app.route(
    3,
    handler,
    aborting((context) => {
      context.reply = "instead";
      context.abort();
    }),
  );
  app.route(4, (context) => context.abort());
  app.route(5, handler, {
    middleware: [(context): void => void (context.reply = "no next")],
  });
  app.route(6, handler, {
    middleware: [async (_, next): Promise<void> => {
      await next();
      await next();
    }],
  });
  const client = await t.connect(app);
  const ask = async (action: number): Promise<Received> => {
    await client.send(action, action);
    return await client.receive();
  };
  const aborted = [RpcCode.Aborted, "Aborted"];
  assertEquals(asError(await ask(1)).slice(2), aborted);
  assertEquals(asError(await ask(2)).slice(2), [403, "not you"]);
  assertEquals(asJson(await ask(3))[2], "instead");
  assertEquals(asError(await ask(4)).slice(2), aborted);
  assertEquals(asJson(await ask(5))[2], "no next");
  assertEquals(handled, 0);
  const logged = await withoutErrors(async () => {
    assertEquals(asError(await ask(6))[2], RpcCode.Internal);
  });
  assert(String(logged[0]![1]).includes("next() was called twice"));
});

testCarriers(
  "middleware that does not wait for next() is told so",
  async (t) => {
    const app = t.app();
    const careless: RpcMiddleware = (_, next): void => void next();
    let late: (() => Promise<void>) | undefined;
    let handled = 0;
    app.route(1, () => "unheard", { middleware: [careless] });
    app.route(2, () => Promise.reject(new RpcError(100, "unheard")), {
      middleware: [careless],
    });
    app.route(3, () => void handled++, {
      middleware: [(context, next): void => {
        late = next;
        context.reply = "at once";
      }],
    });
    const client = await t.connect(app);
    const logged = await withoutErrors(async () => {
      for (const action of [1, 2]) {
        await client.send(action, action);
        assertEquals(asError(await client.receive())[2], RpcCode.Internal);
      }
    });
    assertEquals(logged.length, 2);
    for (const [, error] of logged) assert(String(error).includes("await it"));
    await client.send(3, 3);
    assertEquals(asJson(await client.receive())[2], "at once");
    await assertRejects(late!, Error, "has returned");
    assertEquals(handled, 0);
  },
);

testCarriers(
  "what has a function then() is waited for as a promise is",
  async (t) => {
    const app = t.app();
    const thenable = (value: unknown) => ({
      then: (resolve: (value: unknown) => void): void => resolve(value),
    });
    app.route(1, ({ body }) => thenable(body));
    app.route(2, () => ({
      then: (_: unknown, reject: (error: Error) => void): void =>
        reject(new RpcError(100, "no")),
    }));
    app.route(3, () => ({ then: "no function" }));
    const client = await t.connect(app);
    await client.send(1, 1, '"soon"');
    assertEquals(asJson(await client.receive()), [1, 1, "soon"]);
    await client.send(2, 2);
    assertEquals(asError(await client.receive()).slice(2), [100, "no"]);
    await client.send(3, 3);
    assertEquals(asJson(await client.receive())[2], { then: "no function" });
  },
);

testCarriers("replies keep the order that was asked for", async (t) => {
  for (const order of ["completion", "request"] as const) {
    const app = t.app({ order });
    const gates: (() => void)[] = [];
    app.route<number>(1, async ({ body }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      gates[body] = resolve;
      await promise;
      return body;
    });
    app.route(2, () => "at once");
    app.route(3, () => undefined, { reply: false });
    const client = await t.connect(app);
    await client.sendAll([
      [1, 10, "0"],
      [1, 11, "1"],
      [3, 12, "0"],
      [2, 13, "0"],
      [9, 14, "0"],
      [1, 15, "4"],
    ]);
    await until(() => gates.length === 5, "all handlers");
    const got: number[] = [];
    for (const number of [4, 1, 0]) gates[number]!();
    for (let n = 0; n < 5; n++) got.push((await client.receive()).sequence);
    const expected = {
      completion: [13, 14, 15, 11, 10],
      request: [10, 11, 13, 14, 15],
    };
    assertEquals(got, expected[order]);
    assertEquals(app.statistics().inFlight, 0);
  }
});

testCarriers(
  "a notification is not answered, not even with an error",
  async (t) => {
    const app = t.app();
    const seen: unknown[] = [];
    app.route(1, ({ body }) => {
      seen.push(body);
      return "unheard";
    });
    app.route(2, ({ body }) => {
      seen.push(body);
      throw new RpcError(100, "unheard");
    }, { reply: false });
    app.route(3, () => "heard");
    const client = await t.connect(app);
    await client.sendAll([
      [1, -1, '"a"'],
      [1, -1, "{"],
      [99, -1],
      [2, 7, '"b"'],
      [3, 8],
    ]);
    assertEquals(asJson(await client.receive()), [3, 8, "heard"]);
    assertEquals(seen, ["a", "b"]);
    assertEquals(app.statistics().requests, 5);
  },
);

testCarriers("a server pushes at any time", async (t) => {
  const opened = Promise.withResolvers<RpcConnection>();
  const app = t.app({
    onOpen(connection): void {
      connection.push(100, "welcome");
      opened.resolve(connection);
    },
  });
  app.route(1, (context) => {
    context.push(101, "before the reply");
    return "reply";
  });
  const client = await t.connect(app);
  assertEquals(asJson(await client.receive()), [100, 0, "welcome"]);
  await client.send(1, 5);
  assertEquals(asJson(await client.receive()), [101, 0, "before the reply"]);
  assertEquals(asJson(await client.receive()), [1, 5, "reply"]);
  const connection = await opened.promise;
  assertEquals(connection.push(102), "sent");
  assertEquals(asJson(await client.receive()), [102, 0, null]);
  assertThrows(() => connection.push(-1), RangeError, "not -1");
  assertThrows(() => connection.push(1, 1n), TypeError);
  assertEquals(app.connections, [connection]);
  assertEquals(app.statistics().pushes, 3);
  client.raw.close();
  await until(() => !connection.open, "the end");
  assertEquals(connection.push(102), "dropped");
});

testCarriers(
  "a connection is told of from its opening to its end",
  async (t) => {
    const told: unknown[] = [];
    const app = t.app({
      onOpen: (connection) => void told.push(["open", connection.id]),
      onClose: (connection, error) =>
        void told.push(["close", connection.id, error]),
    });
    const signals: AbortSignal[] = [];
    const started = Promise.withResolvers<void>();
    app.route(1, async ({ signal, connection }) => {
      signals.push(signal, connection.signal);
      started.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    });
    app.route(2, ({ connection }) => {
      const { state } = connection;
      state.set("count", (state.get("count") as number ?? 0) + 1);
      return [state.get("count"), connection.transport, connection.inFlight];
    });
    app.route(3, ({ connection }) => connection.close());
    const client = await t.connect(app);
    const kind = t.carrier === "TCP" ? "tcp" : "websocket";
    for (const count of [1, 2]) {
      await client.send(2, count);
      assertEquals(asJson(await client.receive())[2], [count, kind, 1]);
    }
    await client.send(1, 9);
    await started.promise;
    assertEquals(signals.map(({ aborted }) => aborted), [false, false]);
    await client.send(3, 10);
    await client.closed();
    await until(() => told.length === 2, "the end");
    assertEquals(signals.map(({ aborted }) => aborted), [true, true]);
    assertEquals(told, [["open", 1], ["close", 1, null]]);
  },
);

testCarriers("no more requests are read than may be in flight", async (t) => {
  const app = t.app({ maxInFlight: 4 });
  const gates: (() => void)[] = [];
  let most = 0;
  app.route<number>(1, async ({ body, connection }) => {
    most = Math.max(most, connection.inFlight);
    await new Promise<void>((resolve) => gates.push(resolve));
    return body;
  });
  const client = await t.connect(app);
  await client.sendAll(
    Array.from({ length: 100 }, (_, n) => [1, n + 1, `${n}`]),
  );
  await until(() => gates.length === 4, "four requests");
  assertEquals(await settled(() => gates.length), 4);
  for (let n = 0; n < 100; n++) {
    await until(() => gates.length > n, "the next request");
    gates[n]!();
    assertEquals(asJson(await client.receive()), [1, n + 1, n]);
  }
  assertEquals(most, 4);
});

testCarriers("a peer that takes no replies is not read from", async (t) => {
  const app = t.app();
  const reply = "x".repeat(100_000);
  app.route(1, () => reply);
  const client = await t.connect(app);
  const count = 400;
  for (let n = 1; n <= count; n++) await client.send(1, n);
  await until(() => app.statistics().requests > 0, "the first request");
  const handled = await settled(() => app.statistics().requests);
  assert(handled < count, `${handled} requests were handled`);
  for (let n = 1; n <= count; n++) {
    assertEquals(asJson(await client.receive()), [1, n, reply]);
  }
});

testCarriers(
  "replies to all requests in flight may be larger than the queue",
  async (t) => {
    for (const order of ["completion", "request"] as const) {
      const app = t.app({ order });
      const gate = Promise.withResolvers<string>();
      app.route(1, () => gate.promise);
      const client = await t.connect(app);
      const sequences = Array.from({ length: 64 }, (_, n) => n + 1);
      await client.sendAll(sequences.map((sequence) => [1, sequence]));
      await until(() => app.statistics().inFlight === 64, "all requests");
      const reply = "x".repeat(1_000_000);
      gate.resolve(reply);
      await settled(() => app.connections[0]!.inFlight);
      assertEquals(app.connections[0]!.push(100), "dropped");
      for (const sequence of sequences) {
        const got = await client.receive();
        assertEquals([got.sequence, got.body.length], [sequence, 1_000_002]);
      }
      await until(() => app.statistics().inFlight === 0, "the last reply");
      // The connection goes on.
      await client.send(1, 65);
      assertEquals((await client.receive()).sequence, 65);
    }
  },
);

testCarriers("a handler that takes too long is given up", async (t) => {
  const app = t.app({ timeout: 5 });
  const reasons: unknown[] = [];
  const late = Promise.withResolvers<string>();
  app.route(1, async ({ signal }) => {
    signal.addEventListener("abort", () => void reasons.push(signal.reason));
    return await late.promise;
  });
  app.route(2, () => late.promise, { timeout: 0 });
  const client = await t.connect(app);
  await client.sendAll([[2, 1], [1, 2]]);
  assertEquals(asError(await client.receive()), [
    2,
    1,
    RpcCode.Timeout,
    "Not done within 5 milliseconds",
  ]);
  assertEquals((reasons[0] as DOMException).name, "TimeoutError");
  late.resolve("late");
  assertEquals(asJson(await client.receive()), [2, 1, "late"]);
});

testCarriers("parse checks and types a body", async (t) => {
  const app = t.app();
  const even = (body: unknown): number => {
    if (typeof body === "number" && body % 2 === 0) return body;
    throw new TypeError("an even number expected");
  };
  app.route(1, ({ body }) => body / 2, { parse: even });
  app.route(2, () => 0, {
    parse: (): never => {
      throw new RpcError(422, "mine");
    },
  });
  const client = await t.connect(app);
  await client.sendAll([[1, 1, "4"], [1, 2, "5"], [2, 3, "5"]]);
  assertEquals(asJson(await client.receive()), [1, 1, 2]);
  assertEquals(asError(await client.receive()).slice(2), [
    RpcCode.BadRequest,
    "Bad request: an even number expected",
  ]);
  assertEquals(asError(await client.receive()).slice(2), [422, "mine"]);
});

testCarriers("replies are whole however large they are", async (t) => {
  const app = t.app();
  app.route<[string, number]>(
    1,
    ({ body: [text, count] }) => text.repeat(count),
  );
  const client = await t.connect(app);
  // Around the size from which on a packet has memory of its own.
  for (const text of ["a", "\u00fc", "\u20ac", "\u{1f600}"]) {
    for (
      const count of [0, 1, 21_839, 21_840, 21_841, 65_525, 65_526, 65_527]
    ) {
      await client.send(1, 1, JSON.stringify([text, count]));
      assertEquals(asJson(await client.receive())[2], text.repeat(count));
    }
  }
});

testCarriers(
  "a packet that is too large is not sent, and not taken",
  async (t) => {
    const app = t.app({ maxPacketBytes: 100 });
    app.route<number>(1, ({ body }) => "x".repeat(body));
    const client = await t.connect(app);
    await client.send(1, 1, "90");
    assertEquals(asJson(await client.receive()), [1, 1, "x".repeat(90)]);
    const logged = await withoutErrors(async () => {
      await client.send(1, 2, "91");
      assertEquals(asError(await client.receive())[2], RpcCode.Internal);
    });
    assert(String(logged[0]![1]).includes("101 bytes"));
    await client.send(1, 3, "1" + " ".repeat(91));
    assertEquals((await client.receive()).sequence, 3);
    await client.send(1, 4, "1" + " ".repeat(92));
    if (t.carrier === "TCP") {
      assertEquals(asError(await client.receive()), [
        0,
        0,
        RpcCode.Malformed,
        "Cannot read the frame: its length is 101, and 8 to 100 are allowed",
      ]);
    }
    await client.closed();
    await until(() => app.connections.length === 0, "the end");
  },
);

testCarriers("a connection and a route may have another codec", async (t) => {
  const app = t.app();
  app.route(1, ({ connection }) => {
    connection.codec = raw;
    return "no quotes";
  });
  app.route<Uint8Array>(2, ({ body }) => body.map((byte) => byte + 1));
  app.route(3, ({ body }) => body, { codec: json });
  const client = await t.connect(app);
  const ask = async (action: number, body: string): Promise<string> => {
    await client.send(action, 1, body);
    return new TextDecoder().decode((await client.receive()).body);
  };
  assertEquals(await ask(1, "null"), "no quotes");
  assertEquals(await ask(2, "HAL"), "IBM");
  assertEquals(await ask(3, '[ "x" ]'), '["x"]');
  assertThrows(
    () => void (app.connections[0]!.codec = {} as typeof json),
    TypeError,
    "encode and decode",
  );
});
