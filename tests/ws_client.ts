// SPDX-License-Identifier: Apache-2.0
// ws_client.ts - a WebSocket client built by hand: every bit of every frame is
// the test's to choose.

import { assert, assertEquals } from "@std/assert";
import {
  type EngineOptions,
  type HttpServer,
  websocket,
  type WebSocketHandlers,
  type WebSocketOptions,
} from "../mod.ts";
import { RawClient, type RawResponse } from "./raw_client.ts";
import { concat, type Context, latin1, type TcpServer } from "./testing.ts";

export const CONTINUATION = 0;
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

export const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
export const ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/** A frame as it is to be on the wire; what is left out is as it should be. */
export interface FrameInit {
  opcode: number;
  payload?: string | Uint8Array;
  fin?: boolean;
  rsv?: number;
  /** False: sent without a mask. */
  masked?: boolean;
  mask?: Uint8Array;
  /** Bytes of the length field, 1, 3 or 9, whatever the length needs. */
  lengthBytes?: number;
  /** What the length field says, whatever follows. */
  declared?: bigint;
}

/** A frame as it was received. */
export interface Frame {
  fin: boolean;
  rsv: number;
  opcode: number;
  payload: Uint8Array<ArrayBuffer>;
}

const UTF8 = new TextEncoder();
const DEFAULT_MASK = Uint8Array.of(0xa1, 0x5b, 0x3c, 0xf7);

/** The bytes of a frame. */
export function frame(init: FrameInit): Uint8Array<ArrayBuffer> {
  const { payload = "", fin = true, rsv = 0, masked = true } = init;
  const bytes = typeof payload === "string" ? UTF8.encode(payload) : payload;
  const { mask = DEFAULT_MASK } = init;
  const head = [(fin ? 0x80 : 0) | rsv << 4 | init.opcode];
  const length = lengthField(
    init.declared ?? BigInt(bytes.length),
    init.lengthBytes,
  );
  length[0]! |= masked ? 0x80 : 0;
  if (!masked) return concat([Uint8Array.from([...head, ...length]), bytes]);
  const body = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at++) {
    body[at] = bytes[at]! ^ mask[at & 3]!;
  }
  return concat([Uint8Array.from([...head, ...length]), mask, body]);
}

/** A message of text for each payload. */
export function texts(...payloads: string[]): Uint8Array<ArrayBuffer> {
  return concat(payloads.map((payload) => frame({ opcode: TEXT, payload })));
}

/** A close frame's payload. */
export function closePayload(
  code: number,
  reason: string = "",
): Uint8Array<ArrayBuffer> {
  return concat([Uint8Array.of(code >> 8, code & 255), UTF8.encode(reason)]);
}

/** The request of an opening handshake. */
export function handshake(
  target: string = "/",
  fields: Record<string, string | null> = {},
): string {
  const all: Record<string, string | null> = {
    "Host": "test",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    ...fields,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${target} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

/** A connection after the opening handshake. */
export class WsClient implements Disposable {
  readonly raw: RawClient;
  /** The 101. */
  readonly response: RawResponse;

  constructor(raw: RawClient, response: RawResponse) {
    this.raw = raw;
    this.response = response;
  }

  /** Connects and shakes hands; `first` goes with the request. */
  static async open(
    server: Pick<HttpServer, "addr">,
    options: {
      target?: string;
      fields?: Record<string, string>;
      first?: Uint8Array;
    } = {},
  ): Promise<WsClient> {
    const raw = await RawClient.connect(server);
    const request = latin1(handshake(options.target, options.fields));
    await raw.write(concat([request, options.first ?? new Uint8Array(0)]));
    const response = await raw.response();
    assertEquals(response.status, 101, response.text);
    assertEquals(response.field("sec-websocket-accept"), ACCEPT);
    return new WsClient(raw, response);
  }

  send(init: FrameInit): Promise<void> {
    return this.raw.write(frame(init));
  }

  text(payload: string): Promise<void> {
    return this.send({ opcode: TEXT, payload });
  }

  binary(payload: Uint8Array): Promise<void> {
    return this.send({ opcode: BINARY, payload });
  }

  /** The next frame, which must not be masked. */
  async frame(): Promise<Frame> {
    const [first, second] = await this.raw.exactly(2);
    assert((second! & 0x80) === 0, "A server must not mask");
    return {
      fin: (first! & 0x80) !== 0,
      rsv: first! >> 4 & 7,
      opcode: first! & 15,
      payload: await this.raw.exactly(await this.#length(second! & 0x7f)),
    };
  }

  /** The next frame, which must be a whole text message. */
  async readText(): Promise<string> {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(
      await this.#whole(TEXT),
    );
  }

  /** The next frame, which must be a whole binary message. */
  readBinary(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#whole(BINARY);
  }

  /** The close frame that comes next, and the FIN behind it. */
  async readClose(): Promise<{ code: number; reason: string }> {
    const close = await this.closeFrame();
    assertEquals(await this.raw.rest(), "", "Bytes behind the close frame");
    return close;
  }

  /** The close frame that comes next. */
  async closeFrame(): Promise<{ code: number; reason: string }> {
    const payload = await this.#whole(CLOSE);
    return {
      code: payload.length === 0 ? 1005 : payload[0]! << 8 | payload[1]!,
      reason: new TextDecoder().decode(payload.subarray(2)),
    };
  }

  close(): void {
    this.raw.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #whole(opcode: number): Promise<Uint8Array<ArrayBuffer>> {
    const got = await this.frame();
    assertEquals(
      { opcode: got.opcode, fin: got.fin, rsv: got.rsv },
      { opcode, fin: true, rsv: 0 },
      new TextDecoder().decode(got.payload.subarray(0, 200)),
    );
    return got.payload;
  }

  async #length(short: number): Promise<number> {
    if (short < 126) return short;
    const bytes = await this.raw.exactly(short === 126 ? 2 : 8);
    const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
    assert(value >= (short === 126 ? 126 : 65536), "Length is not minimal");
    return value;
  }
}

function lengthField(length: bigint, size?: number): number[] {
  const bytes = size ?? (length < 126n ? 1 : length < 65536n ? 3 : 9);
  if (bytes === 1) return [Number(length)];
  const field = [bytes === 3 ? 126 : 127];
  for (let shift = (bytes - 2) * 8; shift >= 0; shift -= 8) {
    field.push(Number(length >> BigInt(shift) & 255n));
  }
  return field;
}

/** Sends every message back. */
export const ECHO: WebSocketHandlers<undefined> = {
  message(socket, message): void {
    socket.send(message);
  },
};

/** A server all of whose requests are upgraded to a route of these handlers. */
export function serveRoute(
  t: Context,
  handlers: WebSocketHandlers<undefined>,
  options: WebSocketOptions = {},
  engine: EngineOptions = {},
): TcpServer {
  const route = websocket(handlers, options);
  return t.serve((request) => route.upgrade(request), engine);
}
