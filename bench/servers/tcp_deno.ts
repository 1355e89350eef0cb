// SPDX-License-Identifier: Apache-2.0
// tcp_deno.ts - the TCP echo of the contender Deno, by Deno.listen; prints its port when it listens.
import { sharedPort } from "./routes.ts";

const READ_BYTES = 64 * 1024;

const listener = Deno.listen({ ...sharedPort(), hostname: "127.0.0.1" });
console.log((listener.addr as Deno.NetAddr).port);
for await (const connection of listener) {
  connection.setNoDelay();
  echo(connection).catch(() => {});
}

async function echo(connection: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(READ_BYTES);
  for (let length; (length = await connection.read(buffer)) !== null;) {
    for (let at = 0; at < length;) {
      at += await connection.write(buffer.subarray(at, length));
    }
  }
  connection.close();
}
