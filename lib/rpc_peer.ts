// SPDX-License-Identifier: Apache-2.0
// rpc_peer.ts - one connection of a server of the action router: packets to handlers, replies to packets, in the
// order and number that the options allow; made by rpc_app.ts, called by rpc_transport.ts.

import { copyOf } from "./bytes.ts";
import { type BodyKind, type Codec, encoded } from "./codec.ts";
import { HEAD_BYTES, readInt16 } from "./packet.ts";
import { RpcConnection } from "./rpc_connection.ts";
import { cancel, RpcContext } from "./rpc_context.ts";
import { Deadlines } from "./rpc_deadlines.ts";
import { encodeError, ERROR_ACTION, RpcCode, RpcError } from "./rpc_error.ts";
import {
  outcome,
  requireAction,
  type Route,
  type Router,
} from "./rpc_router.ts";
import {
  packetBytes,
  type Transport,
  type TransportEvents,
} from "./rpc_transport.ts";
import { thrownError } from "./thrown.ts";
import { GOING_AWAY, NORMAL_CLOSURE, PROTOCOL_ERROR } from "./ws_codes.ts";
import type { SendStatus } from "./ws_socket.ts";

/** In which order the replies of one connection are sent: as handlers are done, or as requests came. */
export type ReplyOrder = "completion" | "request";

/** What a peer asks of its application. */
export interface PeerHost {
  readonly router: Router;
  readonly order: ReplyOrder;
  readonly maxInFlight: number;
  readonly maxPacketBytes: number;
  readonly counters: PeerCounters;
  /** The connection is gone. */
  gone(peer: Peer, error: Error | null): void;
  /** Something other than an RpcError was thrown. */
  failed(error: unknown, context: RpcContext): void;
}

/** What peers count. */
export interface PeerCounters {
  requests: number;
  errors: number;
  pushes: number;
}

/** The sequence of requests that want no answer. */
export const NOTIFICATION = -1;

// The sequence of packets that nobody has asked for.
const PUSH = 0;

const NO_TURN = -1;

// A request whose handler has returned a promise.
interface Call {
  readonly context: RpcContext;
  readonly turn: number;
  readonly route: Route;
  readonly deadline: number;
  done: boolean;
}

/** One connection. */
export class Peer implements TransportEvents {
  readonly id: number;
  readonly connection: RpcConnection;
  readonly transport: Transport;
  open = true;
  readonly #host: PeerHost;
  readonly #calls = new Set<Call>();
  // Requests are numbered as they come. Replies wait here while the socket is full, or those before them are not ready
  // where their order is that of the requests.
  #begun = 0;
  #answered = 0;
  #ready: Map<number, Uint8Array | null> | null = null;
  // Why nothing is read.
  #clogged = false;
  #draining = false;
  #ended = false; // by the peer, who waits for its answers
  #paused = false;
  #gone = false;
  #deadlines: Deadlines<Call> | null = null;
  #controller: AbortController | null = null;
  // Why this side has given the connection up.
  #failure: Error | null = null;

  constructor(id: number, transport: Transport, host: PeerHost, codec: Codec) {
    this.id = id;
    this.transport = transport;
    this.#host = host;
    this.connection = new RpcConnection(this, codec);
  }

  /** Requests that were taken in and whose replies are not sent. */
  get inFlight(): number {
    return this.#begun - this.#answered;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (!this.open) this.#controller.abort(gone());
    return this.#controller.signal;
  }

