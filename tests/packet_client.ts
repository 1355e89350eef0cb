// SPDX-License-Identifier: Apache-2.0
// packet_client.ts - a client of the action router built by hand, over TCP or
// WebSocket: every byte is the test's to choose.

import { assertEquals } from "@std/assert";
import { decodeError } from "../lib/rpc_error.ts";
import { rpc, type RpcApp, type RpcOptions } from "../lib/rpc.ts";
import { RawClient } from "./raw_client.ts";
import { concat, type Context, testBackends } from "./testing.ts";
import { BINARY, CLOSE, closePayload, WsClient } from "./ws_client.ts";

export type Carrier = "TCP" | "WebSocket";

const CARRIERS: readonly Carrier[] = ["TCP", "WebSocket"];

export interface Received {
  action: number;
  sequence: number;
  body: Uint8Array<ArrayBuffer>;
}

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

/** The bytes of action and sequence, written otherwise than in lib/packet.ts. */
function head(action: number, sequence: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setInt16(0, action);
  view.setInt16(2, sequence);
  return new Uint8Array(view.buffer);
}

/** A packet as it goes over TCP. */
export function packet(
  action: number,
  sequence: number,
  body: string | Uint8Array = "",
): Uint8Array<ArrayBuffer> {
  const bytes = typeof body === "string" ? UTF8.encode(body) : body;
  const length = new DataView(new ArrayBuffer(4));
  length.setInt32(0, 8 + bytes.length);
  return concat([
    new Uint8Array(length.buffer),
    head(action, sequence),
    bytes,
  ]);
}

/** A connection that sends and receives packets. */
export interface PacketClient extends Disposable {
  send(
    action: number,
    sequence: number,
    body?: string | Uint8Array,
  ): Promise<void>;
  /** Several packets at one blow. */
  sendAll(
    packets: [action: number, sequence: number, body?: string][],
  ): Promise<
    void
  >;
  receive(): Promise<Received>;
  /** Waits until the server closes, as it should, and closes too. */
  closed(): Promise<void>;
  raw: RawClient;
}

class TcpPackets implements PacketClient {
  readonly raw: RawClient;

  constructor(raw: RawClient) {
    this.raw = raw;
  }

  send(
    action: number,
    sequence: number,
    body: string | Uint8Array = "",
  ): Promise<void> {
    return this.raw.write(packet(action, sequence, body));
  }

  sendAll(packets: [number, number, string?][]): Promise<void> {
    return this.raw.write(concat(packets.map((all) => packet(...all))));
  }

  async receive(): Promise<Received> {
    const length = new DataView((await this.raw.exactly(4)).buffer).getInt32(0);
    return received(await this.raw.exactly(length - 4));
  }

  async closed(): Promise<void> {
    assertEquals(await this.raw.rest(), "");
    this.raw.close();
  }

  [Symbol.dispose](): void {
    this.raw.close();
  }
}

class WebSocketPackets implements PacketClient {
  readonly raw: RawClient;
  readonly #ws: WsClient;

  constructor(ws: WsClient) {
    this.#ws = ws;
    this.raw = ws.raw;
  }

  send(
    action: number,
    sequence: number,
    body: string | Uint8Array = "",
  ): Promise<void> {
    return this.#ws.binary(packet(action, sequence, body).subarray(4));
  }

  async sendAll(packets: [number, number, string?][]): Promise<void> {
    for (const all of packets) await this.send(...all);
  }

  async receive(): Promise<Received> {
    const frame = await this.#ws.frame();
    assertEquals(frame.opcode, BINARY);
    return received(frame.payload);
  }

  async closed(): Promise<void> {
    const { code } = await this.#ws.closeFrame();
    await this.#ws.send({ opcode: CLOSE, payload: closePayload(code) });
    assertEquals(await this.raw.rest(), "");
    this.raw.close();
  }

  [Symbol.dispose](): void {
    this.raw.close();
  }
}

function received(bytes: Uint8Array<ArrayBuffer>): Received {
  const view = new DataView(bytes.buffer);
  return {
    action: view.getInt16(0),
    sequence: view.getInt16(2),
    body: bytes.slice(4),
  };
}

/** Action, sequence and the body as JSON. */
export function asJson(packet: Received): [number, number, unknown] {
  const { action, sequence, body } = packet;
  return [action, sequence, JSON.parse(TEXT.decode(body))];
}

/** Sequence, action of the request, code and message of an error packet. */
export function asError(packet: Received): [number, number, number, string] {
  assertEquals(packet.action, -1);
  const { action, error } = decodeError(packet.body)!;
  return [packet.sequence, action, error.code, error.message];
}

/** What a test of one backend and carrier is given. */
export interface RpcTest extends Context {
  readonly carrier: Carrier;
  /** An application that `connect()` reaches; it is shut down when the test ends. */
  app(options?: RpcOptions): RpcApp;
  /** Starts it, at the first call, and connects. */
  connect(app: RpcApp): Promise<PacketClient>;
}

/** Registers one test for each backend, over TCP and over WebSocket. */
export function testCarriers(
  name: string,
  fn: (test: RpcTest) => Promise<void>,
): void {
  for (const carrier of CARRIERS) {
    testBackends(`${name} over ${carrier}`, (t) => run(t, carrier, fn));
  }
}

async function run(
  t: Context,
  carrier: Carrier,
  fn: (test: RpcTest) => Promise<void>,
): Promise<void> {
  const apps = new Map<RpcApp, { readonly addr: Deno.Addr }>();
  const started = new Set<RpcApp>();
  const test: RpcTest = {
    ...t,
    carrier,
    app(options = {}): RpcApp {
      const app = rpc(options);
      const where = { hostname: "127.0.0.1", port: 0, backend: t.backend };
      apps.set(
        app,
        carrier === "TCP" ? app.listenTcp(where) : app.listenWebSocket(where),
      );
      return app;
    },
    async connect(app): Promise<PacketClient> {
      if (!started.has(app)) await app.start();
      started.add(app);
      const to = { addr: apps.get(app)!.addr as Deno.NetAddr };
      const client = t.using(
        carrier === "TCP"
          ? new TcpPackets(await RawClient.connect(to))
          : new WebSocketPackets(await WsClient.open(to)),
      );
      // Packets that follow one another are not to wait for acknowledgements.
      (client.raw.conn as Deno.TcpConn).setNoDelay();
      return client;
    },
  };
  try {
    await fn(test);
  } finally {
    for (const app of apps.keys()) await app.shutdown({ timeout: 1 });
  }
}
