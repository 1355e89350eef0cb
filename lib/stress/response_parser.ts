// SPDX-License-Identifier: Apache-2.0
// response_parser.ts - responses of HTTP/1.1 in a stream of bytes, one behind the other; made by http_wire.ts for each
// connection.

import { emptyHead, MalformedResponse, parseHead } from "./response_head.ts";
import { SameBytes } from "./same_bytes.ts";

/** Takes responses, each when its last byte has come. */
export interface ResponseSink {
  /**
   * A whole response.
   *
   * @param status Its status.
   * @param bodyBytes Length of its body, without chunks.
   * @param right Whether its body is the one that was expected.
   * @param last Whether the connection ends with it.
   */
  response(
    status: number,
    bodyBytes: number,
    right: boolean,
    last: boolean,
  ): void;
}

type State =
  | "head"
  | "length" // a body of known length
  | "chunk-size"
  | "chunk"
  | "chunk-end"
  | "trailers"
  | "until-close" // a body that ends with the connection
  | "closed"; // no response may follow

const CR = 13;
const LF = 10;
const MAX_HEAD_BYTES = 65_536;
const MAX_LINE_BYTES = 8192;
const NO_BYTES = new Uint8Array(0);

/** Reads what one connection receives. */
export class ResponseParser {
  readonly #sink: ResponseSink;
  // Whether responses are to HEAD, and have no bodies.
  readonly #bodiless: boolean;
  readonly #body: SameBytes;
  #state: State = "head";
  // What is not parsed yet, as the rest of it has not come.
  #rest: Uint8Array = NO_BYTES;
  readonly #head = emptyHead();
  // Bytes of the body, or of the chunk, that are still to come.
  #left = 0;
  #bodyBytes = 0;
  #trailerBytes = 0;

  /** `expect` is what each body has to be; null for anything. */
  constructor(
    sink: ResponseSink,
    bodiless: boolean,
    expect: Uint8Array | null,
  ) {
    this.#sink = sink;
    this.#bodiless = bodiless;
    this.#body = new SameBytes(expect);
  }

  /** Whether the connection may end here: between two responses. */
  get idle(): boolean {
    return (this.#state === "head" || this.#state === "closed") &&
      this.#rest.length === 0;
  }

  /** Reads on. Throws a MalformedResponse. */
  push(chunk: Uint8Array): void {
    const bytes = this.#rest.length === 0 ? chunk : joined(this.#rest, chunk);
    let at = 0;
    while (at < bytes.length) {
      const next = this.#step(bytes, at);
      if (next < 0) break;
      at = next;
    }
    this.#rest = at === bytes.length ? NO_BYTES : bytes.slice(at);
  }

  /** The peer sends no more. Throws a MalformedResponse when that cuts a response. */
  end(): void {
    if (this.#state === "until-close") this.#complete();
    if (this.idle) return;
    throw new MalformedResponse("the connection ended in the midst of it");
  }

  // Where to go on, -1 when more has to come first.
  #step(bytes: Uint8Array, at: number): number {
    switch (this.#state) {
      case "head":
        return this.#onHead(bytes, at);
      case "length":
      case "chunk":
      case "until-close":
        return this.#onBody(bytes, at);
      case "chunk-size":
        return this.#onChunkSize(bytes, at);
      case "chunk-end":
        return this.#onChunkEnd(bytes, at);
      case "trailers":
        return this.#onTrailer(bytes, at);
      case "closed":
        throw new MalformedResponse("bytes follow the last one");
    }
  }

  #onHead(bytes: Uint8Array, at: number): number {
    const head = this.#head;
    const end = parseHead(bytes, at, head);
    if (end < 0) {
      if (bytes.length - at <= MAX_HEAD_BYTES) return -1;
      throw new MalformedResponse("its head is too long");
    }
    const { status } = head;
    if (status === 101) throw new MalformedResponse("nobody asked for 101");
    // Interim responses (RFC 9110 section 15.2).
    if (status < 200) return end;
    this.#bodyBytes = 0;
    if (this.#bodiless || status === 204 || status === 304) {
      this.#complete();
    } else if (head.chunked) {
      this.#state = "chunk-size";
    } else if (head.length < 0) {
      this.#state = "until-close";
      head.last = true;
    } else {
      this.#left = head.length;
      if (head.length === 0) this.#complete();
      else this.#state = "length";
    }
    return end;
  }

  #onBody(bytes: Uint8Array, at: number): number {
    const available = bytes.length - at;
    const isOpen = this.#state === "until-close";
    const take = isOpen ? available : Math.min(available, this.#left);
    this.#body.push(bytes, at, at + take);
    this.#bodyBytes += take;
    this.#left -= take;
    if (!isOpen && this.#left === 0) {
      if (this.#state === "chunk") this.#state = "chunk-end";
      else this.#complete();
    }
    return at + take;
  }

  #onChunkSize(bytes: Uint8Array, at: number): number {
    const end = lineEnd(bytes, at);
    if (end < 0) return -1;
    const line = String.fromCharCode(...bytes.subarray(at, end));
    const size = /^([\da-f]{1,8})[\t ]*(?:;|$)/i.exec(line)?.[1];
    if (size === undefined) {
      throw new MalformedResponse("a chunk has no size");
    }
    this.#left = parseInt(size, 16);
    this.#trailerBytes = 0;
    this.#state = this.#left === 0 ? "trailers" : "chunk";
    return end + 2;
  }

  #onChunkEnd(bytes: Uint8Array, at: number): number {
    if (bytes[at] !== CR) throw new MalformedResponse("a chunk has no end");
    if (bytes.length - at < 2) return -1;
    if (bytes[at + 1] !== LF) throw new MalformedResponse("a chunk has no end");
    this.#state = "chunk-size";
    return at + 2;
  }

  #onTrailer(bytes: Uint8Array, at: number): number {
    const end = lineEnd(bytes, at);
    if (end < 0) return -1;
    this.#trailerBytes += end - at;
    if (this.#trailerBytes > MAX_HEAD_BYTES) {
      throw new MalformedResponse("its trailers are too long");
    }
    if (end === at) this.#complete();
    else if (bytes.subarray(at, end).indexOf(58) <= 0) {
      throw new MalformedResponse("a trailer has no name");
    }
    return end + 2;
  }

  #complete(): void {
    const { status, last } = this.#head;
    this.#state = last ? "closed" : "head";
    const right = this.#body.finish();
    this.#sink.response(status, this.#bodyBytes, right, last);
  }
}

// Where the CR LF of a line is, -1 when it has not come.
function lineEnd(bytes: Uint8Array, at: number): number {
  const lf = bytes.indexOf(LF, at);
  const length = (lf < 0 ? bytes.length : lf) - at;
  if (length > MAX_LINE_BYTES) {
    throw new MalformedResponse("a line is too long");
  }
  if (lf < 0) return -1;
  if (lf === at || bytes[lf - 1] !== CR) {
    throw new MalformedResponse("a line ends without CR");
  }
  return lf - 1;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
