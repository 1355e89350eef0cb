// SPDX-License-Identifier: Apache-2.0
// sse.ts - sse(): a Response whose body is a stream of server-sent events, fed by a producer; needs nothing of the
// server but that it reads and cancels the body.
/**
 * Server-sent events: `sse()` makes a `Response` of them that any server can send.
 *
 * @example
 * ```ts
 * import { serve } from "@millrace/millrace";
 * import { sse } from "@millrace/millrace/sse";
 *
 * serve((request) =>
 *   sse(request, async (stream) => {
 *     await stream.send({ event: "greeting", data: "Hello, World!" });
 *   })
 * );
 * ```
 *
 * @module
 */

import {
  type ServerSentEventMessage,
  ServerSentEventStream,
} from "@std/http/server-sent-event-stream";
import { requireKnown, TIMER_MAX_MS } from "./route_options.ts";

/** What one `send()` transmits; at least one field must be given. */
export interface SseEvent {
  /** The type of the event, `"message"` when there is none; without line breaks. */
  event?: string;
  /** What the client's listeners get, of any number of lines. Without it the client dispatches no event. */
  data?: string;
  /** What the client names in `Last-Event-ID` when it connects again; without line breaks and NUL. */
  id?: string | number;
  /** Milliseconds that the client waits before it connects again; an integer. */
  retry?: number;
  /** Text that clients skip, of any number of lines. */
  comment?: string;
}

/** The producer's end of an event stream. */
export interface SseStream {
  /** The id of the last event that the client has seen, or null when it connects for the first time. */
  readonly lastEventId: string | null;
  /** Aborts when the stream is over: the client has left, `close()` was called, or the producer is done. */
  readonly signal: AbortSignal;
  /** Resolves when the stream is over, and never rejects. */
  readonly closed: Promise<void>;
  /** Events that were given to `send()` and that the server has not taken yet. */
  readonly pending: number;
  /**
   * Sends an event. Who awaits it is as fast as the client; events that are sent without that are queued, however
   * many.
   *
   * @param event The event.
   * @returns Resolves when the server has taken the event to send it. Rejects with `signal.reason` when the stream is
   * over, which is no unhandled rejection, and with a TypeError when the event cannot be expressed.
   */
  send(event: SseEvent): Promise<void>;
  /** Ends the stream after what was sent. The client will most likely connect again. */
  close(): void;
}

/**
 * Feeds an event stream. When it returns, the stream ends; when it rejects, the response breaks off and the server logs
 * the error. A rejection after the end of the stream is most likely due to it, and is ignored.
 */
export type SseProducer = (stream: SseStream) => Promise<void>;

/** Options of {@linkcode sse}. */
export interface SseOptions {
  /**
   * Milliseconds of silence after which an empty comment is sent, so that nothing between server and client takes the
   * connection for dead, and a client that is gone is found out; 0 for never.
   *
   * @default {15000}
   */
  heartbeat?: number;
  /** Milliseconds that the client waits before it connects again. By default it decides by itself. */
  retry?: number;
  /** Ends the stream as `close()` does when it aborts, for example before the server shuts down. */
  signal?: AbortSignal;
  /** More fields of the response. `cache-control` is `no-store` unless given. */
  headers?: HeadersInit;
}

const OPTIONS = ["heartbeat", "retry", "signal", "headers"];

const HEARTBEAT_MS = 15_000;
const LINE_BREAK = /[\r\n]/;
const LINE_BREAK_OR_NUL = /[\r\n\0]/;
const LEADING_SPACE = /(^|\r\n|\r|\n) /g;
// deno-lint-ignore no-control-regex
const BYTES = /^[\x00-\xff]*$/;

