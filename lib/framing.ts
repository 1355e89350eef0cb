// SPDX-License-Identifier: Apache-2.0
// framing.ts - cuts a stream of bytes into frames, by a length in front of each or a delimiter behind; used by the
// action router, and by applications on connections of any kind.

/**
 * Framing: where one message ends and the next one begins in a stream of bytes.
 *
 * @example Lines over a raw socket
 * ```ts
 * import { DelimiterFramer } from "@millrace/millrace/framing";
 * import { rawSocket, serve } from "@millrace/millrace";
 *
 * const text = new TextDecoder();
 * const lines = rawSocket<DelimiterFramer>({
 *   data(socket, chunk) {
 *     socket.data.push(chunk, (line) => console.log(text.decode(line)));
 *   },
 * });
 *
 * serve((request) =>
 *   lines.upgrade(request, {
 *     protocol: "lines",
 *     data: new DelimiterFramer({ delimiter: "\n" }),
 *   })
 * );
 * ```
 *
 * @module
 */

export { Framer, FramingError, type OnFrame } from "./framer.ts";
export { DelimiterFramer, type DelimiterOptions } from "./framer_delimiter.ts";
export {
  LengthPrefixFramer,
  type LengthPrefixOptions,
} from "./framer_length.ts";
