// SPDX-License-Identifier: Apache-2.0
// ws_prepared.ts - messages that are encoded once, and compressed once for each shape of compression, and sent to many;
// made by the application and by topics.ts, sent by ws_outbound.ts.

import { toBytes } from "./bytes.ts";
import type { Deflater } from "./ws_deflate.ts";
import {
  encodeFrame,
  frameHeaderLength,
  OPCODE_BINARY,
  OPCODE_TEXT,
  opcodeOf,
} from "./ws_encoder.ts";

type FrameDeflater = Pick<Deflater, "shape" | "encode">;

/** The bytes of a prepared message's frame, which nobody may change. */
export let frameOf: (prepared: PreparedMessage) => Uint8Array<ArrayBuffer>;

/** The same for all sockets that compress in one shape: compressed, where that is shorter. */
export let deflatedFrameOf: (
  prepared: PreparedMessage,
  deflater: FrameDeflater,
) => Uint8Array<ArrayBuffer>;

/** What a prepared message's frame is made of. */
export let contentOf: (prepared: PreparedMessage) => {
  opcode: number;
  payload: Uint8Array<ArrayBuffer>;
};

/** Characters of a text, or bytes: what a threshold of compression is compared with. */
export let sizeOf: (prepared: PreparedMessage) => number;

const UTF8 = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** A message whose frame is ready to be sent, made by {@linkcode prepare}. */
export class PreparedMessage {
  /** Bytes of the message, without its frame's header. */
  readonly length: number;
  readonly #size: number;
  readonly #isText: boolean;
  // Null for bytes, and for a text of which we have only the frame so far.
  #text: string | null;
  readonly #frame: Uint8Array<ArrayBuffer>;
  // By the shape of compression; what is not shorter compressed is the frame above.
  #deflated: Map<number, Uint8Array<ArrayBuffer>> | null = null;

  static {
    frameOf = (prepared) => prepared.#frame;
    deflatedFrameOf = (prepared, deflater) => prepared.#deflatedFrame(deflater);
    contentOf = (prepared) => prepared.#content();
    sizeOf = (prepared) => prepared.#size;
  }

  /** Made by `prepare()`, or of the frame and the size of a message that another worker has prepared. */
  constructor(
    message: string | Uint8Array | {
      frame: Uint8Array<ArrayBuffer>;
      size: number;
    },
  ) {
    if (typeof message !== "string" && "frame" in message) {
      const { frame, size } = message;
      this.length = frame.length - frameHeaderLength(frame);
      this.#isText = opcodeOf(frame) === OPCODE_TEXT;
      this.#text = null;
      this.#size = size;
      this.#frame = frame;
      return;
    }
    const isText = typeof message === "string";
    const bytes = isText ? UTF8.encode(message) : message;
    this.length = bytes.length;
    this.#isText = isText;
    this.#text = isText ? message : null;
    this.#size = message.length;
    this.#frame = encodeFrame(isText ? OPCODE_TEXT : OPCODE_BINARY, bytes);
  }

  /** The message: the string that it was made of, or a copy of the bytes. */
  get message(): string | Uint8Array<ArrayBuffer> {
    const start = this.#frame.length - this.length;
    return this.#isText
      ? this.#text ??= DECODER.decode(this.#frame.subarray(start))
      : this.#frame.slice(start);
  }

  #deflatedFrame(deflater: FrameDeflater): Uint8Array<ArrayBuffer> {
    const deflated = this.#deflated ??= new Map();
    let frame = deflated.get(deflater.shape);
    if (frame === undefined) {
      const { opcode, payload } = this.#content();
      const encoded = deflater.encode(opcode, payload);
      // Not kept: there may be memory when it is sent again.
      if (encoded === undefined) return this.#frame;
      frame = encoded ?? this.#frame;
      deflated.set(deflater.shape, frame);
    }
    return frame;
  }

  #content(): { opcode: number; payload: Uint8Array<ArrayBuffer> } {
    return {
      opcode: this.#isText ? OPCODE_TEXT : OPCODE_BINARY,
      payload: this.#frame.subarray(this.#frame.length - this.length),
    };
  }
}

/**
 * Encodes a message once, to be sent to many sockets; where it is compressed, that is done once too for all sockets
 * without context takeover of the same settings.
 *
 * @example
 * ```ts
 * import { prepare, type ServerWebSocket } from "@millrace/millrace";
 *
 * const sockets = new Set<ServerWebSocket>();
 * const tick = prepare(JSON.stringify({ price: 17 }));
 * for (const socket of sockets) socket.send(tick);
 * ```
 *
 * @param message A string for text, bytes for binary; bytes are copied.
 * @returns What `send()` and `publish()` take in place of the message, any number of times.
 */
export function prepare(
  message: string | Uint8Array | ArrayBuffer,
): PreparedMessage {
  return new PreparedMessage(
    typeof message === "string"
      ? message
      : toBytes(message, "prepare the message"),
  );
}
