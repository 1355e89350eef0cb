// SPDX-License-Identifier: Apache-2.0
// connection.ts - what the poll loop knows of a connection, whichever protocol it speaks; implemented by
// http_connection.ts, ws_connection.ts and socket_connection.ts, and by dial.ts and ws_client_opening.ts before that.

/** A live connection. The loop calls it from the first record of its handle to the last. */
export interface Connection {
  /** Names the connection towards C. */
  readonly handle: number;

  /** Takes in one record of the inbox. */
  receive(index: number): void;

  /** The server shuts down: finish what is in flight, start nothing new. */
  drain(): void;

  /** The connection is gone without a CLOSED record: the loop was closed. Nothing may be staged from here on. */
  lost(): void;
}
