// SPDX-License-Identifier: Apache-2.0
// connect.ts - struct mr_connect_options for the reactor; used by reactor.ts.

import * as layout from "./layout.ts";
import { writeName } from "./text.ts";

/** Struct mr_connect_options. */
export interface ConnectAddress {
  /** IP address, or path of a Unix socket. */
  host: string;
  /** Our own IP address; empty for any. */
  source: string;
  port: number;
  unix: boolean;
  /** Milliseconds; 0 means for as long as the system tries. */
  timeout: number;
  /** Whether the peer is expected to answer with the head of a response, and not with bytes of any kind. */
  response: boolean;
}

/** The address as text, for errors. */
export function connectName({ host, port, unix }: ConnectAddress): string {
  if (unix) return host;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The address as the reactor takes it. */
export function packConnect(
  address: ConnectAddress,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(layout.CONNECT_OPTIONS_BYTES);
  const view = new DataView(bytes.buffer);
  const flags = (address.unix ? layout.CONNECT_UNIX : 0) |
    (address.response ? layout.CONNECT_RESPONSE : 0);
  view.setUint32(layout.CONNECT_OPTIONS_FLAGS, flags, true);
  view.setUint32(layout.CONNECT_OPTIONS_PORT, address.port, true);
  view.setUint32(layout.CONNECT_OPTIONS_TIMEOUT, address.timeout, true);
  writeName(bytes, layout.CONNECT_OPTIONS_HOST, address.host, "connect to");
  writeName(
    bytes,
    layout.CONNECT_OPTIONS_SOURCE,
    address.source,
    "connect from",
  );
  return bytes;
}
