// SPDX-License-Identifier: Apache-2.0
// ws_outbound.ts - the sending side of a WebSocket connection: frames to the outbox, and what becomes of messages for
// a peer that is slow; made by ws_connection.ts, called through ws_socket.ts and by topics.ts.

import {
  Backlog,
  costOf,
  type SlowConsumerPolicy,
  type Waiting,
} from "./ws_backlog.ts";
import { TRY_AGAIN_LATER } from "./ws_codes.ts";
import type { Common } from "./ws_common.ts";
import { CLOSED, OPEN, type WebSocketConnection } from "./ws_connection.ts";
import type { Deflater } from "./ws_deflate.ts";
import {
  OPCODE_BINARY,
  OPCODE_CONTINUATION,
  OPCODE_PING,
  OPCODE_PONG,
  OPCODE_TEXT,
  SHORT_MAX,
  writeEncoded,
  writeFrame,
  writeShortFrame,
  writeTextFrame,
} from "./ws_encoder.ts";
import {
  contentOf,
  deflatedFrameOf,
  frameOf,
  PreparedMessage,
  sizeOf,
} from "./ws_prepared.ts";
import type { SendOptions, SendStatus } from "./ws_socket.ts";

/** A message on its way out. */
export type Outgoing = string | Uint8Array | PreparedMessage;

/** What sending asks of the route. */
export interface OutboundHost<Socket> {
  readonly highWatermark: number;
  /** Null for that of the server. */
  readonly lowWatermark: number | null;
  readonly maxQueueBytes: number;
  readonly slowConsumer: SlowConsumerPolicy;
  dropped(socket: Socket, message: Outgoing): void;
  drain(socket: Socket): void;
}

// What sendFragment() is in the midst of.
const WHOLE_MESSAGES = 0; // of nothing
const FRAGMENTS_OF_TEXT = 1;
const FRAGMENTS_OF_BINARY = 2;
const FRAGMENTS_DROPPED = 3; // of a message whose first fragment was dropped

// No message is within it: all of them take the slow path. That spares the others to look at the connection's state.
const NO_LIMIT_FITS = -1;

// Of a short text, in which three bytes for each are reckoned with.
const HEADER_CHARACTERS = 2;

const ENCODER = new TextEncoder();

/** What only a connection has whose peer was slow once, or is sent fragments. */
class Extras {
  dropped = 0;
  /** Messages that C was not given yet. */
  backlog: Backlog | null = null;
  fragments = WHOLE_MESSAGES;
  /** send() said so, and drain has not followed yet. */
  queued = false;
  tellingDropped = false;
}

/** The sending side of one connection. */
export class Outbound<Socket> {
  /** Messages that were accepted. */
  sentMessages = 0;
  /** Their bytes. */
  sentBytes = 0;
  readonly handle: number;
  readonly #connection: WebSocketConnection<Socket>;
  readonly #common: Common<Socket>;
  // Null where nothing is compressed.
  readonly #deflater: Deflater | null;
  // Bytes that may wait for the peer together with a message that is simply sent: those of #common, or none.
  #limit: number;
  #extras: Extras | null = null;

  constructor(
    connection: WebSocketConnection<Socket>,
    common: Common<Socket>,
    deflater: Deflater | null,
  ) {
    this.#deflater = deflater;
    this.handle = connection.handle;
    this.#connection = connection;
    this.#common = common;
    this.#limit = common.limit;
  }

  /** Messages that were not accepted, or were given up. */
  get droppedMessages(): number {
    return this.#extras?.dropped ?? 0;
  }

