// SPDX-License-Identifier: Apache-2.0
// rpc_wire.ts - the load as calls of an action; made by protocols.ts.

import { rpcClient } from "../rpc.ts";
import type { Codec } from "../codec.ts";
import type { RpcClient } from "../rpc_client.ts";
import type { RpcClientOptions } from "../rpc_client_options.ts";
import { RpcError } from "../rpc_error.ts";
import { failureOf, serverLeft, wrongAnswer } from "./failures.ts";
import type { Lane, Protocol, Wire } from "./lane.ts";
import { Messages } from "./messages.ts";
import type { Plan } from "./options.ts";
import { sameBytes } from "./same_bytes.ts";
import { localAddressOf } from "./sources.ts";

// With the framing of the packet around it.
const PACKET_BYTES = 1 << 30;

/** Calls of an action. */
export class RpcProtocol implements Protocol {
  readonly reconnects = false;
  readonly #plan: Plan;
  readonly #calls: Calls;
  readonly #options: RpcClientOptions;

  constructor(plan: Plan, codec: Codec) {
    this.#plan = plan;
    this.#calls = new Calls(plan);
    this.#options = {
      codec,
      timeout: plan.timeout,
      connectTimeout: plan.timeout,
      backend: plan.backend,
      maxInFlight: plan.pipeline,
      maxPacketBytes: PACKET_BYTES,
      ...plan.subprotocol !== undefined && { protocol: plan.subprotocol },
    };
  }

  connect(lane: Lane): Wire {
    return new RpcWire(lane, this.#calls, (wire) =>
      rpcClient(this.#plan.url, {
        ...this.#options,
        ...localAddressOf(this.#plan, lane.index),
        onClose: (error) => wire.closed(error),
        onError: (error) => lane.note(failureOf(error as Error)),
      }));
  }
}

/** What is called, and what has to come back. */
class Calls {
  readonly action: number;
  readonly #plan: Plan;
  readonly #messages: Messages;
  readonly #expected: string | null;

  constructor(plan: Plan) {
    this.action = plan.action;
    this.#plan = plan;
    this.#messages = new Messages(plan);
    this.#expected = plan.expect ??
      (plan.body === undefined ? null : JSON.stringify(plan.body));
  }

  body(lane: number, number: number): unknown {
    const { codec, body } = this.#plan;
    if (body !== undefined) return body;
    return codec === "raw"
      ? this.#messages.bytes(lane, number)
      : this.#messages.text(lane, number);
  }

  isAnswer(reply: unknown, lane: number, number: number): boolean {
    if (!this.#plan.verify) return true;
    if (reply instanceof Uint8Array) {
      const { body, expect } = this.#plan;
      return body instanceof Uint8Array && expect === null
        ? reply.length === body.length &&
          sameBytes(reply, 0, reply.length, body, 0)
        : this.#messages.isAnswer(reply, lane, number);
    }
    if (this.#expected === null) {
      return typeof reply === "string" &&
        this.#messages.isAnswer(reply, lane, number);
    }
    return reply === this.#expected || JSON.stringify(reply) === this.#expected;
  }
}

class RpcWire implements Wire {
  readonly #lane: Lane;
  readonly #calls: Calls;
  #client: RpcClient | null = null;
  #isClosed = false;

  constructor(
    lane: Lane,
    calls: Calls,
    connect: (wire: RpcWire) => Promise<RpcClient>,
  ) {
    this.#lane = lane;
    this.#calls = calls;
    connect(this).then(
      (client) => this.#opened(client),
      (error) => lane.ended(failureOf(error)),
    );
  }

  send(number: number): boolean {
    const lane = this.#lane;
    const calls = this.#calls;
    const stamp = lane.stampOf(number);
    const body = calls.body(lane.index, number);
    this.#client!.call(calls.action, body).then(
      (reply) => {
        const right = calls.isAnswer(reply, lane.index, number);
        const failure = right ? null : wrongAnswer(lane.index);
        lane.answeredSince(stamp, sizeOf(reply), failure);
      },
      (error) => this.#failed(stamp, error),
    );
    return true;
  }

  close(): void {
    this.#isClosed = true;
    void this.#client?.close();
  }

  // There is no other way than that in order.
  cut(): void {
    this.close();
  }

  /** The connection is gone. */
  closed(error: Error | null): void {
    // What is in flight is rejected before, and its lane told then.
    this.#lane.ended(
      error === null
        ? serverLeft("A connection was ended by the server")
        : failureOf(error),
    );
  }

  #opened(client: RpcClient): void {
    this.#client = client;
    if (this.#isClosed) void client.close();
    this.#lane.opened();
  }

  #failed(stamp: number, error: Error): void {
    const lane = this.#lane;
    if (error instanceof RpcError) {
      lane.answeredSince(stamp, 0, failureOf(error));
    } else {
      lane.unanswered(failureOf(error));
    }
  }
}

// Of other values nobody knows how long they were on the wire.
function sizeOf(reply: unknown): number {
  return typeof reply === "string" || reply instanceof Uint8Array
    ? reply.length
    : 0;
}