/**
 * Answers a request with a stream of server-sent events (`text/event-stream`). The producer is called when the server
 * begins to read the body: not for HEAD, nor when the response is thrown away.
 *
 * @example Count, from where the client has left off
 * ```ts
 * import { setTimeout as sleep } from "node:timers/promises";
 * import { serve } from "@millrace/millrace";
 * import { sse } from "@millrace/millrace/sse";
 *
 * serve((request) =>
 *   sse(request, async (stream) => {
 *     for (let id = Number(stream.lastEventId ?? 0) + 1;; id++) {
 *       await stream.send({ id, data: `event ${id}` });
 *       await sleep(1000, undefined, { signal: stream.signal });
 *     }
 *   })
 * );
 * ```
 *
 * @example Tell all clients
 * ```ts
 * import { serve } from "@millrace/millrace";
 * import { sse, type SseStream } from "@millrace/millrace/sse";
 *
 * const clients = new Set<SseStream>();
 *
 * serve((request) =>
 *   sse(request, async (stream) => {
 *     clients.add(stream);
 *     await stream.closed;
 *     clients.delete(stream);
 *   })
 * );
 *
 * function tell(data: string): void {
 *   for (const client of clients) {
 *     if (client.pending < 1000) void client.send({ data });
 *     else client.close();
 *   }
 * }
 *
 * setInterval(() => tell(new Date().toISOString()), 1000);
 * ```
 *
 * @param request The request to answer.
 * @param producer Sends the events.
 * @param options Heartbeat, delay of reconnections, end and header fields.
 * @returns The response, to be returned by the handler.
 * @throws {TypeError} When the producer is no function, or an option is unknown.
 * @throws {RangeError} When `heartbeat` or `retry` is out of range.
 */
export function sse(
  request: Request,
  producer: SseProducer,
  options: SseOptions = {},
): Response {
  requireKnown("make an event stream", options, OPTIONS);
  if (typeof producer !== "function") {
    throw new TypeError(
      "Cannot make an event stream: a function that sends the events must be given",
    );
  }
  const headers = new Headers(options.headers);
  headers.set("content-type", "text/event-stream");
  if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
  const source = new EventSource(request, producer, options);
  // Nothing is made before it is asked for.
  const body = new ReadableStream(source, { highWaterMark: 0 });
  return new Response(body, { headers });
}

