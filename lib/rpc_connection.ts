// SPDX-License-Identifier: Apache-2.0
// rpc_connection.ts - what the application holds of a connection of the action router; made over an rpc_peer.ts.

import { type Codec, requireCodec } from "./codec.ts";
import type { Peer } from "./rpc_peer.ts";
import type { TransportKind } from "./rpc_transport.ts";
import type { SendStatus } from "./ws_socket.ts";

/** One connection of a server. The same object is given with all its requests. */
export class RpcConnection {
  readonly #peer: Peer;
  #state: Map<string, unknown> | null = null;
  #codec: Codec;

  /** Made when a connection is accepted. */
  constructor(peer: Peer, codec: Codec) {
    this.#peer = peer;
    this.#codec = codec;
  }

  /** A number that no other connection of the application has or had. */
  get id(): number {
    return this.#peer.id;
  }

  /** The peer's address. */
  get remoteAddr(): Deno.Addr {
    return this.#peer.transport.remoteAddr;
  }

  /** What carries its packets. */
  get transport(): TransportKind {
    return this.#peer.transport.kind;
  }

  /** Whether anything can be sent. */
  get open(): boolean {
    return this.#peer.open;
  }

  /** Bytes that were accepted for sending and that the kernel has not taken yet. */
  get bufferedAmount(): number {
    return this.#peer.transport.bufferedAmount;
  }

  /** Requests that were taken in and whose replies are not sent. */
  get inFlight(): number {
    return this.#peer.inFlight;
  }

  /** What the application keeps with the connection. */
  get state(): Map<string, unknown> {
    return this.#state ??= new Map();
  }

  /** Aborts when the connection is gone. */
  get signal(): AbortSignal {
    return this.#peer.signal;
  }

  /** What makes values of its bodies; another one counts from the next packet on. */
  get codec(): Codec {
    return this.#codec;
  }

  /** Sets another codec. */
  set codec(codec: Codec) {
    requireCodec(codec, "change the codec of a connection");
    this.#codec = codec;
  }

  /**
   * Sends something that nobody has asked for, with the sequence 0.
   *
   * @param action The packet's action, -32768 to 32767 but not -1.
   * @param body What the codec takes.
   * @returns What became of it; `"dropped"` when the connection is closed or its queue full.
   * @throws {RangeError} When the action is out of range, or the packet larger than allowed.
   */
  push(action: number, body?: unknown): SendStatus {
    return this.#peer.push(action, body);
  }

  /** Closes once all is sent. Requests that are in flight are not answered any more. */
  close(): void {
    this.#peer.close();
  }

  /** Cuts the connection at once. */
  terminate(): void {
    this.#peer.terminate();
  }
}
