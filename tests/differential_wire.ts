// SPDX-License-Identifier: Apache-2.0
// differential_wire.ts - a connection of the differential test: unlike that of
// tests/raw_client.ts it keeps what came of a response that was cut.

import { concat, deadline, fromLatin1, latin1 } from "./testing.ts";

const READ_BYTES = 65536;

/** A connection that ends quietly, whether by FIN or by a reset. */
export class Wire {
  readonly #conn: Deno.Conn;
  readonly #scratch = new Uint8Array(READ_BYTES);
  #buffer: Uint8Array = new Uint8Array(0);
  #over = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Writes all of it, unless the server has closed. */
  async write(data: string): Promise<void> {
    const bytes = latin1(data);
    try {
      for (let at = 0; at < bytes.length;) {
        at += await deadline(this.#conn.write(bytes.subarray(at)), "write");
      }
    } catch (error) {
      throwUnlessClosed(error);
    }
  }

  async closeWrite(): Promise<void> {
    await this.#conn.closeWrite().catch(throwUnlessClosed);
  }

  close(): void {
    this.#conn.close();
  }

  /** Text up to and with the mark; null when the connection ends before. */
  async through(mark: string): Promise<string | null> {
    for (;;) {
      const at = fromLatin1(this.#buffer).indexOf(mark);
      if (at !== -1) return fromLatin1(this.#take(at + mark.length));
      if (!await this.#fill()) return null;
    }
  }

  /** That many bytes, or as many as come before the end. */
  async atMost(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let missing = length;
    for (;;) {
      const part = this.#take(missing);
      parts.push(part);
      missing -= part.length;
      if (missing === 0 || !await this.#fill()) return concat(parts);
    }
  }

  #take(length: number): Uint8Array {
    const bytes = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return bytes;
  }

  async #fill(): Promise<boolean> {
    if (this.#over) return false;
    const count = await deadline(this.#conn.read(this.#scratch), "read")
      .catch(throwUnlessClosed);
    this.#over = count === null;
    if (count === null) return false;
    this.#buffer = concat([this.#buffer, this.#scratch.subarray(0, count)]);
    return true;
  }
}

function throwUnlessClosed(error: unknown): null {
  const { BrokenPipe, ConnectionReset, NotConnected } = Deno.errors;
  const closed = [BrokenPipe, ConnectionReset, NotConnected];
  if (!closed.some((Class) => error instanceof Class)) throw error;
  return null;
}
