// SPDX-License-Identifier: Apache-2.0
// http_date.ts - the Date field of responses (RFC 9110 section 6.6.1), made once a second; used by
// http_response.ts.

let second = -1;
let text = "";

/** The date for a time in milliseconds since the epoch. */
export function httpDate(now: number): string {
  const current = Math.floor(now / 1000);
  if (current !== second) {
    second = current;
    text = new Date(now).toUTCString();
  }
  return text;
}
