// SPDX-License-Identifier: Apache-2.0
// http_wire.ts - the load as requests of HTTP/1.1; a connection that the server ends in order is made anew; made by
// protocols.ts.

import { connect, type ConnectTcpOptions } from "../connect.ts";
import type { Socket, SocketHandlers } from "../socket.ts";
import { failureOf, serverLeft, wrongAnswer } from "./failures.ts";
import { requestOf } from "./http_request.ts";
import type { Lane, Protocol, Wire } from "./lane.ts";
import type { Plan } from "./options.ts";
import type { Failure } from "./recorder.ts";
import { ResponseParser, type ResponseSink } from "./response_parser.ts";
import { socketOptionsOf } from "./sources.ts";
import { targetOf } from "./target.ts";

/** HTTP/1.1. */
export class HttpProtocol implements Protocol {
  readonly reconnects = true;
  readonly #plan: Plan;
  readonly #place: ConnectTcpOptions;
  readonly #request: Uint8Array<ArrayBuffer>;
  readonly #expect: Uint8Array | null;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#place = targetOf(plan.kind, plan.url).place as ConnectTcpOptions;
    this.#request = requestOf(plan);
    this.#expect = plan.expect === null
      ? null
      : new TextEncoder().encode(plan.expect);
  }

  connect(lane: Lane): Wire {
    const { socket } = connect<HttpWire | undefined>({
      ...this.#place,
      ...socketOptionsOf(this.#plan, lane.index),
      data: undefined,
    }, HANDLERS);
    const isHead = this.#plan.method === "HEAD";
    return socket.data = new HttpWire(
      socket,
      lane,
      this.#request,
      (wire) => new ResponseParser(wire, isHead, this.#expect),
    );
  }
}

const HANDLERS: SocketHandlers<HttpWire | undefined> = {
  open: ({ data }) => data!.lane.opened(),
  data: ({ data }, chunk) => data!.receive(chunk),
  end: ({ data }) => data!.serverEnded(),
  close: ({ data }, error) => data!.closed(error),
};

class HttpWire implements Wire, ResponseSink {
  readonly lane: Lane;
  readonly #socket: Socket<HttpWire | undefined>;
  readonly #request: Uint8Array<ArrayBuffer>;
  readonly #parser: ResponseParser;
  // The server has said that this connection ends.
  #isLast = false;
  #failure: Failure | null = null;
  // The lane has another connection.
  #isOver = false;

  constructor(
    socket: Socket<HttpWire | undefined>,
    lane: Lane,
    request: Uint8Array<ArrayBuffer>,
    parser: (sink: ResponseSink) => ResponseParser,
  ) {
    this.#socket = socket;
    this.lane = lane;
    this.#request = request;
    this.#parser = parser(this);
  }

  send(): boolean {
    // It is sent on the next connection.
    if (this.#isLast) return true;
    return this.#socket.write(this.#request) !== "dropped";
  }

  close(): void {
    this.#socket.close();
  }

  cut(): void {
    this.#isOver = true;
    this.#socket.terminate();
  }

  response(
    status: number,
    bodyBytes: number,
    right: boolean,
    last: boolean,
  ): void {
    this.#isLast ||= last;
    const { lane } = this;
    lane.answered(
      bodyBytes,
      status < 200 || status > 299
        ? {
          kind: `status ${status}`,
          message: `A request was answered with the status ${status}`,
        }
        : right
        ? null
        : wrongAnswer(lane.index),
    );
  }

  /** Takes bytes of responses. */
  receive(chunk: Uint8Array): void {
    if (this.#isOver || this.#failure !== null) return;
    try {
      this.#parser.push(chunk);
    } catch (error) {
      return this.#refuse(error as Error);
    }
    if (this.#isLast) this.#socket.close();
  }

  /** The server sends no more. */
  serverEnded(): void {
    try {
      this.#parser.end();
    } catch (error) {
      return this.#refuse(error as Error);
    }
    this.#socket.close();
  }

  /** The connection is gone. */
  closed(error: Error | null): void {
    if (this.#isOver) return;
    const { lane } = this;
    if (!lane.isStanding) {
      const why = error ?? new Error("The connection was closed at once");
      return lane.ended(failureOf(why));
    }
    // Behind a last response nothing is lost, and one that waits for nothing may be closed at any time.
    if (!this.#isLast && lane.inFlight > 0) {
      this.#failure ??= error === null
        ? serverLeft(
          "A connection was closed by the server before it had answered",
        )
        : failureOf(error);
    }
    lane.reconnect(this.#failure);
  }

  #refuse({ message }: Error): void {
    this.#failure ??= {
      kind: "malformed response",
      message: `A response is malformed: ${message}`,
    };
    this.#socket.terminate();
  }
}
