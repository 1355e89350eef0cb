// SPDX-License-Identifier: Apache-2.0
// libc.ts - sockets that can be reset at will, which Deno's own cannot.

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const SO_RCVBUF = 8;
const MSG_NOSIGNAL = 0x4000;

// At module level: it stays open, and no test shall be blamed for that.
const { symbols: libc } = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "u32"],
    result: "i32",
  },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
});

/**
 * A connection to a port of 127.0.0.1 that blocks: the kernel completes it
 * without the server, which may live in this very thread.
 */
export class ResettableSocket implements Disposable {
  #fd: number;

  constructor(port: number, options: { receiveBytes?: number } = {}) {
    this.#fd = libc.socket(AF_INET, SOCK_STREAM, 0);
    if (this.#fd < 0) throw new Error("Cannot make a socket");
    if (options.receiveBytes !== undefined) {
      this.#set(SO_RCVBUF, Int32Array.of(options.receiveBytes));
    }
    const address = new Uint8Array(16);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_INET, true);
    view.setUint16(2, port);
    view.setUint32(4, 0x7f000001);
    if (libc.connect(this.#fd, address, 16) !== 0) {
      libc.close(this.#fd);
      throw new Error("Cannot connect");
    }
  }

  /** Sends what fits the socket's buffer, which for a test is all. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    libc.send(this.#fd, bytes, BigInt(bytes.length), MSG_NOSIGNAL);
  }

  /** Drops the connection with RST, whatever is on its way. */
  reset(): void {
    this.#set(SO_LINGER, Int32Array.of(1, 0));
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) libc.close(this.#fd);
    this.#fd = -1;
  }

  #set(name: number, value: Int32Array<ArrayBuffer>): void {
    const bytes = new Uint8Array(value.buffer);
    libc.setsockopt(this.#fd, SOL_SOCKET, name, bytes, bytes.length);
  }
}
