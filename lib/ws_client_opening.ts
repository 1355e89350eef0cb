// SPDX-License-Identifier: Apache-2.0
// ws_client_opening.ts - a client's connection from connect to the end of the opening handshake; made by
// ws_client_session.ts, called by poll_loop.ts.

import { errnoError, layout, packDeflate } from "../ffi/mod.ts";
import type { ClientLoop } from "./client_loop.ts";
import type { Connection } from "./connection.ts";
import { violationText } from "./violations.ts";
import { judgeAnswer } from "./ws_client_deflate.ts";
import {
  isInterim,
  judgeResponse,
  newKey,
  parseResponse,
  refusal,
  requestHead,
  type ResponseHead,
  WebSocketHandshakeError,
} from "./ws_client_handshake.ts";
import type { ClientSettings } from "./ws_client_options.ts";
import { Deflater } from "./ws_deflate.ts";
import { EXTENSIONS } from "./ws_handshake.ts";

/** What a handshake has agreed on. */
export interface Agreement {
  protocol: string;
  deflater: Deflater | null;
}

/** Who is told what became of a handshake, exactly once. */
export interface Opener {
  /** It is done, and the handle is the opener's to take over. */
  agreed(opening: Opening, agreement: Agreement): void;
  /** It is not, and nothing is left of the connection. */
  failed(error: Error): void;
}

/** A connection that shakes hands. */
export class Opening implements Connection {
  readonly handle: number;
  /** Its loop. */
  readonly client: ClientLoop;
  readonly #settings: ClientSettings;
  readonly #opener: Opener;
  readonly #key = newKey();
  #error: Error | null = null;

  /** For a connection that stands: sends the request. */
  constructor(
    handle: number,
    client: ClientLoop,
    settings: ClientSettings,
    opener: Opener,
  ) {
    this.handle = handle;
    this.client = client;
    this.#settings = settings;
    this.#opener = opener;
    const { outbox } = client.loop.reactor;
    outbox.write(handle, requestHead(settings.request, this.#key), 0);
    outbox.command(handle, layout.CMD_DEADLINE, settings.handshakeTimeout);
  }

  receive(index: number): void {
    const { inbox } = this.client.loop.reactor;
    switch (inbox.kind(index)) {
      case layout.RESPONSE:
        return this.#onResponse(inbox.latin1(index));
      case layout.VIOLATION:
        return this.abort(refusal(violationText(inbox.aux(index))));
      case layout.END:
        return this.abort(serverLeft());
      case layout.CLOSED:
        return this.#opener.failed(
          this.#error ?? this.#closedBy(inbox.code(index)),
        );
    }
  }

  /** Gives up; the opener is told of this error. */
  abort(error: Error): void {
    this.#error ??= error;
    const { loop } = this.client;
    loop.reactor.outbox.command(this.handle, layout.CMD_TERMINATE);
    loop.kick();
  }

  drain(): void {
    this.abort(new Deno.errors.Interrupted("The loop is shut down"));
  }

  lost(): void {
    const lost = new Deno.errors.Interrupted("The loop was closed");
    this.#opener.failed(this.#error ?? lost);
  }

  #onResponse(text: string): void {
    if (this.#error !== null) return;
    try {
      const response = parseResponse(text);
      if (isInterim(response)) {
        const { outbox } = this.client.loop.reactor;
        return outbox.command(this.handle, layout.CMD_DECLINE);
      }
      this.#agree(response);
    } catch (error) {
      // What the application does in `open` does not come here: it is called by whoever takes over.
      this.abort(error as Error);
    }
  }

  #agree(response: ResponseHead): void {
    const { request, maxMessageBytes, maxFragments } = this.#settings;
    const protocol = judgeResponse(response, request, this.#key);
    const deflater = this.#openDeflater(response.headers.get(EXTENSIONS));
    const { loop } = this.client;
    const { outbox } = loop.reactor;
    const { idleTimeout } = this.#settings;
    outbox.command(this.handle, layout.CMD_IDLE, idleTimeout);
    outbox.command(
      this.handle,
      layout.CMD_WEBSOCKET,
      maxMessageBytes,
      maxFragments,
    );
    this.#opener.agreed(this, { protocol, deflater });
  }

  #openDeflater(field: string | null): Deflater | null {
    const { compression } = this.#settings;
    const settings = compression === null
      ? null
      : judgeAnswer(field, compression);
    if (compression === null || settings === null) return null;
    const { reactor } = this.client.loop;
    if (!reactor.openDeflate(this.handle, packDeflate(settings))) {
      throw new WebSocketHandshakeError(
        "Cannot open the WebSocket: there is no memory left for its compression",
      );
    }
    const { threshold } = compression;
    return new Deflater(reactor, this.handle, settings, threshold);
  }

  #closedBy(errno: number): Error {
    const action = `open the WebSocket ${this.#settings.url}`;
    return errno === 0 ? serverLeft() : errnoError(errno, action);
  }
}

function serverLeft(): WebSocketHandshakeError {
  return new WebSocketHandshakeError(
    "Cannot open the WebSocket: the server has left without a response",
  );
}
