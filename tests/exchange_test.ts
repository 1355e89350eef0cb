// SPDX-License-Identifier: Apache-2.0
// Tests of lib/exchange.ts.

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { layout } from "../ffi/mod.ts";
import { Exchange, type ExchangeOwner, HandlerInfo } from "../lib/exchange.ts";

class Owner implements ExchangeOwner {
  readonly authority = "localhost:8000";
  readonly origins = { line: "\n", origin: "" };
  readonly calls: unknown[] = [];

  pauseBody(): void {
    this.calls.push("pause");
  }

  resumeBody(): void {
    this.calls.push("resume");
  }

  continueBody(exchange: Exchange): void {
    this.calls.push(exchange);
  }

  remoteAddress(): Deno.Addr {
    this.calls.push("address");
    return { transport: "tcp", hostname: "::1", port: 1 };
  }
}

const { HAS_BODY, CHUNKED, UPGRADE, KEEP_ALIVE } = layout;

function exchange(flags: number = 0, length: number = 0): Exchange {
  return new Exchange(new Owner(), flags, length);
}

Deno.test("Exchange() knows how much body is to come", () => {
  assertEquals(exchange(0, 0).bodyLeft, 0);
  assertEquals(exchange(KEEP_ALIVE, 7).bodyLeft, 0);
  assertEquals(exchange(HAS_BODY, 7).bodyLeft, 7);
  assertEquals(exchange(HAS_BODY, 2 ** 40).bodyLeft, 2 ** 40);
  assertEquals(exchange(HAS_BODY | CHUNKED, 0).bodyLeft, Infinity);
});

Deno.test("Exchange.upgradable follows the flag", () => {
  assert(exchange(UPGRADE | KEEP_ALIVE).upgradable);
  assert(!exchange(KEEP_ALIVE | HAS_BODY, 1).upgradable);
});

Deno.test("Exchange hands on what its request asks for", () => {
  const owner = new Owner();
  const one = new Exchange(owner, 0, 0);
  assertEquals([one.scheme, one.authority], ["http", "localhost:8000"]);
  one.pause();
  one.resume();
  one.consume();
  assertEquals(owner.calls, ["pause", "resume", one]);
});

Deno.test("Exchange.abortSignal() is one signal, made when asked for", () => {
  const one = exchange();
  const signal = one.abortSignal();
  assertStrictEquals(one.abortSignal(), signal);
  assert(!signal.aborted);
});

Deno.test("Exchange.abort() aborts before and after it was asked for", () => {
  for (const early of [true, false]) {
    const one = exchange();
    const error = new Error("left");
    if (early) one.abortSignal();
    one.abort(error);
    one.abort(new Error("another"));
    assertStrictEquals(one.abortSignal().reason, error);
  }
});

Deno.test("Exchange.abort() leaves completed open", async () => {
  const one = exchange();
  const outcomes: string[] = [];
  const done = one.completed().then(() => outcomes.push("resolved"));
  one.abort(new Error("left"));
  await Promise.resolve();
  assertEquals(outcomes, []);
  one.finish(null);
  await done;
  assertEquals(outcomes, ["resolved"]);
});

Deno.test("Exchange.finish() with null resolves and aborts nothing", async () => {
  for (const early of [true, false]) {
    const one = exchange();
    if (early) one.abortSignal();
    const before = early ? one.completed() : null;
    one.finish(null);
    await before;
    await one.completed();
    assert(!one.abortSignal().aborted);
  }
});

Deno.test("Exchange.finish() with an error rejects and aborts", async () => {
  for (const early of [true, false]) {
    const one = exchange();
    const error = new Error("left");
    const before = early ? one.completed() : null;
    one.finish(error);
    const after = one.completed();
    if (before !== null) assertStrictEquals(before, after);
    assertStrictEquals(await after.catch((caught) => caught), error);
    assertStrictEquals(one.abortSignal().reason, error);
  }
});

Deno.test("Exchange.finish() counts once", async () => {
  const one = exchange();
  one.finish(null);
  one.finish(new Error("late"));
  await one.completed();
  assert(!one.abortSignal().aborted);
  const other = exchange();
  const error = new Error("first");
  other.finish(error);
  other.finish(null);
  assertStrictEquals(await other.completed().catch((e) => e), error);
});

Deno.test("Exchange.completed() that nobody looks at is no unhandled rejection", async () => {
  const unhandled: unknown[] = [];
  const note = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  addEventListener("unhandledrejection", note);
  try {
    const one = exchange();
    void one.completed();
    one.finish(new Error("left"));
    exchange().finish(new Error("left"));
    await new Promise((resolve) => setTimeout(resolve, 0));
  } finally {
    removeEventListener("unhandledrejection", note);
  }
  assertEquals(unhandled, []);
});

Deno.test("HandlerInfo asks for the address once, and only when wanted", async () => {
  const owner = new Owner();
  const one = new Exchange(owner, 0, 0);
  const info = new HandlerInfo<Deno.NetAddr>(one);
  assertEquals(owner.calls, []);
  assertEquals(info.remoteAddr.hostname, "::1");
  assertStrictEquals(info.remoteAddr, info.remoteAddr);
  assertEquals(owner.calls, ["address"]);
  one.finish(null);
  await info.completed;
});
