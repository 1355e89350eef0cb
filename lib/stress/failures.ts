// SPDX-License-Identifier: Apache-2.0
// failures.ts - errors of clients as what they are counted as; used by the *_wire.ts.

import { RpcError } from "../rpc_error.ts";
import { WebSocketHandshakeError } from "../ws_client_handshake.ts";
import type { Failure } from "./recorder.ts";

const { errors } = Deno;

// By the names that the system gives, which the messages of Millrace end with.
const KINDS: Record<string, string> = {
  EADDRNOTAVAIL: "no local address or port",
  ECONNABORTED: "connection aborted",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EDQUOT: "too many connections",
  EHOSTUNREACH: "host unreachable",
  EMFILE: "too many open files",
  ENETUNREACH: "network unreachable",
  ENFILE: "too many open files",
  EPIPE: "connection reset",
  ETIMEDOUT: "timed out",
};

// What to do about it, where that is not plain.
const ADVICE: Record<string, string> = {
  EADDRNOTAVAIL:
    "; where ports ran out, give several addresses of it, such as --source 127.0.0.2,127.0.0.3",
  EMFILE: "; raise the limit with ulimit -n",
};

/** What an error of a client is counted as. */
export function failureOf(error: Error): Failure {
  const { message } = error;
  const name = /\((E[A-Z0-9]+)\)/.exec(message)?.[1] ?? "";
  return {
    kind: KINDS[name] ?? kindOf(error),
    message: message + (ADVICE[name] ?? ""),
  };
}

/** An end that the server has brought about without saying that anything is wrong. */
export function serverLeft(message: string): Failure {
  return { kind: "closed by the server", message };
}

/** An answer that is not what was to be expected. */
export function wrongAnswer(lane: number): Failure {
  return {
    kind: "wrong answer",
    message: `The answer on connection ${lane} differs from what was expected`,
  };
}

function kindOf(error: Error): string {
  if (error instanceof WebSocketHandshakeError) {
    return error.status === 0
      ? "handshake failed"
      : `handshake refused with ${error.status}`;
  }
  if (error instanceof RpcError) return `error ${error.code} of the server`;
  if (error instanceof errors.NotFound) return "host not found";
  if (error instanceof errors.TimedOut) return "no answer in time";
  if (error instanceof errors.ConnectionAborted) return "connection lost";
  if (error instanceof errors.ConnectionReset) return "connection reset";
  if (error instanceof errors.InvalidData) return "unreadable answer";
  return error.name === "Error" ? "connection failed" : error.name;
}
