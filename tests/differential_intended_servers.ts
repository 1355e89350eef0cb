// SPDX-License-Identifier: Apache-2.0
// differential_intended_servers.ts - where the server that serve() returns is
// meant to differ from that of Deno.serve, and why.

/** What a case of tests/differential_server_test.ts comes to with each. */
export interface KnownServer {
  why: string;
  name: string;
  deno: unknown;
  millrace: unknown;
}

export const INTENDED_SERVERS: readonly KnownServer[] = [
  {
    why: "A `hostname` that is not found throws `Deno.errors.NotFound`",
    name: "a hostname that is none",
    deno: "Error",
    millrace: "NotFound",
  },
  {
    why:
      "An answer in a shutdown says that the connection closes (RFC 9112 section 9.6)",
    name: "shutdown with a request in flight",
    deno: ["hello", null],
    millrace: ["hello", "connection: close"],
  },
  {
    why: "A `signal` that has aborted before throws, and is not ignored",
    name: "signal that has aborted before",
    deno: "hello",
    millrace: "DOMException: The signal has been aborted",
  },
];
