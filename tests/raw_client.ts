// SPDX-License-Identifier: Apache-2.0
// raw_client.ts - a client that sends what it is told, byte for byte, and reads
// responses by their framing alone.

import type { HttpServer } from "../mod.ts";
import { concat, deadline, fromLatin1, latin1 } from "./testing.ts";

/** One response, as its framing delimits it. */
export interface RawResponse {
  status: number;
  version: string;
  reason: string;
  /** Lower-case names with their values, in order. */
  fields: [name: string, value: string][];
  body: Uint8Array<ArrayBuffer>;
  /** The body as UTF-8. */
  text: string;
  /** Values of one field, by its lower-case name. */
  all(name: string): string[];
  /** The only value of a field, or null. */
  field(name: string): string | null;
}

export type Address = Deno.NetAddr | Deno.UnixAddr;

const READ_BYTES = 65536;

/** A connection without any protocol of its own. */
export class RawClient implements Disposable {
  readonly #conn: Deno.TcpConn | Deno.UnixConn;
  readonly #scratch = new Uint8Array(READ_BYTES);
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #closed = false;

  constructor(conn: Deno.TcpConn | Deno.UnixConn) {
    this.#conn = conn;
  }

  static async connect(
    to: Pick<HttpServer, "addr"> | { addr: Address },
  ): Promise<RawClient> {
    const addr = to.addr as Address;
    if (addr.transport === "unix") {
      return new RawClient(
        await Deno.connect({ transport: "unix", path: addr.path }),
      );
    }
    const { hostname, port } = addr as Deno.NetAddr;
    return new RawClient(await Deno.connect({ hostname, port }));
  }

  get conn(): Deno.TcpConn | Deno.UnixConn {
    return this.#conn;
  }

  get localPort(): number {
    return (this.#conn.localAddr as Deno.NetAddr).port;
  }

  /** Writes all of it: bytes, or text with a byte for each character. */
  async write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? latin1(data) : data;
    for (let at = 0; at < bytes.length;) {
      at += await deadline(this.#conn.write(bytes.subarray(at)), "write");
    }
  }

  /** Writes and reads the response. */
  async request(data: string | Uint8Array): Promise<RawResponse> {
    await this.write(data);
    const head = typeof data === "string" && data.startsWith("HEAD ");
    return await this.response(head);
  }

  /** FIN: nothing more will be sent. */
  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#conn.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** One response; `headOnly` when it answers HEAD. */
  async response(headOnly: boolean = false): Promise<RawResponse> {
    const head = fromLatin1(await this.through("\r\n\r\n"));
    const lines = head.slice(0, -4).split("\r\n");
    const [, version, status, reason] =
      /^(HTTP\/1\.[01]) (\d{3}) (.*)$/.exec(lines[0]!) ?? [];
    if (version === undefined) throw new Error(`Bad status line: ${lines[0]}`);
    const fields = lines.slice(1).map(fieldOf);
    const all = (name: string): string[] =>
      fields.filter((field) => field[0] === name).map((field) => field[1]);
    const bodyless = headOnly || /^(1|204|304)/.test(status!);
    const body = bodyless ? new Uint8Array(0) : await this.#body(all);
    return {
      version,
      status: Number(status),
      reason: reason!,
      fields,
      body,
      text: new TextDecoder().decode(body),
      all,
      field: (name) => {
        const values = all(name);
        if (values.length > 1) throw new Error(`Repeated field ${name}`);
        return values[0] ?? null;
      },
    };
  }

  /** Bytes up to and with the mark. */
  async through(mark: string): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = latin1(mark);
    for (let from = 0;;) {
      const at = indexOf(this.#buffer, bytes, from);
      if (at !== -1) return this.#take(at + bytes.length);
      from = Math.max(0, this.#buffer.length - bytes.length);
      if (!await this.#fill()) {
        throw new Deno.errors.UnexpectedEof(
          `Closed after ${JSON.stringify(fromLatin1(this.#buffer))}`,
        );
      }
    }
  }

  /** Exactly that many bytes. */
  async exactly(length: number): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#buffer.length < length) {
      const parts = [this.#buffer];
      let have = this.#buffer.length;
      while (have < length) {
        const part = await this.#read();
        if (part === null) {
          throw new Deno.errors.UnexpectedEof(
            `Closed after ${have} of ${length} bytes`,
          );
        }
        parts.push(part);
        have += part.length;
      }
      this.#buffer = concat(parts);
    }
    return this.#take(length);
  }

  /** Everything up to the orderly end of the connection. */
  async rest(): Promise<string> {
    const parts = [this.#take(this.#buffer.length)];
    for (let part; (part = await this.#read()) !== null;) parts.push(part);
    return fromLatin1(concat(parts));
  }

  /** Everything up to the end, orderly or not. */
  async ending(): Promise<{ text: string; reset: boolean }> {
    const parts = [this.#take(this.#buffer.length)];
    try {
      for (let part; (part = await this.#read()) !== null;) parts.push(part);
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
      return { text: fromLatin1(concat(parts)), reset: true };
    }
    return { text: fromLatin1(concat(parts)), reset: false };
  }

  async #body(
    all: (name: string) => string[],
  ): Promise<Uint8Array<ArrayBuffer>> {
    const lengths = all("content-length");
    const codings = all("transfer-encoding");
    if (lengths.length + codings.length > 1) throw new Error("Framed twice");
    if (codings.length === 1) return await this.#chunks();
    if (lengths.length === 1) return await this.exactly(Number(lengths[0]));
    return latin1(await this.rest());
  }

  async #chunks(): Promise<Uint8Array<ArrayBuffer>> {
    const parts: Uint8Array[] = [];
    for (;;) {
      const line = fromLatin1(await this.through("\r\n")).slice(0, -2);
      if (!/^[0-9a-f]+$/.test(line)) throw new Error(`Bad chunk size ${line}`);
      const size = parseInt(line, 16);
      if (size > 0) parts.push(await this.exactly(size));
      const end = fromLatin1(await this.exactly(2));
      if (end !== "\r\n") throw new Error("Bad end of chunk");
      if (size === 0) return concat(parts);
    }
  }

  #take(length: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#buffer.slice(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return bytes;
  }

  async #fill(): Promise<boolean> {
    const part = await this.#read();
    if (part !== null) this.#buffer = concat([this.#buffer, part]);
    return part !== null;
  }

  async #read(): Promise<Uint8Array<ArrayBuffer> | null> {
    const count = await deadline(this.#conn.read(this.#scratch), "read");
    return count === null ? null : this.#scratch.slice(0, count);
  }
}

/** A request with the usual Host. */
export function get(target: string, fields: string = ""): string {
  return `GET ${target} HTTP/1.1\r\nHost: test\r\n${fields}\r\n`;
}

/** A POST with Content-Length. */
export function post(
  target: string,
  body: string,
  fields: string = "",
): string {
  return `POST ${target} HTTP/1.1\r\nHost: test\r\n` +
    `Content-Length: ${body.length}\r\n${fields}\r\n${body}`;
}

function fieldOf(line: string): [name: string, value: string] {
  const colon = line.indexOf(": ");
  const name = line.slice(0, colon);
  if (colon < 1 || !/^[A-Za-z0-9-]+$/.test(name)) {
    throw new Error(`Bad field line ${JSON.stringify(line)}`);
  }
  return [name.toLowerCase(), line.slice(colon + 2)];
}

function indexOf(bytes: Uint8Array, mark: Uint8Array, from: number): number {
  for (let at = from; at <= bytes.length - mark.length; at++) {
    if (mark.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}