  /** Bytes that the kernel has not taken yet. */
  get buffered(): number {
    if (this.#connection.readyState === CLOSED) return 0;
    return this.#common.outbox.buffered(this.handle) +
      (this.#backlog?.bytes ?? 0);
  }

  /** Stages a text message. */
  sendText(text: string, options?: SendOptions): SendStatus {
    if (this.#deflater?.takes(text.length, options?.compress)) {
      const bytes = ENCODER.encode(text);
      return this.#sendDeflated(OPCODE_TEXT, bytes, text, options);
    }
    if (this.#defers(text)) return "sent";
    const buffered = this.#common.outbox.buffered(this.handle);
    // Near the limit the number of bytes matters, and not just that of characters.
    if (buffered + 3 * text.length > this.#limit) {
      return this.#sendSlowly(text, options);
    }
    this.sentBytes += writeTextFrame(
      this.#common.outbox,
      this.handle,
      text,
      this.#common.masker,
    );
    this.sentMessages++;
    return this.#staged(buffered + text.length);
  }

  /** Stages a binary message. */
  sendBytes(bytes: Uint8Array, options?: SendOptions): SendStatus {
    if (this.#deflater?.takes(bytes.length, options?.compress)) {
      return this.#sendDeflated(OPCODE_BINARY, bytes, bytes, options);
    }
    const total = this.#common.outbox.buffered(this.handle) + bytes.length;
    if (total > this.#limit) return this.#sendSlowly(bytes, options);
    if (bytes.length <= SHORT_MAX && this.#common.masker === null) {
      writeShortFrame(this.#common.outbox, this.handle, OPCODE_BINARY, bytes);
    } else {
      this.#writeFrame(OPCODE_BINARY, bytes);
    }
    this.sentMessages++;
    this.sentBytes += bytes.length;
    return this.#staged(total);
  }

  /** Stages a message that was encoded before. */
  sendPrepared(prepared: PreparedMessage, options?: SendOptions): SendStatus {
    const total = this.#common.outbox.buffered(this.handle) + prepared.length;
    return total > this.#limit
      ? this.#sendSlowly(prepared, options)
      : this.#sendFrame(prepared, options?.compress);
  }

  /** The frame of a message that others are sent too; null when the peer is too slow, or has one of its own. */
  sharedFrame(
    message: PreparedMessage,
    options?: SendOptions,
  ): Uint8Array<ArrayBuffer> | null {
    const total = this.#common.outbox.buffered(this.handle) + message.length;
    if (total > this.#limit) return null;
    const deflater = this.#deflater;
    if (
      deflater === null || !deflater.takes(sizeOf(message), options?.compress)
    ) return frameOf(message);
    return deflater.remembers ? null : deflatedFrameOf(message, deflater);
  }

  /** Stages a message whose shared frame lies in the outbox. */
  sendShared(message: PreparedMessage, start: number, length: number): void {
    this.#common.outbox.share(this.handle, start, length);
    this.sentMessages++;
    this.sentBytes += message.length;
    this.#staged(this.#common.outbox.buffered(this.handle));
  }

  /** Sends a message as the route says for slow peers. */
  sendPublished(message: PreparedMessage, options?: SendOptions): SendStatus {
    // Nobody who publishes can know of fragments that somebody else sends.
    return this.#connection.writable && this.#fragments !== WHOLE_MESSAGES
      ? this.#hold(message, options)
      : this.sendPrepared(message, options);
  }

  /** Stages a piece of a message; the last one has `fin`. */
  sendFragment(chunk: string | Uint8Array, fin: boolean): SendStatus {
    const isText = typeof chunk === "string";
    const kind = isText ? FRAGMENTS_OF_TEXT : FRAGMENTS_OF_BINARY;
    const before = this.#fragments;
    if (before === WHOLE_MESSAGES) this.releaseAll();
    else if (before !== FRAGMENTS_DROPPED && before !== kind) {
      throw new TypeError(
        "Cannot send the fragment: those of one message must all be strings, or all be bytes",
      );
    }
    const bytes = isText ? ENCODER.encode(chunk) : chunk;
    const total = this.buffered + bytes.length;
    const fits = this.#connection.readyState === OPEN &&
      before !== FRAGMENTS_DROPPED &&
      total <= this.#common.maxQueueBytes;
    if (!fits) return this.#dropFragment(chunk, before, fin);
    this.#setFragments(fin ? WHOLE_MESSAGES : kind);
    const first = isText ? OPCODE_TEXT : OPCODE_BINARY;
    const opcode = before === WHOLE_MESSAGES ? first : OPCODE_CONTINUATION;
    this.#writeFrame(opcode, bytes, fin);
    this.sentBytes += bytes.length;
    if (fin) this.sentMessages++;
    this.#endFragment();
    return this.#staged(total);
  }

  /** Stages a ping. */
  ping(payload: Uint8Array): SendStatus {
    return this.#sendControl(OPCODE_PING, payload);
  }

  /** Stages a pong that nobody has asked for. */
  pong(payload: Uint8Array): SendStatus {
    return this.#sendControl(OPCODE_PONG, payload);
  }

  /** Hands all that waits to C, since something follows that must come behind. */
  releaseAll(): void {
    const backlog = this.#backlog;
    if (backlog === null || this.#fragments !== WHOLE_MESSAGES) return;
    while (backlog.length > 0) this.#sendWaiting(backlog.shift());
    this.adjustLimit();
  }

  /** Has `drained()` be called once the queue in C has fallen to the low watermark. */
  wantDrain(): void {
    this.#common.outbox.wantDrain(this.handle, this.#common.host.lowWatermark);
  }

  /** The queue in C has fallen to the low watermark. */
  drained(): void {
    if (!this.#release()) {
      this.wantDrain();
    } else if (this.#extras?.queued) {
      this.#extras.queued = false;
      this.#common.host.drain(this.#connection.socket);
    }
  }

  /** Something has changed of what makes sending simple: the state of the connection, for example. */
  adjustLimit(): void {
    const simple = this.#connection.writable &&
      this.#fragments === WHOLE_MESSAGES &&
      (this.#backlog === null || this.#backlog.length === 0);
    this.#limit = simple ? this.#common.limit : NO_LIMIT_FITS;
  }

  /** The connection is gone, and with it what waits. */
  abandon(): void {
    const extras = this.#extras;
    if (extras === null || extras.backlog === null) return;
    extras.dropped += extras.backlog.length;
    extras.backlog = null;
  }

  // Messages that C was not given yet.
  get #backlog(): Backlog | null {
    return this.#extras?.backlog ?? null;
  }

  get #fragments(): number {
    return this.#extras?.fragments ?? WHOLE_MESSAGES;
  }

  #setFragments(fragments: number): void {
    if (fragments !== this.#fragments) this.#more().fragments = fragments;
  }

  #more(): Extras {
    return this.#extras ??= new Extras();
  }

  // Has a short text wait for others of this turn, far from the limits: how many bytes there will be is not known yet.
  #defers(text: string): boolean {
    const texts = this.#common.texts;
    if (texts === null || !texts.takes(text.length)) return false;
    const most = this.#common.outbox.bufferedBefore(this.handle) +
      3 * (texts.characters + HEADER_CHARACTERS + text.length);
    if (most > this.#limit || most >= this.#common.host.highWatermark) {
      return false;
    }
    texts.push(this, text);
    this.sentMessages++;
    this.sentBytes += text.length;
    this.#common.loop.kick();
    return true;
  }

  #sendControl(opcode: number, payload: Uint8Array): SendStatus {
    const total = this.buffered + payload.length;
    if (
      this.#connection.readyState !== OPEN || total > this.#common.maxQueueBytes
    ) {
      return "dropped";
    }
    this.#writeFrame(opcode, payload);
    return this.#staged(total);
  }

  // What it is before it is compressed has to fit, whatever comes out.
  #sendDeflated(
    opcode: number,
    bytes: Uint8Array,
    message: Outgoing,
    options: SendOptions | undefined,
  ): SendStatus {
    const total = this.#common.outbox.buffered(this.handle) + bytes.length;
    if (total > this.#limit) return this.#sendSlowly(message, options);
    if (
      !this.#deflater!.write(
        this.#common.outbox,
        opcode,
        bytes,
        this.#common.masker,
      )
    ) {
      this.#writeFrame(opcode, bytes);
    }
    this.sentMessages++;
    this.sentBytes += bytes.length;
    return this.#staged(this.#common.outbox.buffered(this.handle));
  }

  #sendFrame(
    prepared: PreparedMessage,
    compress: boolean | undefined,
  ): SendStatus {
    this.#writePrepared(prepared, compress);
    this.sentMessages++;
    this.sentBytes += prepared.length;
    return this.#staged(this.buffered);
  }

  #writePrepared(
    prepared: PreparedMessage,
    compress: boolean | undefined,
  ): void {
    const deflater = this.#deflater;
    let frame = frameOf(prepared);
    if (deflater?.takes(sizeOf(prepared), compress)) {
      if (deflater.remembers) {
        const { opcode, payload } = contentOf(prepared);
        if (
          deflater.write(
            this.#common.outbox,
            opcode,
            payload,
            this.#common.masker,
          )
        ) return;
      } else {
        frame = deflatedFrameOf(prepared, deflater);
      }
    }
    writeEncoded(this.#common.outbox, this.handle, frame, this.#common.masker);
  }

  #writeFrame(opcode: number, payload: Uint8Array, fin = true): void {
    const handle = this.handle;
    writeFrame(
      this.#common.outbox,
      handle,
      opcode,
      payload,
      fin,
      this.#common.masker,
    );
  }

