// SPDX-License-Identifier: Apache-2.0
// address.ts - addresses as C writes them, "host port" or a path, as Deno has them; used by reactor.ts and by
// lib/listening_server.ts.

/** The address that a text means; an empty one is that of a connection that is gone. */
export function parseAddress(text: string, unix: boolean): Deno.Addr {
  if (unix) return { transport: "unix", path: text };
  const [hostname = "", port = "0"] = text.split(" ");
  return { transport: "tcp", hostname, port: Number(port) };
}