class EventSource implements SseStream, UnderlyingDefaultSource<Uint8Array> {
  readonly lastEventId: string | null;
  readonly #request: Request;
  readonly #producer: SseProducer;
  readonly #heartbeat: number;
  readonly #retry: number | undefined;
  readonly #stop: AbortSignal | undefined;
  readonly #writer: WritableStreamDefaultWriter<ServerSentEventMessage>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #controller = new AbortController();
  readonly #closed = Promise.withResolvers<void>();
  #started = false;
  #cancelled = false;
  #pending = 0;
  #silentSince = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(request: Request, producer: SseProducer, options: SseOptions) {
    this.lastEventId = lastEventIdOf(request);
    this.#request = request;
    this.#producer = producer;
    this.#heartbeat = milliseconds(
      "heartbeat",
      options.heartbeat ?? HEARTBEAT_MS,
    );
    this.#retry = options.retry === undefined
      ? undefined
      : milliseconds("retry", options.retry);
    this.#stop = options.signal;
    const encoder = new ServerSentEventStream();
    this.#writer = encoder.writable.getWriter();
    this.#reader = encoder.readable.getReader();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  get pending(): number {
    return this.#pending;
  }

  send(event: SseEvent): Promise<void> {
    let message: ServerSentEventMessage;
    try {
      message = messageOf(event);
    } catch (error) {
      return Promise.reject(error);
    }
    const sent = this.#write(message);
    // Nobody has to look at it: clients leave at any time.
    sent.catch(() => {});
    return sent;
  }

  close(): void {
    this.#finish(
      new DOMException("The event stream was closed", "AbortError"),
    );
  }

  // The server wants bytes.
  async pull(
    controller: ReadableStreamDefaultController<Uint8Array>,
  ): Promise<void> {
    this.#start();
    const { done, value } = await this.#reader.read();
    if (this.#cancelled) return;
    if (done) controller.close();
    else controller.enqueue(value);
  }

  // The client has left, or the server has no use for the body.
  async cancel(reason: unknown): Promise<void> {
    this.#cancelled = true;
    this.#end(reason);
    await this.#reader.cancel(this.signal.reason);
  }

  #start(): void {
    if (this.#started) return;
    this.#started = true;
    const { signal } = this.#request;
    // From here on the body is cancelled when the client leaves.
    if (signal.aborted) return this.#finish(signal.reason);
    if (this.#stop?.aborted) return this.close();
    this.#stop?.addEventListener("abort", this.#onStop);
    this.#listen();
    if (this.#retry !== undefined) void this.send({ retry: this.#retry });
    void this.#run();
  }

  async #run(): Promise<void> {
    try {
      await this.#producer(this);
    } catch (error) {
      if (this.signal.aborted) return;
      this.#end(error);
      await this.#writer.abort(error).catch(() => {});
      return;
    }
    this.close();
  }

  async #write(message: ServerSentEventMessage): Promise<void> {
    this.signal.throwIfAborted();
    this.#pending++;
    try {
      await this.#writer.write(message);
    } finally {
      this.#pending--;
    }
    this.#listen();
  }

  // A silence begins. There is none while events wait for the client.
  #listen(): void {
    if (this.#heartbeat === 0 || this.signal.aborted) return;
    this.#silentSince = performance.now();
    if (this.#timer === undefined) this.#arm(this.#heartbeat);
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(this.#onTimer, Math.ceil(ms));
    Deno.unrefTimer(this.#timer);
  }

  readonly #onTimer = (): void => {
    this.#timer = undefined;
    const left = this.#silentSince + this.#heartbeat - performance.now();
    if (left > 0) this.#arm(left);
    else if (this.#pending === 0) void this.send({ comment: "" });
  };

  readonly #onStop = (): void => this.close();

  // What was sent still goes out.
  #finish(reason: unknown): void {
    if (this.signal.aborted) return;
    this.#end(reason);
    this.#writer.close().catch(() => {});
  }

  #end(reason: unknown): void {
    if (this.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#stop?.removeEventListener("abort", this.#onStop);
    this.#controller.abort(reason);
    this.#closed.resolve();
  }
}

// The encoder breaks the whole stream over an event that it cannot express, and lets pass what clients ignore.
function messageOf(event: SseEvent): ServerSentEventMessage {
  const { comment, data, event: type, id, retry } = event;
  const message: ServerSentEventMessage = {};
  if (comment !== undefined) message.comment = textOf("comment", comment);
  if (type !== undefined) {
    message.event = spaced(lineOf("event", type, LINE_BREAK));
  }
  if (data !== undefined) message.data = spaced(textOf("data", data));
  if (id !== undefined) {
    const text = typeof id === "number" ? String(id) : id;
    message.id = spaced(lineOf("id", text, LINE_BREAK_OR_NUL));
  }
  if (retry !== undefined) {
    if (!Number.isSafeInteger(retry) || retry < 0) {
      throw cannotSend(`"retry" must be an integer of at least 0, is ${retry}`);
    }
    message.retry = retry;
  }
  if (Object.keys(message).length === 0) throw cannotSend("it has no field");
  return message;
}

function lineOf(name: string, value: unknown, banned: RegExp): string {
  const text = textOf(name, value);
  if (!banned.test(text)) return text;
  throw cannotSend(
    `"${name}" must have no line break${
      banned === LINE_BREAK ? "" : " and no NUL"
    }, is ${Deno.inspect(text)}`,
  );
}

function textOf(name: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw cannotSend(`"${name}" must be a string, is ${Deno.inspect(value)}`);
}

// The encoder puts no space behind the colon, and the client removes one.
function spaced(text: string): string {
  return text.includes(" ") ? text.replace(LEADING_SPACE, "$1  ") : text;
}

function cannotSend(why: string): TypeError {
  return new TypeError(`Cannot send the event: ${why}`);
}

function milliseconds(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= TIMER_MAX_MS) {
    return value;
  }
  throw new RangeError(
    `Cannot make an event stream: "${name}" must be an integer from 0 to ${TIMER_MAX_MS}, is ${value}`,
  );
}

// Clients write it in UTF-8, and Headers shows each byte as a character.
function lastEventIdOf({ headers }: Request): string | null {
  const value = headers.get("last-event-id");
  if (value === null || !BYTES.test(value)) return value;
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(
    Uint8Array.from(value, (byte) => byte.charCodeAt(0)),
  );
}
