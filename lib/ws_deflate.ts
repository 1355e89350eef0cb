// SPDX-License-Identifier: Apache-2.0
// ws_deflate.ts - permessage-deflate (RFC 7692): the options of a route, and what a handshake agrees on; called by
// ws_options.ts, ws_route.ts and ws_outbound.ts. Compressing itself is c/ws_deflate.c.

import {
  type DeflateSettings,
  type Outbox,
  packDeflate,
  type Reactor,
} from "../ffi/mod.ts";
import { encodeDeflatedFrame, writeDeflatedFrame } from "./ws_encoder.ts";
import type { Masker } from "./ws_mask.ts";
import { type ExtensionOffer, parseExtensions } from "./ws_extensions.ts";

/**
 * How the messages of a route are compressed. With context takeover messages may refer to earlier ones: short ones
 * that are alike become much shorter, and each socket takes 2<sup>windowBits + 2</sup> + 2<sup>memLevel + 9</sup> + 8192
 * bytes to send, which is 264 KiB with all defaults, and 2<sup>windowBits</sup> + 8192 to receive, which is 40 KiB. Those
 * count towards `maxDeflateBytes` of the server. Without it a socket takes next to nothing.
 */
export interface WebSocketCompression {
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
   * Largest window of messages that are sent, from 9 to 15 bits.
   *
   * @default {15}
   */
  serverMaxWindowBits?: number;
  /**
   * Largest window of messages that are received, from 8 to 15 bits. A client that cannot be told gets no context
   * takeover.
   *
   * @default {15}
   */
  clientMaxWindowBits?: number;
  /**
   * Messages that are sent may refer to earlier ones, unless the client asks them not to.
   *
   * @default {false}
   */
  serverContextTakeover?: boolean;
  /**
   * Messages that are received may refer to earlier ones.
   *
   * @default {false}
   */
  clientContextTakeover?: boolean;
  /**
   * How many times its length a message may inflate to once that is more than 64 KiB; a socket that sends another is
   * closed with 1009. Deflate reaches 1032. 0 means no limit.
   *
   * @default {128}
   */
  maxRatio?: number;
}

/** The options of a route, none missing. */
export type CompressionSettings = Required<WebSocketCompression>;

/** What a handshake has agreed on. */
export interface DeflateAgreement {
  settings: DeflateSettings;
  /** The value of Sec-WebSocket-Extensions in the response. */
  answer: string;
}

const NAME = "permessage-deflate";
const WINDOW_BITS_MAX = 15;
const SERVER_BITS_MIN = 9; // zlib cannot deflate with 8 where there is no zlib header
const RATIO_MAX = 0xffffffff;
const ANYBODY = 0; // no handle: what is deflated refers to nothing else

const DEFAULTS: CompressionSettings = {
  threshold: 1024,
  level: 6,
  memLevel: 8,
  serverMaxWindowBits: WINDOW_BITS_MAX,
  clientMaxWindowBits: WINDOW_BITS_MAX,
  serverContextTakeover: false,
  clientContextTakeover: false,
  maxRatio: 128,
};

/** Ranges of options, those of a server. */
export const RANGES: Record<string, [min: number, max: number]> = {
  threshold: [0, 0xffffffff],
  level: [1, 9],
  memLevel: [1, 9],
  serverMaxWindowBits: [SERVER_BITS_MIN, WINDOW_BITS_MAX],
  clientMaxWindowBits: [8, WINDOW_BITS_MAX],
  maxRatio: [0, RATIO_MAX],
};

/**
 * The option `compression` with its defaults; null when nothing is compressed. `what` is the thing to be made, with its
 * article; what a client sends is "client", so that it has other ranges.
 */
export function resolveCompression(
  option: boolean | WebSocketCompression | undefined,
  what = "a WebSocket route",
  ranges = RANGES,
): CompressionSettings | null {
  if (option === undefined || option === false) return null;
  if (option === true) return DEFAULTS;
  const wrong = (why: string): TypeError =>
    new TypeError(`Cannot make ${what}: ${why}`);
  if (typeof option !== "object" || option === null) {
    throw wrong(`"compression" must be a boolean or an object, is ${option}`);
  }
  const all: Record<string, unknown> = { ...DEFAULTS };
  for (const [name, value] of Object.entries(option)) {
    if (!Object.hasOwn(DEFAULTS, name)) {
      throw wrong(`unknown option "compression.${name}"`);
    }
    if (value === undefined) continue;
    const range = ranges[name];
    if (range === undefined && typeof value !== "boolean") {
      throw wrong(`"compression.${name}" must be a boolean, is ${value}`);
    }
    if (range !== undefined) requireInRange(what, name, value, range);
    all[name] = value;
  }
  return all as unknown as CompressionSettings;
}

function requireInRange(
  what: string,
  name: string,
  value: unknown,
  [min, max]: [min: number, max: number],
): void {
  const number = Number.isInteger(value) ? value as number : NaN;
  if (number >= min && number <= max) return;
  throw new RangeError(
    `Cannot make ${what}: "compression.${name}" must be an integer from ${min} to ${max}, is ${value}`,
  );
}

/**
 * Agrees on the first offer that can be met (RFC 7692 section 5); null when there is none. An offer with a parameter
 * that is unknown, repeated or malformed cannot.
 */
export function agreeDeflate(
  offers: readonly ExtensionOffer[],
  settings: CompressionSettings,
): DeflateAgreement | null {
  for (const offer of offers) {
    const agreement = offer.name === NAME && !offer.repeated
      ? accept(offer.parameters, settings)
      : null;
    if (agreement !== null) return agreement;
  }
  return null;
}

