// SPDX-License-Identifier: Apache-2.0
// tcp_bun.ts - the TCP echo of the contender Bun, by Bun.listen; prints its port when it listens. Runs in Bun, is
// checked by Deno.

interface BunTcpSocket {
  /** What is still to be written. */
  data: Uint8Array[];
  /** Returns how many bytes were taken. */
  write(bytes: Uint8Array): number;
}

interface BunListenOptions {
  hostname: string;
  port: number;
  socket: {
    open(socket: BunTcpSocket): void;
    data(socket: BunTcpSocket, bytes: Uint8Array): void;
    drain(socket: BunTcpSocket): void;
  };
}

declare const Bun: {
  listen(options: BunListenOptions): { readonly port: number };
};

const server = Bun.listen({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open(socket): void {
      socket.data = [];
    },
    // Bun leaves what the kernel does not take to the application.
    data(socket, bytes): void {
      const taken = socket.data.length > 0 ? 0 : socket.write(bytes);
      if (taken < bytes.length) socket.data.push(bytes.slice(taken));
    },
    drain(socket): void {
      const waiting = socket.data;
      while (waiting.length > 0) {
        const taken = socket.write(waiting[0]!);
        if (taken < waiting[0]!.length) {
          waiting[0] = waiting[0]!.subarray(taken);
          return;
        }
        waiting.shift();
      }
    },
  },
});
console.log(server.port);
