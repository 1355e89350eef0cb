// SPDX-License-Identifier: Apache-2.0
// fake_wire.ts - an Outbox over memory of its own, whose commands are carried
// out by the test: for units that write and need no connection.

import type { Arena } from "../ffi/arena.ts";
import * as layout from "../ffi/layout.ts";
import { Outbox } from "../ffi/outbox.ts";
import { concat, fromLatin1 } from "./testing.ts";

/** A command as C would see it. */
export interface Command {
  handle: number;
  op: number;
  count: number;
  offset: number;
  /** The bytes of a SEND. */
  bytes: Uint8Array<ArrayBuffer>;
}

const ROWS = 16;

/** Memory in the shape that an Outbox expects, and what C would do with it. */
export class FakeWire {
  readonly outbox: Outbox;
  /** Commands that were flushed, in order. */
  readonly commands: Command[] = [];
  flushes = 0;
  /** Flushes after which the bytes of the outbox are written over. */
  clearances = 0;
  /** Bytes that the socket takes of a direct send. */
  takes = 0;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #bytes: ArrayBuffer;
  readonly #commandsAt = layout.CONTROL_BLOCKS_LOST + 8;
  readonly #rowsAt: number;

  constructor(size: { outboxBytes?: number; commands?: number } = {}) {
    const { outboxBytes = 1 << 20, commands = 256 } = size;
    this.#rowsAt = this.#commandsAt + commands * layout.COMMAND_BYTES;
    this.#words = new Uint32Array(
      (this.#rowsAt + ROWS * layout.ROW_BYTES) >> 2,
    );
    this.#bytes = new ArrayBuffer(outboxBytes);
    this.#put(layout.CONTROL_OUTBOX_BYTES, outboxBytes);
    this.#put(layout.CONTROL_COMMANDS_OFFSET, this.#commandsAt);
    this.#put(layout.CONTROL_COMMANDS_CAPACITY, commands);
    this.#put(layout.CONTROL_ROWS_OFFSET, this.#rowsAt);
    const arena = {
      words: this.#words,
      control: (offset: number): number => this.#words[offset >> 2]!,
      part: (): ArrayBuffer => this.#bytes,
    };
    this.outbox = new Outbox(
      arena as unknown as Arena,
      (now) => {
        this.clearances += now;
        this.flush();
      },
      (handle, bytes) => this.#send(handle, bytes.slice(0, this.takes)),
    );
  }

  /** Takes over what is staged, as C does. */
  flush(): void {
    this.flushes++;
    for (let index = 0; index < this.outbox.count; index++) {
      const view = new DataView(
        this.#words.buffer,
        this.#commandsAt + index * layout.COMMAND_BYTES,
      );
      const handle = view.getUint32(layout.COMMAND_HANDLE, true);
      const offset = view.getUint32(layout.COMMAND_OFFSET, true);
      const length = view.getUint32(layout.COMMAND_LENGTH, true);
      this.commands.push({
        handle,
        op: view.getUint16(layout.COMMAND_OP, true),
        count: view.getUint16(layout.COMMAND_COUNT, true),
        offset,
        bytes: new Uint8Array(this.#bytes.slice(offset, offset + length)),
      });
      this.#put(
        this.#rowsAt + (handle & layout.SLOT_MASK) * layout.ROW_BYTES +
          layout.ROW_STAGED,
        0,
      );
    }
    this.outbox.count = 0;
  }

  #send(handle: number, bytes: Uint8Array<ArrayBuffer>): number {
    this.flush();
    const send = { op: layout.CMD_SEND, count: 0, offset: 0 };
    this.commands.push({ handle, ...send, bytes });
    return bytes.length;
  }

  /** Makes a handle the live one of its slot. */
  open(handle: number): void {
    this.#put(
      this.#rowsAt + (handle & layout.SLOT_MASK) * layout.ROW_BYTES +
        layout.ROW_HANDLE,
      handle,
    );
  }

  /** All that was sent for a handle so far. */
  bytes(handle: number = 1): Uint8Array<ArrayBuffer> {
    this.flush();
    return concat(
      this.commands.filter((command) =>
        command.handle === handle && command.op === layout.CMD_SEND
      ).map((command) => command.bytes),
    );
  }

  /** The same with a character for each byte. */
  text(handle: number = 1): string {
    return fromLatin1(this.bytes(handle));
  }

  /** Responses that have ended so far. */
  responses(handle: number = 1): number {
    this.flush();
    return this.commands.filter((command) => command.handle === handle)
      .reduce((sum, command) => sum + command.count, 0);
  }

  #put(offset: number, value: number): void {
    this.#words[offset >> 2] = value;
  }
}