/** The same on contexts that remember nothing, which take no memory. */
function agreeWithoutContexts(
  offers: readonly ExtensionOffer[],
  settings: CompressionSettings,
): DeflateAgreement | null {
  return agreeDeflate(offers, {
    ...settings,
    serverContextTakeover: false,
    clientContextTakeover: false,
  });
}

type Parameters = ReadonlyMap<string, string | true>;

function accept(
  parameters: Parameters,
  settings: CompressionSettings,
): DeflateAgreement | null {
  for (const [name, value] of parameters) {
    if (!isParameter(name, value)) return null;
  }
  const serverBits = bits(parameters, "server", settings.serverMaxWindowBits);
  if (serverBits < SERVER_BITS_MIN) return null;
  const canLimit = parameters.has("client_max_window_bits");
  const clientBits = canLimit
    ? bits(parameters, "client", settings.clientMaxWindowBits)
    : WINDOW_BITS_MAX;
  const serverContextTakeover = settings.serverContextTakeover &&
    !parameters.has("server_no_context_takeover");
  const clientContextTakeover = settings.clientContextTakeover &&
    !parameters.has("client_no_context_takeover") &&
    clientBits <= settings.clientMaxWindowBits;
  let answer = NAME;
  if (!serverContextTakeover) answer += "; server_no_context_takeover";
  if (!clientContextTakeover) answer += "; client_no_context_takeover";
  if (
    serverBits < WINDOW_BITS_MAX || parameters.has("server_max_window_bits")
  ) {
    answer += `; server_max_window_bits=${serverBits}`;
  }
  if (clientBits < WINDOW_BITS_MAX) {
    answer += `; client_max_window_bits=${clientBits}`;
  }
  const { memLevel, level, maxRatio } = settings;
  return {
    settings: {
      sendTakeover: serverContextTakeover,
      receiveTakeover: clientContextTakeover,
      sendBits: serverBits,
      receiveBits: clientBits,
      memLevel,
      level,
      maxRatio,
    },
    answer,
  };
}

/** Whether an offer may have such a parameter (RFC 7692 section 7.1). */
export function isParameter(name: string, value: string | true): boolean {
  switch (name) {
    case "server_no_context_takeover":
    case "client_no_context_takeover":
      return value === true;
    case "server_max_window_bits":
      return value !== true && isBits(value);
    case "client_max_window_bits":
      return value === true || isBits(value);
    default:
      return false;
  }
}

function isBits(value: string): boolean {
  return /^(?:[89]|1[0-5])$/.test(value);
}

function bits(parameters: Parameters, side: string, most: number): number {
  const offered = parameters.get(`${side}_max_window_bits`);
  return typeof offered === "string" ? Math.min(Number(offered), most) : most;
}

/** What one connection compresses with. */
export class Deflater {
  /** Whether messages refer to earlier ones, so that nobody else can be sent the same. */
  readonly remembers: boolean;
  /** Sockets of one shape that remember nothing can be sent the same. */
  readonly shape: number;
  readonly #threshold: number;
  readonly #reactor: Reactor;
  readonly #handle: number;
  readonly #settings: Uint8Array<ArrayBuffer>;

  /** For a connection that the reactor was told of. */
  constructor(
    reactor: Reactor,
    handle: number,
    settings: DeflateSettings,
    threshold: number,
  ) {
    const { sendBits, memLevel, level } = settings;
    this.remembers = settings.sendTakeover;
    this.shape = sendBits << 8 | memLevel << 4 | level;
    this.#threshold = threshold;
    this.#reactor = reactor;
    this.#handle = handle;
    this.#settings = packDeflate(settings);
  }

  /**
   * Agrees with a client and prepares its connection for it. Without memory for what the connection would need for
   * itself, it gets less. Null when its messages will not be compressed.
   */
  static open(
    reactor: Reactor,
    handle: number,
    field: string | null,
    compression: CompressionSettings | null,
  ): { deflater: Deflater; answer: string } | null {
    const offers = compression !== null && field !== null
      ? parseExtensions(field)
      : null;
    if (compression === null || offers === null) return null;
    for (const agree of [agreeDeflate, agreeWithoutContexts]) {
      const agreement = agree(offers, compression);
      if (agreement === null) return null;
      const { settings, answer } = agreement;
      if (reactor.openDeflate(handle, packDeflate(settings))) {
        const { threshold } = compression;
        const deflater = new Deflater(reactor, handle, settings, threshold);
        return { deflater, answer };
      }
    }
    return null;
  }

  /** Whether a message of so many bytes, or a text of so many characters, is to be compressed. */
  takes(size: number, asked: boolean | undefined): boolean {
    return size > 0 && (asked ?? size >= this.#threshold);
  }

  /** Stages a message as a compressed frame. False, and nothing is staged, when that would not be shorter. */
  write(
    outbox: Outbox,
    opcode: number,
    message: Uint8Array,
    masker: Masker | null,
  ): boolean {
    const bytes = forC(message);
    return writeDeflatedFrame(
      outbox,
      this.#handle,
      opcode,
      bytes.length,
      masker,
      (out) => this.#reactor.deflate(this.#handle, this.#settings, bytes, out),
    );
  }

  /** The compressed frame of a message for all sockets of this shape; null when that would not be shorter. */
  encode(
    opcode: number,
    message: Uint8Array<ArrayBuffer>,
  ): Uint8Array<ArrayBuffer> | null {
    return encodeDeflatedFrame(
      opcode,
      message.length,
      (out) => this.#reactor.deflate(ANYBODY, this.#settings, message, out),
    );
  }
}

// Memory that may shrink or is shared is not for C to read.
function forC(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  return buffer instanceof ArrayBuffer && !buffer.resizable
    ? bytes as Uint8Array<ArrayBuffer>
    : new Uint8Array(bytes);
}
