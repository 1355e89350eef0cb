// SPDX-License-Identifier: Apache-2.0
// Tests of lib/exchange.ts.

import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { layout } from "../ffi/mod.ts";
import type { AllTimeouts } from "../lib/request_timeouts.ts";
import { Exchange, type ExchangeOwner, HandlerInfo } from "../lib/exchange.ts";
import { emptyUrlCache } from "../lib/http_request.ts";
import { until } from "./testing.ts";

class Owner implements ExchangeOwner {
  readonly base = { scheme: "http", authority: "localhost:8000" };
  readonly urls = emptyUrlCache();
  readonly calls: unknown[] = [];
  readonly staged: Exchange[] = [];
  timeouts: AllTimeouts = {
    bodyTimeout: 1,
    minBodyRate: 2,
    stallTimeout: 3,
    minSendRate: 4,
    handlerTimeout: 0,
  };

  retime(exchange: Exchange): void {
    this.calls.push(exchange.timeouts);
  }

  expire(exchange: Exchange): void {
    this.calls.push("expire", exchange);
  }

  pauseBody(): void {
    this.calls.push("pause");
  }

  resumeBody(): void {
    this.calls.push("resume");
  }

  continueBody(exchange: Exchange): void {
    this.calls.push(exchange);
  }

  sendEarlyHints(_exchange: Exchange, headers: Headers): void {
    this.calls.push([...headers]);
  }

  whenSent(exchange: Exchange): void {
    this.staged.push(exchange);
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

/** What `completed` rejects with when `cause` is what went wrong. */
async function assertNotSent(
  completed: Promise<void>,
  cause: Error,
): Promise<void> {
  const error = await assertRejects(
    () => completed,
    Deno.errors.Interrupted,
    "HTTP response was not sent successfully",
  );
  assertStrictEquals(error.cause, cause);
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
  assertEquals(one.base, { scheme: "http", authority: "localhost:8000" });
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
  one.finish(null);
  await Promise.resolve();
  assertEquals(outcomes, []);
  one.sent(null);
  await done;
  assertEquals(outcomes, ["resolved"]);
});

Deno.test("Exchange.finish() with null waits for the kernel, if somebody does", async () => {
  for (const early of [true, false]) {
    const owner = new Owner();
    const one = new Exchange(owner, 0, 0);
    if (early) one.abortSignal();
    const before = early ? one.completed() : null;
    one.finish(null);
    assertEquals(owner.staged, early ? [one] : []);
    const completed = one.completed();
    assertStrictEquals(before ?? completed, completed);
    assertEquals(owner.staged, [one]);
    one.sent(null);
    await completed;
    assert(!one.abortSignal().aborted);
  }
});

Deno.test("Exchange.sent() with an error rejects", async () => {
  const one = exchange();
  const error = new Error("left");
  const completed = one.completed();
  one.finish(null);
  one.sent(error);
  await assertNotSent(completed, error);
  assert(!one.abortSignal().aborted);
});

Deno.test("Exchange.finish() with an error rejects and aborts", async () => {
  for (const early of [true, false]) {
    const one = exchange();
    const error = new Error("left");
    const before = early ? one.completed() : null;
    one.finish(error);
    const after = one.completed();
    if (before !== null) assertStrictEquals(before, after);
    await assertNotSent(after, error);
    assertStrictEquals(one.abortSignal().reason, error);
  }
});

Deno.test("Exchange.finish() counts once", async () => {
  const one = exchange();
  one.finish(null);
  one.finish(new Error("late"));
  const completed = one.completed();
  one.sent(null);
  await completed;
  assert(!one.abortSignal().aborted);
  const other = exchange();
  const error = new Error("first");
  other.finish(error);
  other.finish(null);
  await assertNotSent(other.completed(), error);
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
  const { completed } = info;
  one.sent(null);
  await completed;
});

Deno.test("HandlerInfo refuses what belongs before the response once it has begun", () => {
  const owner = new Owner();
  const one = new Exchange(owner, 0, 0);
  const info = new HandlerInfo(one);
  info.earlyHints({ link: "</a>" });
  assertEquals(owner.calls, [[["link", "</a>"]]]);
  one.answered = true;
  const message = "the response has begun";
  assertThrows(() => info.earlyHints({}), TypeError, message);
  assertThrows(() => info.setTrailers({}), TypeError, message);
});

Deno.test("Exchange.trailers() follow the end of the body", async () => {
  const bytes = new TextEncoder().encode("A: 1\r\nHost: b\r\n");
  const without = exchange();
  assertEquals([...await without.trailers()], []);
  for (const early of [true, false]) {
    const one = exchange(HAS_BODY | CHUNKED);
    const before = early ? one.trailers() : null;
    one.pushTrailers(bytes.subarray(0, 3));
    one.pushTrailers(bytes.subarray(3));
    one.endBody();
    assertEquals([...await (before ?? one.trailers())], [["a", "1"]]);
  }
});

Deno.test("Exchange.trailers() reject with the body, which is no unhandled rejection", async () => {
  for (const early of [true, false]) {
    const one = exchange(HAS_BODY | CHUNKED);
    if (early) void one.trailers();
    one.pushTrailers(new Uint8Array(0));
    one.failBody(new Deno.errors.UnexpectedEof("cut"));
    await new Promise((resolve) => setTimeout(resolve, 0));
    await assertRejects(() => one.trailers(), Deno.errors.UnexpectedEof, "cut");
  }
});

Deno.test("Exchange.setTimeouts() changes what it names, until the end", () => {
  const owner = new Owner();
  const one = new Exchange(owner, 0, 0);
  const info = new HandlerInfo(one);
  info.setTimeouts({ bodyTimeout: 10 });
  info.setTimeouts({ minSendRate: 0 });
  const expected = { ...owner.timeouts, bodyTimeout: 10, minSendRate: 0 };
  assertEquals(one.timeouts, expected);
  assertEquals(owner.calls.length, 2);
  one.finish(null);
  info.setTimeouts({ bodyTimeout: 20 });
  assertEquals([one.timeouts, owner.calls.length], [expected, 2]);
});

Deno.test("Exchange.await() limits the time of a promise", async () => {
  const owner = new Owner();
  owner.timeouts = { ...owner.timeouts, handlerTimeout: 1 };
  const answered = new Exchange(owner, 0, 0);
  answered.await();
  answered.awaited();
  const left = new Exchange(owner, 0, 0);
  left.await();
  left.finish(new Error("left"));
  const changed = new Exchange(owner, 0, 0);
  changed.await();
  changed.setTimeouts({ handlerTimeout: 0 });
  // Its handler has ended it, and returns a promise nevertheless.
  const over = new Exchange(owner, 0, 0);
  over.finish(null);
  over.await();
  owner.calls.length = 0;
  const late = new Exchange(owner, 0, 0);
  late.await();
  await until(() => owner.calls.length > 0, "the late one");
  assertEquals(owner.calls, ["expire", late]);
});
