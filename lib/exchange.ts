// SPDX-License-Identifier: Apache-2.0
// exchange.ts - one request and the response to it; made by http_connection.ts for every request.

import { layout } from "../ffi/mod.ts";
import { type BodyFlow, RequestBody } from "./http_body.ts";
import type { FieldSource } from "./compression.ts";
import type { RequestContext, UrlBase, UrlCache } from "./http_request.ts";
import {
  type AllTimeouts,
  mergeTimeouts,
  type RequestTimeouts,
} from "./request_timeouts.ts";
import type { Staged } from "./sent_queue.ts";
import {
  RequestTrailers,
  ResponseTrailers,
  type TrailersInit,
} from "./trailers.ts";
import type { Upgrade } from "./upgrade.ts";

/** What an exchange asks of its connection. */
export interface ExchangeOwner {
  readonly base: UrlBase;
  readonly urls: UrlCache;
  /** Those of the server. */
  readonly timeouts: AllTimeouts;
  /** The exchange has got timeouts of its own. */
  retime(exchange: Exchange): void;
  /** The handler's promise has not settled in time. */
  expire(exchange: Exchange): void;
  pauseBody(): void;
  resumeBody(): void;
  continueBody(exchange: Exchange): void;
  sendEarlyHints(exchange: Exchange, headers: Headers): void;
  /** Calls `exchange.sent()` once the kernel has all that is staged, or never will. */
  whenSent(exchange: Exchange): void;
  remoteAddress(): Deno.Addr;
}

/** What few exchanges have, so that the others need not carry it: made when the first of it is wanted. */
class Extras {
  upgrade: Upgrade | null = null;
  request: FieldSource | null = null;
  timeouts: AllTimeouts | null = null;
  expired = false;
  timer: ReturnType<typeof setTimeout> | undefined;
  requestTrailers: RequestTrailers | null = null;
  responseTrailers: ResponseTrailers | null = null;
  controller: AbortController | null = null;
  aborted: Error | null = null;
  completed: PromiseWithResolvers<void> | null = null;
}

/** State of a request from its head to the last byte of its response. */
export class Exchange implements RequestContext, BodyFlow, Staged {
  /** mr_head_flag of the request. */
  readonly flags: number;
  /** Null when the request has no body. */
  readonly body: RequestBody | null = null;
  /** Body bytes that are still to come; Infinity for a chunked body. */
  bodyLeft: number;
  /** The method is HEAD. */
  headOnly = false;
  /** The method is CONNECT. */
  connects = false;
  /** The response has begun. */
  answered = false;
  readonly #owner: ExchangeOwner;
  #awaited = false;
  #outcome: Error | null | undefined;
  #extras: Extras | null = null;

  constructor(owner: ExchangeOwner, flags: number, length: number) {
    this.#owner = owner;
    this.flags = flags;
    this.bodyLeft = (flags & layout.HAS_BODY) === 0
      ? 0
      : (flags & layout.CHUNKED) !== 0
      ? Infinity
      : length;
    if (this.bodyLeft === 0) return;
    this.body = new RequestBody(
      this.bodyLeft === Infinity ? null : this.bodyLeft,
      this,
    );
  }

  /** The connection can be turned over to another protocol. */
  get upgradable(): boolean {
    return (this.flags & layout.UPGRADE) !== 0;
  }

  /** What the handler has asked to turn it over to. */
  get upgrade(): Upgrade | null {
    return this.#extras?.upgrade ?? null;
  }

  offer(upgrade: Upgrade): void {
    if (this.answered) {
      throw new TypeError("Cannot upgrade: the request was answered already");
    }
    this.#more().upgrade = upgrade;
  }

  /** The request, where responses are compressed as its fields say. */
  get request(): FieldSource | null {
    return this.#extras?.request ?? null;
  }

  set request(request: FieldSource) {
    this.#more().request = request;
  }

  /** Timeouts of this request alone; null for those of the server. */
  get timeouts(): AllTimeouts | null {
    return this.#extras?.timeouts ?? null;
  }

  /** Whether it was ended by `expire()`. */
  get expired(): boolean {
    return this.#extras?.expired ?? false;
  }

  /** Trailers of the response, or null. */
  get responseTrailers(): ResponseTrailers | null {
    return this.#extras?.responseTrailers ?? null;
  }

  /** The client waits for 100 Continue. */
  get asksToContinue(): boolean {
    return (this.flags & (layout.EXPECT | layout.HTTP_1_0)) === layout.EXPECT;
  }

  /** What the requests of the connection have in common. */
  get urls(): UrlCache {
    return this.#owner.urls;
  }

  /** What the server adds to URLs. */
  get base(): UrlBase {
    return this.#owner.base;
  }

  /** Aborts when the peer disconnects before the response is complete. */
  abortSignal(): AbortSignal {
    const extras = this.#more();
    const controller = extras.controller ??= new AbortController();
    if (extras.aborted !== null) controller.abort(extras.aborted);
    return controller.signal;
  }

