// SPDX-License-Identifier: Apache-2.0
// libc.ts - sockets that can be reset at will, or take no connections, which
// Deno's own cannot.

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_LINGER = 13;
const SO_RCVBUF = 8;
const MSG_NOSIGNAL = 0x4000;

// At module level: it stays open, and no test shall be blamed for that.
const { symbols: libc } = Deno.dlopen("libc.so.6", {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  setsockopt: {
    parameters: ["i32", "i32", "i32", "buffer", "u32"],
    result: "i32",
  },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
});

const ADDRESS_BYTES = 16;

// A struct sockaddr_in of 127.0.0.n.
function addressOf(port: number, last: number = 1): Uint8Array<ArrayBuffer> {
  const address = new Uint8Array(ADDRESS_BYTES);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  view.setUint32(4, 0x7f000000 + last);
  return address;
}

/**
 * A port of 127.0.0.n whose queue is full, so that who connects hears nothing.
 */
export class FullListener implements Disposable {
  readonly port: number;
  readonly fd: number;
  readonly #fds: number[] = [];

  constructor(last: number, port: number = 0) {
    const listener = this.#socket();
    this.fd = listener;
    const address = addressOf(port, last);
    if (
      libc.bind(listener, address, ADDRESS_BYTES) !== 0 ||
      libc.listen(listener, 0) !== 0
    ) throw new Error("Cannot listen");
    libc.getsockname(listener, address, Uint32Array.of(ADDRESS_BYTES));
    this.port = new DataView(address.buffer).getUint16(2);
    // A backlog of 0 has room for one.
    libc.connect(this.#socket(), address, ADDRESS_BYTES);
  }

  #socket(): number {
    const fd = libc.socket(AF_INET, SOCK_STREAM, 0);
    this.#fds.push(fd);
    return fd;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) libc.close(fd);
  }
}

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
    if (libc.connect(this.#fd, addressOf(port), ADDRESS_BYTES) !== 0) {
      libc.close(this.#fd);
      throw new Error("Cannot connect");
    }
  }

  /** Sends what fits the socket's buffer, which for a test is all. */
  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.length === 0) return;
    libc.send(this.#fd, bytes, BigInt(bytes.length), MSG_NOSIGNAL);
  }

  /** The descriptor, which is the caller's from here on. */
  release(): number {
    const fd = this.#fd;
    this.#fd = -1;
    return fd;
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
