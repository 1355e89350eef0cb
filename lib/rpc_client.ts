// SPDX-License-Identifier: Apache-2.0
// rpc_client.ts - the calling side of the action router: calls to packets, replies and pushes to whoever waits for
// them; made by rpc.ts, over a connection of rpc_dial.ts.

import { copyOf } from "./bytes.ts";
import type { BodyKind, Codec } from "./codec.ts";
import { HEAD_BYTES, LENGTH_BYTES, readInt16 } from "./packet.ts";
import { callSafely, tellOfOnError } from "./rpc_callback.ts";
import type { PushHandler, RpcClientSettings } from "./rpc_client_options.ts";
import { Deadlines } from "./rpc_deadlines.ts";
import { decodeError, ERROR_ACTION, type RpcError } from "./rpc_error.ts";
import { NOTIFICATION } from "./rpc_peer.ts";
import { requireAction, requireTimeout } from "./rpc_router.ts";
import { Sequences } from "./rpc_sequences.ts";
import {
  packetBytes,
  type Transport,
  type TransportEvents,
} from "./rpc_transport.ts";
import { thrownError } from "./thrown.ts";
import { NORMAL_CLOSURE, PROTOCOL_ERROR } from "./ws_codes.ts";
import { reconnectDelay, type ReconnectSettings } from "./ws_reconnect.ts";

/** How one call differs from the others. */
export interface RpcCallOptions {
  /** Milliseconds that it may take; 0 means no limit. */
  timeout?: number;
  /** Gives it up. The server is not told. */
  signal?: AbortSignal;
}

/** What a client has counted, and has. */
export interface RpcClientStatistics {
  /** Calls that were sent and are not answered. */
  inFlight: number;
  /** Calls that wait to be sent. */
  waiting: number;
  /** Pushes that came. */
  pushes: number;
  /** Times that the connection stood. */
  connects: number;
}

/** Connects, unless the signal aborts, and gives the transport to `connect` before anything is told of it. */
export type Dial = (
  connect: (transport: Transport) => TransportEvents,
  signal: AbortSignal,
) => Promise<void>;

interface Call {
  readonly action: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  // Its bytes until it is sent, then its number.
  body: Uint8Array | null;
  sequence: number;
  done: boolean;
  readonly timeout: number;
  readonly deadline: number;
  signal: AbortSignal | undefined;
  onAbort: (() => void) | undefined;
}

type State = "connecting" | "open" | "lost" | "closed";

/** Connects a client that was just made. For rpc.ts. */
export let connect: (client: RpcClient) => Promise<void>;

