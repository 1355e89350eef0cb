// SPDX-License-Identifier: Apache-2.0
// ws_codes.ts - the codes of close frames (RFC 6455 section 7.4) that this side gives or knows; C has those of
// violations.

export const NORMAL_CLOSURE = 1000;
export const GOING_AWAY = 1001;
export const PROTOCOL_ERROR = 1002;
/** Never sent: a close frame without a code has come. */
export const NO_STATUS = 1005;
/** Never sent: the connection has ended without a close frame. */
export const ABNORMAL_CLOSURE = 1006;
export const POLICY_VIOLATION = 1008;
export const INTERNAL_ERROR = 1011;
export const TRY_AGAIN_LATER = 1013;

/** Whether a code may be sent in a close frame: others are reserved, or only reported locally. */
export function isSendable(code: number): boolean {
  return Number.isInteger(code) &&
    (code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 ||
      code >= 3000 && code <= 4999);
}
