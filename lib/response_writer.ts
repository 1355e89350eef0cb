// SPDX-License-Identifier: Apache-2.0
// response_writer.ts - writes the responses of one connection, whatever their bodies are, no faster than the peer
// takes them; made by http_connection.ts.

import { closeFile, layout, type Outbox } from "../ffi/mod.ts";
import { type BodySink, BodyWriter } from "./body_writer.ts";
import type { Exchange } from "./exchange.ts";
import { type FileContent, takeFile } from "./file_body.ts";
import { FileSender } from "./file_sender.ts";
import type { HttpHost } from "./http_host.ts";
import {
  asksToClose,
  givenLength,
  isBodyless,
  mayHaveTrailers,
  type ResponseMode,
  writeBytesResponse,
  writeHead,
  writeTextResponse,
} from "./http_response.ts";
import { bytesOf, type ResponseParts } from "./response_parts.ts";
import type { ResponseTrailers } from "./trailers.ts";

/** What it tells its connection. */
export interface ResponseOwner {
  /** Whether the peer will not send another request. */
  readonly isLast: boolean;
  /** All of the response is staged; with `close` the connection ends after it. */
  complete(exchange: Exchange, close: boolean): void;
  /** The rest of the response cannot be sent. */
  abort(exchange: Exchange, error: unknown): void;
  /** The response passes the request's body on, which so is wanted. */
  passOn(exchange: Exchange): void;
}

const MODE: ResponseMode = {
  headOnly: false,
  close: false,
  http10: false,
  now: 0,
};
// Text that may be longer in bytes than fits one send is encoded first and sent in pieces.
const LONG_TEXT = 256 * 1024;

/** The outgoing half of a connection that speaks HTTP. */
export class ResponseWriter implements BodySink {
  readonly handle: number;
  readonly outbox: Outbox;
  readonly #host: HttpHost;
  readonly #owner: ResponseOwner;
  #ended = 0;
  #closed = false;
  #drained: (() => void) | null = null;
  #body: BodyWriter | FileSender | null = null;

  constructor(handle: number, host: HttpHost, owner: ResponseOwner) {
    this.handle = handle;
    this.outbox = host.loop.reactor.outbox;
    this.#host = host;
    this.#owner = owner;
  }

  /** Less than the high watermark waits for the peer. */
  get hasRoom(): boolean {
    return this.outbox.buffered(this.handle) < this.#host.highWatermark;
  }

  /** A body is on its way that may never end. */
  get isStreaming(): boolean {
    return this.#body !== null && this.#body.isStream;
  }

  /** Whether the peer can tell a cut body from a whole one. */
  get isFramed(): boolean {
    return this.#body?.isFramed ?? false;
  }

  /** Writes the response to an exchange. Throws UnsendableHead before anything is staged. */
  write(exchange: Exchange, parts: ResponseParts): void {
    const mode = this.#mode(exchange, parts);
    const { body } = parts;
    const trailers = exchange.responseTrailers;
    if (trailers !== null && mayHaveTrailers(parts.status, mode)) {
      return this.#stream(exchange, parts, bytesOf(body), mode, trailers);
    }
    if (isBodyless(parts.status) || body === null) {
      if (body instanceof ReadableStream) body.cancel().catch(() => {});
      writeBytesResponse(this.outbox, this.handle, parts, null, mode);
    } else if (typeof body === "string" && body.length <= LONG_TEXT) {
      writeTextResponse(this.outbox, this.handle, parts, body, mode);
    } else if (
      body instanceof Uint8Array && body.length <= this.#host.highWatermark
    ) {
      writeBytesResponse(this.outbox, this.handle, parts, body, mode);
    } else {
      return this.#stream(exchange, parts, bytesOf(body), mode, null);
    }
    this.#owner.complete(exchange, mode.close);
  }

