// SPDX-License-Identifier: Apache-2.0
// violations.ts - one line for every rule that a peer can break: what a 400 or a close frame says of it.

import { layout } from "../ffi/mod.ts";

const TEXTS: Record<number, string> = {
  [layout.BAD_REQUEST_LINE]: "malformed request line",
  [layout.BAD_METHOD]: "malformed method",
  [layout.BAD_TARGET]: "malformed request target",
  [layout.TARGET_TOO_LONG]: "request target too long",
  [layout.BAD_VERSION]: "malformed HTTP version",
  [layout.UNSUPPORTED_VERSION]: "unsupported HTTP version",
  [layout.BAD_FIELD_NAME]: "malformed field name",
  [layout.BAD_FIELD_VALUE]: "malformed field value",
  [layout.OBS_FOLD]: "obsolete line folding",
  [layout.BARE_LF]: "line ends without CR",
  [layout.HEAD_TOO_LARGE]: "request head too large",
  [layout.TOO_MANY_FIELDS]: "too many header fields",
  [layout.BAD_HOST]: "missing, repeated or malformed Host",
  [layout.BAD_CONTENT_LENGTH]: "malformed Content-Length",
  [layout.BAD_TRANSFER_ENCODING]: "malformed Transfer-Encoding",
  [layout.UNKNOWN_TRANSFER_CODING]: "unknown transfer coding",
  [layout.LENGTH_AND_CHUNKED]: "both Content-Length and Transfer-Encoding",
  [layout.BAD_EXPECT]: "unknown expectation",
  [layout.BODY_TOO_LARGE]: "request body too large",
  [layout.BAD_CHUNK_SIZE]: "malformed chunk size",
  [layout.BAD_CHUNK_EXTENSION]: "malformed or too long chunk extension",
  [layout.BAD_CHUNK_END]: "chunk data does not end with CRLF",
  [layout.BAD_TRAILER]: "malformed trailer",
  [layout.HEAD_TIMEOUT]: "request head took too long",
  [layout.BODY_TIMEOUT]: "request body took too long",
  [layout.BODY_TOO_SLOW]: "request body came too slowly",
  [layout.WS_RESERVED_BITS]: "reserved bits set",
  [layout.WS_BAD_OPCODE]: "unknown opcode",
  [layout.WS_NOT_MASKED]: "frame not masked",
  [layout.WS_BAD_LENGTH]: "malformed frame length",
  [layout.WS_CONTROL_TOO_LONG]: "control frame too long",
  [layout.WS_CONTROL_FRAGMENTED]: "control frame fragmented",
  [layout.WS_BAD_CONTINUATION]: "continuation without a message",
  [layout.WS_INTERLEAVED]: "message inside another message",
  [layout.WS_TOO_LARGE]: "message too large",
  [layout.WS_BAD_UTF8]: "text is not UTF-8",
  [layout.WS_BAD_CLOSE_CODE]: "invalid close code",
  [layout.WS_BAD_CLOSE_LENGTH]: "malformed close frame",
  [layout.WS_TOO_MANY_FRAGMENTS]: "too many fragments",
  [layout.WS_BAD_DEFLATE]: "malformed compressed message",
  [layout.WS_EXPANDS]: "compressed message expands too far",
  [layout.WS_MASKED]: "frame of a server masked",
  [layout.BAD_STATUS_LINE]: "no HTTP/1 response",
  [layout.RESPONSE_TOO_LARGE]: "response head too large",
};

/** What an mr_violation means, for the peer and for a log. */
export function violationText(violation: number): string {
  return TEXTS[violation] ?? `violation ${violation}`;
}
