// SPDX-License-Identifier: Apache-2.0
// rpc_context.ts - what handlers and middleware of the action router are given; made by rpc_peer.ts.

import type { RpcConnection } from "./rpc_connection.ts";
import { RpcCode, RpcError } from "./rpc_error.ts";
import type { SendStatus } from "./ws_socket.ts";

/** Aborts the signal of a context, if anybody has asked for it. For rpc_peer.ts. */
export let cancel: (context: RpcContext, reason: Error) => void;

/** The error that `abort()` was called with, or null. For rpc_router.ts. */
export let abortion: (context: RpcContext) => RpcError | null;

/**
 * One request.
 *
 * @typeParam Body What the codec makes of its body.
 */
export class RpcContext<Body = unknown> {
  /** Where it came from. */
  readonly connection: RpcConnection;
  /** Its action. */
  readonly action: number;
  /** Its sequence, which the reply will have too. */
  readonly sequence: number;
  /** Its body. */
  readonly body: Body;
  /** What the handler has returned: middleware finds it here after `await next()`, and may put something else. */
  reply: unknown = undefined;
  #state: Map<string, unknown> | null = null;
  #controller: AbortController | null = null;
  #cancelled: Error | null = null;
  #abortion: RpcError | null = null;

  static {
    cancel = (context, reason) => {
      context.#cancelled ??= reason;
      context.#controller?.abort(reason);
    };
    abortion = (context) => context.#abortion;
  }

  /** Made for each request. */
  constructor(
    connection: RpcConnection,
    action: number,
    sequence: number,
    body: Body,
  ) {
    this.connection = connection;
    this.action = action;
    this.sequence = sequence;
    this.body = body;
  }

  /** What middleware and handlers keep with the request; for what lasts longer see `connection.state`. */
  get state(): Map<string, unknown> {
    return this.#state ??= new Map();
  }

  /** Aborts when the reply is of no use any more: the connection is gone, or the handler has taken too long. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#cancelled !== null) this.#controller.abort(this.#cancelled);
    }
    return this.#controller.signal;
  }

  /** Whether `abort()` was called. */
  get aborted(): boolean {
    return this.#abortion !== null;
  }

  /**
   * Ends the chain: neither further middleware nor the handler is called. The answer is `reply` where that was set,
   * and else an error.
   *
   * @param error The error; without it, one with `RpcCode.Aborted`.
   */
  abort(error: RpcError = new RpcError(RpcCode.Aborted, "Aborted")): void {
    this.#abortion ??= error;
  }

  /**
   * Sends something to this request's connection that nobody has asked for.
   *
   * @param action The packet's action.
   * @param body What the codec takes.
   * @returns What became of it.
   */
  push(action: number, body?: unknown): SendStatus {
    return this.connection.push(action, body);
  }
}
