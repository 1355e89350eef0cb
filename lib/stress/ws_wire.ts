// SPDX-License-Identifier: Apache-2.0
// ws_wire.ts - the load as WebSockets, each message of which is answered by one; made by protocols.ts.

import {
  connectWebSocket,
  type WebSocketClientHandlers,
} from "../ws_client.ts";
import type { WebSocketClientOptions } from "../ws_client_options.ts";
import type { ClientWebSocket } from "../ws_client_socket.ts";
import { thrownError } from "../thrown.ts";
import { failureOf, wrongAnswer } from "./failures.ts";
import type { Lane, Protocol, Wire } from "./lane.ts";
import { Messages } from "./messages.ts";
import type { Plan } from "./options.ts";
import { localAddressOf, QUEUE_BYTES } from "./sources.ts";

// What the other side may answer: anything.
const MESSAGE_BYTES = 1 << 30;

/** WebSockets. */
export class WsProtocol implements Protocol {
  readonly reconnects = false;
  readonly #plan: Plan;
  readonly #messages: Messages;
  readonly #options: WebSocketClientOptions<Lane>;
  readonly #handlers: WebSocketClientHandlers<Lane>;

  constructor(plan: Plan) {
    this.#plan = plan;
    const messages = this.#messages = new Messages(plan);
    this.#options = {
      headers: plan.headers,
      compression: plan.compression,
      connectTimeout: plan.timeout,
      handshakeTimeout: plan.timeout,
      // Connections that are only held have nothing to say.
      idleTimeout: 0,
      maxMessageBytes: MESSAGE_BYTES,
      maxQueueBytes: QUEUE_BYTES,
      backend: plan.backend,
      ...plan.subprotocol !== undefined && { protocols: plan.subprotocol },
    };
    this.#handlers = {
      open: ({ data }) => data.opened(),
      message({ data }, message): void {
        const right = messages.isAnswer(message, data.index, data.next);
        data.answered(message.length, right ? null : wrongAnswer(data.index));
      },
      close: ({ data }, code, reason) =>
        data.ended({
          kind: `closed with ${code}`,
          message: `A WebSocket was closed with ${code} ${reason}`.trimEnd(),
        }),
      error: ({ data }, error) => data.ended(failureOf(thrownError(error))),
    };
  }

  connect(lane: Lane): Wire {
    const socket = connectWebSocket(this.#plan.url, this.#handlers, {
      ...this.#options,
      ...localAddressOf(this.#plan, lane.index),
      data: lane,
    });
    return this.#plan.text
      ? new TextWire(socket, this.#messages)
      : new BytesWire(socket, this.#messages);
  }
}

class BytesWire implements Wire {
  protected readonly socket: ClientWebSocket<Lane>;
  protected readonly messages: Messages;

  constructor(socket: ClientWebSocket<Lane>, messages: Messages) {
    this.socket = socket;
    this.messages = messages;
  }

  send(number: number): boolean {
    const { socket } = this;
    const bytes = this.messages.bytes(socket.data.index, number);
    return socket.sendBinary(bytes) !== "dropped";
  }

  close(): void {
    this.socket.close();
  }

  cut(): void {
    this.socket.terminate();
  }
}

class TextWire extends BytesWire {
  override send(number: number): boolean {
    const { socket } = this;
    const text = this.messages.text(socket.data.index, number);
    return socket.sendText(text) !== "dropped";
  }
}
