// SPDX-License-Identifier: Apache-2.0
// socket_id.ts - names of sockets; used by socket.ts and ws_base_socket.ts.

// Ids begin otherwise in each isolate, since workers of one process are numbered apart.
const ISOLATE = crypto.getRandomValues(new Uint32Array(2)).reduce(
  (text, word) => text + word.toString(36),
  "",
);
let sockets = 0;

/** A number for a socket, of which `idOf()` makes its id once somebody asks. */
export function nextSocket(): number {
  return ++sockets;
}

/** A text that no other socket of the process has. */
export function idOf(number: number): string {
  return `${ISOLATE}-${number}`;
}
