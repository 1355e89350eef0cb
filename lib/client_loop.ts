// SPDX-License-Identifier: Apache-2.0
// client_loop.ts - the poll loop that the clients of an isolate share; used by dial.ts and connect.ts.
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
  readonly #unreferenced = new Set<number>();

  private constructor(choice: BackendChoice) {
    this.#choice = choice;
    this.loop = new PollLoop(
      resolveOptions({ backend: choice }),
      refuse,
      (handle) => this.#closed(handle),
    );
    this.masker = new Masker(this.loop.reactor);
  }

  /** Begins to connect on the loop of a backend; what `make` returns hears of all that becomes of it. */
  static connect(
    choice: BackendChoice,
    address: ConnectAddress,
    make: (handle: number, loop: ClientLoop) => Connection,
  ): void {
    const client = ClientLoop.#of(choice);
    client.#begin(() =>
      client.loop.connect(address, (handle) => make(handle, client))
    );
  }

  /** Takes over a socket that is connected: its descriptor belongs to the loop of a backend from here on. */
  static adopt(
    choice: BackendChoice,
    fd: number,
    make: (handle: number, loop: ClientLoop) => Connection,
  ): void {
    const client = ClientLoop.#of(choice);
    client.#begin(() =>
      client.loop.adopt(fd, (handle) => make(handle, client))
    );
  }

  static #of(choice: BackendChoice): ClientLoop {
    let client = loops.get(choice);
    if (client === undefined || client.loop.isClosed) {
      client = new ClientLoop(choice);
      loops.set(choice, client);
    }
    return client;
  }

  /** Has a connection keep the process alive, which is the default. */
  ref(handle: number): void {
    this.#unreferenced.delete(handle);
    this.#referenceLoop();
  }

  /** Lets the process end while a connection is open. */
  unref(handle: number): void {
    this.#unreferenced.add(handle);
    this.#referenceLoop();
  }

  #begin(start: () => void): void {
    this.#connections++;
    this.#referenceLoop();
    try {
      start();
    } catch (error) {
      this.#closed(0);
      throw error;
    }
  }

  #referenceLoop(): void {
    if (this.#unreferenced.size < this.#connections) this.loop.ref();
    else this.loop.unref();
  }

  #closed(handle: number): void {
    this.#unreferenced.delete(handle);
    this.#connections--;
    if (this.#connections > 0) return this.#referenceLoop();
    if (loops.get(this.#choice) === this) loops.delete(this.#choice);
    void this.loop.close();
  }
}

function refuse(): never {
  throw new Error("A loop without listeners was given a connection");
}
