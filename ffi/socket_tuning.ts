// SPDX-License-Identifier: Apache-2.0
// socket_tuning.ts - struct mr_socket_options for the reactor; used by lib/socket_options.ts.

import * as layout from "./layout.ts";

/** When the kernel looks whether a silent peer is still there. */
export interface KeepAlive {
  /** Seconds of silence before the first probe. */
  idle: number;
  /** Seconds between two probes; by default what the system says, mostly 75. */
  interval?: number;
  /** Probes without an answer that end the connection; by default what the system says, mostly 9. */
  count?: number;
}

/** Struct mr_socket_options; what is missing is left as it is. */
export interface SocketTuning {
  noDelay?: boolean;
  /** Null turns probes off. */
  keepAlive?: KeepAlive | null;
  sendBufferBytes?: number;
  receiveBufferBytes?: number;
}

/** The options as the reactor takes them. */
export function packTuning(tuning: SocketTuning): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(layout.SOCKET_OPTIONS_BYTES >> 2);
  const set = (option: number, field: number, value: number): void => {
    words[layout.SOCKET_OPTIONS_SET >> 2]! |= option;
    words[field >> 2] = value;
  };
  const { noDelay, keepAlive, sendBufferBytes, receiveBufferBytes } = tuning;
  if (noDelay !== undefined) {
    set(layout.SET_NO_DELAY, layout.SOCKET_OPTIONS_NO_DELAY, Number(noDelay));
  }
  if (keepAlive !== undefined) {
    const option = layout.SET_KEEP_ALIVE;
    const { idle = 0, interval = 0, count = 0 } = keepAlive ?? {};
    set(option, layout.SOCKET_OPTIONS_KEEP_IDLE, idle);
    set(option, layout.SOCKET_OPTIONS_KEEP_INTERVAL, interval);
    set(option, layout.SOCKET_OPTIONS_KEEP_COUNT, count);
  }
  if (sendBufferBytes !== undefined) {
    set(
      layout.SET_SEND_BUFFER,
      layout.SOCKET_OPTIONS_SEND_BUFFER,
      sendBufferBytes,
    );
  }
  if (receiveBufferBytes !== undefined) {
    set(
      layout.SET_RECEIVE_BUFFER,
      layout.SOCKET_OPTIONS_RECEIVE_BUFFER,
      receiveBufferBytes,
    );
  }
  return new Uint8Array(words.buffer);
}