/** A client of the action router. Made by `rpcClient()`. */
export class RpcClient implements AsyncDisposable {
  readonly #dial: Dial;
  readonly #settings: RpcClientSettings;
  readonly #codec: Codec;
  readonly #maxInFlight: number;
  readonly #sent = new Sequences<Call>();
  #waiting = new Set<Call>();
  readonly #handlers = new Map<number, Set<PushHandler>>();
  readonly #closed = Promise.withResolvers<Error | null>();
  #transport: Transport | null = null;
  #state: State = "connecting";
  #clogged = false;
  #failure: Error | null = null;
  #failures = 0;
  #openSince = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #dialing = new AbortController();
  readonly #deadlines = new Deadlines<Call>(
    () => this.#calls(),
    (call) => this.#expire(call),
  );
  #pushes = 0;
  #connects = 0;

  static {
    connect = (client) => client.#connect();
  }

  /** Made by `rpcClient()`. */
  constructor(dial: Dial, settings: RpcClientSettings) {
    this.#dial = dial;
    this.#settings = settings;
    this.#codec = settings.codec;
    this.#maxInFlight = settings.maxInFlight;
    for (const [action, handler] of Object.entries(settings.pushes)) {
      this.on(Number(action), handler);
    }
  }

  /** Whether the connection stands. */
  get open(): boolean {
    return this.#state === "open";
  }

  /**
   * Resolves when the client is closed and will not connect again: with null when one side has closed it in order, else
   * with what happened.
   */
  get closed(): Promise<Error | null> {
    return this.#closed.promise;
  }

  /** A copy of the counters. */
  statistics(): RpcClientStatistics {
    return {
      inFlight: this.#sent.size,
      waiting: this.#waiting.size,
      pushes: this.#pushes,
      connects: this.#connects,
    };
  }

  /**
   * Sends a request and waits for its reply. Any number of calls may be made at a time.
   *
   * @typeParam Reply What the body of the reply is.
   * @param action The action.
   * @param body What the codec takes.
   * @param options Timeout and signal.
   * @returns The body of the reply.
   * @throws {RpcError} When the server has answered with an error.
   * @throws {Deno.errors.TimedOut} When there is no answer in time.
   * @throws {Deno.errors.ConnectionAborted} When the connection is lost, or the client closed.
   * @throws {unknown} The reason of the signal; what the codec throws.
   */
  async call<Reply = unknown>(
    action: number,
    body?: unknown,
    options: RpcCallOptions = {},
  ): Promise<Reply> {
    const { timeout = this.#settings.timeout, signal } = options;
    requireAction(action, "call the action");
    requireTimeout(timeout, "call the action");
    signal?.throwIfAborted();
    const bytes = this.#encode(action, body);
    if (this.#state === "closed") throw lost(null);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const call: Call = {
      action,
      resolve,
      reject,
      body: null,
      sequence: 0,
      done: false,
      timeout,
      deadline: timeout === 0 ? Infinity : performance.now() + timeout,
      signal,
      onAbort: undefined,
    };
    this.#deadlines.watch(call);
    if (signal !== undefined) {
      call.onAbort = (): void => this.#abandon(call, signal.reason);
      signal.addEventListener("abort", call.onAbort, { once: true });
    }
    this.#submit(call, bytes);
    return await promise as Reply;
  }

  /**
   * Sends a request that is not answered, not even with an error.
   *
   * @param action The action.
   * @param body What the codec takes.
   * @returns False when it was not sent: there is no connection, or too much waits for the server.
   */
  notify(action: number, body?: unknown): boolean {
    requireAction(action, "notify of the action");
    const bytes = this.#encode(action, body);
    return this.#takes && this.#write(action, NOTIFICATION, bytes);
  }

  /**
   * Has a function called with what the server sends of its own accord.
   *
   * @typeParam Body What the body is.
   * @param action The action.
   * @param handler The function.
   * @returns A function that ends it.
   */
  on<Body = unknown>(action: number, handler: PushHandler<Body>): () => void {
    requireAction(action, "listen for the action");
    if (typeof handler !== "function") {
      throw new TypeError(
        `Cannot listen for the action: a function must be given for ${action}`,
      );
    }
    const handlers = this.#handlers.get(action) ?? new Set();
    this.#handlers.set(action, handlers);
    handlers.add(handler as PushHandler);
    return () => {
      handlers.delete(handler as PushHandler);
    };
  }

  /** Closes the connection. Calls that are not answered are rejected. */
  async close(): Promise<void> {
    if (this.#state !== "closed") {
      this.#state = "closed";
      clearTimeout(this.#retry);
      this.#rejectAll(null);
      if (this.#transport === null) this.#closed.resolve(null);
      else this.#transport.close(NORMAL_CLOSURE, "");
      // What is open by now has its closing handshake.
      if (this.#transport === null) this.#dialing.abort(lost(null));
    }
    await this.closed;
  }

  /** The same as `close()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #connect(): Promise<void> {
    await this.#dial(
      (transport) => this.#opened(transport),
      this.#dialing.signal,
    );
  }

  #encode(action: number, body: unknown): Uint8Array {
    const bytes = this.#codec.encode(body, action, "request");
    const length = LENGTH_BYTES + HEAD_BYTES + bytes.length;
    const { maxPacketBytes } = this.#settings;
    if (length <= maxPacketBytes) return bytes;
    throw new RangeError(
      `Cannot send the packet: it has ${length} bytes, and at most ${maxPacketBytes} are allowed`,
    );
  }

  // Codecs and their libraries say what is wrong with the bytes, not whose bytes they are.
  #decode(bytes: Uint8Array, action: number, kind: BodyKind): unknown {
    try {
      return this.#codec.decode(bytes, action, kind);
    } catch (thrown) {
      const { message } = thrownError(thrown);
      throw new Deno.errors.InvalidData(
        `Cannot read the ${kind} of the action ${action}, perhaps because the server has another codec: ${message}`,
        { cause: thrown },
      );
    }
  }

  // While the connection is about to close, calls wait for what comes of that.
  get #takes(): boolean {
    return this.#state === "open" && !this.#clogged &&
      this.#transport!.writable;
  }

  #flows(): boolean {
    return this.#takes && this.#sent.size < this.#maxInFlight;
  }

  #submit(call: Call, bytes: Uint8Array): void {
    if (this.#waiting.size === 0 && this.#flows()) {
      return this.#send(call, bytes);
    }
    // It may be the application's, which may write over it.
    call.body = copyOf(bytes);
    this.#waiting.add(call);
    this.#pump();
  }

  #pump(): void {
    for (const call of this.#waiting) {
      if (!this.#flows()) return;
      this.#waiting.delete(call);
      this.#send(call, call.body!);
    }
  }

  #send(call: Call, bytes: Uint8Array): void {
    call.body = null;
    call.sequence = this.#sent.add(call);
    if (this.#write(call.action, call.sequence, bytes)) return;
    this.#sent.free(call.sequence);
    const message =
      "Cannot send the packet: the queue of the connection is full";
    this.#end(call).reject(new Error(message));
  }

  #write(action: number, sequence: number, bytes: Uint8Array): boolean {
    const packet = packetBytes(action, sequence, bytes);
    const status = this.#transport!.send(packet);
    if (status === "queued") this.#clogged = true;
    return status !== "dropped";
  }

  #opened(transport: Transport): TransportEvents {
    this.#transport = transport;
    if (this.#state === "closed") queueMicrotask(() => transport.terminate());
    else this.#state = "open";
    this.#clogged = false;
    this.#failure = null;
    this.#openSince = performance.now();
    this.#connects++;
    // Before the first packet.
    this.#greet();
    let readable = true;
    return {
      packet: (bytes) => {
        if (readable) this.#packet(bytes);
      },
      drain: () => {
        this.#clogged = false;
        this.#pump();
      },
      malformed: (why) => {
        readable = false;
        this.#failure = new Error(`The server sent what is no packet: ${why}`);
        transport.close(PROTOCOL_ERROR, why);
      },
      ended: () => transport.close(NORMAL_CLOSURE, ""),
      closed: (error) => this.#gone(this.#failure ?? error),
    };
  }

  #greet(): void {
    if (this.#state !== "open") return;
    // A client that has to log in does so before what has waited for the connection.
    const waiting = this.#waiting;
    this.#waiting = new Set();
    this.#safely(() => this.#settings.onOpen?.(this));
    for (const call of waiting) if (!call.done) this.#waiting.add(call);
    if (this.#isClosed()) this.#rejectAll(null);
    else this.#pump();
  }

  // A callback may have closed it meanwhile.
  #isClosed(): boolean {
    return this.#state === "closed";
  }

  #packet(bytes: Uint8Array): void {
    if (this.#state !== "open") return;
    const action = readInt16(bytes, 0);
    const sequence = readInt16(bytes, 2);
    const body = bytes.subarray(HEAD_BYTES);
    const call = this.#sent.get(sequence);
    const failed = action === ERROR_ACTION ? decodeError(body) : null;
    // A znet server may push with any sequence.
    if (call === undefined || call.action !== (failed?.action ?? action)) {
      if (failed !== null) this.#report(failed.error);
      else this.#push(action, body);
      return;
    }
    this.#sent.free(sequence);
    if (!call.done) this.#settle(call, body, failed?.error);
    if (this.#waiting.size > 0) this.#pump();
  }

  #settle(call: Call, body: Uint8Array, error: RpcError | undefined): void {
    this.#end(call);
    if (error !== undefined) return call.reject(error);
    try {
      call.resolve(this.#decode(body, call.action, "reply"));
    } catch (thrown) {
      call.reject(thrown);
    }
  }

  #push(action: number, body: Uint8Array): void {
    this.#pushes++;
    const handlers = this.#handlers.get(action);
    if (handlers === undefined || handlers.size === 0) return;
    this.#safely(() => {
      const value = this.#decode(body, action, "push");
      for (const handler of handlers) this.#safely(() => handler(value));
    });
  }

  *#calls(): Iterable<Call> {
    for (const call of this.#sent.owners()) if (!call.done) yield call;
    yield* this.#waiting;
  }

  #expire(call: Call): void {
    const message = `No answer within ${call.timeout} milliseconds`;
    this.#abandon(call, new Deno.errors.TimedOut(message));
  }

  #abandon(call: Call, reason: unknown): void {
    if (call.done) return;
    this.#waiting.delete(call);
    // The answer may still come, and is nobody else's.
    if (call.sequence !== 0) this.#sent.abandon(call.sequence);
    this.#end(call).reject(reason);
    this.#pump();
  }

  // Its promise is settled by whoever calls this.
  #end(call: Call): Call {
    call.done = true;
    call.signal?.removeEventListener("abort", call.onAbort!);
    return call;
  }

  #gone(error: Error | null): void {
    this.#transport = null;
    if (this.#state === "closed") {
      this.#closed.resolve(null);
    } else {
      this.#lose(error);
    }
    this.#safely(() => this.#settings.onClose?.(error));
  }

  // Nobody knows what has become of calls that were sent.
  #lose(error: Error | null): void {
    this.#state = "lost";
    for (const call of this.#sent.clear()) this.#end(call).reject(lost(error));
    const { reconnect } = this.#settings;
    if (reconnect === null) return this.#giveUp(error);
    const stood = performance.now() - this.#openSince;
    if (stood >= reconnect.maxDelay) this.#failures = 0;
    this.#retryLater(reconnect, error);
  }

  #giveUp(error: Error | null): void {
    this.#state = "closed";
    this.#rejectAll(error);
    this.#closed.resolve(error);
  }

  #retryLater(options: ReconnectSettings, error: Error | null): void {
    if (this.#failures >= options.maxAttempts) return this.#giveUp(error);
    const delay = reconnectDelay(options, ++this.#failures, Math.random());
    this.#retry = setTimeout(() => void this.#redial(options), delay);
  }

  async #redial(options: ReconnectSettings): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      if (this.#state === "lost") this.#retryLater(options, thrownError(error));
    }
  }

  #rejectAll(error: Error | null): void {
    for (const call of [...this.#sent.clear(), ...this.#waiting]) {
      this.#end(call).reject(lost(error));
    }
    this.#waiting.clear();
    this.#deadlines.close();
  }

  #safely(callback: () => void | Promise<void>): void {
    callSafely(callback, (error) => this.#report(error));
  }

  #report(error: unknown): void {
    if (this.#settings.onError === undefined) {
      console.error("Exception in a client of the action router", error);
      return;
    }
    callSafely(() => this.#settings.onError?.(error), tellOfOnError);
  }
}

function lost(cause: Error | null): Error {
  return new Deno.errors.ConnectionAborted(
    cause === null
      ? "The connection is closed"
      : `The connection is lost: ${cause.message}`,
    { cause },
  );
}
