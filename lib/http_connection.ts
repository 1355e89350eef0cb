// SPDX-License-Identifier: Apache-2.0
// http_connection.ts - one HTTP/1.1 connection: requests in order to the handler, responses in order back; made
// by http_server.ts, called by poll_loop.ts.

import { type Inbox, layout, type Outbox } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import {
  disconnected,
  Exchange,
  type ExchangeOwner,
  HandlerInfo,
} from "./exchange.ts";
import type { HttpHost } from "./http_host.ts";
import {
  emptyUrlCache,
  type LazyRequest,
  type UrlBase,
  type UrlCache,
} from "./http_request.ts";
import {
  internalServerError,
  UnsendableHead,
  writeEarlyHints,
  writePlainResponse,
} from "./http_response.ts";
import {
  discardResponse,
  isResponse,
  NO_PARTS,
  notUpgraded,
  requireResponse,
  type ResponseParts,
  takeParts,
} from "./response_parts.ts";
import { readRequest, type Waiting } from "./request_reader.ts";
import type { AllTimeouts } from "./request_timeouts.ts";
import { type ResponseOwner, ResponseWriter } from "./response_writer.ts";
import { SentQueue } from "./sent_queue.ts";
import { thrownError } from "./thrown.ts";
import type { PeerAddress } from "./upgrade.ts";
import { violationText } from "./violations.ts";

