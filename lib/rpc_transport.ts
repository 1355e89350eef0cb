// SPDX-License-Identifier: Apache-2.0
// rpc_transport.ts - what carries packets, as the action router sees it: plain sockets and WebSockets look the same
// from here on; used by rpc_peer.ts and rpc_client.ts.

import { type Framer, FramingError } from "./framer.ts";
import { HEAD_BYTES, LENGTH_BYTES, packetFramer, writeHead } from "./packet.ts";
import { SOCKET_DEFAULTS } from "./socket_options.ts";
import { GOING_AWAY, NO_STATUS, NORMAL_CLOSURE } from "./ws_codes.ts";
import { OPEN } from "./ws_connection.ts";
import type { SendStatus } from "./ws_socket.ts";

/** What carries packets. */
export type TransportKind = "tcp" | "unix" | "websocket";

/** A connection that carries packets. */
export interface Transport {
  readonly kind: TransportKind;
  readonly remoteAddr: Deno.Addr;
  /** Bytes that the kernel has not taken yet. */
  readonly bufferedAmount: number;
  /** Whether neither side has begun to close. */
  readonly writable: boolean;
  /** Sends a packet of {@linkcode packetBytes}; its bytes are copied before this returns. */
  send(packet: Uint8Array): SendStatus;
  /** Delivers no more packets. Calls do not nest. */
  pause(): void;
  /** Delivers packets again; those that have come meanwhile, before this returns. */
  resume(): void;
  /** Closes once all is sent; says why where there is a way to. */
  close(code: number, reason: string): void;
  /** Cuts the connection. */
  terminate(): void;
  /** Has the loop know that something of this connection is not done yet. */
  watch(promise: Promise<unknown>): void;
}

/** What is told of a transport. None of these may throw. */
export interface TransportEvents {
  /** A packet without its length, at least 4 bytes, valid until this returns. */
  packet(bytes: Uint8Array): void;
  /** After a `send()` that returned "queued": there is room again. */
  drain(): void;
  /** What came is no packet. Nothing is delivered any more. */
  malformed(why: string): void;
  /** The peer sends no more, and waits for what it is still to be sent. */
  ended(): void;
  /** The connection is gone. */
  closed(error: Error | null): void;
}

/** The part of a plain socket that packets need. */
export interface StreamSocket {
  readonly remoteAddr: Deno.Addr;
  readonly bufferedAmount: number;
  readonly writable: boolean;
  write(data: Uint8Array): SendStatus;
  pause(): void;
  resume(): void;
  close(): void;
  terminate(): void;
}

/** The part of a WebSocket that packets need. */
export interface MessageSocket {
  readonly remoteAddr: Deno.Addr;
  readonly bufferedAmount: number;
  readonly readyState: number;
  send(message: Uint8Array): SendStatus;
  pause(): void;
  resume(): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

const NOTHING = new Uint8Array(0);

const SCRATCH_BYTES = 64 * 1024;
const scratch = new Uint8Array(SCRATCH_BYTES);
const scratchBody = scratch.subarray(LENGTH_BYTES + HEAD_BYTES);

const UTF8 = new TextEncoder();

/** The largest packet that may be allowed: queues of sockets hold no more. */
export const MOST_PACKET_BYTES: number = 1 << 30;

/**
 * The option `maxQueueBytes` of sockets whose packets have so many bytes: whatever the default, one has to fit as long
 * as `send()` has not returned "queued".
 */
export function queueFor(maxPacketBytes: number): number {
  const { maxQueueBytes, highWatermark } = SOCKET_DEFAULTS;
  const bytes = Math.max(maxQueueBytes, maxPacketBytes + highWatermark);
  return Math.min(bytes, MOST_PACKET_BYTES);
}

/** A packet with its length, valid until the next call. The body may be text, which becomes UTF-8. */
export function packetBytes(
  action: number,
  sequence: number,
  body: Uint8Array | string,
): Uint8Array {
  if (typeof body === "string") return packetText(action, sequence, body);
  const length = LENGTH_BYTES + HEAD_BYTES + body.length;
  const bytes = length <= SCRATCH_BYTES ? scratch : new Uint8Array(length);
  writeHead(bytes, action, sequence, body.length);
  bytes.set(body, LENGTH_BYTES + HEAD_BYTES);
  return length < bytes.length ? bytes.subarray(0, length) : bytes;
}

function packetText(
  action: number,
  sequence: number,
  body: string,
): Uint8Array {
  if (3 * body.length > scratchBody.length) {
    return packetBytes(action, sequence, UTF8.encode(body));
  }
  const { written } = UTF8.encodeInto(body, scratchBody);
  writeHead(scratch, action, sequence, written);
  return scratch.subarray(0, LENGTH_BYTES + HEAD_BYTES + written);
}

/** Packets over a plain socket: the framer finds them, and holds those that come while nobody wants them. */
export class StreamTransport implements Transport {
  readonly kind: "tcp" | "unix";
  readonly #socket: StreamSocket;
  readonly #events: TransportEvents;
  readonly #framer: Framer;
  readonly #watch: (promise: Promise<unknown>) => void;
  readonly #onPacket: (bytes: Uint8Array) => boolean;
  #paused = false;
  #delivering = false;
  #stopped = false;