  #sendWaiting({ message, compress }: Waiting): void {
    this.#sendFrame(message, compress);
  }

  // Whatever is not simply sent: to a slow peer, or to one that is gone.
  #sendSlowly(message: Outgoing, options?: SendOptions): SendStatus {
    if (this.#connection.readyState !== OPEN) return this.#drop(message);
    if (this.#fragments !== WHOLE_MESSAGES) throw inMidst();
    const queued = this.#common.outbox.buffered(this.handle);
    if (
      typeof message !== "string" && message.length > this.#common.maxQueueBytes
    ) {
      return this.#refuse(message);
    }
    const prepared = message instanceof PreparedMessage
      ? message
      : new PreparedMessage(message);
    const fits = queued + prepared.length <= this.#common.maxQueueBytes;
    const waits = (this.#backlog?.length ?? 0) > 0 ||
      (this.#common.evicts && queued >= this.#common.host.highWatermark);
    if (fits && !waits) return this.#sendFrame(prepared, options?.compress);
    return waits || this.#common.evicts
      ? this.#hold(prepared, options)
      : this.#refuse(message);
  }

  // Keeps a message in JavaScript until there is room, and makes some among those that wait.
  #hold(message: PreparedMessage, options?: SendOptions): SendStatus {
    const key = options?.key;
    const compress = options?.compress;
    const extras = this.#more();
    const backlog = extras.backlog ??= new Backlog();
    const cost = costOf(message);
    const room = this.#common.maxQueueBytes -
      this.#common.outbox.buffered(this.handle);
    if (cost + (this.#common.evicts ? 0 : backlog.cost) > room) {
      return this.#refuse(message);
    }
    const evicted: PreparedMessage[] = [];
    const coalesces = this.#common.host.slowConsumer === "coalesce";
    const same = coalesces && key !== undefined ? backlog.take(key) : null;
    if (same !== null) evicted.push(same);
    while (backlog.cost + cost > room) evicted.push(backlog.shift().message);
    backlog.push({ message, key, compress });
    this.adjustLimit();
    this.wantDrain();
    extras.queued = true;
    // From here on the application may do anything.
    for (const each of evicted) this.#drop(each);
    return "queued";
  }

  // Hands what waits to C, as far as the peer takes it. Returns whether that was all.
  #release(): boolean {
    const backlog = this.#backlog;
    if (backlog === null || this.#fragments !== WHOLE_MESSAGES) return true;
    const { highWatermark } = this.#common.host;
    while (
      backlog.length > 0 &&
      this.#common.outbox.buffered(this.handle) < highWatermark
    ) this.#sendWaiting(backlog.shift());
    this.adjustLimit();
    return backlog.length === 0;
  }

  // What was published in the meantime may follow the last one.
  #endFragment(): void {
    this.adjustLimit();
    if (!this.#release()) this.wantDrain();
  }

  // There is no room for a message, and none is made.
  #refuse(message: Outgoing): SendStatus {
    const status = this.#drop(message);
    if (this.#common.host.slowConsumer === "close") {
      this.#connection.close(TRY_AGAIN_LATER, "Too slow");
    }
    return status;
  }

  #drop(message: Outgoing): SendStatus {
    const extras = this.#more();
    extras.dropped++;
    // One that is dropped while another one is being told of would lead to a further call, without an end.
    if (this.#connection.readyState !== OPEN || extras.tellingDropped) {
      return "dropped";
    }
    extras.tellingDropped = true;
    this.#common.host.dropped(this.#connection.socket, message);
    extras.tellingDropped = false;
    return "dropped";
  }

  // A message whose beginning is on its way can neither be taken back nor be sent with a hole.
  #dropFragment(
    chunk: string | Uint8Array,
    before: number,
    fin: boolean,
  ): SendStatus {
    if (before === WHOLE_MESSAGES || before === FRAGMENTS_DROPPED) {
      this.#setFragments(fin ? WHOLE_MESSAGES : FRAGMENTS_DROPPED);
      this.#endFragment();
      return before === WHOLE_MESSAGES ? this.#refuse(chunk) : "dropped";
    }
    const status = this.#drop(chunk);
    this.#connection.close(TRY_AGAIN_LATER, "Too slow");
    return status;
  }

  #staged(buffered: number): SendStatus {
    this.#common.loop.kick();
    const { highWatermark } = this.#common.host;
    if (buffered < highWatermark) return "sent";
    // The kernel may have taken a long one already, and then no drain would follow.
    if (this.#common.outbox.buffered(this.handle) < highWatermark) {
      return "sent";
    }
    this.wantDrain();
    this.#more().queued = true;
    return "queued";
  }
}

function inMidst(): TypeError {
  return new TypeError(
    "Cannot send a message in the midst of another one: its last fragment has not been sent",
  );
}