  /** The file that is being sent, or its part, has gone out. */
  fileSent(): void {
    if (this.#body instanceof FileSender) this.#body.advance();
  }

  /** The peer has taken most of what waited. */
  drained(): void {
    const drained = this.#drained;
    this.#drained = null;
    drained?.();
  }

  /** The response is over, one way or the other. */
  end(): void {
    const { loop, maxRequests } = this.#host;
    if (++this.#ended >= maxRequests) loop.tally.requestLimits++;
    this.#body = null;
  }

  /** The reactor has given responses by itself. */
  routed(count: number): void {
    this.#ended += count;
    this.#host.loop.tally.routed += count;
  }

  /** The peer is gone, or wants no more: whoever makes the body is told. */
  cancel(): void {
    this.#body?.cancel();
  }

  /** The connection is gone: nothing is staged, and nobody waits. */
  close(): void {
    this.#closed = true;
    this.cancel();
    this.drained();
  }

  writable(): Promise<void> | undefined {
    if (this.#closed || this.hasRoom) return undefined;
    this.outbox.wantDrain(this.handle);
    return new Promise((resolve) => this.#drained = resolve);
  }

  staged(): void {
    this.#host.loop.kick();
  }

  #mode(exchange: Exchange, parts: ResponseParts): ResponseMode {
    const { loop, maxRequests, maxDrainBytes } = this.#host;
    const last = this.#ended + 1 >= maxRequests || this.#owner.isLast;
    const wanted = (exchange.flags & layout.KEEP_ALIVE) !== 0 && !last;
    // The request may still be coming in while a stream goes out; only at its end shows how much is left of it.
    const unread = !(parts.body instanceof ReadableStream) &&
      exchange.leavesUnread(maxDrainBytes);
    MODE.headOnly = exchange.headOnly;
    MODE.close = !wanted || unread || asksToClose(parts.fields);
    MODE.http10 = (exchange.flags & layout.HTTP_1_0) !== 0;
    MODE.now = loop.now;
    return MODE;
  }

  // Chunked where the length is unknown, or for HTTP/1.0 up to the end of the connection.
  #stream(
    exchange: Exchange,
    parts: ResponseParts,
    body: ReadableStream<Uint8Array> | Uint8Array,
    mode: ResponseMode,
    trailers: ResponseTrailers | null,
  ): void {
    const given = trailers === null ? lengthOf(exchange, parts, body) : null;
    const file = mode.headOnly || trailers !== null
      ? null
      : takeFile(body, given);
    const length = file?.length ?? given;
    const chunked = length === null && !mode.http10;
    if (length === null && !chunked && !mode.headOnly) mode.close = true;
    const { close, headOnly } = mode;
    const framing = chunked
      ? `transfer-encoding: chunked\r\n${trailers?.announcement ?? ""}`
      : length === null
      ? ""
      : `content-length: ${length}\r\n`;
    // A body that the response passes on has to be asked for before the head goes out.
    if (exchange.body?.used) this.#owner.passOn(exchange);
    try {
      writeHead(
        this.outbox,
        this.handle,
        parts,
        framing,
        mode,
        headOnly ? 1 : 0,
      );
    } catch (error) {
      if (file !== null) closeFile(file.fd);
      throw error;
    }
    this.staged();
    if (headOnly) {
      if (body instanceof ReadableStream) body.cancel().catch(() => {});
      this.#owner.complete(exchange, close);
    } else if (file !== null) {
      this.#sendFile(exchange, file, close);
    } else {
      const writer = new BodyWriter(this, body, length, chunked, trailers);
      this.#sendBody(exchange, writer, close);
    }
  }

  // Not counted as a promise of the loop: a stream may stay open for hours, and its producer is waited for often
  // enough by the yields that there are anyway.
  #sendBody(exchange: Exchange, writer: BodyWriter, close: boolean): void {
    this.#body = writer;
    writer.run().then((whole) => {
      if (whole) this.#owner.complete(exchange, close);
    }).catch((error) => this.#owner.abort(exchange, error));
  }

  #sendFile(exchange: Exchange, file: FileContent, close: boolean): void {
    const sender = new FileSender(this, file, (error) => {
      if (error === null) this.#owner.complete(exchange, close);
      else this.#owner.abort(exchange, error);
    });
    this.#body = sender;
    sender.advance();
  }
}

// The length of a body that is not written at one blow, null when it is unknown.
function lengthOf(
  exchange: Exchange,
  parts: ResponseParts,
  body: ReadableStream<Uint8Array> | Uint8Array,
): number | null {
  if (body instanceof Uint8Array) return body.length;
  return exchange.body?.lengthOf(body) ?? givenLength(parts.fields);
}
