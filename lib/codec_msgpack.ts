// SPDX-License-Identifier: Apache-2.0
// codec_msgpack.ts - bodies as MessagePack, by @msgpack/msgpack; imported by applications that want them, and by nobody
// else, so that others do not load the library.

/**
 * Bodies of the action router as MessagePack.
 *
 * @example
 * ```ts
 * import { rpc } from "@millrace/millrace/rpc";
 * import { msgpack } from "@millrace/millrace/rpc/msgpack";
 *
 * const app = rpc({ codec: msgpack }).route(1, () => new Date());
 * ```
 *
 * @module
 */

import { decode, Encoder } from "@msgpack/msgpack";
import { copyOf } from "./bytes.ts";
import type { Codec } from "./codec.ts";
import { requireValues } from "./msgpack_bounds.ts";

const encoder = new Encoder({ ignoreUndefined: true });

/**
 * MessagePack. No value is nil, and an empty body is read as undefined. Binary data are `Uint8Array`s, timestamps
 * `Date`s.
 */
export const msgpack: Codec = {
  encode(value: unknown): Uint8Array {
    return encoder.encode(value ?? null);
  },
  decode(bytes: Uint8Array): unknown {
    if (bytes.length === 0) return undefined;
    requireValues(bytes);
    // Binary data are views of what is decoded.
    return decode(copyOf(bytes));
  },
};