  packet(bytes: Uint8Array): void {
    if (!this.open || this.#draining) return;
    const action = readInt16(bytes, 0);
    const sequence = readInt16(bytes, 2);
    const route = this.#host.router.find(action);
    const turn = this.#begun++;
    this.#host.counters.requests++;
    let context: RpcContext | undefined;
    try {
      const body = this.#decode(route, action, bytes.subarray(HEAD_BYTES));
      context = new RpcContext(this.connection, action, sequence, body);
      const reply = route.run(context);
      if (isThenable(reply)) this.#await(context, turn, route, reply);
      else this.#answer(context, turn, route, reply);
    } catch (error) {
      context ??= new RpcContext(
        this.connection,
        action,
        sequence,
        undefined as unknown,
      );
      this.#refuse(context, turn, route, error);
    }
    this.#tend();
  }

  drain(): void {
    this.#clogged = false;
    this.#sendReady(false);
    this.#tend();
  }

  malformed(why: string): void {
    if (!this.open) return;
    const error = new RpcError(RpcCode.Malformed, why);
    this.#failure = error;
    this.#send(packetBytes(ERROR_ACTION, PUSH, encodeError(0, error)));
    this.#leave(PROTOCOL_ERROR, why);
  }

  ended(): void {
    this.#ended = true;
    this.#tend();
  }

  closed(error: Error | null): void {
    // Once this side has left, it does not matter how the other one did.
    const reason = this.#failure ?? (this.open ? error : null);
    this.#gone = true;
    this.#giveUp();
    this.#host.gone(this, reason);
  }

  /** Sends a packet that nobody has asked for. */
  push(action: number, body: unknown): SendStatus {
    requireAction(action, "push the action");
    // It must not overtake them.
    const first = this.#sendReady(true);
    const packet = this.#encode(null, action, PUSH, body, "push");
    if (!this.open || !first) return "dropped";
    this.#host.counters.pushes++;
    return this.#write(packet);
  }

  /** Takes no more requests, and closes once those that are in flight are answered. */
  shutdown(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#tend();
  }

  close(): void {
    this.#leave(NORMAL_CLOSURE, "");
  }

  terminate(): void {
    this.#giveUp();
    this.transport.terminate();
  }

  #decode(route: Route, action: number, bytes: Uint8Array): unknown {
    // Nobody knows what it might be.
    if (this.#host.router.isFallback(route)) return copyOf(bytes);
    const codec = route.codec ?? this.connection.codec;
    try {
      const body = codec.decode(bytes, action, "request");
      return route.parse === null ? body : route.parse(body);
    } catch (error) {
      if (error instanceof RpcError) throw error;
      throw new RpcError(
        RpcCode.BadRequest,
        `Bad request: ${thrownError(error).message}`,
        { cause: error },
      );
    }
  }

  #encode(
    route: Route | null,
    action: number,
    sequence: number,
    body: unknown,
    kind: BodyKind,
  ): Uint8Array {
    const codec = route?.codec ?? this.connection.codec;
    const bytes = encoded(codec, body, action, kind);
    const packet = packetBytes(action, sequence, bytes);
    const { maxPacketBytes } = this.#host;
    if (packet.length <= maxPacketBytes) return packet;
    throw new RangeError(
      `Cannot send the packet: it has ${packet.length} bytes, and at most ${maxPacketBytes} are allowed`,
    );
  }