  constructor(
    socket: StreamSocket,
    maxPacketBytes: number,
    connect: (transport: Transport) => TransportEvents,
    watch: (promise: Promise<unknown>) => void,
  ) {
    this.kind = socket.remoteAddr.transport === "unix" ? "unix" : "tcp";
    this.#socket = socket;
    this.#framer = packetFramer(maxPacketBytes);
    this.#watch = watch;
    this.#events = connect(this);
    this.#onPacket = (bytes): boolean => {
      this.#events.packet(bytes);
      return !this.#paused;
    };
  }

  get remoteAddr(): Deno.Addr {
    return this.#socket.remoteAddr;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  get writable(): boolean {
    return this.#socket.writable;
  }

  send(packet: Uint8Array): SendStatus {
    return this.#socket.write(packet);
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    // Within a callback the framer goes on by itself.
    if (!this.#delivering) this.#push(NOTHING);
    if (!this.#paused) this.#socket.resume();
  }

  close(): void {
    this.#stopped = true;
    this.#socket.close();
  }

  terminate(): void {
    this.#stopped = true;
    this.#socket.terminate();
  }

  watch(promise: Promise<unknown>): void {
    this.#watch(promise);
  }

  /** Takes in bytes of the socket. */
  data(chunk: Uint8Array): void {
    this.#push(chunk);
  }

  /** The peer sends no more. */
  end(): void {
    if (this.#stopped) return;
    try {
      this.#framer.end();
    } catch (error) {
      return this.#refuse(error);
    }
    this.#events.ended();
  }

  drain(): void {
    this.#events.drain();
  }

  closed(error: Error | null): void {
    this.#stopped = true;
    this.#events.closed(error);
  }

  #push(chunk: Uint8Array): void {
    if (this.#stopped) return;
    this.#delivering = true;
    try {
      this.#framer.push(chunk, this.#onPacket);
    } catch (error) {
      this.#refuse(error);
    } finally {
      this.#delivering = false;
    }
  }

  #refuse(error: unknown): void {
    if (!(error instanceof FramingError)) throw error;
    this.#stopped = true;
    this.#events.malformed(error.message);
  }
}

/** Packets as messages of a WebSocket. */
export class MessageTransport implements Transport {
  readonly kind = "websocket";
  readonly #socket: MessageSocket;
  readonly #events: TransportEvents;
  readonly #watch: (promise: Promise<unknown>) => void;

  constructor(
    socket: MessageSocket,
    connect: (transport: Transport) => TransportEvents,
    watch: (promise: Promise<unknown>) => void,
  ) {
    this.#socket = socket;
    this.#watch = watch;
    this.#events = connect(this);
  }

  get remoteAddr(): Deno.Addr {
    return this.#socket.remoteAddr;
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  get writable(): boolean {
    return this.#socket.readyState === OPEN;
  }

  send(packet: Uint8Array): SendStatus {
    return this.#socket.send(packet.subarray(LENGTH_BYTES));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  watch(promise: Promise<unknown>): void {
    this.#watch(promise);
  }

  /** Takes in a message of the socket. */
  message(message: string | Uint8Array): void {
    if (typeof message === "string") {
      this.#events.malformed("Packets are binary messages, not text");
    } else if (message.length < HEAD_BYTES) {
      this.#events.malformed("A packet has at least 4 bytes");
    } else {
      this.#events.packet(message);
    }
  }

  drain(): void {
    this.#events.drain();
  }

  closed(error: Error | null): void {
    this.#events.closed(error);
  }
}

/** Why a WebSocket that was closed with this code was closed; null when in order. */
export function closeError(code: number, reason: string): Error | null {
  if (code === NORMAL_CLOSURE || code === GOING_AWAY || code === NO_STATUS) {
    return null;
  }
  return new Deno.errors.ConnectionAborted(
    `The WebSocket was closed with ${code}${reason && `: ${reason}`}`,
  );
}
