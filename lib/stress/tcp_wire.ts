// SPDX-License-Identifier: Apache-2.0
// tcp_wire.ts - the load as plain bytes over TCP or a Unix socket, each message of which is answered by as many bytes;
// made by protocols.ts.

import { connect, type ConnectTcpOptions } from "../connect.ts";
import type { Socket, SocketHandlers } from "../socket.ts";
import { failureOf, serverLeft, wrongAnswer } from "./failures.ts";
import type { Lane, Protocol, Wire } from "./lane.ts";
import { Messages } from "./messages.ts";
import type { Plan } from "./options.ts";
import { socketOptionsOf } from "./sources.ts";
import { targetOf } from "./target.ts";

/** Plain sockets. */
export class TcpProtocol implements Protocol {
  readonly reconnects = false;
  readonly #plan: Plan;
  readonly #place: ConnectTcpOptions;
  readonly #messages: Messages;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#place = targetOf(plan.kind, plan.url).place as ConnectTcpOptions;
    this.#messages = new Messages(plan);
  }

  connect(lane: Lane): Wire {
    const { socket } = connect<TcpWire | undefined>({
      ...this.#place,
      ...socketOptionsOf(this.#plan, lane.index),
      data: undefined,
    }, HANDLERS);
    return socket.data = new TcpWire(socket, lane, this.#messages);
  }
}

const HANDLERS: SocketHandlers<TcpWire | undefined> = {
  open: ({ data }) => data!.lane.opened(),
  data: ({ data }, chunk) => data!.receive(chunk),
  close: ({ data }, error) =>
    data!.lane.ended(
      error === null
        ? serverLeft("A connection was ended by the server")
        : failureOf(error),
    ),
};

class TcpWire implements Wire {
  readonly lane: Lane;
  readonly #socket: Socket<TcpWire | undefined>;
  readonly #messages: Messages;
  // Bytes of the oldest answer that have come, and whether they were right.
  #received = 0;
  #right = true;

  constructor(
    socket: Socket<TcpWire | undefined>,
    lane: Lane,
    messages: Messages,
  ) {
    this.#socket = socket;
    this.lane = lane;
    this.#messages = messages;
  }

  send(number: number): boolean {
    const bytes = this.#messages.bytes(this.lane.index, number);
    return this.#socket.write(bytes) !== "dropped";
  }

  close(): void {
    this.#socket.close();
  }

  cut(): void {
    this.#socket.terminate();
  }

  /** Takes bytes of answers. */
  receive(chunk: Uint8Array): void {
    const { lane } = this;
    const messages = this.#messages;
    const size = messages.answerSize;
    let at = 0;
    while (at < chunk.length) {
      const offset = this.#received;
      const end = Math.min(at + size - offset, chunk.length);
      this.#right &&= messages.isPartOfAnswer(
        chunk,
        at,
        end,
        offset,
        lane.index,
        lane.next,
      );
      this.#received += end - at;
      at = end;
      if (this.#received === size) this.#complete(size);
    }
  }

  #complete(size: number): void {
    const { lane } = this;
    const right = this.#right;
    this.#received = 0;
    this.#right = true;
    lane.answered(size, right ? null : wrongAnswer(lane.index));
  }
}