const PARTS: ResponseParts = { ...NO_PARTS };
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** A connection that speaks HTTP. */
export class HttpConnection
  implements Connection, ExchangeOwner, ResponseOwner {
  readonly handle: number;
  readonly #host: HttpHost;
  readonly #inbox: Inbox;
  readonly #outbox: Outbox;
  readonly #responses: ResponseWriter;
  readonly urls: UrlCache = emptyUrlCache();
  #current: Exchange | null = null;
  #receiving: Exchange | null = null;
  // Bytes of its body that came after its response.
  #dropped = 0;
  // Its client was told to go on with the body.
  #continued = false;
  #waiting: Waiting[] | null = null;
  #address: Deno.Addr | null = null;
  #paused = 0;
  #violation = 0;
  #violationStatus = 0;
  #ended = false;
  #followed = false;
  #keptUntil = -1;
  #finished = false;
  #closed = false;
  // Not all that was staged had been sent when the connection was lost.
  #owed = true;
  #completedTurn = 0;
  #sent: SentQueue | null = null;
  #advancing = false;

  constructor(handle: number, host: HttpHost) {
    this.handle = handle;
    this.#host = host;
    this.#inbox = host.loop.reactor.inbox;
    this.#outbox = host.loop.reactor.outbox;
    this.#responses = new ResponseWriter(handle, host, this);
  }

  receive(index: number): void {
    switch (this.#inbox.kind(index)) {
      case layout.HEAD:
        return this.#finished ? undefined : this.#onHead(index);
      case layout.ROUTED:
        return this.#responses.routed(this.#inbox.aux(index));
      case layout.BODY:
        return this.#onBody(index);
      case layout.TRAILER:
        return this.#receiving?.pushTrailers(this.#inbox.borrow(index));
      case layout.SENT:
        return this.#sent?.taken();
      case layout.DRAIN:
        return this.#onDrain();
      case layout.FILE_SENT:
        return this.#responses.fileSent();
      case layout.END:
        return this.#onEnd();
      case layout.VIOLATION:
        return this.#onViolation(index);
      case layout.CLOSED:
        // What was staged in this turn is behind the record.
        this.#owed = this.#inbox.aux(index) > 0 ||
          this.#completedTurn === this.#host.loop.turn;
        return this.lost();
    }
  }

  lost(): void {
    this.#finished = true;
    this.#closed = true;
    this.#failBody("The peer has disconnected");
    if (!this.#isIdle()) this.#forsake(disconnected());
    this.#sent?.end(this.#owed ? disconnected() : null);
    this.#responses.close();
  }

  // Ends what nobody waits for any more.
  #forsake(error: Error): void {
    const current = this.#current;
    const waiting = this.#waiting;
    this.#current = this.#waiting = null;
    current?.finish(error);
    for (const { exchange } of waiting ?? []) exchange.finish(error);
  }

  drain(): void {
    if (this.#isIdle()) this.#finish();
  }

  get base(): UrlBase {
    return this.#host.base;
  }

  get timeouts(): AllTimeouts {
    return this.#host.timeouts;
  }

  retime(exchange: Exchange): void {
    if (this.#closed || exchange !== this.#current) return;
    this.#outbox.timeouts(this.handle, exchange.timeouts);
    this.#host.loop.kick();
  }

  expire(exchange: Exchange): void {
    if (exchange !== this.#current || this.#finished) return;
    const { loop } = this.#host;
    const error = new DOMException("The handler took too long", "TimeoutError");
    loop.tally.handlerTimeouts++;
    writePlainResponse(this.#outbox, this.handle, 503, error.message, {
      headOnly: exchange.headOnly,
      now: loop.now,
    });
    this.#current = null;
    this.#finish();
    loop.settled();
    exchange.expire(error);
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
    if (!exchange.answered) this.passOn(exchange);
  }

  // What came before "close" is answered too, and C may have kept some of it while it was not to read on.
  get isLast(): boolean {
    if (this.#waiting !== null || this.#followed) return false;
    const { draining, leaving, loop } = this.#host;
    return this.#ended || draining && (leaving || loop.turn > this.#keptUntil);
  }

  // RFC 9110 section 10.1.1: once, only to a request that asks, and only while its body has not come.
  passOn(exchange: Exchange): void {
    if (
      !exchange.asksToContinue || this.#continued ||
      exchange !== this.#receiving || exchange !== this.#current
    ) return;
    this.#continued = true;
    this.#outbox.writeText(this.handle, CONTINUE, 0);
    // The time of the body begins now.
    if (this.#paused === 0) this.#command(layout.CMD_RESUME);
    this.#host.loop.kick();
  }

  sendEarlyHints(exchange: Exchange, headers: Headers): void {
    // RFC 9110 section 15.2: no 1xx to a client of HTTP/1.0.
    if ((exchange.flags & layout.HTTP_1_0) !== 0) return;
    if (exchange !== this.#current || this.#finished) return;
    writeEarlyHints(this.#outbox, this.handle, headers);
    this.#host.loop.kick();
  }

  whenSent(exchange: Exchange): void {
    if (this.#closed) {
      exchange.sent(this.#owed ? disconnected() : null);
      return;
    }
    this.#sent ??= new SentQueue(() => this.#command(layout.CMD_NOTIFY));
    this.#sent.push(exchange);
  }

  remoteAddress(): Deno.Addr {
    return this.#address ??= this.#host.parseAddress(
      this.#host.loop.reactor.peerAddress(this.handle),
    );
  }

  #peer(): PeerAddress {
    const { base, loop } = this.#host;
    return this.#address === null && base.scheme === "http"
      ? loop.reactor.peerAddress(this.handle)
      : this.remoteAddress();
  }

  #onHead(index: number): void {
    const inbox = this.#inbox;
    const flags = inbox.flags(index);
    const hasBody = (flags & layout.HAS_BODY) !== 0;
    const length = hasBody ? inbox.total(index) : 0;
    const exchange = new Exchange(this, flags, length);
    if (exchange.body !== null) {
      this.#receiving = exchange;
      this.#dropped = 0;
      this.#continued = false;
    }
    if (this.#host.routes !== null) exchange.route = inbox.code(index);
    const request = readRequest(this.#host, index, exchange);
    if (
      this.#current === null && this.#waiting === null &&
      this.#responses.hasRoom
    ) {
      this.#followed = this.#host.expectsMore(index);
      this.#start(request, exchange);
      this.#followed = false;
      return;
    }
    this.#enqueue({ request, exchange });
    if (this.#current === null) this.#outbox.wantDrain(this.handle);
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
    if (this.#host.compression !== null) exchange.request = request;
    const odd = (exchange.flags & layout.ODD_HOST) !== 0;
    if (odd && !URL.canParse(request.url)) return this.#refuseHost();
    let result: Response | Promise<Response>;
    try {
      result = exchange.route === 0
        ? this.#host.handler(request, new HandlerInfo(exchange))
        : this.#route(request, exchange.route);
    } catch (error) {
      this.#fail(exchange, error, false);
      return;
    }
    this.#take(exchange, result, false);
  }

  #route(request: LazyRequest, number: number): Response {
    this.#host.loop.tally.routed++;
    return this.#host.routes!.answer(number, request);
  }

  // With recovering, the result is that of the error handler, which is not asked again.
  #take(
    exchange: Exchange,
    result: Response | Promise<Response>,
    recovering: boolean,
  ): void {
    if (isResponse(result)) this.#respond(exchange, result, recovering);
    else this.#await(exchange, result, recovering);
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
    exchange.await();
    // One promise more than the handler's own, and both handlers of it do all that is left to do.
    Promise.resolve(result).then(
      (response) =>
        this.#conclude(
          exchange,
          () => this.#respond(exchange, response, recovering),
        ),
      (error) =>
        this.#conclude(exchange, () => this.#fail(exchange, error, recovering)),
    );
    // Its turn has come after the end. Told now, so that who listens for it hears it.
    if (this.#ended) exchange.abort(disconnected());
  }

  #conclude(exchange: Exchange, answer: () => void): void {
    exchange.awaited();
    try {
      answer();
    } catch (error) {
      this.abort(exchange, error);
    }
    if (!exchange.expired) this.#host.loop.settled();
  }

  #fail(exchange: Exchange, error: unknown, recovering: boolean): void {
    // Nobody waits for the answer: what went wrong is most likely just that.
    if (exchange !== this.#current || this.#finished) return;
    const { abortReason } = exchange;
    if (abortReason !== null && error === abortReason) {
      return this.#leave(exchange, abortReason);
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
    this.#respond(exchange, internalServerError(), true);
  }

  #respond(exchange: Exchange, response: Response, recovering: boolean): void {
    if (exchange !== this.#current || this.#finished) {
      return discardResponse(response, exchange.abortReason);
    }
    try {
      exchange.answered = true;
      requireResponse(response);
      if (
        (exchange.flags & layout.UPGRADE) !== 0 &&
        this.#upgrade(exchange, response)
      ) return;
      takeParts(response, PARTS);
      const { status } = PARTS;
      // After a 2xx to CONNECT comes a tunnel (RFC 9110 section 9.3.6), which nobody would serve.
      const tunnels = exchange.connects && status >= 200 && status < 300;
      if (status === 101 || tunnels) throw notUpgraded(status);
      if (exchange.request !== null) {
        const { request, headOnly } = exchange;
        this.#host.compression!.apply(PARTS, request, headOnly);
      }
    } catch (error) {
      exchange.answered = false;
      discardResponse(response, error);
      this.#fail(exchange, error, recovering);
      return;
    }
    try {
      this.#responses.write(exchange, PARTS);
    } catch (error) {
      if (!(error instanceof UnsendableHead)) throw error;
      const { body } = PARTS;
      if (body instanceof ReadableStream) body.cancel(error).catch(() => {});
      exchange.answered = false;
      this.#fail(exchange, error, recovering);
    }
    // Only kept from the garbage collector: whoever still sends it has it.
    PARTS.body = null;
  }

  #upgrade(exchange: Exchange, response: Response): boolean {
    const { upgrade } = exchange;
    if (upgrade === null || response.status !== upgrade.status) return false;
    // Before the other protocol writes, whose bytes would be taken for the end of this response.
    this.#endTimeouts(exchange);
    const connection = upgrade.accept(
      this.handle,
      this.#host.loop,
      this.#peer(),
      response.headers,
    );
    // What is sent from here on is told to the other protocol: its 101 and the answers before it count as sent.
    this.#closed = true;
    this.#owed = false;
    this.#sent?.end(null);
    exchange.finish(null);
    this.#current = null;
    if (this.#host.draining) connection.drain();
    return true;
  }

  complete(exchange: Exchange, close: boolean): void {
    if (exchange !== this.#current) return;
    this.#responses.end();
    this.#completedTurn = this.#host.loop.turn;
    exchange.body?.discard();
    exchange.finish(null);
    this.#current = null;
    this.#endTimeouts(exchange);
    const unread = exchange.leavesUnread(this.#host.maxDrainBytes);
    if (unread) this.#host.loop.tally.unreadBodies++;
    if (close || unread) return this.#finish();
    if ((exchange.flags & layout.UPGRADE) !== 0) {
      this.#command(layout.CMD_DECLINE);
    }
    this.#advance();
  }

  #endTimeouts(exchange: Exchange): void {
    if (exchange.timeouts !== null) this.#outbox.timeouts(this.handle, null);
  }

  // Starts the requests that wait, as long as they are answered at once and the peer takes the answers.
  #advance(): void {
    if (this.#advancing) return;
    this.#advancing = true;
    while (
      this.#waiting !== null && this.#current === null && !this.#finished &&
      this.#responses.hasRoom
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
    else this.#outbox.wantDrain(this.handle);
  }

  #isIdle(): boolean {
    return this.#current === null && this.#waiting === null;
  }

  // Nothing is in flight: what had to wait for that?
  #settle(): void {
    if (this.#finished) return;
    if (this.#violation !== 0) this.#refuse();
    else if (this.isLast) this.#finish();
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
    this.#receiving = null;
    exchange.endBody();
  }

  // What comes after the answer is read to keep the connection, as long as it is little.
  #drop(exchange: Exchange, length: number): void {
    if (!exchange.answered || this.#finished) return;
    this.#dropped += length;
    if (this.#dropped <= this.#host.maxDrainBytes) return;
    this.#host.loop.tally.unreadBodies++;
    this.#finish();
  }

  #onDrain(): void {
    this.#responses.drained();
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
    if (current === null || !this.#responses.isStreaming) return;
    this.#responses.cancel();
    this.#leave(current, error);
  }

  // The exchange ends without its answer, since its peer has left.
  #leave(exchange: Exchange, error: Error): void {
    this.#current = null;
    exchange.finish(error);
    this.#cut(exchange);
  }

  #onViolation(index: number): void {
    const violation = this.#inbox.aux(index);
    this.#host.loop.tally.refused(violation);
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

  // So that no handler has to expect `new URL(request.url)` to throw.
  #refuseHost(): void {
    [this.#violation, this.#violationStatus] = [layout.BAD_HOST, 400];
    this.#host.loop.tally.refused(layout.BAD_HOST);
    this.#failBody(violationText(layout.BAD_HOST));
    this.#refuse();
  }

  #refuse(): void {
    const text = violationText(this.#violation);
    writePlainResponse(this.#outbox, this.handle, this.#violationStatus, text, {
      headOnly: this.#current?.headOnly ?? false,
      now: this.#host.loop.now,
    });
    const error = new Deno.errors.InvalidData(`Refused the request: ${text}`);
    this.#current?.finish(error);
    this.#current = null;
    this.#finish();
  }

  #failBody(message: string): void {
    const exchange = this.#receiving;
    this.#receiving = null;
    exchange?.failBody(new Deno.errors.UnexpectedEof(message));
  }

  abort(exchange: Exchange, error: unknown): void {
    if (exchange !== this.#current) return;
    console.error("Exception while sending a response body", error);
    this.#current = null;
    exchange.finish(thrownError(error));
    this.#cut(exchange);
  }

  // A response that is cut shows by its framing; without any, only a reset tells it from a whole one.
  #cut(exchange: Exchange): void {
    const shows = !exchange.answered || this.#responses.isFramed;
    this.#responses.end();
    if (shows) return this.#finish();
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
    if (--this.#paused > 0) return;
    this.#command(layout.CMD_RESUME);
    const { draining, drainTurn, loop } = this.#host;
    // Once while it drains: who sends several requests again and again is told to leave too.
    if (draining && this.#keptUntil >= drainTurn) return;
    this.#keptUntil = loop.turn + 1;
  }

  #command(op: number): void {
    if (this.#closed) return;
    this.#outbox.command(this.handle, op);
    this.#host.loop.kick();
  }
}
