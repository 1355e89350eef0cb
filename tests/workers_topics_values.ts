// SPDX-License-Identifier: Apache-2.0
// workers_topics_values.ts - what clients can ask of workers_topics_app.ts, and values to be sent; shared by the test
// and the workers.

/** What a client asks for. */
export interface Ask {
  subscribe?: string;
  unsubscribe?: string;
  publish?: string;
  /** What to publish, `count` times with a number behind it. */
  message?: string;
  count?: number;
  /** Published as bytes. */
  bytes?: boolean;
  /** By the socket, and not by the worker. */
  socket?: boolean;
  key?: string;
  send?: number | "main";
  broadcast?: boolean;
  /** The name of one of `VALUES`, or what is to be sent. */
  value?: unknown;
  named?: string;
  /** Takes no turn from when the first file is there until the second one is. */
  spin?: [begun: string, until: string];
  /** Where the other server listens. */
  address?: boolean;
  die?: boolean;
}

/** What cannot be said in JSON. */
export const VALUES: Record<string, unknown> = {
  map: new Map<unknown, unknown>([["a", 1n], [{ b: 2 }, new Set([3])]]),
  date: new Date(1234567890123),
  floats: Float64Array.of(1.5, -0),
  bytes: Uint8Array.of(1, 2, 255),
  buffer: Uint8Array.of(5, 6).buffer,
  half: "\ud800 is half a character",
  text: "ganz normal: ä€😀",
  nothing: undefined,
  function: (): void => {},
  long: new Uint8Array(200_000),
};