  #await(
    context: RpcContext,
    turn: number,
    route: Route,
    reply: PromiseLike<unknown>,
  ): void {
    const deadline = route.timeout > 0
      ? performance.now() + route.timeout
      : Infinity;
    const call: Call = { context, turn, route, deadline, done: false };
    if (this.#gone) {
      // Its handler has closed a connection that the peer had left.
      this.#cancel(call);
    } else {
      this.#calls.add(call);
      if (route.timeout > 0) this.#watch(call);
    }
    this.transport.watch(
      Promise.resolve(reply).then(
        (value) =>
          this.#settle(call, () => this.#answer(context, turn, route, value)),
        (error) =>
          this.#settle(call, () => this.#refuse(context, turn, route, error)),
      ),
    );
  }

  #watch(call: Call): void {
    this.#deadlines ??= new Deadlines(
      () => this.#calls,
      (late) => this.#expire(late),
    );
    this.#deadlines.watch(call);
  }

  #settle(call: Call, answer: () => void): void {
    if (call.done) return;
    call.done = true;
    this.#calls.delete(call);
    answer();
    this.#tend();
  }

  #expire(call: Call): void {
    const { context, turn, route } = call;
    const message = `Not done within ${route.timeout} milliseconds`;
    this.#settle(call, () => {
      const error = new RpcError(RpcCode.Timeout, message);
      this.#refuse(context, turn, route, error);
    });
    cancel(context, new DOMException(message, "TimeoutError"));
  }

  // Nobody waits for answers any more.
  #giveUp(): void {
    this.open = false;
    this.#controller?.abort(gone());
    for (const call of this.#calls) this.#cancel(call);
    this.#calls.clear();
    this.#deadlines?.close();
    this.#ready?.clear();
  }

  #cancel(call: Call): void {
    call.done = true;
    cancel(call.context, gone());
  }

  #answer(
    context: RpcContext,
    turn: number,
    route: Route,
    reply: unknown,
  ): void {
    const { action, sequence } = context;
    if (!answers(route, sequence)) return this.#finish(turn, null);
    let packet: Uint8Array;
    try {
      const body = outcome(context, reply);
      packet = this.#encode(route, action, sequence, body, "reply");
    } catch (error) {
      return this.#refuse(context, turn, route, error);
    }
    this.#finish(turn, packet);
  }

  #refuse(
    context: RpcContext,
    turn: number,
    route: Route,
    thrown: unknown,
  ): void {
    this.#host.counters.errors++;
    let error = thrown;
    if (!(error instanceof RpcError)) {
      this.#host.failed(error, context);
      error = new RpcError(RpcCode.Internal, "Internal error");
    }
    const { action, sequence } = context;
    if (!answers(route, sequence)) return this.#finish(turn, null);
    const body = encodeError(action, error as RpcError);
    this.#finish(turn, packetBytes(ERROR_ACTION, sequence, body));
  }

  #finish(turn: number, packet: Uint8Array | null): void {
    const early = this.#inOrder && turn !== this.#answered;
    if (early || (this.#clogged && packet !== null)) {
      // Others use the memory of the packet meanwhile.
      this.#ready ??= new Map();
      this.#ready.set(turn, packet?.slice() ?? null);
      return;
    }
    this.#answered++;
    if (packet !== null) this.#send(packet);
    this.#sendReady(false);
  }

  get #inOrder(): boolean {
    return this.#host.order === "request";
  }

  // Sends replies that wait: as long as the socket is not full, or `all` that its queue takes. Returns whether none is
  // left that only waits for room.
  #sendReady(all: boolean): boolean {
    const ready = this.#ready;
    if (ready === null) return true;
    for (;;) {
      const turn = this.#inOrder
        ? this.#answered
        : ready.keys().next().value ?? NO_TURN;
      const packet = ready.get(turn);
      if (packet === undefined) return true;
      if (this.#clogged && !all) return false;
      if (packet !== null && !this.#sends(packet, all)) return false;
      ready.delete(turn);
      this.#answered++;
    }
  }

  #sends(packet: Uint8Array, all: boolean): boolean {
    if (all) return this.#write(packet) !== "dropped";
    this.#send(packet);
    return this.open;
  }

  // A reply that is lost would be waited for in vain.
  #send(packet: Uint8Array): void {
    if (!this.open || this.#write(packet) !== "dropped") return;
    if (!this.transport.writable) return;
    this.#failure ??= new Deno.errors.ConnectionAborted(
      "The peer takes its replies too slowly: its queue is full",
    );
    this.terminate();
  }

  #write(packet: Uint8Array): SendStatus {
    const status = this.transport.send(packet);
    if (status === "queued") {
      this.#clogged = true;
      this.#tend();
    }
    return status;
  }

  // Reads on or stops to.
  #tend(): void {
    if (!this.open) return;
    if ((this.#draining || this.#ended) && this.inFlight === 0) {
      return this.#leave(GOING_AWAY, "The server shuts down");
    }
    const pause = this.#clogged || this.#draining ||
      this.inFlight >= this.#host.maxInFlight;
    if (pause === this.#paused) return;
    this.#paused = pause;
    if (pause) this.transport.pause();
    else this.transport.resume();
  }

  #leave(code: number, reason: string): void {
    if (!this.open) return;
    // There is no waiting any more.
    this.#sendReady(true);
    this.open = false;
    this.transport.close(code, reason);
  }
}

// Queries of databases, for one, are often promises of another make.
function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

function answers(route: Route, sequence: number): boolean {
  return route.replies && sequence !== NOTIFICATION;
}

function gone(): Error {
  return new Deno.errors.ConnectionAborted("The connection is gone");
}
