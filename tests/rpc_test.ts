// SPDX-License-Identifier: Apache-2.0
// Tests of rpc(): actions, replies, errors and middleware, over TCP and
// WebSocket, on both backends.

import { assertEquals } from "@std/assert";
import { RpcCode, RpcError } from "../lib/rpc.ts";
import { asError, asJson, testCarriers } from "./packet_client.ts";
import { withoutErrors } from "./testing.ts";

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
