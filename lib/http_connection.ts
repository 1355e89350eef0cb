// SPDX-License-Identifier: Apache-2.0
// http_connection.ts - one HTTP/1.1 connection: requests in order to the handler, responses in order back; made
// by http_server.ts, called by poll_loop.ts.

import { type Inbox, layout, type Outbox } from "../ffi/mod.ts";
import { type BodySink, BodyWriter } from "./body_writer.ts";
import type { Connection } from "./connection.ts";
import { Exchange, type ExchangeOwner, HandlerInfo } from "./exchange.ts";
import type { HeadText } from "./head_text.ts";
import { RequestBody } from "./http_body.ts";
import { LazyRequest, type OriginCache } from "./http_request.ts";
import {
  asksToClose,
  givenLength,
  isBodyless,
  type ResponseMode,
  writeBytesResponse,
  writeHead,
  writePlainResponse,
  writeTextResponse,
} from "./http_response.ts";
import type { PollLoop } from "./poll_loop.ts";
import { isResponse, type ResponseParts, takeParts } from "./response_parts.ts";
import { upgradeOf } from "./ws_handshake.ts";
import { violationText } from "./violations.ts";

/** A `Deno.serve` handler. */
export type Handler = (
  request: Request,
  info: HandlerInfo,
) => Response | Promise<Response>;

/** What a connection needs of its server. */
export interface HttpHost {
  readonly loop: PollLoop;
  readonly heads: HeadText;
  readonly handler: Handler;
  readonly onError: (error: unknown) => Response | Promise<Response>;
  readonly authority: string;
  readonly highWatermark: number;
  readonly draining: boolean;
  parseAddress(text: string): Deno.Addr;
}

/** A request whose turn has not come: the one before it is still being answered. */
interface Waiting {
  request: LazyRequest;
  exchange: Exchange;
}

// An unread body up to this length is read and dropped to keep the connection; more is not worth it.
const DRAIN_BYTES = 64 * 1024;

const PARTS: ResponseParts = {
  status: 0,
  statusText: "",
  contentType: null,
  fields: null,
  body: null,
};
const MODE: ResponseMode = {
  headOnly: false,
  close: false,
  http10: false,
  now: 0,
};
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
// Text that may be longer in bytes than fits one send is encoded first and sent in pieces.
const LONG_TEXT = 256 * 1024;

const UTF8 = new TextEncoder();

/** A connection that speaks HTTP. */
export class HttpConnection implements Connection, ExchangeOwner, BodySink {
  readonly handle: number;
  readonly #host: HttpHost;
  readonly #inbox: Inbox;
  readonly outbox: Outbox;
  // No line begins like that.
  readonly origins: OriginCache = { line: "\n", origin: "" };
  #current: Exchange | null = null;
  #receiving: Exchange | null = null;
  #waiting: Waiting[] | null = null;
  #address: Deno.Addr | null = null;
  #paused = 0;
  #violation = 0;
  #violationStatus = 0;
  #ended = false;
  #finished = false;
  #closed = false;
  #advancing = false;
  #drained: (() => void) | null = null;
  #writer: BodyWriter | null = null;

  constructor(handle: number, host: HttpHost) {
    this.handle = handle;
    this.#host = host;
    this.#inbox = host.loop.reactor.inbox;
    this.outbox = host.loop.reactor.outbox;
  }

  receive(index: number): void {
    switch (this.#inbox.kind(index)) {
      case layout.HEAD:
        return this.#finished ? undefined : this.#onHead(index);
      case layout.BODY:
        return this.#onBody(index);
      case layout.DRAIN:
        return this.#onDrain();
      case layout.END:
        return this.#onEnd();
      case layout.VIOLATION:
        return this.#onViolation(index);
      case layout.CLOSED:
        return this.lost();
    }
  }

