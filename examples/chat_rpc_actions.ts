// SPDX-License-Identifier: Apache-2.0
// chat_rpc_actions.ts - what chat_rpc.ts and its clients say to each other; the page has the numbers a second time.

/** A request: `{ name }`, answered with a {@linkcode Welcome}. Everything else needs it first. */
export const JOIN = 1;
/** A request: the text of a message, answered with nothing once all members were sent it. */
export const SAY = 2;
/** A push: a {@linkcode Said}. */
export const SAID = 101;
/** A push: an array of {@linkcode Member}. */
export const MEMBERS = 102;

// Codes of errors; those of Millrace are below 100.
export const NOT_JOINED = 100;
export const REFUSED = 101;

/** Who is there, and how. */
export interface Member {
  name: string;
  transport: "tcp" | "unix" | "websocket";
}

export interface Said {
  /** Null for what the server says. */
  name: string | null;
  text: string;
  at: number;
}

export interface Welcome {
  members: Member[];
  /** What was said last, the oldest first. */
  history: Said[];
}