  /** Resolves when the kernel has taken all of the response, rejects when it will not. */
  completed(): Promise<void> {
    const extras = this.#more();
    if (extras.completed === null) {
      extras.completed = Promise.withResolvers();
      // Nobody has to look at it: a failed response is not an unhandled rejection.
      extras.completed.promise.catch(() => {});
      if (this.#outcome !== undefined) this.#conclude(this.#outcome);
    }
    return extras.completed.promise;
  }

  /** Fields behind the request's body, once that is complete. */
  trailers(): Promise<Headers> {
    const trailers = this.#requestTrailers();
    if (this.bodyLeft === 0) trailers.settle(null);
    return trailers.headers;
  }

  /** Has the response end in trailers. */
  setTrailers(init: TrailersInit): void {
    this.#requireUnanswered("set trailers");
    this.#more().responseTrailers = new ResponseTrailers(init);
  }

  /** Sends an interim response. */
  sendEarlyHints(headers: HeadersInit): void {
    this.#requireUnanswered("send early hints");
    this.#owner.sendEarlyHints(this, new Headers(headers));
  }

  /** The peer's address. */
  remoteAddress(): Deno.Addr {
    return this.#owner.remoteAddress();
  }

  /** Why the request's signal aborted, or null. */
  get abortReason(): Error | null {
    return this.#extras?.aborted ?? null;
  }

  /** Changes timeouts for this request, as long as it is not over. */
  setTimeouts(wanted: RequestTimeouts): void {
    const timeouts = mergeTimeouts(
      this.timeouts ?? this.#owner.timeouts,
      wanted,
    );
    if (this.#outcome !== undefined) return;
    this.#more().timeouts = timeouts;
    this.#owner.retime(this);
    if (this.#awaited && wanted.handlerTimeout !== undefined) this.await();
  }

  /**
   * More of the request's body is to come than is worth reading to keep the connection. A client that waits for 100
   * Continue and gets a final answer may or may not send it at all.
   */
  leavesUnread(most: number): boolean {
    const { bodyLeft, flags } = this;
    const known = bodyLeft !== Infinity;
    return known && bodyLeft > most ||
      bodyLeft > 0 && (flags & layout.EXPECT) !== 0;
  }

  /** The handler has returned a promise: its time runs from now, unless the handler itself has ended the server. */
  await(): void {
    if (this.#outcome !== undefined) return;
    this.#awaited = true;
    this.#stopTimer();
    const ms = (this.timeouts ?? this.#owner.timeouts).handlerTimeout;
    if (ms === 0) return;
    this.#more().timer = setTimeout(() => this.#owner.expire(this), ms);
  }

  /** The promise has settled. */
  awaited(): void {
    this.#awaited = false;
    this.#stopTimer();
  }

  /** The handler was too slow: the exchange is over, and what comes of it later is not wanted. */
  expire(error: Error): void {
    this.#more().expired = true;
    this.answered = true;
    this.body?.fail(error);
    this.finish(error);
  }

  /** Aborts the request's signal. */
  abort(error: Error): void {
    const extras = this.#more();
    extras.aborted ??= error;
    extras.controller?.abort(error);
  }

  /** The exchange is over: with null once all of the response is staged, else with what went wrong. */
  finish(error: Error | null): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = error;
    if (this.#awaited) this.awaited();
    if (error !== null) this.abort(error);
    if (this.#extras !== null && this.#extras.completed !== null) {
      this.#conclude(error);
    }
  }

  sent(error: Error | null): void {
    const { resolve, reject } = this.#extras!.completed!;
    if (error === null) resolve();
    else reject(notSent(error));
  }

  /** The next bytes of the request's trailer section. */
  pushTrailers(bytes: Uint8Array): void {
    this.#requestTrailers().push(bytes);
  }

  /** The request's body is complete. */
  endBody(): void {
    this.bodyLeft = 0;
    this.body!.end();
    this.#extras?.requestTrailers?.settle(null);
  }

  /** The rest of the request's body will never come. */
  failBody(error: Error): void {
    this.body!.fail(error);
    this.#requestTrailers().settle(error);
  }

  pause(): void {
    this.#owner.pauseBody();
  }

  resume(): void {
    this.#owner.resumeBody();
  }

  consume(): void {
    this.#owner.continueBody(this);
  }

  #more(): Extras {
    return this.#extras ??= new Extras();
  }

  #requestTrailers(): RequestTrailers {
    return this.#more().requestTrailers ??= new RequestTrailers();
  }

  #stopTimer(): void {
    const extras = this.#extras;
    if (extras === null || extras.timer === undefined) return;
    clearTimeout(extras.timer);
    extras.timer = undefined;
  }

  #conclude(error: Error | null): void {
    if (error === null) this.#owner.whenSent(this);
    else this.sent(error);
  }

  #requireUnanswered(action: string): void {
    if (this.answered) {
      throw new TypeError(`Cannot ${action}: the response has begun`);
    }
  }
}

// The class and the text are those of Deno.serve.
function notSent(cause: Error): Error {
  return new Deno.errors.Interrupted(
    "HTTP response was not sent successfully",
    { cause },
  );
}

/** What a handler is told beside the request, as by `Deno.serve`. */
export class HandlerInfo<Addr extends Deno.Addr = Deno.Addr> {
  readonly #exchange: Exchange;
  #address: Addr | null = null;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** The peer's address; its own object, which the handler may change. */
  get remoteAddr(): Addr {
    return this.#address ??= { ...this.#exchange.remoteAddress() as Addr };
  }

  /** Resolves when the kernel has taken all of the response; rejects when it will not. */
  get completed(): Promise<void> {
    return this.#exchange.completed();
  }

  /** Other timeouts for this request; nothing once it is over. */
  setTimeouts(timeouts: RequestTimeouts): void {
    this.#exchange.setTimeouts(timeouts);
  }

  /** Fields behind the request's body, once that is complete. */
  get trailers(): Promise<Headers> {
    return this.#exchange.trailers();
  }

  /** Has the response end in trailers. */
  setTrailers(trailers: TrailersInit): void {
    this.#exchange.setTrailers(trailers);
  }

  /** Sends 103 Early Hints. */
  earlyHints(headers: HeadersInit): void {
    this.#exchange.sendEarlyHints(headers);
  }
}

/** Why a request ends whose peer has left. */
export function disconnected(): Error {
  return new DOMException("The peer has disconnected", "AbortError");
}
