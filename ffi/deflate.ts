// SPDX-License-Identifier: Apache-2.0
// deflate.ts - struct mr_deflate_options for the reactor; used by lib/ws_deflate.ts.

import * as layout from "./layout.ts";

/** Struct mr_deflate_options. */
export interface DeflateSettings {
  /** Messages that are sent may refer to earlier ones. */
  sendTakeover: boolean;
  /** Messages that are received may. */
  receiveTakeover: boolean;
  /** Window of what is sent, 9 to 15 bits. */
  sendBits: number;
  /** Window of what is received, 8 to 15 bits. */
  receiveBits: number;
  memLevel: number;
  level: number;
  /** How many times its length a message may inflate to; 0 means any. */
  maxRatio: number;
}

/** The settings as the reactor takes them. */
export function packDeflate(
  settings: DeflateSettings,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(layout.DEFLATE_OPTIONS_BYTES);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, value: number): void =>
    view.setUint32(offset, value, true);
  put(
    layout.DEFLATE_OPTIONS_FLAGS,
    (settings.sendTakeover ? layout.SEND_TAKEOVER : 0) |
      (settings.receiveTakeover ? layout.RECEIVE_TAKEOVER : 0),
  );
  put(layout.DEFLATE_OPTIONS_SEND_BITS, settings.sendBits);
  put(layout.DEFLATE_OPTIONS_RECEIVE_BITS, settings.receiveBits);
  put(layout.DEFLATE_OPTIONS_MEM_LEVEL, settings.memLevel);
  put(layout.DEFLATE_OPTIONS_LEVEL, settings.level);
  put(layout.DEFLATE_OPTIONS_MAX_RATIO, settings.maxRatio);
  return bytes;
}
