// SPDX-License-Identifier: Apache-2.0
// ws_client_deflate.ts - the client's side of permessage-deflate (RFC 7692): its options, the offer, and what the
// server's answer agrees on; called by ws_client_options.ts and ws_client_opening.ts.

import type { DeflateSettings } from "../ffi/mod.ts";
import { isParameter, RANGES, resolveCompression } from "./ws_deflate.ts";
import { refusal } from "./ws_client_handshake.ts";
import { parseExtensions } from "./ws_extensions.ts";

/**
 * How a client compresses messages. "Server" is what the server sends and this side receives, "client" what this side
 * sends.
 */
export interface WebSocketClientCompression {
  /**
   * Bytes of a message, and characters of a text, from which on it is compressed.
   *
   * @default {1024}
   */
  threshold?: number;
  /**
   * Effort, from 1, the fastest, to 9.
   *
   * @default {6}
   */
  level?: number;
  /**
   * Memory for compressing, from 1 to 9.
   *
   * @default {8}
   */
  memLevel?: number;
  /**
   * Largest window of messages that are received, from 8 to 15 bits.
   *
   * @default {15}
   */
  serverMaxWindowBits?: number;
  /**
   * Largest window of messages that are sent, from 9 to 15 bits.
   *
   * @default {15}
   */
  clientMaxWindowBits?: number;
  /**
   * Messages that are received may refer to earlier ones.
   *
   * @default {false}
   */
  serverContextTakeover?: boolean;
  /**
   * Messages that are sent may refer to earlier ones, unless the server asks them not to.
   *
   * @default {false}
   */
  clientContextTakeover?: boolean;
  /**
   * How many times its length a message may inflate to once that is more than 64 KiB; another one closes the socket
   * with 1009. 0 means no limit.
   *
   * @default {128}
   */
  maxRatio?: number;
}

/** The options, none missing. */
export type ClientCompressionSettings = Required<WebSocketClientCompression>;

const NAME = "permessage-deflate";
const WINDOW_BITS_MAX = 15;
// zlib cannot deflate with 8 where there is no zlib header, and with 9 refers to no more than 250 bytes back.
const SEND_BITS_MIN = 9;

/** The option `compression` with its defaults; null when nothing is to be compressed. */
export function resolveClientCompression(
  option: boolean | WebSocketClientCompression | undefined,
): ClientCompressionSettings | null {
  return resolveCompression(option, "a WebSocket client", {
    ...RANGES,
    serverMaxWindowBits: RANGES.clientMaxWindowBits!,
    clientMaxWindowBits: RANGES.serverMaxWindowBits!,
  });
}

/** The value of Sec-WebSocket-Extensions in the request. */
export function offerOf(settings: ClientCompressionSettings): string {
  const { serverMaxWindowBits, clientMaxWindowBits } = settings;
  let offer = NAME;
  if (!settings.serverContextTakeover) offer += "; server_no_context_takeover";
  if (!settings.clientContextTakeover) offer += "; client_no_context_takeover";
  if (serverMaxWindowBits < WINDOW_BITS_MAX) {
    offer += `; server_max_window_bits=${serverMaxWindowBits}`;
  }
  return clientMaxWindowBits < WINDOW_BITS_MAX
    ? `${offer}; client_max_window_bits=${clientMaxWindowBits}`
    : `${offer}; client_max_window_bits`;
}

/**
 * What the server has agreed on; null when nothing is to be compressed. Throws a WebSocketHandshakeError for anything
 * that was not offered (RFC 7692 section 7.1).
 */
export function judgeAnswer(
  field: string | null,
  settings: ClientCompressionSettings,
): DeflateSettings | null {
  if (field === null) return null;
  const [answer, ...others] = parseExtensions(field) ?? [];
  const wrong = (why: string): Error =>
    refusal(`it chose "${field}", which ${why}`);
  if (answer === undefined) throw wrong("is malformed");
  if (answer.name !== NAME || others.length > 0) throw wrong("was not offered");
  if (answer.repeated) throw wrong("has a parameter twice");
  const { parameters } = answer;
  for (const [name, value] of parameters) {
    const valid = isParameter(name, value) && value !== true ||
      name.endsWith("_no_context_takeover") && value === true;
    if (!valid) throw wrong(`has an invalid parameter "${name}"`);
  }
  return agreed(parameters, settings, wrong);
}

function agreed(
  parameters: ReadonlyMap<string, string | true>,
  settings: ClientCompressionSettings,
  wrong: (why: string) => Error,
): DeflateSettings {
  const has = (name: string): boolean => parameters.has(name);
  const bits = (side: string): number =>
    Number(parameters.get(`${side}_max_window_bits`) ?? WINDOW_BITS_MAX);
  if (
    !settings.serverContextTakeover && !has("server_no_context_takeover")
  ) throw wrong("leaves server_no_context_takeover out");
  if (bits("server") > settings.serverMaxWindowBits) {
    throw wrong("exceeds server_max_window_bits");
  }
  const clientBits = Math.min(bits("client"), settings.clientMaxWindowBits);
  const { memLevel, level, maxRatio } = settings;
  return {
    sendTakeover: settings.clientContextTakeover &&
      !has("client_no_context_takeover"),
    receiveTakeover: !has("server_no_context_takeover"),
    sendBits: Math.max(clientBits, SEND_BITS_MIN),
    receiveBits: bits("server"),
    memLevel,
    level,
    maxRatio,
  };
}
