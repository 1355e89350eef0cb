// SPDX-License-Identifier: Apache-2.0
// exchange.ts - one request and the response to it; made by http_connection.ts for every request.

import { layout } from "../ffi/mod.ts";
import type { BodyFlow, RequestBody } from "./http_body.ts";
import type { OriginCache, RequestContext } from "./http_request.ts";

/** What an exchange asks of its connection. */
export interface ExchangeOwner {
  readonly authority: string;
  readonly origins: OriginCache;
  pauseBody(): void;
  resumeBody(): void;
  continueBody(exchange: Exchange): void;
  remoteAddress(): Deno.Addr;
}

/** State of a request from its head to the last byte of its response. */
export class Exchange implements RequestContext, BodyFlow {
  readonly scheme = "http";
  /** mr_head_flag of the request. */
  readonly flags: number;
  /** Null when the request has no body. */
  body: RequestBody | null = null;
  /** Body bytes that are still to come; Infinity for a chunked body. */
  bodyLeft: number;
  /** The method is HEAD. */
  headOnly = false;
  /** The response has begun. */
  answered = false;
  /** The client was told to go on with the body. */
  continued = false;
  /** Bytes of the body that came after the response. */
  dropped = 0;
  readonly #owner: ExchangeOwner;
  #controller: AbortController | null = null;
  #completed: PromiseWithResolvers<void> | null = null;
  #aborted: Error | null = null;
  #outcome: Error | null | undefined;

  constructor(owner: ExchangeOwner, flags: number, length: number) {
    this.#owner = owner;
    this.flags = flags;
    this.bodyLeft = (flags & layout.HAS_BODY) === 0
      ? 0
      : (flags & layout.CHUNKED) !== 0
      ? Infinity
      : length;
  }

  /** The connection can be turned over to another protocol. */
  get upgradable(): boolean {
    return (this.flags & layout.UPGRADE) !== 0;
  }

  /** What the requests of the connection have in common. */
  get origins(): OriginCache {
    return this.#owner.origins;
  }

  /** Host and port for a request that names none. */
  get authority(): string {
    return this.#owner.authority;
  }

  /** Aborts when the peer disconnects before the response is complete. */
  abortSignal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted !== null) this.#controller.abort(this.#aborted);
    return this.#controller.signal;
  }

  /** Resolves when all of the response is accepted for sending, rejects when it will not be. */
  completed(): Promise<void> {
    this.#completed ??= Promise.withResolvers();
    if (this.#outcome !== undefined) this.#settle(this.#outcome);
    return this.#completed.promise;
  }

  /** The peer's address. */
  remoteAddress(): Deno.Addr {
    return this.#owner.remoteAddress();
  }

  /** Why the request's signal aborted, or null. */
  get abortReason(): Error | null {
    return this.#aborted;
  }

  /** Aborts the request's signal. */
  abort(error: Error): void {
    this.#aborted ??= error;
    this.#controller?.abort(error);
  }

  /** The exchange is over: with null after a whole response, else with what went wrong. */
  finish(error: Error | null): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = error;
    if (error !== null) this.abort(error);
    if (this.#completed !== null) this.#settle(error);
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

  #settle(error: Error | null): void {
    if (error === null) {
      this.#completed!.resolve();
    } else {
      // Nobody has to look at it: a failed response is not an unhandled rejection.
      this.#completed!.promise.catch(() => {});
      this.#completed!.reject(error);
    }
  }
}

/** What a handler is told beside the request, as by `Deno.serve`. */
export class HandlerInfo<Addr extends Deno.Addr = Deno.Addr> {
  readonly #exchange: Exchange;
  #address: Addr | null = null;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** The peer's address. */
  get remoteAddr(): Addr {
    return this.#address ??= this.#exchange.remoteAddress() as Addr;
  }

  /** Resolves when all of the response is accepted for sending; rejects when the peer left before. */
  get completed(): Promise<void> {
    return this.#exchange.completed();
  }
}
