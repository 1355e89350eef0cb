// SPDX-License-Identifier: Apache-2.0
// route.ts - a response that is known beforehand, as the reactor takes it; used by reactor.ts.

import * as layout from "./layout.ts";

/** What the reactor is to know of a route. */
export interface RouteImage {
  /** As it stands in the target of a request. */
  path: Uint8Array;
  /** Head and body of the response; null when JavaScript gives all answers. */
  response: RouteResponse | null;
  /** JavaScript answers requests with conditions. */
  conditional: boolean;
}

/** The bytes of a response. */
export interface RouteResponse {
  head: Uint8Array;
  body: Uint8Array;
  /** Offset in the head of the value of its Date field, which the reactor writes; 0 when there is none. */
  date: number;
}

const NO_BYTES = new Uint8Array(0);
const NO_RESPONSE: RouteResponse = { head: NO_BYTES, body: NO_BYTES, date: 0 };

/** The arguments of mr_route. */
export function packRoute(
  route: RouteImage,
): { options: Uint8Array<ArrayBuffer>; bytes: Uint8Array<ArrayBuffer> } {
  const { path } = route;
  const { head, body, date } = route.response ?? NO_RESPONSE;
  const options = new Uint8Array(layout.ROUTE_OPTIONS_BYTES);
  const view = new DataView(options.buffer);
  const put = (offset: number, value: number): void =>
    view.setUint32(offset, value, true);
  put(layout.ROUTE_OPTIONS_PATH_LENGTH, path.length);
  put(layout.ROUTE_OPTIONS_HEAD_LENGTH, head.length);
  put(layout.ROUTE_OPTIONS_BODY_LENGTH, body.length);
  put(layout.ROUTE_OPTIONS_DATE, date);
  put(
    layout.ROUTE_OPTIONS_FLAGS,
    route.conditional ? layout.ROUTE_CONDITIONAL : 0,
  );
  const bytes = new Uint8Array(path.length + head.length + body.length);
  bytes.set(path);
  bytes.set(head, path.length);
  bytes.set(body, path.length + head.length);
  return { options, bytes };
}
