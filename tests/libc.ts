// SPDX-License-Identifier: Apache-2.0
// libc.ts - sockets that can be reset at will, and listeners that do not accept,
// which Deno's own cannot.

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
function loopback(port: number, last: number = 1): Uint8Array<ArrayBuffer> {
  const address = new Uint8Array(ADDRESS_BYTES);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  view.setUint32(4, 0x7f000000 + last);
  return address;
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
    if (libc.connect(this.#fd, loopback(port), ADDRESS_BYTES) !== 0) {
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

/**
 * A port of 127.0.0.n whose queue is full: whoever connects hears nothing, as
 * from a host that is not there.
 */
export class MutePort implements Disposable {
  readonly port: number;
  /** Descriptor of the listening socket. */
  readonly fd: number;
  readonly #first: number;

  constructor(last: number = 1, port: number = 0) {
    this.fd = libc.socket(AF_INET, SOCK_STREAM, 0);
    const address = loopback(port, last);
    if (
      libc.bind(this.fd, address, ADDRESS_BYTES) !== 0 ||
      libc.listen(this.fd, 0) !== 0
    ) throw new Error("Cannot listen");
    const length = new Uint8Array(Uint32Array.of(ADDRESS_BYTES).buffer);
    libc.getsockname(this.fd, address, length);
    this.port = new DataView(address.buffer).getUint16(2);
    // One has room in a queue of none.
    this.#first = libc.socket(AF_INET, SOCK_STREAM, 0);
    libc.connect(this.#first, address, ADDRESS_BYTES);
  }

  [Symbol.dispose](): void {
    libc.close(this.#first);
    libc.close(this.fd);
  }
}
