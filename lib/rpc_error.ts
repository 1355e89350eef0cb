// SPDX-License-Identifier: Apache-2.0
// rpc_error.ts - errors that go over the wire: what a handler throws to be answered with one, and what a call rejects
// with; used by rpc_peer.ts and rpc_client.ts.

import { HEAD_BYTES, isInt16, readInt16, writeInt16 } from "./packet.ts";

/** The codes that Millrace itself answers with. Those of applications begin at 100. */
export const RpcCode: {
  /** No route has the action. */
  readonly NotFound: 1;
  /** The body could not be decoded, or was not what the route expects. */
  readonly BadRequest: 2;
  /** The handler threw, or its result could not be encoded. */
  readonly Internal: 3;
  /** `ctx.abort()` was called. */
  readonly Aborted: 4;
  /** The handler took longer than the route allows. */
  readonly Timeout: 5;
  /** The queue of the executor is full. */
  readonly Busy: 6;
  /** The bytes were no packet; the connection is closed behind the error. */
  readonly Malformed: 7;
} = {
  NotFound: 1,
  BadRequest: 2,
  Internal: 3,
  Aborted: 4,
  Timeout: 5,
  Busy: 6,
  Malformed: 7,
};

/**
 * An error that is told to the other side. A handler that throws one has it answered with its code and message; what
 * else it throws is answered with `RpcCode.Internal` and no details.
 */
export class RpcError extends Error {
  /** The name of the class. */
  override readonly name = "RpcError";
  /** One of `RpcCode`, or the application's. */
  readonly code: number;

  /**
   * Makes an error.
   *
   * @param code An integer from -32768 to 32767; from 100 on they are the application's.
   * @param message What the other side is told: of its UTF-8, the first 1,024 bytes.
   * @param options A cause, which stays on this side.
   * @throws {RangeError} When the code does not fit.
   */
  constructor(code: number, message: string, options?: ErrorOptions) {
    super(message, options);
    if (!isInt16(code)) {
      throw new RangeError(
        `Cannot make an RpcError: "code" must be an integer from -32768 to 32767, is ${
          String(code)
        }`,
      );
    }
    this.code = code;
  }
}

/** The action of error packets, which no route can have. */
export const ERROR_ACTION = -1;

const MESSAGE_BYTES = 1024;
const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

/** The body of an error packet: 2 bytes of the request's action, 2 of the code, and the message in UTF-8. */
export function encodeError(action: number, error: RpcError): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + MESSAGE_BYTES);
  writeInt16(bytes, 0, action);
  writeInt16(bytes, 2, error.code);
  // Whole characters only.
  const { written } = UTF8.encodeInto(
    error.message,
    bytes.subarray(HEAD_BYTES),
  );
  return bytes.subarray(0, HEAD_BYTES + written);
}

/** Reads the body of an error packet; null when it is none. */
export function decodeError(
  body: Uint8Array,
): { action: number; error: RpcError } | null {
  if (body.length < HEAD_BYTES) return null;
  const message = TEXT.decode(body.subarray(HEAD_BYTES));
  return {
    action: readInt16(body, 0),
    error: new RpcError(readInt16(body, 2), message),
  };
}