  lost(): void {
    this.#finished = true;
    this.#closed = true;
    const error = disconnected();
    const current = this.#current;
    this.#current = null;
    this.#failBody("The peer has disconnected");
    current?.finish(error);
    for (const { exchange } of this.#waiting ?? []) exchange.finish(error);
    this.#waiting = null;
    this.#writer?.cancel();
    this.#onDrain();
  }

  drain(): void {
    if (this.#isIdle()) this.#finish();
  }

  get authority(): string {
    return this.#host.authority;
  }

  /** Exchanges that are not finished. */
  get inFlight(): number {
    return (this.#current === null ? 0 : 1) + (this.#waiting?.length ?? 0);
  }

  pauseBody(): void {
    this.#pause();
  }

  resumeBody(): void {
    this.#resume();
  }

  continueBody(exchange: Exchange): void {
    if (!exchange.answered) this.#sendContinue(exchange);
  }

  // RFC 9110 section 10.1.1: once, only to a request that asks, and only while its body has not come.
  #sendContinue(exchange: Exchange): void {
    const asks =
      (exchange.flags & (layout.EXPECT | layout.HTTP_1_0)) === layout.EXPECT;
    if (
      !asks || exchange.continued || exchange !== this.#receiving ||
      exchange !== this.#current
    ) return;
    exchange.continued = true;
    this.outbox.writeText(this.handle, CONTINUE, 0);
    this.staged();
  }

  remoteAddress(): Deno.Addr {
    return this.#address ??= this.#host.parseAddress(
      this.#host.loop.reactor.peerAddress(this.handle),
    );
  }

  #onHead(index: number): void {
    const inbox = this.#inbox;
    const { heads, loop } = this.#host;
    const flags = inbox.flags(index);
    const exchange = new Exchange(this, flags, inbox.total(index));
    if (exchange.bodyLeft > 0) {
      const length = (flags & layout.CHUNKED) === 0 ? exchange.bodyLeft : null;
      exchange.body = new RequestBody(length, exchange);
      this.#receiving = exchange;
    }
    heads.select(inbox, index, loop.records, loop.turn);
    const { text, start } = heads;
    const aux = inbox.aux(index);
    const request = new LazyRequest(
      text,
      start,
      start + inbox.length(index),
      aux & 0xff,
      aux >>> 8,
      exchange.body,
      exchange,
    );
    exchange.headOnly = (aux & 0xff) === 4 && text.startsWith("HEAD", start);
    if (this.#current === null && this.#waiting === null && this.#hasRoom()) {
      this.#start(request, exchange);
      return;
    }
    this.#enqueue({ request, exchange });
    if (this.#current === null) this.outbox.wantDrain(this.handle);
  }

  // Requests are answered one after the other (RFC 9112 section 9.3.2). While one waits, no more than those of this
  // turn are read.
  #enqueue(waiting: Waiting): void {
    if (this.#waiting === null) {
      this.#waiting = [];
      this.#pause();
    }
    this.#waiting.push(waiting);
  }

