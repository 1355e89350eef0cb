// SPDX-License-Identifier: Apache-2.0
// raw_ws_server.ts - a WebSocket server built by hand, for tests of the client:
// every byte that it sends is the test's to choose.

import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import { RawClient } from "./raw_client.ts";
import { deadline, fromLatin1 } from "./testing.ts";
import { CLOSE, type Frame, frame, type FrameInit } from "./ws_client.ts";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** A frame of a client, with the key that it was masked with. */
export interface MaskedFrame extends Frame {
  key: number;
  /** The payload as it was on the wire. */
  wire: Uint8Array<ArrayBuffer>;
}

/** Listens on a free port of 127.0.0.1. */
export class RawServer implements Disposable {
  readonly #listener: Deno.TcpListener;
  readonly #peers: RawPeer[] = [];

  constructor(port: number = 0) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port });
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/`;
  }

  /** The next connection. */
  async accept(): Promise<RawPeer> {
    const conn = await deadline(this.#listener.accept(), "a connection");
    const peer = new RawPeer(conn);
    this.#peers.push(peer);
    return peer;
  }

  /** The next connection after its handshake. */
  async open(fields: string = ""): Promise<RawPeer> {
    const peer = await this.accept();
    const head = await peer.head();
    await peer.raw.write(agree(head, fields));
    return peer;
  }

  /** Listens no more; connections stay. */
  stop(): void {
    try {
      this.#listener.close();
    } catch {
      // Stopped before.
    }
  }

  [Symbol.dispose](): void {
    this.stop();
    for (const peer of this.#peers) peer.raw.close();
  }
}

/** The server's side of one connection. */
export class RawPeer {
  readonly raw: RawClient;

  constructor(conn: Deno.TcpConn) {
    this.raw = new RawClient(conn);
  }

  /** The head of the request. */
  async head(): Promise<string> {
    return fromLatin1(await this.raw.through("\r\n\r\n"));
  }

  /** Sends a frame without a mask, unless asked otherwise. */
  send(init: FrameInit): Promise<void> {
    return this.raw.write(frame({ masked: false, ...init }));
  }

  /** The next frame, which must be masked. */
  async frame(): Promise<MaskedFrame> {
    const [first, second] = await this.raw.exactly(2);
    assert((second! & 0x80) !== 0, "A client must mask");
    const length = await this.#length(second! & 0x7f);
    const mask = await this.raw.exactly(4);
    const wire = await this.raw.exactly(length);
    return {
      fin: (first! & 0x80) !== 0,
      rsv: first! >> 4 & 7,
      opcode: first! & 15,
      key: new Uint32Array(mask.buffer)[0]!,
      wire,
      payload: wire.map((byte, at) => byte ^ mask[at & 3]!),
    };
  }

  /** The close frame that comes next. */
  async closeFrame(): Promise<{ code: number; reason: string }> {
    const { opcode, payload } = await this.frame();
    assertEquals(opcode, CLOSE);
    return {
      code: payload.length === 0 ? 1005 : payload[0]! << 8 | payload[1]!,
      reason: new TextDecoder().decode(payload.subarray(2)),
    };
  }

  async #length(code: number): Promise<number> {
    if (code < 126) return code;
    const bytes = await this.raw.exactly(code === 126 ? 2 : 8);
    return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  }
}

/** The answer to a key. */
export function acceptOf(head: string): string {
  const key = /^sec-websocket-key: (.*)\r$/im.exec(head)![1]!;
  return createHash("sha1").update(key + GUID).digest("base64");
}

/** The 101 to a request, with further fields. */
export function agree(head: string, fields: string = ""): string {
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" +
    `Connection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(head)}\r\n` +
    `${fields}\r\n`;
}
