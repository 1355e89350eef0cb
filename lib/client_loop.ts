// SPDX-License-Identifier: Apache-2.0
// client_loop.ts - the poll loop that the clients of an isolate share; used by dial.ts.
//
// It is opened by the first connection and closed with the last one, so that it keeps the process alive for just as
// long as something is connecting or open.

import type { BackendName, ConnectAddress } from "../ffi/mod.ts";
import type { Connection } from "./connection.ts";
import { resolveOptions } from "./options.ts";
import { PollLoop } from "./poll_loop.ts";
import { Masker } from "./ws_mask.ts";

/** Which kernel interface to use. */
export type BackendChoice = "auto" | BackendName;

const loops = new Map<BackendChoice, ClientLoop>();

/** A loop without listeners. */
export class ClientLoop {
  readonly loop: PollLoop;
  /** Masks the frames of its WebSockets. */
  readonly masker: Masker;
  readonly #choice: BackendChoice;
  #connections = 0;

  private constructor(choice: BackendChoice) {
    this.#choice = choice;
    this.loop = new PollLoop(
      resolveOptions({ backend: choice }),
      refuse,
      () => this.#closed(),
    );
    this.masker = new Masker(this.loop.reactor);
  }

  /** Begins to connect on the loop of a backend; what `make` returns hears of all that becomes of it. */
  static connect(
    choice: BackendChoice,
    address: ConnectAddress,
    make: (handle: number, loop: ClientLoop) => Connection,
  ): void {
    let loop = loops.get(choice);
    if (loop === undefined || loop.loop.isClosed) {
      loop = new ClientLoop(choice);
      loops.set(choice, loop);
    }
    loop.#connect(address, make);
  }

  #connect(
    address: ConnectAddress,
    make: (handle: number, loop: ClientLoop) => Connection,
  ): void {
    this.#connections++;
    try {
      this.loop.connect(address, (handle) => make(handle, this));
    } catch (error) {
      this.#closed();
      throw error;
    }
  }

  #closed(): void {
    if (--this.#connections > 0) return;
    if (loops.get(this.#choice) === this) loops.delete(this.#choice);
    void this.loop.close();
  }
}

function refuse(): never {
  throw new Error("A loop without listeners was given a connection");
}