  #start(request: LazyRequest, exchange: Exchange): void {
    this.#current = exchange;
    let result: Response | Promise<Response>;
    try {
      result = this.#host.handler(request, new HandlerInfo(exchange));
    } catch (error) {
      this.#fail(exchange, error, false);
      return;
    }
    this.#take(exchange, result, false);
  }

  // With recovering, the result is that of the error handler, which is not asked again.
  #take(
    exchange: Exchange,
    result: Response | Promise<Response>,
    recovering: boolean,
  ): void {
    if (isResponse(result)) {
      this.#respond(exchange, result, recovering);
    } else {
      this.#await(exchange, result, recovering);
    }
  }

  #await(
    exchange: Exchange,
    result: Promise<Response>,
    recovering: boolean,
  ): void {
    const { loop, handler } = this.#host;
    // Asked for now: once the peer has left, nobody could tell its address.
    if (handler.length > 1) this.remoteAddress();
    loop.promised();
    Promise.resolve(result).then(
      (response) => this.#respond(exchange, response, recovering),
      (error) => this.#fail(exchange, error, recovering),
    ).catch((error) => this.#abort(exchange, error))
      .then(() => loop.settled());
  }

  #fail(exchange: Exchange, error: unknown, recovering: boolean): void {
    // Nobody waits for the answer: what went wrong is most likely just that.
    if (exchange !== this.#current || this.#finished) return;
    if (error === exchange.abortReason) {
      return this.#leave(exchange, exchange.abortReason!);
    }
    if (recovering) return this.#giveUp(exchange, error);
    try {
      this.#take(exchange, this.#host.onError(error), true);
    } catch (second) {
      this.#giveUp(exchange, second);
    }
  }

  #giveUp(exchange: Exchange, error: unknown): void {
    console.error("Exception in onError while handling exception", error);
    this.#respond(
      exchange,
      new Response("Internal Server Error", { status: 500 }),
      true,
    );
  }

  #respond(exchange: Exchange, response: Response, recovering: boolean): void {
    if (exchange !== this.#current || this.#finished) return;
    try {
      if (!isResponse(response)) throw notAResponse();
      if (
        (exchange.flags & layout.UPGRADE) !== 0 &&
        this.#upgrade(exchange, response)
      ) return;
      takeParts(response, PARTS);
    } catch (error) {
      this.#fail(exchange, error, recovering);
      return;
    }
    this.#write(exchange);
  }

  #upgrade(exchange: Exchange, response: Response): boolean {
    const upgrade = upgradeOf(response);
    if (upgrade === null) return false;
    const connection = upgrade.accept(
      this.handle,
      this.#host.loop,
      this.remoteAddress(),
    );
    exchange.finish(null);
    this.#current = null;
    if (this.#host.draining) connection.drain();
    return true;
  }

  #write(exchange: Exchange): void {
    exchange.answered = true;
    const mode = this.#mode(exchange);
    const { body } = PARTS;
    if (isBodyless(PARTS.status) || body === null) {
      if (body instanceof ReadableStream) body.cancel();
      writeBytesResponse(this.outbox, this.handle, PARTS, null, mode);
    } else if (typeof body === "string" && body.length <= LONG_TEXT) {
      writeTextResponse(this.outbox, this.handle, PARTS, body, mode);
    } else if (
      body instanceof Uint8Array && body.length <= this.#host.highWatermark
    ) {
      writeBytesResponse(this.outbox, this.handle, PARTS, body, mode);
    } else {
      this.#stream(
        exchange,
        typeof body === "string" ? UTF8.encode(body) : body,
        mode,
      );
      return;
    }
    PARTS.body = null;
    this.#complete(exchange, mode.close);
  }

  #mode(exchange: Exchange): ResponseMode {
    const { loop, draining } = this.#host;
    const last = draining || this.#ended && this.#waiting === null;
    const wanted = (exchange.flags & layout.KEEP_ALIVE) !== 0 && !last;
    MODE.headOnly = exchange.headOnly;
    // The request may still be coming in while a stream goes out; only at its end shows how much is left of it.
    const unread = !(PARTS.body instanceof ReadableStream) &&
      leavesUnread(exchange);
    MODE.close = !wanted || unread || asksToClose(PARTS.fields);
    MODE.http10 = (exchange.flags & layout.HTTP_1_0) !== 0;
    MODE.now = loop.now;
    return MODE;
  }

  // Chunked where the length is unknown, or for HTTP/1.0 up to the end of the connection.
  #stream(
    exchange: Exchange,
    body: ReadableStream<Uint8Array> | Uint8Array,
    mode: ResponseMode,
  ): void {
    const length = body instanceof Uint8Array
      ? body.length
      : givenLength(PARTS.fields);
    const chunked = length === null && !mode.http10;
    if (length === null && !chunked) mode.close = true;
    const { close, headOnly } = mode;
    const framing = chunked
      ? "transfer-encoding: chunked\r\n"
      : length === null
      ? ""
      : `content-length: ${length}\r\n`;
    // A body that the response passes on has to be asked for before the head goes out.
    if (exchange.body?.used) this.#sendContinue(exchange);
    writeHead(this.outbox, this.handle, PARTS, framing, mode, headOnly ? 1 : 0);
    this.staged();
    if (headOnly) {
      if (body instanceof ReadableStream) body.cancel().catch(() => {});
      this.#complete(exchange, close);
    } else {
      this.#send(exchange, new BodyWriter(this, body, length, chunked), close);
    }
  }

  // Not counted as a promise of the loop: a stream may stay open for hours, and its producer is waited for often
  // enough by the yields that there are anyway.
  #send(exchange: Exchange, writer: BodyWriter, close: boolean): void {
    this.#writer = writer;
    writer.run().then((whole) => {
      if (whole) this.#complete(exchange, close);
    }).catch((error) => this.#abort(exchange, error));
  }

  writable(): Promise<void> | undefined {
    if (this.#closed || this.#hasRoom()) return undefined;
    this.outbox.wantDrain(this.handle);
    return new Promise((resolve) => this.#drained = resolve);
  }

  staged(): void {
    this.#host.loop.kick();
  }

  #complete(exchange: Exchange, close: boolean): void {
    if (exchange !== this.#current) return;
    this.#writer = null;
    exchange.body?.discard();
    exchange.finish(null);
    this.#current = null;
    if (close || leavesUnread(exchange)) return this.#finish();
    if ((exchange.flags & layout.UPGRADE) !== 0) {
      this.#command(layout.CMD_DECLINE);
    }
    this.#advance();
  }

  // Starts the requests that wait, as long as they are answered at once and the peer takes the answers.
  #advance(): void {
    if (this.#advancing) return;
    this.#advancing = true;
    while (
      this.#waiting !== null && this.#current === null && !this.#finished &&
      this.#hasRoom()
    ) {
      const { request, exchange } = this.#waiting.shift()!;
      // The last of them may still need the rest of its body: reading goes on before it is answered.
      if (this.#waiting.length === 0) {
        this.#waiting = null;
        this.#resume();
      }
      this.#start(request, exchange);
    }
    this.#advancing = false;
    if (this.#current !== null || this.#finished) return;
    if (this.#waiting === null) this.#settle();
    else this.outbox.wantDrain(this.handle);
  }

  #hasRoom(): boolean {
    return this.outbox.buffered(this.handle) < this.#host.highWatermark;
  }

  #isIdle(): boolean {
    return this.#current === null && this.#waiting === null;
  }

  // Nothing is in flight: what had to wait for that?
  #settle(): void {
    if (this.#finished) return;
    if (this.#violation !== 0) this.#refuse();
    else if (this.#ended || this.#host.draining) this.#finish();
  }

  #onBody(index: number): void {
    const exchange = this.#receiving;
    if (exchange === null) return;
    exchange.bodyLeft -= this.#inbox.length(index);
    exchange.body!.push(this.#inbox.borrow(index));
    if (exchange !== this.#current) {
      this.#drop(exchange, this.#inbox.length(index));
    }
    if ((this.#inbox.flags(index) & layout.LAST) === 0) return;
    exchange.bodyLeft = 0;
    this.#receiving = null;
    exchange.body!.end();
  }

  // What comes after the answer is read to keep the connection, as long as it is little.
  #drop(exchange: Exchange, length: number): void {
    exchange.dropped += length;
    if (exchange.answered && exchange.dropped > DRAIN_BYTES) this.#finish();
  }

  #onDrain(): void {
    const drained = this.#drained;
    this.#drained = null;
    drained?.();
    if (this.#waiting !== null) this.#advance();
  }

  // The peer sends no more. Most that do so have left, so that the handler's signal aborts and a stream is not
  // read further; but one may still wait for its answer (RFC 9112 section 9.6), which it gets.
  #onEnd(): void {
    this.#ended = true;
    this.#failBody("The peer closed the connection inside the request body");
    if (this.#isIdle()) return this.#finish();
    const current = this.#current;
    const error = disconnected();
    current?.abort(error);
    if (current === null || this.#writer === null || !this.#writer.isStream) {
      return;
    }
    this.#writer.cancel();
    this.#leave(current, error);
  }

  // The exchange ends without its answer, since its peer has left.
  #leave(exchange: Exchange, error: Error): void {
    this.#writer = null;
    this.#current = null;
    exchange.finish(error);
    this.#finish();
  }

  #onViolation(index: number): void {
    const violation = this.#inbox.aux(index);
    const ofBody = this.#receiving !== null &&
      this.#receiving === this.#current;
    this.#failBody(`Cannot read the request body: ${violationText(violation)}`);
    if (ofBody && this.#current!.answered) {
      // The request has its answer; there is none to be given to what follows.
      this.#ended = true;
      return;
    }
    this.#violation = violation;
    this.#violationStatus = this.#inbox.code(index);
    // Answers to earlier requests come first (RFC 9112 section 9.3.2).
    if (this.#isIdle() || ofBody) this.#refuse();
  }

  #refuse(): void {
    const text = violationText(this.#violation);
    const mode = {
      headOnly: false,
      close: true,
      http10: false,
      now: this.#host.loop.now,
    };
    writePlainResponse(
      this.outbox,
      this.handle,
      this.#violationStatus,
      text,
      mode,
    );
    this.#current?.finish(
      new Deno.errors.InvalidData(`Refused the request: ${text}`),
    );
    this.#current = null;
    this.#finish();
  }

  #failBody(message: string): void {
    const exchange = this.#receiving;
    this.#receiving = null;
    exchange?.body?.fail(new Deno.errors.UnexpectedEof(message));
  }

  #abort(exchange: Exchange, error: unknown): void {
    if (exchange !== this.#current) return;
    console.error("Exception while sending a response body", error);
    const framed = this.#writer?.isFramed ?? false;
    this.#current = null;
    exchange.finish(error instanceof Error ? error : new Error(String(error)));
    // A cut body shows by its framing; without any, only a reset tells it from a whole one.
    if (framed) return this.#finish();
    this.#finished = true;
    this.#command(layout.CMD_TERMINATE);
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#command(layout.CMD_FINISH);
  }

  #pause(): void {
    if (this.#paused++ === 0) this.#command(layout.CMD_PAUSE);
  }

  #resume(): void {
    if (--this.#paused === 0) this.#command(layout.CMD_RESUME);
  }

  #command(op: number): void {
    if (this.#closed) return;
    this.outbox.command(this.handle, op);
    this.staged();
  }
}

function disconnected(): Error {
  return new Deno.errors.ConnectionReset("The peer has disconnected");
}

function notAResponse(): TypeError {
  return new TypeError(
    "Return value from serve handler must be a response or a promise resolving to a response",
  );
}

// More of the request's body is to come than is worth reading. A client that waits for 100 Continue and gets a
// final answer may or may not send it at all.
function leavesUnread(exchange: Exchange): boolean {
  const { bodyLeft, flags } = exchange;
  const known = bodyLeft !== Infinity;
  return known && bodyLeft > DRAIN_BYTES ||
    bodyLeft > 0 && (flags & layout.EXPECT) !== 0;
}
